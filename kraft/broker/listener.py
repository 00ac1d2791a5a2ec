"""Accepts clients' connections."""

from __future__ import annotations

import asyncio

from kraft.broker.connection import Connection, ConnectionLimits, Dispatch

IDLE_CHECK_INTERVAL = 5.0


class Listeners:
    """The listening sockets. They are bound early, so that a port in use is noticed at once, and accept only
    when the broker may serve."""

    def __init__(self, dispatch: Dispatch, limits: ConnectionLimits) -> None:
        self._dispatch = dispatch
        self._limits = limits
        self._servers: list[asyncio.Server] = []
        self.connections: set[Connection] = set()

    async def bind(self, name: str, host: str, port: int) -> int:
        """Bind one listener without accepting; returns its port. Raises OSError."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: Connection(name, self._dispatch, self._limits, self.connections),
            host or None,
            port,
            start_serving=False,
            reuse_address=True,
            backlog=512,
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def accept(self) -> None:
        """Begin to accept."""
        for server in self._servers:
            await server.start_serving()

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
        """Stop accepting and close every connection."""
        for server in self._servers:
            server.close()
        for connection in tuple(self.connections):
            connection.close()
