"""Frames of a TCP stream: a size as int32, then as many bytes.

A reader for `asyncio.BufferedProtocol`: the transport writes into one buffer that is kept, and frames are
handed out as views into it, so that a frame is copied only when it lies across the buffer's end.
"""

from __future__ import annotations

from struct import Struct

_SIZE = Struct(">i")
_SIZE_BYTES = 4

# From this size on, a read ends where the frame ends: the next frame then starts at the front of the
# buffer, and no part of it has to be moved there.
_READ_EXACTLY = 65_536

# Less room than this is not worth a read.
_LEAST_ROOM = 4_096

# What a buffer begins with: enough for a connection that only ever sends small requests, of which there may
# be many.
_FIRST_CAPACITY = 16_384

# A buffer that grew is kept up to this multiple of the usual capacity while big frames keep coming; a
# larger one is given back as soon as it is empty.
_KEPT_MULTIPLE = 8
_SMALL_ROUNDS = 32


class FrameError(Exception):
    """The stream holds no frames, or one beyond the limit: nothing after this point can be understood."""


class FrameReader:
    """Cuts a byte stream into frames. Sizes are bytes.

    A shell asks `get_buffer()` for room, reports with `received(n)`, then calls `next_frame()` until it
    gives None. When it stops calling it (a muted connection), it has to look at `full` after each
    `received` and stop reading once that is true: memory stays within `capacity`, or within the one frame
    that is larger. A buffer begins small and has `capacity` from the first time on that this was not enough.

    `max_frame` is Kafka's `socket.request.max.bytes`. A frame larger than the buffer makes it grow with
    what has really arrived (doubling), so announcing a large frame alone costs the peer's connection, not
    our memory.
    """

    def __init__(self, max_frame: int, capacity: int = 262_144) -> None:
        if capacity < 2 * _LEAST_ROOM:
            raise ValueError(f"a capacity of {capacity} bytes is less than {2 * _LEAST_ROOM}")
        self._max_frame = max_frame
        self._usual = capacity
        self._capacity = min(capacity, _FIRST_CAPACITY)
        self._buffer = bytearray(self._capacity)
        self._view = memoryview(self._buffer)
        self._read = 0
        self._write = 0
        self._small_rounds = 0
        self.full = False
        """True if a whole frame waits and there is hardly room for more: stop reading until frames are
        taken."""

    @property
    def buffered(self) -> int:
        """Bytes that were received and not yet handed out."""
        return self._write - self._read

    @property
    def capacity(self) -> int:
        """Bytes that the buffer takes now."""
        return self._capacity

    def _is_full(self) -> bool:
        buffered = self._write - self._read
        return self._capacity - buffered < _LEAST_ROOM and buffered >= _SIZE_BYTES + self._waiting_size()

    def get_buffer(self, sizehint: int = -1) -> memoryview:  # noqa: ARG002
        """Room to receive into, never empty. Ends the life of every frame that was handed out.

        `sizehint` is the transport's wish and is ignored. Raises BufferError if the caller read on although
        `full` was true, up to the last byte.
        """
        if self._write == 0:
            return self._view
        buffered = self._write - self._read
        if buffered >= _SIZE_BYTES:
            needed = _SIZE_BYTES + self._waiting_size()
            if needed > self._capacity - self._read and buffered < needed:
                if self._capacity < self._usual:
                    self._move_to(self._usual)
                elif needed > self._capacity and buffered + _LEAST_ROOM > self._capacity:
                    self._move_to(self._grown(needed))
                elif self._read:
                    self._move_to(self._capacity)
            if needed >= _READ_EXACTLY and buffered < needed:
                return self._view[self._write : min(self._read + needed, self._capacity)]
        if self._capacity - self._write < _LEAST_ROOM and self._read:
            self._move_to(self._capacity)
        if self._write == self._capacity:
            raise BufferError("frames have to be taken before more is read")
        return self._view[self._write :]

    def received(self, count: int) -> None:
        """`count` bytes were written to the front of what `get_buffer` gave."""
        self._write += count
        if self._capacity - self._write < _LEAST_ROOM:
            if self._capacity < self._usual:
                self._move_to(self._usual)
            self.full = self._is_full()

    def next_frame(self) -> memoryview | None:
        """The next whole frame without its size, or None. Valid, and writable, until `get_buffer` is called.

        Raises FrameError, again at each call, if the size is negative or beyond the limit.
        """
        start = self._read
        available = self._write - start
        if available < _SIZE_BYTES:
            if available == 0:
                self._read = self._write = 0
                if self._capacity > self._usual:
                    self._shrink()
            return None
        (size,) = _SIZE.unpack_from(self._buffer, start)
        if not 0 <= size <= self._max_frame:
            raise FrameError(f"a frame of {size} bytes; at most {self._max_frame} are allowed")
        if size > available - _SIZE_BYTES:
            return None
        start += _SIZE_BYTES
        end = start + size
        self._read = end
        if self.full:
            self.full = self._is_full()
        if size > self._usual:
            self._small_rounds = 0
        return self._view[start:end]

    def _waiting_size(self) -> int:
        """The size of the frame that comes next; 0 for one that `next_frame` will refuse."""
        (size,) = _SIZE.unpack_from(self._buffer, self._read)
        return size if 0 <= size <= self._max_frame else 0

    def _grown(self, needed: int) -> int:
        """The next capacity on the way to `needed`: all of it at once if that is little, else as bytes
        arrive.
        """
        if needed <= self._usual * _KEPT_MULTIPLE:
            return -(-needed // self._usual) * self._usual
        return min(needed, self._capacity * 2)

    def _move_to(self, capacity: int) -> None:
        """Put what is buffered at the front, of a new buffer if the capacity is another one."""
        buffered = self._write - self._read
        if capacity == self._capacity:
            self._view[:buffered] = self._view[self._read : self._write]
        else:
            buffer = bytearray(capacity)
            buffer[:buffered] = self._view[self._read : self._write]
            self._buffer, self._view, self._capacity = buffer, memoryview(buffer), capacity
        self._read, self._write = 0, buffered

    def _shrink(self) -> None:
        """Give a grown buffer back, at once if it is large, otherwise when only small frames came for a
        while.

        Frames that were handed out keep the old buffer alive.
        """
        self._small_rounds += 1
        if self._small_rounds > _SMALL_ROUNDS or self._capacity > self._usual * _KEPT_MULTIPLE:
            self._small_rounds = 0
            self._move_to(self._usual)
