"""What nemeses act on: the nodes, the links between them, and who plays which part at the moment."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from chaos.faults import Faults
from chaos.harness.links import Network
from chaos.harness.power.disks import Disks
from chaos.observer import Observer
from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.metadata_client import MetadataRequest
from kraft.client.cluster import describe_topics
from kraft.local_cluster import LocalCluster, NodePlan

ANSWER_TIMEOUT = 2.0


class NodeEndedError(Exception):
    """A node is gone although it was to run: whoever hurts nodes starts them again."""


@dataclass(slots=True)
class Stage:
    """A running cluster behind proxies, and a client that watches it from outside."""

    nodes: LocalCluster
    network: Network
    observer: Observer
    faults: Faults
    topics: list[tuple[str, int]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    disks: Disks | None = None

    @property
    def brokers(self) -> list[int]:
        return [node.node_id for node in self.nodes.plan.nodes if node.serves]

    @property
    def controllers(self) -> list[int]:
        return [node.node_id for node in self.nodes.plan.nodes if node.votes]

    @property
    def everybody(self) -> list[int]:
        return [node.node_id for node in self.nodes.plan.nodes]

    def node(self, node_id: int) -> NodePlan:
        """A node's plan."""
        return next(node for node in self.nodes.plan.nodes if node.node_id == node_id)

    def clock_file(self, node_id: int) -> Path:
        """Where the offset of a node's wall clock stands."""
        return clock_file(self.nodes.plan.directory, self.node(node_id))

    def segments(self, node_id: int) -> list[Path]:
        """The segments of a node's replicas of our topics that are not empty."""
        directory = self.nodes.plan.directory / self.node(node_id).name
        return sorted(
            path
            for topic, partitions in self.topics
            for index in range(partitions)
            for path in (directory / f"{topic}-{index}").glob("*.log")
            if path.stat().st_size
        )

    async def cut_power(self, node_id: int, seed: str) -> int:
        """What a dead node had not synced may be gone; returns how many changes are."""
        if self.disks is None:
            raise ValueError("these disks do not lose anything")
        return await self.disks.cut_power(node_id, seed)

    async def a_leader(self, rng: Random) -> int:
        """Who leads a drawn partition of a drawn topic."""
        topic, partitions = rng.choice(self.topics)
        return await self.observer.leader(topic, rng.randrange(partitions))

    async def a_coordinator(self, rng: Random) -> int:
        """Who coordinates a drawn group; any leader if there are no groups."""
        if not self.groups:
            return await self.a_leader(rng)
        group = rng.choice(self.groups)
        request = messages.request_class(ApiKey.FIND_COORDINATOR)(
            key=group, key_type=0, coordinator_keys=[group]
        )

        async def found() -> int | None:
            response = await self.observer.client.call_any(ApiKey.FIND_COORDINATOR, request)
            answer = response.coordinators[0] if response.coordinators else response
            if answer.error_code:
                raise KafkaError(ErrorCode(answer.error_code))
            return int(answer.node_id)

        return await self.observer.until(found)

    async def a_victim(self, rng: Random) -> tuple[int, str]:
        """A node and the part that it plays, drawn so that those whose loss is felt come up often."""
        part = rng.choice(["leader", "leader", "controller", "coordinator", "any"])
        match part:
            case "leader":
                return await self.a_leader(rng), "a leader"
            case "controller":
                return await self.observer.active_controller(), "the active controller"
            case "coordinator":
                return await self.a_coordinator(rng), "a coordinator"
            case _:
                return rng.choice(self.everybody), "a node"

    async def mend(self) -> None:
        """Whatever was done: everything flows, everybody runs."""
        await self.network.heal()
        processes = self.nodes.processes
        for process in processes.values():
            if process.running:
                process.send_signal(signal.SIGCONT)
        down = [node_id for node_id, process in processes.items() if not process.running]
        await asyncio.gather(*(self.faults.restart(node_id) for node_id in down))

    async def until_whole(self) -> None:
        """Wait until there is an active controller and every replica is in sync.

        Raises TimeoutError, and NodeEndedError: a controller that has ended by itself is missed by nobody.
        """
        self.check_that_all_run()
        await self.observer.active_controller()
        await self.observer.until(self._everybody_says_so)

    def check_that_all_run(self) -> None:
        """Raises NodeEndedError."""
        ended = [process.name for process in self.nodes.processes.values() if not process.running]
        if ended:
            raise NodeEndedError(f"ended by itself: {', '.join(ended)}")

    async def _everybody_says_so(self) -> bool:
        """Every broker is asked: one that was away may not know yet what has happened meanwhile."""
        self.check_that_all_run()
        request = MetadataRequest(None)
        for broker in self.brokers:
            if broker not in self.observer.client.brokers:
                await self.observer.client.metadata([])
            response = await self.observer.client.call(broker, ApiKey.METADATA, request, ANSWER_TIMEOUT)
            known = {each.node_id for each in response.brokers}
            partitions = [each for topic in describe_topics(response) for each in topic.partitions]
            if known != set(self.brokers) or not partitions:
                return False
            if not all(len(each.isr) == len(each.replicas) and each.leader >= 0 for each in partitions):
                return False
        return True


def clock_file(directory: Path, node: NodePlan) -> Path:
    """Where the offset of a node's wall clock stands, of a cluster in `directory`."""
    return directory / f"{node.name}.clock"


def minority(members: Sequence[int]) -> int:
    """How many of them are the most that a majority survives; at least one where there are three."""
    return (len(members) - 1) // 2


__all__ = ["NodeEndedError", "Stage", "minority"]
