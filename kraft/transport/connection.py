"""The client's side of one established link: calls, streams and notifications until it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
from yarl import URL

from kafkawire.errors import ErrorCode, KafkaError
from kraft.transport import bulk, handshake, messages
from kraft.transport.connector import CuttableConnector
from kraft.transport.errors import PeerError, PeerTimeout, PeerUnavailable, ProtocolError
from kraft.transport.handshake import Signer
from kraft.transport.incoming import IncomingStream
from kraft.transport.limits import Limits
from kraft.transport.messages import Kind, Message, Response
from kraft.transport.outbox import Outbox

GRACE = 0.2
"""Seconds that a link which its owner closes has to send what was posted."""


def kafka_error(code: Any, message: Any) -> KafkaError:
    """The KafkaError that travelled as a code and a message; a code that we do not know is
    UNKNOWN_SERVER_ERROR.
    """
    try:
        return KafkaError(ErrorCode(code), str(message))
    except ValueError:
        return KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"error {code}: {message}")


class Connection:
    """One WebSocket with everything that is under way on it, and the HTTP connections of its bulk calls."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        http: aiohttp.ClientSession,
        connector: CuttableConnector,
        signer: Signer,
        url: URL,
        limits: Limits,
    ) -> None:
        self._socket = socket
        self._http = http
        self._connector = connector
        self._signer = signer
        self._url = url
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[PeerError] = self._loop.create_future()
        self._outbox = Outbox(socket.send_bytes, limits.outgoing_bytes, self._overflowed)
        self._next_id = 0
        self._calls: dict[int, asyncio.Future[Response]] = {}
        self._streams: dict[int, IncomingStream] = {}

    async def run(self) -> PeerError:
        """Read until the link is lost, and say why. Everything under way fails; nothing stays behind."""
        reading = self._loop.create_task(self._read())
        grace = GRACE
        try:
            await asyncio.wait((reading, self._lost), return_when=asyncio.FIRST_COMPLETED)
            grace = 0.0
            return reading.result() if reading.done() else self._lost.result()
        finally:
            reading.cancel()
            self._fail(f"{self._url.authority}: the link was lost before the answer came")
            await asyncio.wait((reading,))
            await self._close(grace)

    async def _close(self, grace: float) -> None:
        """Let what was sent leave for `grace` seconds, then cut. The WebSocket finds itself closed."""
        if grace == 0.0:
            self._connector.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace or None):
                await self._http.close()
        self._connector.abort()
        await self._socket.close()

    def drop(self, reason: PeerError) -> None:
        """Make `run` return."""
        if not self._lost.done():
            self._lost.set_result(reason)

    def _overflowed(self) -> None:
        self.drop(PeerUnavailable(f"it did not read, with {self._limits.outgoing_bytes} bytes waiting"))

    def _fail(self, reason: str) -> None:
        self._outbox.close()
        calls, self._calls = self._calls, {}
        for future in calls.values():
            if not future.done():
                future.set_exception(PeerUnavailable(reason))
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.end(PeerUnavailable(reason))

    async def _read(self) -> PeerError:
        while True:
            try:
                message = await self._socket.receive()
            except (aiohttp.ClientError, ConnectionError) as error:
                # It answers pings by itself, and finds the link closing at that moment.
                return PeerUnavailable(f"the link was lost: {error}")
            if message.type is not aiohttp.WSMsgType.BINARY:
                failure = self._socket.exception()
                return PeerUnavailable(f"the link was lost{f': {failure}' if failure else ''}")
            try:
                self._received(message.data)
            except ProtocolError as error:
                return error

    def _received(self, data: bytes) -> None:
        message = messages.decode(data, self._limits)
        match message.kind:
            case Kind.REPLY:
                future = self._calls.pop(message.id, None)
                if future is not None and not future.done():
                    _resolve(future, message)
            case Kind.ITEM:
                stream = self._streams.get(message.id)
                if stream is not None:
                    stream.accept(Response(message.value, message.payload), messages.item_cost(data))
            case Kind.END:
                stream = self._streams.pop(message.id, None)
                if stream is not None:
                    stream.end(None if message.name == 0 else kafka_error(message.name, message.value))
            case _:
                raise ProtocolError(f"a server sends no message of kind {message.kind}")

    def _post(self, kind: int, id_: int, name: str | int, value: Any = None) -> bool:
        return self._outbox.post(messages.encode(kind, id_, name, value, limits=self._limits))

    def notify(self, method: str, value: Any) -> bool:
        """Send and forget; False when the link is lost or this made it so."""
        return self._post(Kind.NOTIFY, 0, method, value)

    async def call(self, method: str, value: Any, timeout: float) -> Response:
        """One call over the WebSocket; PeerUnavailable, PeerTimeout, KafkaError."""
        id_ = self._next_id
        self._next_id += 1
        if not self._post(Kind.CALL, id_, method, value):
            raise PeerUnavailable(f"{self._url.authority}: the link is lost")
        future: asyncio.Future[Response] = self._loop.create_future()
        self._calls[id_] = future
        timer = self._loop.call_later(timeout, self._expire, id_, method, timeout)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                future.exception()  # it came at the same moment, and nobody will ask for it
            raise
        finally:
            timer.cancel()
            if self._calls.pop(id_, None) is not None:
                self._post(Kind.CANCEL, id_, 0)

    def _expire(self, id_: int, method: str, timeout: float) -> None:
        future = self._calls.pop(id_, None)
        if future is not None and not future.done():
            text = f"{self._url.authority} did not answer {method!r} within {timeout} s"
            future.set_exception(PeerTimeout(text))
            self._post(Kind.CANCEL, id_, 0)

    async def stream(self, method: str, value: Any) -> AsyncGenerator[Response, None]:
        """The items of one stream; PeerUnavailable, KafkaError. Closing the generator ends the stream."""
        id_ = self._next_id
        self._next_id += 1
        if not self._post(Kind.STREAM, id_, method, value):
            raise PeerUnavailable(f"{self._url.authority}: the link is lost")
        credit = functools.partial(self._post, Kind.CREDIT, id_)
        stream = IncomingStream(self._limits.stream_window, credit)
        self._streams[id_] = stream
        try:
            while (item := await stream.take()) is not None:
                yield item
        finally:
            if self._streams.pop(id_, None) is not None:
                self._post(Kind.CANCEL, id_, 0)

    async def bulk(self, method: str, value: Any, timeout: float) -> Response:
        """One call as an HTTP request of its own; PeerUnavailable, PeerTimeout, AuthenticationError,
        KafkaError.
        """
        path = handshake.RPC_PATH + method
        body = messages.encode_value(method, value, self._limits)
        counter, authorization = self._signer.sign(path, body)
        try:
            async with (
                asyncio.timeout(timeout),
                self._http.post(
                    self._url.with_path(path), data=body, headers={"Authorization": authorization}
                ) as answer,
            ):
                data = await self._bulk_body(answer)
        except TimeoutError:
            text = f"{self._url.authority} did not answer {method!r} within {timeout} s"
            raise PeerTimeout(text) from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise PeerUnavailable(f"{self._url.authority}: {error or type(error).__name__}") from error
        proof = answer.headers.get(handshake.PROOF_HEADER, "")
        self._signer.check_reply(counter, data[: messages.header_end(data)], proof)
        return _response(messages.decode(data, self._limits))

    async def _bulk_body(self, answer: aiohttp.ClientResponse) -> bytes:
        if answer.status == 401:
            raise PeerUnavailable(f"{self._url.authority}: the session has ended")
        size = answer.content_length
        if answer.status != 200 or size is None:
            raise ProtocolError(f"status {answer.status} to a bulk call")
        if size > self._limits.max_message:
            raise ProtocolError(f"an answer of {size} bytes exceeds the limit of {self._limits.max_message}")
        return await bulk.read_exactly(answer.content, size)


def _response(message: Message) -> Response:
    if message.name != 0:
        raise kafka_error(message.name, message.value)
    return Response(message.value, message.payload)


def _resolve(future: asyncio.Future[Response], message: Message) -> None:
    if message.name == 0:
        future.set_result(Response(message.value, message.payload))
    else:
        future.set_exception(kafka_error(message.name, message.value))
