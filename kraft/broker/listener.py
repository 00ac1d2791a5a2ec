"""Accepts clients' connections, as many as may be open.

As in Kafka, a broker that has `max.connections` leaves further ones in the system's queue until one of its
own closes; one more from an address that has `max.connections.per.ip` is closed at once.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from kraft.broker.connection import Connection, ConnectionLimits, Dispatch
from kraft.broker.quiet_connections import QuietConnections
from kraft.events import Events

IDLE_CHECK_INTERVAL = 5.0
BACKLOG: Final = 512

_PAUSE: Final = 1.0
"""Seconds to wait when the system has no descriptor for a connection."""
_NO_SUCH_FAMILY: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
"""A machine without IPv6, say, that finds an IPv6 address for the name."""

_EVENTS = Events("listener")


class ConnectionQuota(NamedTuple):
    """How many connections may be open: in all, and from one address."""

    total: int
    per_address: int


UNLIMITED: Final = ConnectionQuota(2**31 - 1, 2**31 - 1)


class _Bound(NamedTuple):
    """A bound socket, and the name of its listener."""

    listener: str
    socket: socket.socket


class Listeners:
    """The listening sockets. They are bound early, so that a port in use is noticed at once, and accept only
    when the broker may serve. `quota` is asked at each connection."""

    def __init__(
        self,
        dispatch: Dispatch,
        limits: ConnectionLimits,
        quota: Callable[[], ConnectionQuota] = lambda: UNLIMITED,
        quiet: QuietConnections | None = None,
    ) -> None:
        self._dispatch = dispatch
        self._limits = limits
        self._quota = quota
        self._quiet = QuietConnections() if quiet is None else quiet
        self._bound: list[_Bound] = []
        self._open: Counter[str] = Counter()
        self._gone = asyncio.Event()
        self.connections: dict[Connection, None] = {}
        """Those that are open, oldest first."""

    async def bind(self, name: str, host: str, port: int) -> int:
        """Bind one listener, on every address of `host`, without accepting; returns its port. Raises
        OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        unusable: OSError | None = None
        bound = 0
        for family, address in dict.fromkeys((each[0], each[4]) for each in found):
            try:
                bound = self._bind(name, family, (address[0], bound or port, *address[2:]))
            except OSError as error:
                if error.errno not in _NO_SUCH_FAMILY:
                    raise
                unusable = error
        if not bound and unusable is not None:
            raise unusable
        return bound

    def _bind(self, name: str, family: int, address: tuple[object, ...]) -> int:
        bound = socket.socket(family, socket.SOCK_STREAM)
        self._bound.append(_Bound(name, bound))
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        return int(bound.getsockname()[1])

    def listen(self) -> None:
        """Let clients connect; who does is served by `accept`."""
        for _, bound in self._bound:
            bound.listen(BACKLOG)

    async def accept(self) -> None:
        """Accept until cancelled."""
        async with asyncio.TaskGroup() as group:
            for listener, bound in self._bound:
                group.create_task(self._accept(listener, bound))

    async def _accept(self, listener: str, bound: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._until_room()
            try:
                accepted, address = await loop.sock_accept(bound)
                try:
                    # Another listener may have taken the place meanwhile.
                    await self._until_room()
                except asyncio.CancelledError:
                    accepted.close()
                    raise
                await self._welcome(listener, accepted, address[0])
            except OSError as error:
                # Out of descriptors, most likely. Those who try to connect stay in the system's queue.
                _EVENTS.warning("listener.exhausted", reason=str(error))
                await asyncio.sleep(_PAUSE)

    async def _until_room(self) -> None:
        while self._open.total() >= self._quota().total:
            self._gone.clear()
            await self._gone.wait()

    async def _welcome(self, listener: str, accepted: socket.socket, address: str) -> None:
        if self._open[address] >= self._quota().per_address:
            _EVENTS.info("connection.refused", peer=address, reason="too many connections from this address")
            accepted.close()
            await asyncio.sleep(0)  # or whoever comes again and again has the loop for itself
            return
        self._open[address] += 1
        connection = self.connection(listener)
        connection.when_lost = lambda: self._left(address)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted)
        except OSError:
            accepted.close()
            self._left(address)
            raise

    def connection(self, listener: str) -> Connection:
        """A protocol for one more client that came by this listener."""
        return Connection(listener, self._dispatch, self._limits, self.connections, self._quiet)

    def _left(self, address: str) -> None:
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
        self._gone.set()

    async def close_idle(self) -> None:
        """Cut connections that are silent for `connections.max.idle.ms`, until cancelled. A negative one
        lets them be."""
        loop = asyncio.get_running_loop()
        max_idle = self._limits.max_idle
        while max_idle >= 0:
            await asyncio.sleep(min(IDLE_CHECK_INTERVAL, max(0.05, max_idle / 2)))
            for connection in tuple(self.connections):
                if loop.time() - connection.idle_since() > max_idle:
                    connection.abort()

    async def close(self) -> None:
        """Close the listening sockets and every connection. Call it after `accept` has been cancelled."""
        for _, bound in self._bound:
            bound.close()
        self._quiet.close()
        for connection in tuple(self.connections):
            connection.close()
