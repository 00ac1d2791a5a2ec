"""Faults on real processes: SIGKILL, SIGSTOP, and the way back."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from kraft.local_cluster import LocalCluster

STOPS_WITHIN = 1.0
"""Seconds in which a node is expected to stop whose disk takes no more."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to which node, and when (`time.monotonic` seconds)."""

    what: str
    node_id: int
    at: float


def limit_files(pid: int, size: int) -> None:
    """Let no file of a process grow beyond `size` bytes; it may be lifted again."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


class Faults:
    """Hurts the nodes of a local cluster and keeps a record of it; `tell` hears of everything at once."""

    def __init__(self, cluster: LocalCluster, tell: Callable[[Fault], None]) -> None:
        self._cluster = cluster
        self._tell = tell
        self.history: list[Fault] = []

    async def kill(self, node_id: int) -> Fault:
        """SIGKILL: the process is gone when this returns, without a chance to say good-bye."""
        fault = self._note("killed", node_id)
        await self._cluster.processes[node_id].kill()
        return fault

    async def stop(self, node_id: int) -> Fault:
        """SIGTERM: it hands over what it leads and closes its files; it is gone when this returns."""
        fault = self._note("stopped", node_id)
        await self._cluster.processes[node_id].terminate()
        return fault

    def pause(self, node_id: int) -> Fault:
        """SIGSTOP: its connections stay, and nothing moves on them."""
        self._cluster.processes[node_id].send_signal(signal.SIGSTOP)
        return self._note("paused", node_id)

    def resume(self, node_id: int) -> Fault:
        """SIGCONT: it goes on as if no time had passed."""
        self._cluster.processes[node_id].send_signal(signal.SIGCONT)
        return self._note("resumed", node_id)

    async def restart(self, node_id: int) -> Fault:
        """Start a node that has ended, with its ports and data; returns when it is ready."""
        await self._cluster.processes[node_id].start()
        return self._note("restarted", node_id)

    def fill_disk(self, node_id: int) -> int:
        """No file of a running node may be larger than the largest that it writes to is now; returns that
        size in bytes.

        The disk is "full" by the system's limit on the size of the files of one process, which another
        process may set while that one runs. Only a log's last segment counts: one that is closed is as large
        as any will ever be, and would stop nobody.
        """
        plan = self._cluster.plan
        directory = plan.directory / next(each.name for each in plan.nodes if each.node_id == node_id)
        last = {path.parent: path for path in sorted(directory.rglob("*.log"))}
        size = max((path.stat().st_size for path in last.values()), default=0)
        limit_files(self._cluster.processes[node_id].pid, size)
        self._note("disk filled", node_id)
        return size

    async def empty_disk(self, node_id: int) -> Fault:
        """There is room again; the node is started if it has stopped."""
        process = self._cluster.processes[node_id]
        if process.running:
            try:
                async with asyncio.timeout(STOPS_WITHIN):
                    await process.wait()
            except TimeoutError:
                limit_files(process.pid, resource.RLIM_INFINITY)
        if not process.running:
            await process.start()
        return self._note("disk emptied", node_id)

    def _note(self, what: str, node_id: int) -> Fault:
        fault = Fault(what, node_id, time.monotonic())
        self.history.append(fault)
        self._tell(fault)
        return fault
