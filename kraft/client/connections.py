"""One connection to a broker: requests out, replies matched by correlation id.

Requests on a connection are answered in their order, so a long poll holds up what is sent after it: a
consumer fetches on a connection of its own. The network is passed in as a `Dial`, so that a simulated one
can be used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast

from kafkawire.apis import APIS, ApiKey
from kafkawire.client_messages import decode_client_response, encode_client_request
from kafkawire.client_versions import ApiVersionsRequest, ApiVersionsResponse
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.frames import FrameError, FrameReader

MAX_RESPONSE_BYTES = 100 * 1024 * 1024
MAX_UNANSWERED = 1000

Dial = Callable[[Callable[[], "Connection"], str, int], Awaitable[None]]
"""Connect a new protocol, made by the first argument, to (host, port); raises OSError."""

CONNECTION_FAILURES = (OSError, TimeoutError)
"""What a call raises when the broker is out of reach; the request may have been carried out or not."""


_BY_NAME = {ApiKey.PRODUCE: 12, ApiKey.FETCH: 12, ApiKey.OFFSET_COMMIT: 9, ApiKey.OFFSET_FETCH: 9}
"""The last versions that refer to topics by name, as this client does."""

_SOFTWARE = ApiVersionsRequest("kraft-client", "1")


class DisconnectedError(ConnectionError):
    """The connection ended before the reply came."""


async def dial_tcp(make: Callable[[], Connection], host: str, port: int) -> None:
    """A `Dial` over the running event loop."""
    await asyncio.get_running_loop().create_connection(make, host, port)


class _Unanswered(NamedTuple):
    key: ApiKey
    version: int
    reply: asyncio.Future[Any]


class Connection(asyncio.BufferedProtocol):
    """A connection after `open_connection`. All methods belong to one event loop.

    `features` are those that the cluster has finalized, with their levels (KIP-584). What requests and
    responses are for each API: `kafkawire.client_messages`.
    """

    def __init__(self, client_id: str) -> None:
        self.features: Mapping[str, int] = {}
        self._client_id = client_id
        self._frames = FrameReader(MAX_RESPONSE_BYTES)
        self._unanswered: dict[int, _Unanswered] = {}
        self._transport: asyncio.Transport | None = None
        self._next_id = 0
        self._versions: Mapping[int, int] = {}

    @property
    def is_open(self) -> bool:
        """False once either side has closed it."""
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """Close it; whoever waits for a reply gets DisconnectedError."""
        if self._transport is not None:
            self._transport.abort()

    def send(self, key: ApiKey, request: Any, newest: int | None = None) -> asyncio.Future[Any]:
        """Send at once, in a version up to `newest`, and return the future of the reply.

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
        return self._send(key, version if newest is None else min(version, newest), request)

    def _send(self, key: ApiKey, version: int, request: Any) -> asyncio.Future[Any]:
        assert self._transport is not None
        number = self._next_id = (self._next_id + 1) & 0x7FFFFFFF
        frame = encode_client_request(key, version, number, request, self._client_id)
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._unanswered[number] = _Unanswered(key, version, reply)
        self._transport.write(frame)
        return reply

    async def call(self, key: ApiKey, request: Any, timeout: float, newest: int | None = None) -> Any:
        """Send and wait for the reply; TimeoutError after `timeout` seconds, else as `send`."""
        return await in_time(self.send(key, request, newest), timeout)

    async def negotiate(self) -> None:
        """Learn which versions the broker speaks; for each API the newest that both know is used."""
        version = APIS[ApiKey.API_VERSIONS].max_version
        response: ApiVersionsResponse = await self._send(ApiKey.API_VERSIONS, version, _SOFTWARE)
        if response.error_code == ErrorCode.UNSUPPORTED_VERSION:
            response = await self._send(ApiKey.API_VERSIONS, 0, _SOFTWARE)
        if response.error_code:
            raise KafkaError(ErrorCode(response.error_code), "the broker does not tell its versions")
        self._versions = _newest_versions(response.versions)
        self.features = dict(response.features)

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
            response = decode_client_response(unanswered.key, unanswered.version, frame)
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


async def in_time(reply: asyncio.Future[Any], timeout: float) -> Any:
    """The result of a reply; TimeoutError if it has none after `timeout` seconds."""
    timer = asyncio.get_running_loop().call_later(timeout, _give_up, reply)
    try:
        return await reply
    finally:
        timer.cancel()


async def watched(
    reply: asyncio.Future[Any], pause: float, look: Callable[[], Awaitable[BaseException | None]]
) -> Any:
    """The result of a reply. As often as `pause` seconds have passed without it, `look` says what to raise,
    or None to go on waiting: a paused peer keeps its connections, and answers late or never."""
    if reply.done():
        return reply.result()
    watching: list[asyncio.Task[None]] = []

    async def watch() -> None:
        while not reply.done():
            failure = await look()
            if failure is not None and not reply.done():
                reply.set_exception(failure)
            await asyncio.sleep(pause)

    timer = asyncio.get_running_loop().call_later(
        pause, lambda: watching.append(asyncio.create_task(watch()))
    )
    try:
        return await reply
    finally:
        timer.cancel()
        for task in watching:
            task.cancel()


def _give_up(reply: asyncio.Future[Any]) -> None:
    if not reply.done():
        reply.set_exception(TimeoutError())


@lru_cache(64)
def _newest_versions(theirs: tuple[tuple[int, int, int], ...]) -> Mapping[int, int]:
    """For each API the newest version that the broker and this client know."""
    versions = {}
    for key, low, high in theirs:
        ours = APIS.get(key)
        if ours is not None:
            version = min(_BY_NAME.get(ours.key, ours.max_version), high)
            if version >= max(ours.min_version, low):
                versions[key] = version
    return versions


async def open_connection(dial: Dial, host: str, port: int, client_id: str, timeout: float) -> Connection:
    """Connect and negotiate versions; raises one of CONNECTION_FAILURES or KafkaError."""
    connection = Connection(client_id)
    try:
        async with asyncio.timeout(timeout):
            await dial(lambda: connection, host, port)
            await connection.negotiate()
    except BaseException:
        connection.close()
        raise
    return connection
