"""What waits to be written on one WebSocket: written at once while the socket takes it, bounded when it does
not.
"""

from __future__ import annotations

import asyncio
import functools
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Outbox:
    """Messages on their way out, in order; `post` never waits.

    `send` is the WebSocket's own `send_bytes`: it writes before it waits for the socket, if it waits at all.
    So the common case is one call without a task. Only when it does wait does a task take over, and further
    messages queue behind it. A message that finds more than `limit` bytes queued calls `overflow`, which is
    to close the link.
    """

    def __init__(
        self, send: Callable[[bytes], Coroutine[Any, Any, None]], limit: int, overflow: Callable[[], None]
    ) -> None:
        self._send = send
        self._limit = limit
        self._overflow = overflow
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._draining: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def queued_bytes(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self._queued

    def post(self, data: bytes) -> bool:
        """Write or queue one message; False when the link is closed or this closes it."""
        if self._closed:
            return False
        if self._draining is None:
            return self._write(data)
        if self._queued > self._limit:
            self.close()
            self._overflow()
            return False
        self._queue.append(data)
        self._queued += len(data)
        return True

    async def drained(self) -> None:
        """Return when nothing is queued, or the outbox is closed."""
        while self._draining is not None:
            await asyncio.wait((self._draining,))

    def close(self) -> None:
        """Forget what is queued; nothing is written from here on."""
        self._closed = True
        self._queue.clear()
        self._queued = 0
        if self._draining is not None:
            self._draining.cancel()

    def _write(self, data: bytes) -> bool:
        sending = self._send(data)
        try:
            waiting_for = sending.send(None)
        except StopIteration:
            return True
        except ConnectionError:
            self._closed = True
            return False
        self._draining = asyncio.get_running_loop().create_task(self._drain(sending, waiting_for))
        self._draining.add_done_callback(self._drain_ended)
        return True

    async def _drain(self, sending: Coroutine[Any, Any, None], waiting_for: Any) -> None:
        try:
            await _resume(sending, waiting_for)
            while self._queue:
                data = self._queue.popleft()
                self._queued -= len(data)
                await self._send(data)
        except ConnectionError:
            self.close()

    def _drain_ended(self, task: asyncio.Task[None]) -> None:
        self._draining = None
        if not task.cancelled():
            task.result()


@types.coroutine
def _resume(sending: Coroutine[Any, Any, None], waiting_for: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine that was run up to its first wait, which the awaiting task takes over."""
    while True:
        try:
            received = yield waiting_for
        except BaseException as error:  # noqa: BLE001 - thrown on into the coroutine, which is where it belongs
            step = functools.partial(sending.throw, error)
        else:
            step = functools.partial(sending.send, received)
        try:
            waiting_for = step()
        except StopIteration:
            return
