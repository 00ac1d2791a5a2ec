"""The proxy between processes: what flows, what is held back, what comes late, and who dials."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from chaos.harness.callers import OUTSIDE, caller
from chaos.harness.links import CLIENT, Network, both_ways
from kraft.local_cluster import ClusterPlan, NodePlan
from kraft.processes import reserve_port

HOST = "127.0.0.1"
LINE = b"hello\n"
LARGE = b"x" * 3_000_000 + b"\n"


class Repeating(asyncio.Protocol):
    """Repeats what it is told."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A server that repeats what it is told; gives its port."""
    connections: list[Repeating] = []

    def accept() -> Repeating:
        connections.append(Repeating())
        return connections[-1]

    server = await asyncio.get_running_loop().create_server(accept, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    for each in connections:
        each.transport.abort()
        await each.closed


@pytest.fixture
async def network(echo: int, tmp_path: Path) -> AsyncIterator[Network]:
    """One "node" 7, the echo, behind a proxy."""
    node = NodePlan(7, "controller", echo, None, (reserve_port(), 0))
    async with Network(ClusterPlan((node,), tmp_path), tmp_path / "proxy.log") as network:
        network.port = node.public_node_port  # type: ignore[attr-defined]
        yield network


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HOST, port, limit=2**23)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def nothing_comes(reader: asyncio.StreamReader) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.read(1)


async def test_bytes_go_through_and_so_does_the_end(network: Network) -> None:
    async with connected(network.port) as (reader, writer):
        writer.write(LARGE)
        assert await reader.readline() == LARGE
        writer.write_eof()
        assert await reader.read() == b""


@pytest.mark.parametrize("way", [(OUTSIDE, 7), (7, OUTSIDE)])
async def test_a_way_that_is_cut_holds_back_until_it_is_healed(
    network: Network, way: tuple[int | str, int | str]
) -> None:
    async with connected(network.port) as (reader, writer):
        writer.write(LINE)
        assert await reader.readline() == LINE
        await network.cut([way])
        writer.write(LINE)
        await nothing_comes(reader)
        # Whatever way is cut, nobody connects.
        async with connected(network.port) as (late_reader, late):
            late.write(LINE)
            await nothing_comes(late_reader)
            await network.heal()
            assert await reader.readline() == LINE
            assert await late_reader.readline() == LINE


async def test_the_end_of_a_connection_is_not_heard_through_a_cut(network: Network) -> None:
    async with connected(network.port) as (reader, writer):
        writer.write(LINE)
        assert await reader.readline() == LINE
        await network.cut([(7, OUTSIDE)])
        writer.write_eof()
        await nothing_comes(reader)
        await network.heal()
        assert await reader.read() == b""


async def test_a_slow_way_delivers_everything_late_and_in_order(network: Network) -> None:
    async with connected(network.port) as (reader, writer):
        writer.write(LINE)
        assert await reader.readline() == LINE
        await network.slow([(OUTSIDE, 7)], 0.2)
        began = asyncio.get_running_loop().time()
        writer.write(LINE + LARGE)
        assert await reader.readline() == LINE
        assert 0.19 <= asyncio.get_running_loop().time() - began < 5
        assert await reader.readline() == LARGE


async def test_rules_of_others_do_not_concern_us(network: Network) -> None:
    await network.cut([*both_ways([7], [CLIENT, 8])])
    assert network.broken == 4
    async with connected(network.port) as (reader, writer):
        writer.write(LINE)
        assert await reader.readline() == LINE


async def test_a_port_without_a_listener_resets(tmp_path: Path) -> None:
    node = NodePlan(7, "broker", reserve_port(), reserve_port(), (reserve_port(), reserve_port()))
    async with Network(ClusterPlan((node,), tmp_path), tmp_path / "proxy.log"):
        for port in (node.public_node_port, node.public_kafka_port):
            assert port is not None
            async with connected(port) as (reader, _):
                with pytest.raises(ConnectionResetError):
                    await reader.readexactly(1)


DIALER = """
import socket, sys
peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
peer.recv(1)
"""


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(["--node-id", "12"], "12"), (["chaos.harness.client_process"], CLIENT), ([], OUTSIDE)],
)
def test_a_caller_is_told_by_its_process(arguments: list[str], name: str) -> None:
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(30)
        port = listener.getsockname()[1]
        child = subprocess.Popen([sys.executable, "-c", DIALER, str(port), *arguments])
        try:
            accepted, address = listener.accept()
            with accepted:
                assert caller(address, os.getpid()) == name
        finally:
            child.kill()
            child.wait()


def test_an_address_that_nobody_has_is_outside() -> None:
    assert caller((HOST, 1), os.getpid()) == OUTSIDE
