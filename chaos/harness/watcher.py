"""Looks at the cluster from outside while it is hurt: who leads, who is in sync, who has taken over."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

from kafkawire.errors import KafkaError
from kraft.client.admin import Admin
from kraft.client.cluster import Cluster, Partition
from kraft.client.connections import CONNECTION_FAILURES

INTERVAL = 0.25
PATIENCE = 1.0
CONTROLLER = "controller"


@dataclass(frozen=True, slots=True)
class Election:
    """Somebody took over: `what` is `topic-partition` or CONTROLLER; `at` is when that was noticed."""

    at: float
    what: str
    before: int
    after: int
    epoch: int


@dataclass(slots=True)
class Watcher:
    """Run `watch` in a task; the rest is what it has seen."""

    cluster: Cluster
    partitions: dict[tuple[str, int], Partition] = field(default_factory=dict)
    controller: int = -1
    elections: list[Election] = field(default_factory=list)
    _known: dict[str, tuple[int, int]] = field(default_factory=dict)

    async def watch(self) -> None:
        """Look a few times a second; it may well be that nobody answers."""
        admin = Admin(self.cluster, timeout=PATIENCE)
        while True:
            with contextlib.suppress(KafkaError, *CONNECTION_FAILURES):
                async with asyncio.timeout(PATIENCE):
                    await self._look(admin)
            await asyncio.sleep(INTERVAL)

    async def _look(self, admin: Admin) -> None:
        for topic in await admin.topics():
            for partition in topic.partitions:
                self.partitions[topic.name, partition.index] = partition
                name = f"{topic.name}-{partition.index}"
                self._led(name, partition.leader, partition.leader_epoch)
        quorum = await admin.quorum()
        self._led(CONTROLLER, quorum.leader_id, quorum.epoch)
        if quorum.leader_id >= 0:
            self.controller = quorum.leader_id

    def _led(self, what: str, leader: int, epoch: int) -> None:
        """A broker that lags behind may tell of an earlier epoch: that is no election."""
        if leader < 0:
            return
        before, known_epoch = self._known.get(what, (leader, -1))
        if epoch <= known_epoch:
            return
        self._known[what] = (leader, epoch)
        if before != leader:
            self.elections.append(Election(time.monotonic(), what, before, leader, epoch))
