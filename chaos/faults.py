"""Faults on real processes: SIGKILL, SIGSTOP, and the way back."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from kraft.local_cluster import LocalCluster


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to which node, and when (`time.monotonic` seconds)."""

    what: str
    node_id: int
    at: float


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

    def pause(self, node_id: int) -> Fault:
        """SIGSTOP: its connections stay, and nothing moves on them."""
        self._cluster.processes[node_id].send_signal(signal.SIGSTOP)
        return self._note("paused", node_id)

    def resume(self, node_id: int) -> Fault:
        """SIGCONT: it goes on as if no time had passed."""
        self._cluster.processes[node_id].send_signal(signal.SIGCONT)
        return self._note("resumed", node_id)

    async def restart(self, node_id: int) -> Fault:
        """Start a killed node again, with its ports and data; returns when it is ready."""
        await self._cluster.processes[node_id].start()
        return self._note("restarted", node_id)

    def _note(self, what: str, node_id: int) -> Fault:
        fault = Fault(what, node_id, time.monotonic())
        self.history.append(fault)
        self._tell(fault)
        return fault
