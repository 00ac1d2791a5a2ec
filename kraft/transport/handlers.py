"""The methods that a node answers, and what becomes of a handler's outcome.

A handler's failure is one of three: `KafkaError` is the caller's and travels to it; `StorageError` is the
world's and travels as KAFKA_STORAGE_ERROR; everything else is ours: the caller gets UNKNOWN_SERVER_ERROR and
`on_fatal` is told, which is expected to stop the node.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from kafkawire.errors import ErrorCode, KafkaError
from kraft.transport import messages
from kraft.transport.limits import Limits
from kraft.transport.link import Link
from kraft.transport.messages import Kind, Payload, Reply
from logstore.storage import StorageError

CallHandler = Callable[[Link, Any], Awaitable[Reply] | Reply]
StreamHandler = Callable[[Link, Any], AsyncIterator[Reply]]
NotifyHandler = Callable[[Link, Any], None]
Outcome = Reply | KafkaError

METHOD_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class Handlers(msgspec.Struct, frozen=True):
    """Handlers by method, whom to tell of failures that are ours, and who hears of links that open."""

    limits: Limits
    on_fatal: Callable[[BaseException], None]
    calls: dict[str, CallHandler] = msgspec.field(default_factory=dict)
    streams: dict[str, StreamHandler] = msgspec.field(default_factory=dict)
    notifications: dict[str, NotifyHandler] = msgspec.field(default_factory=dict)
    link_opened: list[Callable[[Link], None]] = msgspec.field(default_factory=list)

    def check_name(self, method: str) -> None:
        """ValueError for a name that is taken or does not fit into a URL."""
        if not METHOD_NAME.fullmatch(method):
            raise ValueError(f"{method!r} is no method name")
        if method in self.calls or method in self.streams or method in self.notifications:
            raise ValueError(f"{method!r} has a handler already")

    def handle(self, method: str, handler: CallHandler) -> None:
        """Answer `Peer.call`. A handler that returns a Reply is answered without a task; one that returns a
        future or a coroutine is answered when that is done, and it is cancelled when the caller gives up
        or the link closes.
        """
        self.check_name(method)
        self.calls[method] = handler

    def handle_stream(self, method: str, handler: StreamHandler) -> None:
        """Answer `Peer.stream`: items are asked for as the consumer takes them, until the iterator or the
        link ends.
        """
        self.check_name(method)
        self.streams[method] = handler

    def handle_notify(self, method: str, handler: NotifyHandler) -> None:
        """Take `Peer.notify`, in the order in which the peer sent it among its calls."""
        self.check_name(method)
        self.notifications[method] = handler

    def begin(self, link: Link, method: Any, value: Any) -> Outcome | asyncio.Future[Reply]:
        """Call the handler of a call: what it answers at once, or the future that will have it."""
        handler = self.calls.get(method)
        if handler is None:
            return unknown_method(method)
        try:
            outcome = handler(link, value)
            return outcome if isinstance(outcome, Reply) else asyncio.ensure_future(outcome)
        except Exception as error:  # noqa: BLE001 - the root of every handler; `refusal` tells whose failure it is
            return self.refusal(error)

    def settled(self, future: asyncio.Future[Any]) -> Any:
        """What a finished future holds; a KafkaError in place of a failure."""
        if future.cancelled():
            return KafkaError(ErrorCode.REQUEST_TIMED_OUT, "the request was cancelled")
        error = future.exception()
        return future.result() if error is None else self.refusal(error)

    def refusal(self, error: BaseException) -> KafkaError:
        """What to tell the caller of a handler's exception. Tells `on_fatal` when the failure is ours."""
        match error:
            case KafkaError():
                return error
            case StorageError():
                return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error))
            case _:
                self.on_fatal(error)
                return KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, type(error).__name__)

    def encode_reply(self, kind: int, id_: int, reply: Reply) -> bytes:
        """The whole message that carries a reply, its payload read and joined; raises what reading raises."""
        payload = [part if isinstance(part, bytes) else part.bytes() for part in reply.payload]
        return messages.encode(kind, id_, 0, reply.value, limits=self.limits, payload=payload)

    def render(self, kind: int, id_: int, outcome: Outcome) -> bytes:
        """The whole message that carries an outcome; a reply that cannot be sent is the handler's failure."""
        if isinstance(outcome, Reply):
            try:
                return self.encode_reply(kind, id_, outcome)
            except Exception as error:  # noqa: BLE001 - as in `begin`
                outcome = self.refusal(error)
        return messages.encode(kind, id_, int(outcome.code), outcome.message, limits=self.limits)

    def render_header(self, outcome: Outcome) -> tuple[bytes, tuple[Payload, ...]]:
        """The message of a bulk reply up to its payload, and the payload, which is to follow unread."""
        if isinstance(outcome, Reply):
            try:
                size = sum(len(part) if isinstance(part, bytes) else part.size for part in outcome.payload)
                messages.check_payload_size("reply", size, self.limits)
                return messages.encode(Kind.REPLY, 0, 0, outcome.value, limits=self.limits), tuple(
                    outcome.payload
                )
            except Exception as error:  # noqa: BLE001 - as in `render`
                outcome = self.refusal(error)
        return messages.encode(Kind.REPLY, 0, int(outcome.code), outcome.message, limits=self.limits), ()


def unknown_method(method: Any) -> KafkaError:
    """What a peer of another version gets to hear."""
    return KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"this node does not know {str(method)[:100]!r}")
