"""From a frame to its handler and back: the API table decides, one file in `handlers` answers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from kafkawire.apis import APIS, Api, ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.headers import RequestHeader, parse_request_header
from kafkawire.messages import decode_request, encode_response, response_class
from kraft.broker.connection import Connection, Reply
from kraft.broker.outgoing import Segment
from kraft.events import Events
from logstore.storage import StorageError

_EVENTS = Events("listener")


class Request(NamedTuple):
    """One request as a handler sees it. `body` is a view into the connection's buffer: it is gone when the
    handler returns or awaits."""

    connection: Connection
    header: RequestHeader
    body: memoryview

    @property
    def version(self) -> int:
        return self.header.api_version


MessageHandler = Callable[[Request, Any], Any]
"""Takes a decoded request; returns the response message, or an awaitable of it."""

FrameHandler = Callable[[Request], Sequence[Segment] | None]
"""Takes the request as bytes; returns the response as bytes, or None if it answers later or never."""


class Dispatcher:
    """Routes the frames of every connection of one listener."""

    def __init__(
        self,
        frame_handlers: Mapping[ApiKey, FrameHandler],
        message_handlers: Mapping[ApiKey, MessageHandler],
        on_storage_failure: Callable[[BaseException], None],
    ) -> None:
        missing = set(APIS) - set(frame_handlers) - set(message_handlers)
        assert not missing, f"advertised without a handler: {missing}"
        self._frame_handlers = frame_handlers
        self._message_handlers = message_handlers
        self._on_storage_failure = on_storage_failure
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, connection: Connection, frame: memoryview) -> Sequence[Segment] | None:
        """Answer one frame (see `Dispatch`). A frame that is no request closes its connection, as Kafka
        does."""
        try:
            header = parse_request_header(frame)
            api = APIS.get(header.api_key)
            if api is None or not api.min_version <= header.api_version <= api.max_version:
                return self._refuse_version(connection, api, header)
            request = tuple.__new__(Request, (connection, header, frame[header.body :]))
            frame_handler = self._frame_handlers.get(api.key)
            if frame_handler is not None:
                return frame_handler(request)
            message = decode_request(api.key, header.api_version, request.body)
            return self._handle_message(api, request, message)
        except KafkaError as error:
            connection.refuse(error)
        except Exception as error:  # noqa: BLE001 - the root of every request; `_failed` tells whose failure it is
            self._failed(connection, error)
        return None

    def _failed(self, connection: Connection, error: BaseException) -> None:
        """The disk's failure is the node's. A mistake of ours is this request's alone: a client that can
        provoke it must not be able to stop the broker with it."""
        if isinstance(error, StorageError):
            self._on_storage_failure(error)
        else:
            _EVENTS.error("request.failed", failure=error)
        connection.close()

    def _refuse_version(
        self, connection: Connection, api: Api | None, header: RequestHeader
    ) -> Sequence[Segment] | None:
        if api is not None and api.key is ApiKey.API_VERSIONS:
            return [_unsupported_api_versions(header.correlation_id)]
        name = f"API key {header.api_key}" if api is None else api.name
        connection.refuse(
            KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"{name} version {header.api_version} is not served")
        )
        return None

    def _handle_message(self, api: Api, request: Request, message: Any) -> Sequence[Segment] | None:
        result = self._message_handlers[api.key](request, message)
        if inspect.isawaitable(result):
            reply = request.connection.defer(hold=True)
            task = asyncio.ensure_future(self._answer_later(api, request, result, reply))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return None
        return [encode_response(api.key, request.version, request.header.correlation_id, result)]

    async def _answer_later(self, api: Api, request: Request, result: Awaitable[Any], reply: Reply) -> None:
        header = request.header
        try:
            response = await result
            reply.send([encode_response(api.key, header.api_version, header.correlation_id, response)])
        except Exception as error:  # noqa: BLE001 - as in `__call__`
            self._failed(request.connection, error)

    async def close(self) -> None:
        """Give up on requests that are still being answered."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


def _unsupported_api_versions(correlation_id: int) -> bytes:
    """The one answer that every client understands: version 0, error 35, and the range of ApiVersions
    itself."""
    api = APIS[ApiKey.API_VERSIONS]
    response = response_class(ApiKey.API_VERSIONS)
    return encode_response(
        ApiKey.API_VERSIONS,
        0,
        correlation_id,
        response(
            error_code=ErrorCode.UNSUPPORTED_VERSION,
            api_keys=[
                response.ApiVersion(
                    api_key=api.key, min_version=api.advertised_min, max_version=api.max_version
                )
            ],
        ),
    )
