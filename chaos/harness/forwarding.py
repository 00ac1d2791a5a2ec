"""One proxied connection: two directions, each of which may flow, be held back, or be late.

A cut drops nothing that TCP would not have sent again: bytes wait, and so does the end of the connection,
until the link is healed. What waits is bounded: a direction that is cut or full is not read from any more.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

CUT = math.inf
MAX_QUEUED_BYTES = 1024 * 1024

Delay = Callable[[], float]
"""The present delay of a direction in seconds; 0.0 flows, CUT does not flow at all."""


class Direction:
    """Bytes from one end to the other, as they come, late, or later."""

    def __init__(self, source: End, target: End, delay: Delay) -> None:
        self._source = source
        self._target = target
        self._delay = delay
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._target_is_full = False

    @property
    def is_over(self) -> bool:
        """True when both ends are closed: there is nothing more to do."""
        return not (self._source.is_open or self._target.is_open)

    def received(self, data: bytes) -> None:
        """The source sent something."""
        delay = self._delay()
        if not self._queue and delay == 0.0:
            self._target.write(data)
            return
        self._queue.append((asyncio.get_running_loop().time(), data))
        self._queued += len(data)
        self.look()

    def ended(self) -> None:
        """The source is gone: so will the target be, when everything has arrived."""
        self._ended = True
        self.look()

    def full(self, is_full: bool) -> None:
        """The target takes no more, or takes more again."""
        self._target_is_full = is_full
        self.look()

    def look(self) -> None:
        """Send what is due under the present delay; called again when that has changed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        delay = self._delay()
        while self._queue and self._queue[0][0] + delay <= loop.time() and not self._target_is_full:
            _, data = self._queue.popleft()
            self._queued -= len(data)
            self._target.write(data)
        if self._queue and delay != CUT and not self._target_is_full:
            self._timer = loop.call_at(self._queue[0][0] + delay, self.look)
        if self._ended and not self._queue and delay != CUT:
            self._target.end(lost=not self._source.is_open)
        self._source.read_on(delay != CUT and not self._target_is_full and self._queued < MAX_QUEUED_BYTES)


class End(asyncio.Protocol):
    """One of the two sockets of a proxied connection."""

    def __init__(self) -> None:
        self.out: Direction | None = None
        self.into: Direction | None = None
        self._transport: asyncio.Transport | None = None
        self._reads = True
        self._heard_end = False
        self._said_end = False
        self.is_open = False
        self.early: list[bytes] = []
        """What came before the other end was there: Python 3.11.2 reads once although told to pause."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop; nothing is read before `read_on`."""
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True
        self._reads = False
        self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self.out is None:
            self.early.append(data)
        else:
            self.out.received(data)

    def pause_writing(self) -> None:
        """Called by the event loop."""
        if self.into is not None:
            self.into.full(True)

    def resume_writing(self) -> None:
        """Called by the event loop."""
        if self.into is not None:
            self.into.full(False)

    def eof_received(self) -> bool:
        """Called by the event loop; the other direction goes on."""
        self._heard_end = True
        if self.out is not None:
            self.out.ended()
        self._close_if_over()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop; however it ended, there is no more to come."""
        del exc
        self.is_open = False
        if self.out is not None:
            self.out.ended()

    def write(self, data: bytes) -> None:
        """Send; nothing happens if it is closed."""
        if self._transport is not None and self.is_open:
            self._transport.write(data)

    def read_on(self, wanted: bool) -> None:
        """Read from it, or let the kernel's buffers fill."""
        if self._transport is None or not self.is_open or self._heard_end or wanted == self._reads:
            return
        self._reads = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def end(self, *, lost: bool) -> None:
        """Say that no more comes, when everything written has left; if the other end is lost, close."""
        if self._transport is None or not self.is_open:
            return
        if lost:
            self._transport.close()
        elif not self._said_end:
            self._said_end = True
            self._transport.write_eof()
            self._close_if_over()

    def _close_if_over(self) -> None:
        if self._heard_end and self._said_end and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it with a reset, as a port does that nobody listens on."""
        if self._transport is not None:
            at_once = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            self._transport.abort()


def join(one: End, other: End, there: Delay, back: Delay) -> tuple[Direction, Direction]:
    """Forward between two open ends; `there` is the delay from `one` to `other`."""
    forth = Direction(one, other, there)
    home = Direction(other, one, back)
    one.out = other.into = forth
    other.out = one.into = home
    for direction, end in ((forth, one), (home, other)):
        for data in end.early:
            direction.received(data)
        end.early.clear()
        if end.is_open:
            direction.look()
        else:
            direction.ended()
    return forth, home
