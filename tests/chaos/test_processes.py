"""Processes that are started, hurt and cleaned up, with small children of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kraft.local_cluster import FIRST_CONTROLLER_ID, plan_cluster
from kraft.processes import ManagedProcess, PortInUseError, StartError, reserve_port
from kraft.readiness import NodeAddresses, announce_ready, parse_ready_line, ready_line

READY = """
import os, signal, socket, sys
from kraft.processes import die_with_parent
from kraft.readiness import NodeAddresses, announce_ready
port, descriptor, parent = int(sys.argv[1]), int(sys.argv[3]), int(sys.argv[5])
die_with_parent(parent)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    listener.bind(("127.0.0.1", port))
except OSError as error:
    sys.exit(f"port {port}: {error.strerror}")
listener.listen()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
announce_ready(descriptor, NodeAddresses(1, ("127.0.0.1", port)))
signal.pause()
"""

Start = Callable[..., ManagedProcess]


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[Start]:
    """Makes a managed process of a program; whatever a test does, none is left."""
    made: list[ManagedProcess] = []

    def make(program: str, *arguments: object) -> ManagedProcess:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        made.append(ManagedProcess(f"child-{len(made)}", command, tmp_path / f"{len(made)}.log"))
        return made[-1]

    yield make
    for process in made:
        process.kill_now()
        if process.running:
            await process.wait()


async def test_start_waits_until_it_is_ready_and_terminate_until_it_has_ended(child: Start) -> None:
    port = reserve_port()
    process = child(READY, port)
    assert await process.start() == NodeAddresses(1, ("127.0.0.1", port))
    assert process.running
    socket.create_connection(("127.0.0.1", port)).close()
    assert await process.terminate() == 7
    assert not process.running
    with pytest.raises(ValueError, match="child-0 is not running"):
        _ = process.pid


async def test_a_killed_process_comes_back_with_its_port(child: Start) -> None:
    process = child(READY, reserve_port())
    first = await process.start()
    before = process.pid
    assert await process.kill() == -signal.SIGKILL
    assert await process.start() == first
    assert process.pid != before


async def test_a_paused_process_is_running_until_it_is_killed(child: Start) -> None:
    process = child(READY, reserve_port())
    await process.start()
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    assert process.running
    assert await process.kill() == -signal.SIGKILL


async def test_a_process_that_ignores_sigterm_is_killed(child: Start) -> None:
    stubborn = READY.replace("lambda *_: sys.exit(7)", "signal.SIG_IGN")
    process = child(stubborn, reserve_port())
    await process.start()
    assert await process.terminate(timeout=0.05) == -signal.SIGKILL


async def test_a_process_that_fails_to_start_says_why(child: Start) -> None:
    process = child("import sys; sys.exit('no such planet')")
    with pytest.raises(StartError, match="child-0 did not start: no such planet"):
        await process.start()
    assert not process.running


async def test_a_process_that_stays_silent_is_killed(child: Start) -> None:
    process = child("import signal; signal.pause()")
    with pytest.raises(StartError, match="child-0 was not ready in time: it said nothing"):
        await process.start(timeout=0.2)
    assert not process.running


async def test_a_taken_port_is_told_apart(child: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"port {port}: Address already in use"):
            await child(READY, port).start()


async def test_it_starts_once_at_a_time(child: Start) -> None:
    process = child(READY, reserve_port())
    await process.start()
    with pytest.raises(ValueError, match="child-0 is running already"):
        await process.start()


async def test_children_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    """The parent is killed with SIGKILL, so only the kernel can end the child."""
    parent = f"""
import asyncio, pathlib, signal, sys
from kraft.processes import ManagedProcess
async def main():
    command = [sys.executable, "-c", {READY!r}, "0"]
    child = ManagedProcess("child", command, pathlib.Path({str(tmp_path / "log")!r}))
    await child.start()
    print(child.pid, flush=True)
    signal.pause()
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        child_fd = os.pidfd_open(int(running.stdout.readline()))
        running.kill()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(child_fd, ended.set)
    try:
        async with asyncio.timeout(10):
            await ended.wait()
    finally:
        loop.remove_reader(child_fd)
        os.close(child_fd)


def test_reserved_ports_are_given_to_nobody_else() -> None:
    ports = {reserve_port() for _ in range(50)}
    assert len(ports) == 50
    for port in ports:
        with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
            other.bind(("127.0.0.1", port))
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", port))


@pytest.mark.parametrize("kafka", [None, ("127.0.0.1", 9092)])
def test_the_readiness_line_says_where_a_node_listens(kafka: tuple[str, int] | None) -> None:
    addresses = NodeAddresses(7, ("::1", 9093), kafka)
    read_end, write_end = os.pipe()
    announce_ready(write_end, addresses)
    with open(read_end) as pipe:
        assert parse_ready_line(pipe.readline()) == addresses


@pytest.mark.parametrize(
    "line", ["", "KRAFT READY", "KRAFT READY {", "KRAFT READY []", "KRAFT READY {}", "hello"]
)
def test_other_lines_are_no_readiness(line: str) -> None:
    with pytest.raises(ValueError, match="not a readiness line"):
        parse_ready_line(line)


def test_a_node_whose_supervisor_is_gone_goes_on() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    announce_ready(write_end, NodeAddresses(1, ("a", 1)))
    assert ready_line(NodeAddresses(1, ("a", 1))).endswith("}\n")


def test_a_plan_names_every_node_and_port(tmp_path: Path) -> None:
    plan = plan_cluster(3, 2, tmp_path, port=29092)
    assert [node.node_id for node in plan.nodes] == [101, 102, 103, 1, 2]
    assert plan.bootstrap == "127.0.0.1:29092,127.0.0.1:29093"
    assert plan.voters.startswith(f"{FIRST_CONTROLLER_ID}@127.0.0.1:{plan.nodes[0].node_port},102@")
    assert len({node.node_port for node in plan.nodes}) == 5


def test_a_plan_of_one_is_one_process(tmp_path: Path) -> None:
    (node,) = plan_cluster(1, 1, tmp_path).nodes
    assert (node.roles, node.name, node.votes) == ("controller,broker", "controller-broker-1", True)
    with pytest.raises(ValueError, match="a cluster has 1 to 100"):
        plan_cluster(0, 1, tmp_path)
