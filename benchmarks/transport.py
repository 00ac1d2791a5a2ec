"""What calls between two nodes cost: two processes on loopback, the asyncio and the uvloop event loop.

    python -m benchmarks.transport [--seconds 2]

For each loop: calls over the WebSocket with a 1 KiB answer, one at a time and 16 at a time, answered by a
handler that does not wait; then 1 MB from a file in the page cache, over the WebSocket and as bulk calls. CPU
is user and system time of each process.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple

from kraft.transport import NodeServer, Peer, Reply
from logstore.storage import File, LocalStorage

SECRET = b"benchmark secret of 32 bytes ...."
BULK_SIZE = 1_000_000
SMALL = b"x" * 1024


class Slice(NamedTuple):
    """A range of a file."""

    file: File
    position: int
    size: int

    def bytes(self) -> bytes:
        """Read it."""
        return self.file.read_at(self.position, self.size)


def cpu() -> float:
    """User and system seconds of this process."""
    times = os.times()
    return times.user + times.system


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table."""

    name: str
    calls: int
    seconds: float
    client_cpu: float
    server_cpu: float

    def line(self, loop: str) -> str:
        """Calls per second and CPU per call, and per GB where there is a payload to speak of."""
        per_call = f"{self.client_cpu / self.calls * 1e6:7.0f} {self.server_cpu / self.calls * 1e6:7.0f}"
        text = f"{loop:8} {self.name:22} {self.calls / self.seconds:9.0f} {per_call}"
        if "bulk" in self.name or "1 MB" in self.name:
            gigabytes = self.calls * BULK_SIZE / 1e9
            rate = gigabytes * 1000 / self.seconds
            text += f" {rate:8.0f} {self.client_cpu / gigabytes:7.2f} {self.server_cpu / gigabytes:7.2f}"
        return text


def run(loop: str, main: Coroutine[Any, Any, None]) -> None:
    """Run on the event loop of this name."""
    if loop == "uvloop":
        import uvloop

        uvloop.run(main)
    else:
        asyncio.run(main)


async def serve(directory: str) -> None:
    """The server process: says its port, then answers until its input ends."""
    file = LocalStorage().open(f"{directory}/segment", create=True)
    file.write_at(0, os.urandom(8 * BULK_SIZE))
    server = NodeServer(2, "bench", SECRET)
    server.handlers.handle("small", lambda _link, value: Reply(value, [SMALL]))
    server.handlers.handle("big", lambda _link, n: Reply(n, [Slice(file, n % 7 * BULK_SIZE, BULK_SIZE)]))
    server.handlers.handle("cpu", lambda _link, _value: Reply(cpu()))
    print(await server.start("127.0.0.1", 0), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.close()


async def measure(
    peer: Peer, name: str, seconds: float, at_once: int, call: Callable[[int], Coroutine[Any, Any, object]]
) -> Measured:
    """Call for so many seconds, so many at a time, after a tenth of that to warm up."""
    calls = 0

    async def worker(until: float) -> None:
        nonlocal calls
        while time.perf_counter() < until:
            await call(calls)
            calls += 1

    async def workers(duration: float) -> None:
        until = time.perf_counter() + duration
        await asyncio.gather(*(worker(until) for _ in range(at_once)))

    await workers(seconds / 10)
    calls = 0
    server_before = (await peer.call("cpu", None, timeout=5)).value
    before, started = cpu(), time.perf_counter()
    await workers(seconds)
    elapsed, used = time.perf_counter() - started, cpu() - before
    server_used = (await peer.call("cpu", None, timeout=5)).value - server_before
    return Measured(name, calls, elapsed, used, server_used)


async def compare(loop: str, seconds: float) -> None:
    """Start a server process and print its lines of the table."""
    with tempfile.TemporaryDirectory() as directory:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.transport", "--serve", directory, "--loop", loop),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        port = int(await process.stdout.readline())
        up = asyncio.Event()
        peer = Peer(1, "bench", SECRET, 2, ("127.0.0.1", port), on_up=up.set)
        peer.start()
        await up.wait()
        for name, at_once, method, bulk in (
            ("call 1 KiB", 1, "small", False),
            ("call 1 KiB, 16 at once", 16, "small", False),
            ("call 1 MB", 1, "big", False),
            ("bulk 1 MB", 1, "big", True),
            ("bulk 1 MB, 2 at once", 2, "big", True),
        ):
            measured = await measure(
                peer,
                name,
                seconds,
                at_once,
                functools.partial(peer.call, method, timeout=30, bulk=bulk),
            )
            print(measured.line(loop), flush=True)
        await peer.close()
        process.stdin.close()
        await process.wait()


def main() -> None:
    """Print the table, or be the server process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"])
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run(options.loop, serve(options.serve))
        return
    print(f"{'':31} {'calls/s':>9} {'µs cli':>7} {'µs srv':>7} {'MB/s':>8} {'s/GB c':>7} {'s/GB s':>7}")
    for loop in [options.loop] if options.loop else ["asyncio", "uvloop"]:
        run(loop, compare(loop, options.seconds))


if __name__ == "__main__":
    main()
