"""Reads the connections that bring nothing but heartbeats together, fifty times a second.

A lone heartbeat finds the loop asleep and every cache cold: it costs four times what it does right behind
another. A coordinator of a thousand members hears 333 of them a second, which nobody waits for. So, as
network cards hold interrupts back, the event loop does not watch such connections: all of them are in one
set of `epoll`, which is looked at every INTERVAL. As soon as a client asks for anything else, its connection
is the loop's again. Few of them are not worth the clock that ticks for them.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

INTERVAL: Final = 0.02
"""Seconds between two looks, which is how long a request may wait behind heartbeats."""
WORTH_WHILE: Final = 200
"""Quiet connections, from which on they are read together: about 70 heartbeats a second at Kafka's default
interval of three seconds."""
_AT_ONCE: Final = 64
"""Connections that are read before others have their turn on the loop."""


class QuietConnection(Protocol):
    """What has to be known of a connection."""

    def fileno(self) -> int:
        """Its socket's descriptor, the same until it leaves; -1 if it has none."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def read_now(self) -> None:
        """Take what has arrived."""


class _Gathered(NamedTuple):
    """What is being read together: each connection by its descriptor, and the set of `epoll` they are in."""

    poll: select.epoll
    by_descriptor: dict[int, QuietConnection]


class QuietConnections:
    """See the module. `worth_while` connections at least are read together."""

    def __init__(self, worth_while: int = WORTH_WHILE) -> None:
        self._worth_while = worth_while
        self._quiet: dict[QuietConnection, int] = {}
        """Each with its descriptor."""
        self._gathered: _Gathered | None = None
        self._next_look: Callable[[], None] | None = None

    @property
    def gathering(self) -> bool:
        """Whether there are so many of them that they are read together."""
        return self._gathered is not None

    def join(self, connection: QuietConnection) -> None:
        """A connection that is the loop's has become quiet."""
        descriptor = connection.fileno()
        if descriptor < 0:
            return
        self._quiet[connection] = descriptor
        if self._gathered is not None:
            self._take(self._gathered, connection, descriptor)
        elif len(self._quiet) >= self._worth_while:
            self._begin()

    def leave(self, connection: QuietConnection) -> None:
        """It has become lively, or is gone. Nothing happens if it did not join."""
        descriptor = self._quiet.pop(connection, -1)
        if self._gathered is not None and descriptor >= 0:
            self._give_back(self._gathered, connection, descriptor)
            if len(self._quiet) < self._worth_while // 2:
                self._end(self._gathered)

    def _begin(self) -> None:
        try:
            poll = select.epoll()
        except OSError:
            return  # out of descriptors: the loop goes on, and the next one that becomes quiet tries again
        self._gathered = _Gathered(poll, {})
        for connection, descriptor in self._quiet.items():
            self._take(self._gathered, connection, descriptor)
        self._look_in(INTERVAL)

    def _end(self, gathered: _Gathered) -> None:
        self._gathered = None
        for connection, descriptor in self._quiet.items():
            self._give_back(gathered, connection, descriptor)
        gathered.poll.close()
        if self._next_look is not None:
            self._next_look()

    @staticmethod
    def _take(gathered: _Gathered, connection: QuietConnection, descriptor: int) -> None:
        connection.pause_reading()
        gathered.by_descriptor[descriptor] = connection
        gathered.poll.register(descriptor, select.EPOLLIN)

    @staticmethod
    def _give_back(gathered: _Gathered, connection: QuietConnection, descriptor: int) -> None:
        gathered.poll.unregister(descriptor)
        del gathered.by_descriptor[descriptor]
        connection.resume_reading()

    def _look_in(self, delay: float) -> None:
        self._next_look = asyncio.get_running_loop().call_later(delay, self._look).cancel

    def _look(self) -> None:
        self._next_look = None
        if self._gathered is None:
            return
        poll, by_descriptor = self._gathered
        found = poll.poll(0, _AT_ONCE)
        for descriptor, _ in found:
            # What one of them says may end another, or all of this.
            connection = by_descriptor.get(descriptor)
            if connection is not None:
                connection.read_now()
        if self.gathering:
            self._look_in(0 if len(found) == _AT_ONCE else INTERVAL)

    def close(self) -> None:
        """Look no more."""
        if self._gathered is not None:
            self._end(self._gathered)
