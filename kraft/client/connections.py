"""One connection to a broker: requests out, replies matched by correlation id.

Requests on a connection are answered in their order, so a long poll holds up what is sent after it: a
consumer fetches on a connection of its own. The network is passed in as a `Dial`, so that a simulated one
can be used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from kafkawire import messages
from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.frames import FrameError, FrameReader

MAX_RESPONSE_BYTES = 100 * 1024 * 1024
MAX_UNANSWERED = 1000

Dial = Callable[[Callable[[], "Connection"], str, int], Awaitable[None]]
"""Connect a new protocol, made by the first argument, to (host, port); raises OSError."""

CONNECTION_FAILURES = (OSError, TimeoutError)
"""What a call raises when the broker is out of reach; the request may have been carried out or not."""


_BY_NAME = {ApiKey.PRODUCE: 12, ApiKey.FETCH: 12}
"""The last versions that refer to topics by name, as this client does."""


class DisconnectedError(ConnectionError):
    """The connection ended before the reply came."""


async def dial_tcp(make: Callable[[], Connection], host: str, port: int) -> None:
    """A `Dial` over the running event loop."""
    await asyncio.get_running_loop().create_connection(make, host, port)


@dataclass(frozen=True, slots=True)
class _Unanswered:
    key: ApiKey
    version: int
    reply: asyncio.Future[Any]


class Connection(asyncio.BufferedProtocol):
    """A connection after `open_connection`. All methods belong to one event loop."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._frames = FrameReader(MAX_RESPONSE_BYTES)
        self._unanswered: dict[int, _Unanswered] = {}
        self._transport: asyncio.Transport | None = None
        self._next_id = 0
        self._versions: dict[int, int] = {ApiKey.API_VERSIONS: 0}

    @property
    def is_open(self) -> bool:
        """False once either side has closed it."""
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """Close it; whoever waits for a reply gets DisconnectedError."""
        if self._transport is not None:
            self._transport.abort()

    def send(self, key: ApiKey, request: Any) -> asyncio.Future[Any]:
        """Send at once and return the future of the reply.

        The future fails with DisconnectedError, or with KafkaError if the reply is malformed. Raises
        DisconnectedError if the connection is closed, KafkaError(UNSUPPORTED_VERSION) if the broker does not
        know the API.
        """
        if self._transport is None or self._transport.is_closing():
            raise DisconnectedError("the connection is closed")
        if len(self._unanswered) >= MAX_UNANSWERED:
            raise DisconnectedError(f"{MAX_UNANSWERED} requests wait for an answer already")
        version = self._versions.get(key)
        if version is None:
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"the broker has no {key.name} that we know")
        self._next_id = (self._next_id + 1) & 0x7FFFFFFF
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._unanswered[self._next_id] = _Unanswered(key, version, reply)
        self._transport.write(messages.encode_request(key, version, self._next_id, request, self._client_id))
        return reply

    async def call(self, key: ApiKey, request: Any, timeout: float) -> Any:
        """Send and wait for the reply; TimeoutError after `timeout` seconds, else as `send`."""
        async with asyncio.timeout(timeout):
            return await self.send(key, request)

    async def negotiate(self, timeout: float) -> None:
        """Learn which versions the broker speaks; for each API the newest that both know is used."""
        response = await self.call(
            ApiKey.API_VERSIONS, messages.request_class(ApiKey.API_VERSIONS)(), timeout
        )
        if response.error_code:
            raise KafkaError(ErrorCode(response.error_code), "the broker does not tell its versions")
        for theirs in response.api_keys:
            ours = APIS.get(theirs.api_key)
            if ours is not None:
                newest = _BY_NAME.get(ours.key, ours.max_version)
                version = min(newest, theirs.max_version)
                if version >= max(ours.min_version, theirs.min_version):
                    self._versions[ours.key] = version

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the event loop."""
        return self._frames.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the event loop."""
        self._frames.received(nbytes)
        try:
            while (frame := self._frames.next_frame()) is not None:
                self._answer(frame)
        except FrameError:
            self.close()

    def _answer(self, frame: memoryview) -> None:
        if len(frame) < 4:
            self.close()
            return
        unanswered = self._unanswered.pop(int.from_bytes(frame[:4], "big"), None)
        if unanswered is None:
            self.close()
            return
        if unanswered.reply.done():
            return
        try:
            response = messages.decode_response(unanswered.key, unanswered.version, frame)
        except KafkaError as error:
            unanswered.reply.set_exception(error)
        else:
            unanswered.reply.set_result(response)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        unanswered, self._unanswered = self._unanswered, {}
        for each in unanswered.values():
            if not each.reply.done():
                each.reply.set_exception(
                    DisconnectedError(str(exc) if exc else "the broker closed the connection")
                )
                each.reply.exception()  # whoever has stopped waiting is not to be told by a warning


async def open_connection(dial: Dial, host: str, port: int, client_id: str, timeout: float) -> Connection:
    """Connect and negotiate versions; raises one of CONNECTION_FAILURES or KafkaError."""
    connection = Connection(client_id)
    try:
        async with asyncio.timeout(timeout):
            await dial(lambda: connection, host, port)
            await connection.negotiate(timeout)
    except BaseException:
        connection.close()
        raise
    return connection
