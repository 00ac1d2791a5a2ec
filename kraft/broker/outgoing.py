"""Bytes on their way to a client: small replies in one write, records straight from the segment file by
sendfile.

A reply is a list of segments, `bytes` or a `LogSlice`. A slice is sent with `os.sendfile` when nothing is
buffered in front of it; what the socket does not take at once is continued when it becomes writable.
Everything else (buffered output, files without a descriptor) falls back to reading and writing.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from logstore.log import LogSlice
from logstore.storage import StorageError

Segment = bytes | LogSlice

SENDFILE_FROM = 32 * 1024
"""Bytes. Below this one read and one write cost less than the extra system calls."""


class Outgoing:
    """The write side of one connection. `drained` is called whenever `busy` ends."""

    def __init__(self, transport: asyncio.Transport, drained: Callable[[], None]) -> None:
        self._transport = transport
        self._drained = drained
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Segment] = deque()
        self._sending: LogSlice | None = None
        self._sent = 0
        self._paused = False
        self._closed = False
        self.socket = _own_socket(transport)
        """For reading too, but not to be closed; None where bytes do not go to a plain socket as they are."""
        self._waits_for_socket = False

    @property
    def busy(self) -> bool:
        """True while replies wait: nothing more should be produced for this client."""
        return self._paused or bool(self._queue)

    def write(self, segments: Sequence[Segment]) -> None:
        """Send a reply's segments after all earlier ones."""
        if self._closed:
            return
        if self._queue or (len(segments) > 1 and self._wants_sendfile(segments)):
            self._queue.extend(segments)
            if not self._waits_for_socket:
                self._send_queue()
        elif len(segments) == 1 and isinstance(segments[0], bytes):
            self._transport.write(segments[0])
        else:
            try:
                data = b"".join(s if isinstance(s, bytes) else s.bytes() for s in segments)
            except StorageError:  # as in `_write_slice`
                self.abort()
                return
            self._write_whole(data, sum(len(s) if isinstance(s, bytes) else s.size for s in segments))

    def _write_whole(self, data: bytes, size: int) -> bool:
        """Write what should have `size` bytes. If there are fewer, the log was truncated under a slice: what
        follows would be taken for its rest, so the client has to begin anew."""
        if len(data) < size:
            self.abort()
            return False
        self._transport.write(data)
        return True

    def _wants_sendfile(self, segments: Sequence[Segment]) -> bool:
        return self.socket is not None and any(
            not isinstance(s, bytes) and s.size >= SENDFILE_FROM and s.file.fileno() >= 0 for s in segments
        )

    def _send_queue(self) -> None:
        queue = self._queue
        sock = self.socket
        while queue and not self._closed:
            segment = queue[0]
            if isinstance(segment, bytes):
                more = len(queue) > 1
                if sock is not None and more and self._transport.get_write_buffer_size() == 0:
                    if not self._send_bytes(sock, segment):
                        return
                else:
                    self._transport.write(segment)
                queue.popleft()
            elif sock is None or self._transport.get_write_buffer_size() or segment.file.fileno() < 0:
                if not self._write_slice(segment):
                    return
                self._sent = 0
                queue.popleft()
            else:
                if not self._send_slice(sock, segment):
                    return
                queue.popleft()
        self._stop_waiting()

    def _write_slice(self, segment: LogSlice) -> bool:
        """What sendfile does not send: read and written. A segment that was deleted long ago is closed."""
        left = segment.size - self._sent
        try:
            data = segment.file.read_at(segment.position + self._sent, left)
        except StorageError:
            self.abort()
            return False
        return self._write_whole(data, left)

    def _send_bytes(self, sock: socket.socket, data: bytes) -> bool:
        """Send on the socket itself, held back to leave together with what follows."""
        try:
            sent = sock.send(data, socket.MSG_MORE)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort()
            return False
        if sent < len(data):
            self._transport.write(data[sent:])
        return True

    def _send_slice(self, sock: socket.socket, segment: LogSlice) -> bool:
        descriptor = segment.file.fileno()
        target = sock.fileno()
        try:
            while self._sent < segment.size:
                sent = os.sendfile(
                    target, descriptor, segment.position + self._sent, segment.size - self._sent
                )
                if sent == 0:  # see `_write_whole`
                    self.abort()
                    return False
                self._sent += sent
        except BlockingIOError:
            self._wait_for_socket(sock)
            return False
        except OSError:
            self.abort()
            return False
        self._sent = 0
        return True

    def _wait_for_socket(self, sock: socket.socket) -> None:
        if not self._waits_for_socket:
            self._waits_for_socket = True
            self._loop.add_writer(sock.fileno(), self._continue)

    def _continue(self) -> None:
        self._send_queue()
        if not self.busy and not self._closed:
            self._drained()

    def _stop_waiting(self) -> None:
        if self._waits_for_socket and self.socket is not None:
            self._loop.remove_writer(self.socket.fileno())
            self._waits_for_socket = False

    def pause(self) -> None:
        """The transport's buffer is over its high-water mark."""
        self._paused = True

    def resume(self) -> None:
        """The transport's buffer has drained."""
        self._paused = False
        if not self._queue:
            self._drained()

    def abort(self) -> None:
        """Give up on the connection at once."""
        self._transport.abort()

    def close(self) -> None:
        """Release the descriptor; the connection is lost."""
        self._closed = True
        # A method of the connection: in a circle with it, the buffer, of up to a whole request, would wait
        # for the garbage collector, which does not know how large it is.
        self._drained = _nobody_waits
        self._stop_waiting()
        self._queue.clear()
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def _nobody_waits() -> None:
    """What a lost connection does once its replies have left."""


def _own_socket(transport: asyncio.Transport) -> socket.socket | None:
    """A duplicate of the connection's descriptor (event loops refuse watchers on one that a transport
    owns), or None where the bytes do not go to a plain socket as they are (TLS, a simulated network), and
    where the connection itself took the last descriptor."""
    if transport.get_extra_info("sslcontext") is not None:
        return None
    original = transport.get_extra_info("socket")
    if original is None:
        return None
    try:
        duplicate = socket.socket(fileno=os.dup(original.fileno()))
    except OSError:
        return None
    duplicate.setblocking(False)
    return duplicate
