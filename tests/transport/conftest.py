"""A server and its peers on loopback, closed at the test's end, and events to wait for instead of time."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kraft.transport import NodeServer, Peer, PeerOptions

SECRET = b"a secret of thirty-two bytes ...."
CLUSTER = "cluster-1"
SERVER_ID = 7
CLIENT_ID = 3
ROOT = str(Path(__file__).resolve().parents[2])
PATIENCE = 60.0
"""Seconds after which a test that waits for an event has failed."""


class Loopback:
    """Starts servers and peers and remembers to close them."""

    secret, cluster, server_id, client_id, patience = SECRET, CLUSTER, SERVER_ID, CLIENT_ID, PATIENCE

    def __init__(self) -> None:
        self.fatal: list[BaseException] = []
        self.failed = asyncio.Event()
        self._servers: list[NodeServer] = []
        self._peers: list[Peer] = []
        self._processes: list[asyncio.subprocess.Process] = []

    def _on_fatal(self, error: BaseException) -> None:
        self.fatal.append(error)
        self.failed.set()

    def server(self, **options: Any) -> NodeServer:
        options = {"node_id": SERVER_ID, "cluster_id": CLUSTER, "secret": SECRET} | options
        server = NodeServer(**{"on_fatal": self._on_fatal, **options})
        self._servers.append(server)
        return server

    def peer(self, port: int, options: PeerOptions | None = None, **changed: Any) -> Peer:
        arguments = {
            "self_id": CLIENT_ID,
            "cluster_id": CLUSTER,
            "secret": SECRET,
            "peer_id": SERVER_ID,
            "address": ("127.0.0.1", port),
        }
        peer = Peer(**(arguments | changed))
        self._peers.append(peer)
        return peer if options is None else peer.configure(options)

    async def connect(self, port: int, options: PeerOptions | None = None, **changed: Any) -> Peer:
        up = asyncio.Event()
        peer = self.peer(port, options, on_up=up.set, **changed)
        peer.start()
        await self.soon(up)
        return peer

    async def soon(self, event: asyncio.Event) -> None:
        async with asyncio.timeout(PATIENCE):
            await event.wait()

    async def process(self, source: str, *arguments: object) -> asyncio.subprocess.Process:
        """Another Python that runs `source`; killed at the test's end."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            source,
            *map(str, arguments),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": ROOT},
        )
        self._processes.append(process)
        return process

    async def close(self) -> None:
        for peer in self._peers:
            await peer.close()
        for server in self._servers:
            await server.close()
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture
def loopback_class() -> type[Loopback]:
    """For a test that runs event loops of its own."""
    return Loopback


@pytest.fixture
async def loopback() -> AsyncIterator[Loopback]:
    network = Loopback()
    yield network
    await network.close()


class _Watching(logging.Handler):
    def __init__(self, event: str, seen: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._event = event
        self._seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == self._event:
            self._seen(getattr(record, "kraft_fields", {}))


class Watched:
    """Every event of one name that was logged, and a way to wait for the first."""

    def __init__(self, name: str) -> None:
        self.all: list[dict[str, Any]] = []
        self._first = asyncio.Event()
        self.handler = _Watching(name, self._saw)

    def _saw(self, values: dict[str, Any]) -> None:
        self.all.append(values)
        self._first.set()

    async def first(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            await self._first.wait()
        return self.all[0]


@pytest.fixture
def watch() -> Iterator[Callable[[str], Watched]]:
    """Watch for a structured event of the transport."""
    logger = logging.getLogger("kraft.transport")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    handlers: list[logging.Handler] = []

    def start(name: str) -> Watched:
        watched = Watched(name)
        handlers.append(watched.handler)
        logger.addHandler(watched.handler)
        return watched

    yield start
    for handler in handlers:
        logger.removeHandler(handler)
    logger.setLevel(level)
