"""A quorum in virtual time, whose nodes write down what their state machines are told."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from chaos.disk import DiskConditions
from chaos.network import Network, NetworkConditions
from chaos.quorum.invariants import QuorumInvariants
from chaos.quorum.node import SimulatedNode, World
from chaos.virtual_time import EventQueue
from kraft.quorum.config import QuorumConfig
from kraft.quorum.driver import QuorumDriver
from metadata.log import CommittedBatch, Leadership, Outcome


class RecordingNode(SimulatedNode):
    """A simulated node with a state machine that is a list of records. Survives crashes as the node does."""

    def __init__(self, world: World, config: QuorumConfig, disk: DiskConditions) -> None:
        super().__init__(world, config, disk)
        self.records: list[bytes] = []
        self.batches: list[CommittedBatch] = []
        self.leaderships: list[Leadership] = []
        self.events: list[str] = []
        self.snapshots_seen = 0

    @property
    def log(self) -> QuorumDriver:
        assert self.driver is not None
        return self.driver

    def start(self) -> None:
        self.records.clear()
        super().start()

    def on_committed(self, batch: CommittedBatch) -> None:
        assert batch.first_offset == len(self.records)
        self.records += batch.records
        self.batches.append(batch)
        self.events.append(f"committed {batch.first_offset}")

    def on_snapshot(self, snapshot: bytes, next_offset: int) -> None:
        self.records[:] = snapshot.split(b",")[:-1]
        self.snapshots_seen += 1
        assert len(self.records) == next_offset

    def on_leadership(self, leadership: Leadership) -> None:
        self.leaderships.append(leadership)
        self.events.append(f"leader {leadership.leader_id} of term {leadership.term}")

    def take_snapshot(self) -> bytes:
        return b"".join(record + b"," for record in self.records)


class Unwatched(QuorumInvariants):
    """These tests make up their own records, and look for themselves."""

    def after_event(self, node_id: int, driver: QuorumDriver) -> None:
        pass


class Cluster:
    """Nodes 1 to n, started; `run` lets virtual time pass."""

    def __init__(self, count: int, seed: int = 1, **settings: float) -> None:
        self.rng = random.Random(seed)
        self.queue = EventQueue()
        self.network = Network(self.queue, self.rng, NetworkConditions())
        self.invariants = Unwatched()
        world = World(self.queue, self.network, self.invariants, self.rng)
        voters = tuple(range(1, count + 1))
        self.nodes = [
            RecordingNode(
                world,
                QuorumConfig(node_id=voter, voters=voters, **settings),  # type: ignore[arg-type]
                DiskConditions(),
            )
            for voter in voters
        ]
        for node in self.nodes:
            node.start()

    def node(self, node_id: int) -> RecordingNode:
        return self.nodes[node_id - 1]

    def run(self, seconds: float) -> None:
        until = self.queue.time() + seconds
        while self.queue.step(until):
            pass

    def until(self, holds: Callable[[], bool], bound: float = 10.0) -> float:
        """Let time pass until something holds; the seconds that took. Fails after `bound`."""
        begin = self.queue.time()
        while not holds():
            assert self.queue.step(begin + bound), f"not within {bound} s"
        return self.queue.time() - begin

    def leader(self) -> RecordingNode:
        """The node that leads, once it says so."""
        self.until(lambda: any(self._leads(node) for node in self.nodes))
        return next(node for node in self.nodes if self._leads(node))

    @staticmethod
    def _leads(node: RecordingNode) -> bool:
        return node.driver is not None and node.driver.leadership.leader_id == node.node_id

    def propose(self, node: RecordingNode, records: Sequence[bytes]) -> list[Outcome]:
        """Propose at the node's term and offset; the list gets the outcome later."""
        outcomes: list[Outcome] = []
        term = node.log.leadership.term
        node.do(lambda: node.log.propose(term, node.log.next_offset, records, outcomes.append))
        return outcomes

    def commit(self, records: Sequence[bytes]) -> None:
        """Have records committed through whoever leads."""
        outcomes = self.propose(self.leader(), records)
        self.until(lambda: bool(outcomes))
        assert outcomes == [Outcome.COMMITTED]

    def isolate(self, node_id: int) -> None:
        for other in self.nodes:
            if other.node_id != node_id:
                self.network.cut(node_id, other.node_id)
                self.network.cut(other.node_id, node_id)


MakeCluster = Callable[..., Cluster]


@pytest.fixture(scope="session")
def make_cluster() -> MakeCluster:
    return Cluster
