"""The server's side of one WebSocket: messages in, handlers called, messages out."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from kraft.transport import messages
from kraft.transport.errors import ProtocolError
from kraft.transport.handlers import Handlers, StreamHandler, unknown_method
from kraft.transport.link import Link
from kraft.transport.messages import Kind, Message, Reply
from kraft.transport.outbox import Outbox

BURST = 16
"""Items that a stream sends in one go while nothing makes it wait; then others have their turn."""


class Window:
    """How far a stream may run ahead of its consumer: bytes sent and not yet credited back."""

    __slots__ = ("_limit", "_room", "_used")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._room = asyncio.Event()
        self._room.set()

    async def room(self) -> None:
        """Return when one more item may be sent, whatever its size."""
        await self._room.wait()

    def sent(self, size: int) -> None:
        """An item of `size` bytes is on its way."""
        self._used += size
        if self._used >= self._limit:
            self._room.clear()

    def credited(self, size: int) -> None:
        """The consumer took `size` bytes. ProtocolError when that is more than it was sent."""
        if not 0 < size <= self._used:
            raise ProtocolError(f"a credit of {size} bytes where {self._used} are out")
        self._used -= size
        if self._used < self._limit:
            self._room.set()


class Conversation:
    """Runs what one peer asks for over its link.

    Nothing here waits: a handler that answers at once is answered inside `received`, without a task. Calls
    and streams that take longer belong to the link and end with it.
    """

    def __init__(self, link: Link, handlers: Handlers, outbox: Outbox) -> None:
        self._link = link
        self._handlers = handlers
        self._outbox = outbox
        self._running: dict[int, asyncio.Future[Any]] = {}
        self._windows: dict[int, Window] = {}

    def received(self, data: bytes) -> None:
        """Take one message; ProtocolError when the peer does not keep the protocol."""
        message = messages.decode(data, self._handlers.limits)
        match message.kind:
            case Kind.CALL:
                self._call(message)
            case Kind.NOTIFY:
                self._notify(message)
            case Kind.STREAM:
                self._stream(message)
            case Kind.CREDIT if isinstance(message.name, int):
                window = self._windows.get(message.id)
                if window is not None:
                    window.credited(message.name)
            case Kind.CANCEL:
                self._windows.pop(message.id, None)
                work = self._running.pop(message.id, None)
                if work is not None:
                    work.cancel()
            case _:
                raise ProtocolError(f"a client sends no message of kind {message.kind}")

    def _admit(self, id_: int) -> None:
        if id_ in self._running:
            raise ProtocolError(f"call {id_} is running already")
        if len(self._running) >= self._handlers.limits.calls_per_link:
            raise ProtocolError(f"more than {self._handlers.limits.calls_per_link} calls at once")

    def _call(self, message: Message) -> None:
        self._admit(message.id)
        outcome = self._handlers.begin(self._link, message.name, message.value)
        if not isinstance(outcome, asyncio.Future):
            self._outbox.post(self._handlers.render(Kind.REPLY, message.id, outcome))
            return
        self._running[message.id] = outcome
        self._link.own(outcome)
        outcome.add_done_callback(functools.partial(self._finished, Kind.REPLY, message.id))

    def _finished(self, kind: int, id_: int, work: asyncio.Future[Any]) -> None:
        """Answer, unless the peer has given up or gone; a failure that is ours is told of either way."""
        if self._running.get(id_) is not work:
            if not work.cancelled():
                self._handlers.settled(work)
            return
        del self._running[id_]
        self._windows.pop(id_, None)
        self._outbox.post(self._handlers.render(kind, id_, self._handlers.settled(work)))

    def _notify(self, message: Message) -> None:
        handler = self._handlers.notifications.get(message.name)
        if handler is None:
            return  # sent by a node of a later version, for which nobody waits
        try:
            handler(self._link, message.value)
        except Exception as error:  # noqa: BLE001 - the root of the handler; nobody waits for an answer
            self._handlers.refusal(error)

    def _stream(self, message: Message) -> None:
        self._admit(message.id)
        handler = self._handlers.streams.get(message.name)
        if handler is None:
            self._outbox.post(self._handlers.render(Kind.END, message.id, unknown_method(message.name)))
            return
        window = Window(self._handlers.limits.stream_window)
        task = asyncio.get_running_loop().create_task(self._push(message, handler, window))
        self._running[message.id] = task
        self._windows[message.id] = window
        self._link.own(task)
        task.add_done_callback(functools.partial(self._finished, Kind.END, message.id))

    async def _push(self, message: Message, handler: StreamHandler, window: Window) -> Reply:
        """Send items as far as the consumer keeps up; the next one is asked for when there is room for it."""
        items = handler(self._link, message.value)
        burst = 0
        try:
            async for item in items:
                data = self._handlers.encode_reply(Kind.ITEM, message.id, item)
                window.sent(messages.item_cost(data))
                self._outbox.post(data)
                await self._outbox.drained()
                await window.room()
                burst += 1
                if burst % BURST == 0:
                    await asyncio.sleep(0)
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()
        return Reply(None)
