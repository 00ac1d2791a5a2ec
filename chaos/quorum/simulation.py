"""Histories of a quorum of controllers: one seed is one history, in virtual time.

Nodes crash, with and without their power, pause and come back; connections break, stall in one direction or
both, and come up again; disks are slow or stall; snapshots are taken every few records. Clients propose
through whoever believes to lead, and sometimes what is stale. After a while everything is mended, and the
quorum has to make progress.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from chaos.disk import DiskConditions
from chaos.network import Network, NetworkConditions
from chaos.quorum.invariants import InvariantError, QuorumInvariants
from chaos.quorum.node import SimulatedNode, World
from chaos.virtual_time import Chances, EventQueue
from kraft.quorum.config import QuorumConfig

CALM_BOUND = 5.0
"""Seconds, virtual, in which a mended quorum has to commit something new on every node."""

MAX_EVENTS = 200_000
"""In one history; a usual one has a few thousand."""


@dataclass(frozen=True, slots=True)
class Climate:
    """How rough a history is: mean seconds between events of a kind (None: never), and how long they last."""

    length: float
    crash: float | None
    power: float
    """Of the crashes, the part that takes unsynced bytes along."""
    down: float
    reset: float | None
    cut: float | None
    cut_for: float
    pause: float | None
    pause_for: float
    stall: float | None
    stall_for: float
    resign: float | None
    seesaw: bool
    """Nothing else happens but one carefully timed sequence of cuts."""
    propose: float
    stale: float
    """Of the proposals, the part that is stale."""


def draw_climate(rng: random.Random) -> Climate:
    """No two histories are alike: some faults are missing, others come in swarms."""

    def every(low: float, high: float, never: float) -> float | None:
        return None if rng.random() < never else rng.uniform(low, high)

    climate = Climate(
        length=rng.uniform(1.5, 4.0),
        crash=every(0.3, 3.0, 0.2),
        power=rng.random(),
        down=rng.uniform(0.05, 1.0),
        reset=every(0.1, 2.0, 0.4),
        cut=every(0.1, 2.0, 0.2),
        cut_for=rng.uniform(0.05, 2.0),
        pause=every(0.3, 3.0, 0.5),
        pause_for=rng.uniform(0.05, 1.5),
        stall=every(0.3, 3.0, 0.5),
        stall_for=rng.uniform(0.05, 1.5),
        resign=every(0.2, 3.0, 0.7),
        seesaw=False,
        propose=rng.uniform(0.005, 0.08),
        stale=rng.uniform(0.0, 0.2),
    )
    if rng.random() < 0.05:
        calm = replace(climate, crash=None, reset=None, cut=None, pause=None, stall=None, resign=None)
        return replace(calm, seesaw=True, length=3.5, propose=0.02)
    return climate


def draw_config(rng: random.Random, node_id: int, voters: tuple[int, ...]) -> QuorumConfig:
    """Limits so small that histories of a few seconds meet them."""
    return QuorumConfig(
        node_id=node_id,
        voters=voters,
        max_append_bytes=rng.choice((64, 256, 65536)),
        max_entry_bytes=4096,
        snapshot_interval_records=rng.choice((5, 20, 100)),
        snapshot_piece_bytes=rng.choice((16, 64, 4096)),
        snapshot_pieces_per_round=rng.choice((2, 8)),
    )


class HistoryResult(NamedTuple):
    """What a history came to."""

    seed: int
    problem: str | None
    trace: int
    """Checksum of everything that happened."""
    acknowledged: int
    elections: int
    snapshots_installed: int


class History:
    """One seed, from an empty disk to a mended quorum."""

    def __init__(self, seed: int, nodes: int | None = None) -> None:
        rng = self._rng = random.Random(seed)
        self._events = 0
        self._clients_reach: set[int] = set()
        self._queue = EventQueue()
        self._chances = Chances(self._queue, rng)
        self._climate = draw_climate(rng)
        conditions = NetworkConditions(
            latency=(0.0002, rng.choice((0.001, 0.005, 0.03))), dead_after=rng.choice((0.5, 3.0))
        )
        self._network = Network(self._queue, rng, conditions)
        self.invariants = QuorumInvariants()
        self._network.on_send = self.invariants.sent
        world = World(self._queue, self._network, self.invariants, rng)
        count = nodes or rng.choice((1, 3, 3, 3, 3, 3, 3, 5))
        voters = tuple(range(1, count + 1))
        slow = rng.choice((0.001, 0.003, 0.03))
        self.nodes = [
            SimulatedNode(world, draw_config(rng, voter, voters), DiskConditions(delay=(0.0002, slow)))
            for voter in voters
        ]

    def run(self) -> None:
        """Raises InvariantError, or whatever a node raises."""
        for node in self.nodes:
            node.start()
            self._clients_reach.add(node.node_id)
        climate, end = self._climate, self._queue.time() + self._climate.length
        self._chances.repeat(climate.crash, end, self._crash)
        self._chances.repeat(climate.reset, end, self._reset)
        self._chances.repeat(climate.cut, end, self._cut)
        self._chances.repeat(climate.pause, end, self._pause)
        self._chances.repeat(climate.stall, end, self._stall)
        self._chances.repeat(climate.resign, end, self._resign)
        if climate.seesaw:
            self._queue.call_at(self._queue.time() + 0.7, self._seesaw)
        self._chances.repeat(climate.propose, end + CALM_BOUND, self._propose)
        while self._step(end):
            pass
        self._mend()
        self._converge()

    def _step(self, until: float) -> bool:
        self._events += 1
        if self._events > MAX_EVENTS:
            raise InvariantError(f"more than {MAX_EVENTS} events: somebody spins")
        return self._queue.step(until)

    # Faults.

    def _up(self) -> list[SimulatedNode]:
        return [node for node in self.nodes if node.is_up]

    def _crash(self) -> None:
        up = self._up()
        if up:
            together = self._rng.random() < 0.1
            for node in up if together else [self._rng.choice(up)]:
                node.crash(power_lost=self._rng.random() < self._climate.power)
                self._chances.after(self._climate.down, self._restart, node)

    def _restart(self, node: SimulatedNode) -> None:
        if not node.is_up:
            node.start()

    def _two(self) -> tuple[int, int] | None:
        if len(self.nodes) < 2:
            return None
        a, b = self._rng.sample(self.nodes, 2)
        return a.node_id, b.node_id

    def _reset(self) -> None:
        if pair := self._two():
            self._network.reset(*pair)

    def _cut(self) -> None:
        pair = self._two()
        if pair is None:
            return
        a, b = pair
        match self._rng.randrange(4):
            case 0:
                cuts = [(a, b)]
            case 1:
                cuts = [(a, b), (b, a)]
            case 2:
                cuts = [(a, other.node_id) for other in self.nodes if other.node_id != a]
            case _:
                others = [other.node_id for other in self.nodes if other.node_id != a]
                cuts = [(a, other) for other in others] + [(other, a) for other in others]
        for sender, receiver in cuts:
            self._network.cut(sender, receiver)
            self._chances.after(self._climate.cut_for, self._network.mend, sender, receiver)

    def _pause(self) -> None:
        up = self._up()
        if up:
            node = self._rng.choice(up)
            node.pause()
            self._chances.after(self._climate.pause_for, node.resume)

    def _stall(self) -> None:
        node = self._rng.choice(self.nodes)
        node.disk.conditions.stall = self._rng.uniform(0.01, 0.5)
        self._chances.after(self._climate.stall_for, self._end_stall, node)

    def _end_stall(self, node: SimulatedNode) -> None:
        node.disk.conditions.stall = 0.0

    def _resign(self) -> None:
        for node in self._leading():
            if not node.paused and node.driver is not None:
                node.do(node.driver.resign)

    def _seesaw(self) -> None:
        """Cut a leader off with one follower, whose answers stall; then let the others go on, and hand back.

        If the first one leads again by the time the answers arrive, they are about a log that is no more.
        """
        leading = self._leading()
        if not leading or len(self.nodes) < 3:
            return
        leader = self._rng.choice(leading).node_id
        follower = self._rng.choice([node.node_id for node in self.nodes if node.node_id != leader])
        others = [node.node_id for node in self.nodes if node.node_id not in (leader, follower)]
        between = [(a, b) for a in (leader, follower) for b in others]
        self._cut_for(self._rng.uniform(0.9, 1.3), between + [pair[::-1] for pair in between])
        self._cut_for(self._rng.uniform(1.7, 2.5), [(follower, leader)])
        now = self._queue.time()
        self._clients_reach = {leader}
        self._queue.call_at(now + 1.8, self._end_seesaw)
        self._queue.call_at(now + 1.4, self._cut_for, 1.5, [(leader, follower)])
        for delay in (1.41, 1.45, 1.5, 1.55):
            self._queue.call_at(now + delay, self._resign)

    def _end_seesaw(self) -> None:
        self._clients_reach = {node.node_id for node in self.nodes}

    def _leading(self) -> list[SimulatedNode]:
        return [
            node for node in self.nodes if node.driver is not None and node.driver.leading_term is not None
        ]

    def _cut_for(self, seconds: float, directions: Sequence[tuple[int, int]]) -> None:
        for sender, receiver in directions:
            self._network.cut(sender, receiver)
            self._queue.call_at(self._queue.time() + seconds, self._network.mend, sender, receiver)

    def _propose(self) -> None:
        stale = self._rng.random() < self._climate.stale
        for node in self.nodes:
            if node.node_id in self._clients_reach:
                node.propose(stale=stale)

    # The end.

    def _mend(self) -> None:
        self._network.mend_all()
        for node in self.nodes:
            node.disk.conditions.stall = 0.0
            self._restart(node)
            node.resume()

    def _converge(self) -> None:
        """Everything that was committed, and something new, has to arrive everywhere."""
        committed = self.invariants.committed_records
        acknowledged = self.invariants.acknowledged
        deadline = self._queue.time() + CALM_BOUND
        while self._step(deadline):
            offsets = {node.next_offset for node in self.nodes}
            if min(offsets) > committed and self.invariants.acknowledged > acknowledged:
                return
        raise InvariantError(f"no progress in {CALM_BOUND} s after everything was mended")

    def result(self, seed: int, problem: str | None) -> HistoryResult:
        """What it came to."""
        counters = [node.driver.counters for node in self.nodes if node.driver is not None]
        return HistoryResult(
            seed,
            problem,
            self.invariants.trace.checksum,
            self.invariants.acknowledged,
            sum(counter.elections for counter in counters),
            sum(counter.snapshots_installed for counter in counters),
        )


def run_history(seed: int, nodes: int | None = None) -> HistoryResult:
    """Run one history; a violated invariant, or an error out of a node, is its problem."""
    history = History(seed, nodes)
    try:
        history.run()
    except (InvariantError, AssertionError, LookupError, ValueError, TypeError) as error:
        return history.result(seed, f"{type(error).__name__}: {error}")
    return history.result(seed, None)
