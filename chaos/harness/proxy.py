"""The process that stands between everybody: `python -m chaos.harness.proxy`.

For each listener of a node there is a port here, which is the one that others are told. Who dials is found
out (`chaos.harness.callers`), and so each pair of ends, and each direction of it, can be cut or delayed. The
present rules come on a control connection, all of them on a JSON line each time; a line back says that they
hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping
from typing import Any

from chaos.harness.callers import caller
from chaos.harness.forwarding import CUT, Direction, End, join
from kraft.processes import die_with_parent
from kraft.readiness import NodeAddresses, announce_ready

HOST = "127.0.0.1"
CONNECT_TIMEOUT = 3.0
MAX_RULES_BYTES = 1024 * 1024


class Rules:
    """The delay from one name to another, in seconds: 0.0 unless something else is said."""

    def __init__(self) -> None:
        self._delays: Mapping[tuple[str, str], float] = {}

    def replace(self, rules: list[list[Any]]) -> None:
        """Take over `[[from, to, seconds or null for a cut], …]`."""
        self._delays = {
            (str(source), str(target)): CUT if delay is None else float(delay)
            for source, target, delay in rules
        }

    def delay(self, source: str, target: str) -> float:
        """What holds from `source` to `target` now."""
        return self._delays.get((source, target), 0.0)


class Proxy:
    """All proxied ports and the connections on them."""

    def __init__(self, parent_pid: int) -> None:
        self._parent_pid = parent_pid
        self._rules = Rules()
        self._directions: set[Direction] = set()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, port: int, target: str, target_port: int) -> None:
        """Forward what comes to `port` to the node `target`; raises OSError."""
        loop = asyncio.get_running_loop()

        def accepted() -> End:
            return _Accepted(self, target, target_port)

        await loop.create_server(accepted, HOST, port)

    def forward(self, end: End, peer: tuple[str, int], target: str, target_port: int) -> None:
        """A connection has come."""
        task = asyncio.get_running_loop().create_task(self._forward(end, peer, target, target_port))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, end: End, peer: tuple[str, int], target: str, target_port: int) -> None:
        name = caller(peer, self._parent_pid)
        # Without both directions there is no handshake, whichever of them is cut.
        while CUT in (self._rules.delay(name, target), self._rules.delay(target, name)):
            await self._changed.wait()
        upstream = End()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await loop.create_connection(lambda: upstream, HOST, target_port)
        except (OSError, TimeoutError):
            end.abort()
            return
        both = join(
            end,
            upstream,
            lambda: self._rules.delay(name, target),
            lambda: self._rules.delay(target, name),
        )
        self._directions = {each for each in self._directions if not each.is_over}
        self._directions.update(both)

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the one who makes the rules."""
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self._rules.replace(json.loads(line))
                for direction in list(self._directions):
                    direction.look()
                self._changed.set()
                self._changed = asyncio.Event()
                writer.write(b"done\n")
                await writer.drain()
        writer.close()


class _Accepted(End):
    def __init__(self, proxy: Proxy, target: str, target_port: int) -> None:
        super().__init__()
        self._proxy = proxy
        self._target = target
        self._target_port = target_port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._proxy.forward(self, (peer[0], peer[1]), self._target, self._target_port)


async def serve(ports: list[list[Any]], ready_fd: int, parent_pid: int) -> None:
    """Forward `[[port, node, its port], …]` until the end of the process."""
    proxy = Proxy(parent_pid)
    for port, target, target_port in ports:
        await proxy.listen(int(port), str(target), int(target_port))
    server = await asyncio.start_server(proxy.control, HOST, 0, limit=MAX_RULES_BYTES)
    address = server.sockets[0].getsockname()
    announce_ready(ready_fd, NodeAddresses(0, (address[0], address[1])))
    await server.serve_forever()


def main() -> int:
    """Parse the command line, and forward until killed."""
    parser = argparse.ArgumentParser(prog="chaos.harness.proxy")
    parser.add_argument("--ports", type=json.loads, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--parent-pid", type=int, required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent_pid)
    try:
        asyncio.run(serve(arguments.ports, arguments.ready_fd, arguments.parent_pid))
    except OSError as error:
        print(f"proxy: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
