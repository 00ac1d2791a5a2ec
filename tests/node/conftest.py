"""A cluster inside the test's own event loop, whose nodes have the clock and the disk that the test gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kraft.clock import SystemClock
from kraft.config import build_config
from kraft.config_sources import from_assignments
from kraft.local_cluster import HOST, ClusterPlan, NodePlan, plan_cluster
from kraft.node import Node
from kraft.readiness import NodeAddresses
from logstore.storage import Buffer, LocalFile, LocalStorage


class ShiftedClock(SystemClock):
    """The machine's clock, some seconds ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class LimpingDisk(LocalStorage):
    """Each write to a topic's log takes `stall` seconds more, by the clock of its node."""

    def __init__(self, clock: ShiftedClock) -> None:
        self.clock = clock
        self.stall = 0.0

    def open(self, path: str, *, create: bool = False) -> LocalFile:
        file = super().open(path, create=create)
        return _LimpingFile(self, file)


class _LimpingFile(LocalFile):
    def __init__(self, disk: LimpingDisk, file: LocalFile) -> None:
        super().__init__(file.path, file.fileno())
        self._disk = disk

    def write_at(self, position: int, data: Buffer) -> None:
        super().write_at(position, data)
        if self.path.endswith(".log"):
            self._disk.clock.ahead += self._disk.stall


class OwnNodes:
    """The nodes that run, and their disks, by node id. They stop with `stack`."""

    def __init__(self, plan: ClusterPlan, stack: AsyncExitStack, directory: Path) -> None:
        self.plan = plan
        self.disks: dict[int, LimpingDisk] = {}
        self._stack = stack
        self._directory = directory

    async def start(self, nodes: Sequence[NodePlan]) -> None:
        """Start these of the plan's nodes, and wait until they serve."""
        ready = [self._start(node) for node in nodes]
        async with asyncio.timeout(20):
            await asyncio.gather(*ready)

    def _start(self, plan: NodePlan) -> asyncio.Future[NodeAddresses]:
        settings = {
            "node.id": f"{plan.node_id}",
            "process.roles": plan.roles,
            "controller.quorum.voters": self.plan.voters,
            "node.listener": f"{HOST}:{plan.node_port}",
            "log.dirs": f"{self._directory / plan.name}",
            "cluster.secret": "0" * 32,
            "controlled.shutdown.enable": "false",
        }
        if plan.kafka_port is not None:
            settings["listeners"] = f"PLAINTEXT://{HOST}:{plan.kafka_port}"
        config = build_config(from_assignments([f"{key}={value}" for key, value in settings.items()]))
        clock = ShiftedClock()
        disk = self.disks[plan.node_id] = LimpingDisk(clock)
        ready: asyncio.Future[NodeAddresses] = asyncio.get_running_loop().create_future()
        node = Node(config, ready.set_result, clock, disk)
        running = asyncio.create_task(node.run())

        async def stop() -> None:
            node.stop()
            await running

        self._stack.push_async_callback(stop)
        return ready


@pytest.fixture
async def start_nodes(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[OwnNodes]]]:
    """Starts so many controllers and brokers, but for the last `later` of them."""
    async with AsyncExitStack() as stack:

        async def start(controllers: int, brokers: int, *, later: int = 0) -> OwnNodes:
            nodes = OwnNodes(plan_cluster(controllers, brokers, tmp_path), stack, tmp_path)
            await nodes.start(nodes.plan.nodes[: len(nodes.plan.nodes) - later])
            return nodes

        yield start
