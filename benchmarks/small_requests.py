"""What one broker pays for a small produce request: one record of 100 bytes each, many in flight.

The client writes ready-made requests to a socket, 64 at a time, and only counts the bytes that come back, so
that it is never what is waited for. The same requests go to a bare server (frame, checksum, write, fixed
answer; same event loop) in the same run: that is the floor in Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import clients
from benchmarks.bench import Bench, Measured, node_pids
from benchmarks.clients import ClientFailedError
from benchmarks.figures import Figure
from benchmarks.wire import Wire
from kafkawire.produce import ProducePartition, ProduceRequest
from kafkawire.produce_client import decode_produce_response, encode_produce_request
from kafkawire.records import build_batch

BOUND = 25.0
VERSION = 9
TOPIC = "small"
BURST = 64
IN_FLIGHT = 512


def request(correlation_id: int) -> bytes:
    """A whole frame: acks=all, one record with a value of 100 bytes."""
    batch = memoryview(build_batch([(1_700_000_000_000, None, b"v" * 100)]))
    wanted = ProduceRequest(None, -1, 30_000, [ProducePartition(TOPIC, 0, batch)])
    return encode_produce_request(VERSION, correlation_id, wanted, "benchmark")


def pipeline(wire: Wire, count: int, answer_size: int) -> float:
    """Send `count` requests, a multiple of BURST, up to IN_FLIGHT ahead of the answers; returns the seconds
    until the last answer."""
    burst = b"".join(request(index) for index in range(BURST))
    room = threading.Semaphore(IN_FLIGHT // BURST)

    def send() -> None:
        for _ in range(count // BURST):
            if not room.acquire(timeout=30):
                return
            wire.socket.sendall(burst)

    sender = threading.Thread(target=send)
    started = time.perf_counter()
    sender.start()
    buffer = bytearray(1 << 16)
    received = released = 0
    while received < count * answer_size:
        size = wire.socket.recv_into(buffer)
        if not size:
            raise ClientFailedError("the broker closed the connection")
        received += size
        answered = received // (answer_size * BURST)
        for _ in range(answered - released):
            room.release()
        released = answered
    sender.join()
    return time.perf_counter() - started


def size_of_answer(wire: Wire) -> int:
    """Send one request, check that it is accepted, and return the size of the whole response frame."""
    wire.socket.sendall(request(0))
    payload = wire.receive()
    (result,) = decode_produce_response(VERSION, memoryview(payload)).results
    if result.error_code:
        raise ClientFailedError(f"produce is answered with error {result.error_code}")
    return len(payload) + 4


async def measure(bench: Bench) -> Sequence[Figure]:
    """The broker, then the bare server."""
    count = bench.rounds(300_000, 60_000) // BURST * BURST
    bench.say(f"{count:,} pipelined requests")
    async with bench.cluster(1, 1) as cluster:
        bootstrap = cluster.plan.bootstrap
        await asyncio.to_thread(clients.create_topic, bootstrap, TOPIC)
        host, _, port = bootstrap.partition(":")
        with Wire(host, int(port)) as wire:
            answer_size = await asyncio.to_thread(size_of_answer, wire)
            await asyncio.to_thread(pipeline, wire, 10 * BURST, answer_size)
            with bench.metered("small requests", node_pids(cluster)) as node:
                await asyncio.to_thread(pipeline, wire, count, answer_size)
        end = await asyncio.to_thread(clients.end_offset, bootstrap, TOPIC)
        if end != 1 + 10 * BURST + count:
            raise ClientFailedError(f"{end} records are in the log, not {1 + 10 * BURST + count}")
    with bench.directory() as directory, bare_server(directory, answer_size) as (pid, wire):
        await asyncio.to_thread(pipeline, wire, 10 * BURST, answer_size)
        with bench.metered("bare server", {} if bench.profiles else {"bare": pid}) as bare:
            await asyncio.to_thread(pipeline, wire, count, answer_size)
    figures = [_figure("small produce request, pipelined, broker", node, count, BOUND)]
    if bare.cpu:
        figures.append(_figure("the same, bare server", bare, count, None))
    return figures


@contextlib.contextmanager
def bare_server(directory: Path, answer_size: int) -> Iterator[tuple[int, Wire]]:
    """A bare server's process id and a connection to it."""
    command = (sys.executable, "-m", "benchmarks.bare_server", str(directory / "bare"), str(answer_size))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            with Wire("127.0.0.1", int(server.stdout.readline())) as wire:
                yield server.pid, wire
        finally:
            server.kill()


def _figure(name: str, measured: Measured, count: int, bound: float | None) -> Figure:
    (cpu,) = measured.cpu.values()
    note = f"{count / measured.seconds / 1000:.1f}k requests/s, {cpu.split()}"
    return Figure(name, cpu.total / count * 1e6, "CPU-µs", bound, note)
