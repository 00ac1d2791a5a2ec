"""One client's connection: frames in, replies out in the order of the requests, bounded both ways."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import msgspec

from kafkawire.errors import KafkaError
from kafkawire.frames import FrameError, FrameReader
from kraft.broker.outgoing import Outgoing, Segment
from kraft.broker.quiet_connections import QuietConnections
from kraft.events import Events

FLUSH_FROM = 64 * 1024
"""Bytes. Answers to requests that came together leave together, up to this much."""
QUIET_AFTER = 2
"""Readings in a row that brought a heartbeat, after which no other request is expected soon."""

POSITIONS_KEPT = 10_000
"""Partitions of `positions_told`: a client that asks for more without a fetch that waits, as one does that
looks how far groups are behind, begins with none."""

_EVENTS = Events("listener")


class ConnectionLimits(msgspec.Struct, frozen=True):
    """Bounds of one connection. Sizes in bytes, times in seconds."""

    max_frame: int = 104_857_600
    max_unanswered: int = 128
    max_idle: float = 600.0


class Dispatch(Protocol):
    """What a connection does with a frame: answer at once, later (`Connection.defer`), or not at all."""

    def __call__(self, connection: Connection, frame: memoryview) -> Sequence[Segment] | None: ...


class Reply:
    """A place in the order of replies, filled once."""

    __slots__ = ("_connection", "_segments", "holds", "when_lost")

    def __init__(self, connection: Connection, *, holds: bool) -> None:
        self._connection = connection
        self._segments: Sequence[Segment] | None = None
        self.holds = holds
        self.when_lost: Callable[[], object] | None = None
        """Called if the connection is gone before the answer: whoever works on it may stop."""

    @property
    def segments(self) -> Sequence[Segment] | None:
        return self._segments

    def release(self) -> None:
        """Let the requests behind this one begin, which is answered later still."""
        if self.holds:
            self.holds = False
            self._connection.released()

    def send(self, segments: Sequence[Segment]) -> None:
        """Answer; the bytes leave when all earlier requests have been answered."""
        assert self._segments is None, "a request is answered once"
        self._segments = segments
        self._connection.reply_ready(self)


class Connection(asyncio.BufferedProtocol):
    """The protocol of one accepted socket."""

    def __init__(
        self,
        listener: str,
        dispatch: Dispatch,
        limits: ConnectionLimits,
        open_connections: dict[Connection, None],
        quiet: QuietConnections,
    ) -> None:
        self.listener = listener
        """Name of the listener that the client came by, whose addresses it is given."""
        self._dispatch = dispatch
        self._limits = limits
        self._open_connections = open_connections
        self._quiet = quiet
        self._frames = FrameReader(limits.max_frame)
        self._waiting: deque[Reply] = deque()
        self._ready: list[Segment] = []
        self._ready_size = 0
        self._holds = 0
        self._reading = True
        self._was_heartbeat = False
        self._heartbeats = 0
        self._inside = False
        self._scheduled = False
        self.closed = False
        self.peer: tuple[str, int] = ("", 0)
        self.client_software: tuple[str, str] = ("unknown", "unknown")
        self.positions_told: set[tuple[bytes, int]] = set()
        """Partitions that the client was told a position of since its last fetch that had to wait."""
        self._was_active = True
        self._last_active = 0.0
        self.when_lost: Callable[[], object] | None = None
        """Called when the connection is gone."""

    # -- asyncio ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an isinstance: uvloop's transports have the methods but not the base class.
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._outgoing = Outgoing(self._transport, self._drained)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # As in Kafka: a client whose machine is gone does not wait for records for ever.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer = transport.get_extra_info("peername")
        if peer:
            self.peer = (peer[0], peer[1])
        self._last_active = self._loop.time()
        self._open_connections[self] = None

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - asyncio calls it so
        self.closed = True
        self._quiet.leave(self)
        self._open_connections.pop(self, None)
        waiting = tuple(self._waiting)
        self._waiting.clear()
        self._outgoing.close()
        for reply in waiting:
            if reply.when_lost is not None:
                reply.when_lost()
        if self.when_lost is not None:
            self.when_lost()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._frames.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        self._frames.received(nbytes)
        self._was_active = True
        self._was_heartbeat = False
        self._process()
        if self._was_heartbeat:
            self._heartbeats += 1
            if self._heartbeats == QUIET_AFTER and self._reading and not self.closed:
                self._quiet.join(self)
        elif self._heartbeats:
            self._become_lively()

    def pause_writing(self) -> None:
        self._outgoing.pause()

    def resume_writing(self) -> None:
        self._outgoing.resume()

    # -- heartbeats -------------------------------------------------------------------------------

    def heartbeat(self) -> None:
        """Called by a handler: the client lives, and asks for nothing else."""
        self._was_heartbeat = True

    def _become_lively(self) -> None:
        self._heartbeats = 0
        self._quiet.leave(self)

    def position_told(self, partition: tuple[bytes, int]) -> None:
        """The client is told a position of the partition, by its key."""
        if len(self.positions_told) == POSITIONS_KEPT:
            self.positions_told.clear()
        self.positions_told.add(partition)

    def fileno(self) -> int:
        """See `QuietConnection`."""
        return -1 if self._outgoing.socket is None else self._outgoing.socket.fileno()

    def pause_reading(self) -> None:
        """See `QuietConnection`."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See `QuietConnection`."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def read_now(self) -> None:
        """See `QuietConnection`."""
        sock = self._outgoing.socket
        assert sock is not None
        try:
            count = sock.recv_into(self.get_buffer(-1))
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if count:
            self.buffer_updated(count)
        else:
            self._become_lively()  # the loop finds out how it ended

    # -- requests ---------------------------------------------------------------------------------

    def defer(self, *, hold: bool) -> Reply:
        """Called by a handler that answers later. With `hold` no further request is begun until it has."""
        reply = Reply(self, holds=hold)
        self._waiting.append(reply)
        if hold:
            self._holds += 1
        return reply

    def released(self) -> None:
        """A request that held back the others does not any more; see `Reply.release`."""
        self._holds -= 1
        self._process_later()

    def close(self) -> None:
        """Close after the answers that are there already; those that wait are given up."""
        if not self.closed:
            self._flush()
            self._transport.close()

    def refuse(self, error: KafkaError) -> None:
        """The client sent what is no request: close, as Kafka does, since nothing after it can be trusted."""
        _EVENTS.info(
            "connection.refused",
            peer=f"{self.peer[0]}:{self.peer[1]}",
            reason=error.message or error.code.name,
        )
        self.close()

    def abort(self) -> None:
        """Close at once, whatever is on its way."""
        self._transport.abort()

    def idle_since(self) -> float:
        """When this was first asked after the client had sent anything or taken what was sent to it (loop
        time); the present while it waits for an answer. So no request has to look at a clock."""
        if self._was_active or self._waiting:
            self._was_active = False
            self._last_active = self._loop.time()
        return self._last_active

    def _process_soon(self) -> None:
        # Several answers often become ready together, when the high watermark moves: they leave in one write.
        self._scheduled = False
        self._process()

    def _process(self) -> None:
        if self._inside:
            return
        self._inside = True
        frames = self._frames
        held = self._is_held()
        try:
            while not held and (frame := frames.next_frame()) is not None:
                answer = self._dispatch(self, frame)
                held = self._is_held() if answer is None else self._answer(answer)
        except FrameError as error:
            _EVENTS.warning("connection.bad_frame", peer=f"{self.peer[0]}:{self.peer[1]}", reason=str(error))
            self.close()
            return
        finally:
            self._inside = False
            self._flush()
        if frames.full is self._reading:
            self._adjust_reading()

    def _is_held(self) -> bool:
        return (
            self._holds > 0
            or self.closed
            or len(self._waiting) >= self._limits.max_unanswered
            or self._outgoing.busy
            or self._transport.is_closing()
        )

    def _answer(self, segments: Sequence[Segment]) -> bool:
        """Put an answer in its place; returns whether the next request has to wait (`_is_held`)."""
        if self._waiting:
            reply = Reply(self, holds=False)
            self._waiting.append(reply)
            reply.send(segments)
            return self._is_held()
        self._ready.extend(segments)
        self._ready_size += len(segments[0]) if len(segments) == 1 else FLUSH_FROM
        if self._ready_size >= FLUSH_FROM:
            # Records, or much else: they leave by themselves, so that answers do not pile up in memory while
            # the client does not take them.
            self._flush()
            return self._is_held()
        return False

    def reply_ready(self, reply: Reply) -> None:
        """A deferred answer has come: send it and whatever it kept waiting."""
        if self.closed:
            return
        self._was_active = True
        if reply.holds:
            self._holds -= 1
        waiting = self._waiting
        while waiting and (segments := waiting[0].segments) is not None:
            waiting.popleft()
            self._ready.extend(segments)
        self._process_later()

    def _process_later(self) -> None:
        if not self._inside and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._process_soon)

    def _flush(self) -> None:
        if self._ready and not self.closed:
            ready, self._ready, self._ready_size = self._ready, [], 0
            self._outgoing.write(ready)

    def _drained(self) -> None:
        self._was_active = True
        self._process()

    def _adjust_reading(self) -> None:
        """Stop reading while the buffer is full of requests that have to wait: TCP tells the client."""
        if self.closed or self._transport.is_closing():
            return
        wanted = not self._frames.full
        if wanted and not self._reading:
            self._reading = True
            self._transport.resume_reading()
        elif not wanted and self._reading:
            self._become_lively()
            self._reading = False
            self._transport.pause_reading()
