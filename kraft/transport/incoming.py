"""The client's side of one stream: items that came and were not taken yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from kraft.transport.errors import ProtocolError
from kraft.transport.messages import Response


class IncomingStream:
    """Holds at most `window` bytes and one item; `credit` tells the server how many bytes were taken.

    The link is read on while the consumer lags, so a slow stream never keeps an answer to a call waiting.
    """

    def __init__(self, window: int, credit: Callable[[int], object]) -> None:
        self._window = window
        self._credit = credit
        self._items: deque[tuple[Response, int]] = deque()
        self._held = 0
        self._taken = 0
        self._ended: Exception | bool = False
        self._changed = asyncio.Event()

    @property
    def held_bytes(self) -> int:
        """Bytes that came and were not taken yet."""
        return self._held

    def accept(self, item: Response, size: int) -> None:
        """One more item, of `size` bytes. ProtocolError when the server had no credit for it."""
        if self._held >= self._window:
            raise ProtocolError(f"a stream's item beyond the {self._window} bytes it may be ahead")
        self._items.append((item, size))
        self._held += size
        self._changed.set()

    def end(self, error: Exception | None) -> None:
        """No item will follow; `error` is raised when those that came have been taken."""
        self._ended = True if error is None else error
        self._changed.set()

    async def take(self) -> Response | None:
        """The next item, None at the stream's end; raises what ended it early."""
        while not self._items:
            if isinstance(self._ended, Exception):
                raise self._ended
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        item, size = self._items.popleft()
        self._held -= size
        self._taken += size
        if self._taken * 4 >= self._window and self._ended is False:
            self._credit(self._taken)
            self._taken = 0
        return item
