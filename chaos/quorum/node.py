"""A simulated controller: a quorum driver on a simulated network and disk, with a state machine that is
watched.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cbor2

from chaos.disk import CuttableStorage, DiskConditions, SimulatedDisk
from chaos.network import Network
from chaos.quorum.invariants import QuorumInvariants
from chaos.virtual_time import Scheduler, Timer
from kraft.quorum.config import QuorumConfig
from kraft.quorum.driver import QuorumDriver
from kraft.quorum.links import Message
from kraft.quorum.stored import QuorumStore
from metadata.log import CommittedBatch, Leadership, Outcome

DIRECTORY = "kraft"


@dataclass(frozen=True, slots=True)
class World:
    """What all nodes of one history share."""

    scheduler: Scheduler
    network: Network
    invariants: QuorumInvariants
    rng: random.Random


class SimulatedLinks:
    """`QuorumLinks` over a `Network`; messages go through CBOR, as they do between processes."""

    def __init__(self, network: Network, node_id: int) -> None:
        self._network = network
        self._node_id = node_id
        self.on_connected: Callable[[int], None] = _ignore
        self.on_disconnected: Callable[[int], None] = _ignore
        self.on_message: Callable[[int, Message], None] = _ignore

    def send(self, peer_id: int, message: Message) -> bool:
        """See `QuorumLinks`."""
        return self._network.send(self._node_id, peer_id, cbor2.dumps(message))

    def connected(self) -> set[int]:
        """See `QuorumLinks`."""
        return self._network.connected(self._node_id)

    def disconnect(self, peer_id: int) -> None:
        """See `QuorumLinks`."""
        self._network.reset(self._node_id, peer_id)


def _ignore(*args: Any) -> None:
    """Nobody listens yet."""


class SimulatedNode:
    """Survives its own crashes: the disk does, the driver is made anew. A paused node does nothing and loses
    nothing.
    """

    def __init__(self, world: World, config: QuorumConfig, disk: DiskConditions) -> None:
        self._world = world
        self._config = config
        self.node_id = config.node_id
        self.storage = CuttableStorage(world.rng)
        self.disk = SimulatedDisk(world.scheduler, world.rng, self.storage, disk)
        self.driver: QuorumDriver | None = None
        self.paused = False
        self.speculative_offset: int | None = None
        self.terms_led: list[int] = []
        self._mailbox: list[Callable[[], object]] = []
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._links = SimulatedLinks(world.network, self.node_id)

    @property
    def is_up(self) -> bool:
        return self.driver is not None

    @property
    def next_offset(self) -> int:
        """The first offset that this node has not delivered; 0 while it is down."""
        return 0 if self.driver is None else self.driver.next_offset

    # Life and death.

    def start(self) -> None:
        """Recover from what the disk holds, and join the network."""
        world = self._world
        store = QuorumStore.open(
            self.storage,
            DIRECTORY,
            max_entry_bytes=self._config.max_entry_bytes,
            now_ms=int(world.scheduler.time()),
        )
        world.invariants.restarted(self.node_id)
        self._links = SimulatedLinks(world.network, self.node_id)
        driver = QuorumDriver(
            self._config, store, self, self._links, _DiskOf(self), world.scheduler.time, world.rng
        )
        self.driver = driver
        driver.on_reschedule = partial(self._arm, driver)
        driver.on_failure = self._failed
        driver.start()
        world.network.join(self.node_id, self)

    def crash(self, *, power_lost: bool) -> None:
        """The process dies; with the power lost, so do the bytes that were not synced."""
        driver, self.driver = self.driver, None
        self._world.network.leave(self.node_id)
        self._mailbox.clear()
        self.paused = False
        self.speculative_offset = None
        self.terms_led.clear()
        self.disk.crash(power_lost=power_lost)
        if driver is not None:
            self._world.invariants.forget_proposals_of(self.node_id)

    def pause(self) -> None:
        """SIGSTOP."""
        self.paused = True

    def resume(self) -> None:
        """SIGCONT: everything that waited happens now."""
        self.paused = False
        waiting, self._mailbox = self._mailbox, []
        for event in waiting:
            self.do(event)
        if self.driver is not None:
            self._arm(self.driver)

    def do(self, event: Callable[[], object]) -> None:
        """Let something happen to the process, now or when it runs again."""
        if self.paused:
            self._mailbox.append(event)
        elif self.driver is not None:
            event()
            self._world.invariants.after_event(self.node_id, self.driver)

    def _failed(self, error: Exception) -> None:
        raise error

    def _arm(self, driver: QuorumDriver) -> None:
        when = driver.next_deadline
        if driver is not self.driver or when == float("inf"):
            return
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at = max(when, self._world.scheduler.time())
        self._timer = self._world.scheduler.call_at(self._timer_at, self._fire, driver)

    def _fire(self, driver: QuorumDriver) -> None:
        self._timer = None
        if driver is not self.driver or self.paused:
            return
        if driver.next_deadline <= self._world.scheduler.time():
            self.do(driver.tick)
        else:
            self._arm(driver)

    # The network's endpoint.

    def connected(self, peer: int) -> None:
        self.do(partial(self._links.on_connected, peer))

    def disconnected(self, peer: int) -> None:
        self.do(partial(self._links.on_disconnected, peer))

    def received(self, peer: int, payload: bytes) -> None:
        self._world.invariants.trace.add(self.node_id, payload)
        self.do(partial(self._links.on_message, peer, cbor2.loads(payload)))

    # The listener.

    def on_committed(self, batch: CommittedBatch) -> None:
        """See `MetadataLogListener`."""
        self._world.invariants.delivered(self.node_id, batch)

    def on_snapshot(self, snapshot: bytes, next_offset: int) -> None:
        """See `MetadataLogListener`."""
        self._world.invariants.restored(self.node_id, snapshot, next_offset)

    def on_leadership(self, leadership: Leadership) -> None:
        """See `MetadataLogListener`."""
        self._world.invariants.announced(self.node_id, leadership)
        self.speculative_offset = None
        if leadership.leader_id == self.node_id:
            self.terms_led.append(leadership.term)

    def take_snapshot(self) -> bytes:
        """See `MetadataLogListener`."""
        return self._world.invariants.state_of(self.node_id)

    # What its clients do.

    def propose(self, *, stale: bool) -> None:
        """Propose some records if this node believes to lead; a stale proposal has an old term or a wrong
        offset.
        """
        driver, rng = self.driver, self._world.rng
        if driver is None or self.paused:
            return
        term, offset = driver.leadership.term, driver.next_offset
        if stale:
            if self.terms_led and rng.random() < 0.5:
                term = rng.choice(self.terms_led)
            else:
                offset = max(0, offset + rng.choice((-2, -1, 1, 2)))
        elif driver.leadership.leader_id != self.node_id:
            return
        elif self.speculative_offset is not None:
            offset = self.speculative_offset
        proposal = self._world.invariants.new_proposal(self.node_id, term, offset, rng.randrange(1, 4))
        if not stale:
            self.speculative_offset = offset + len(proposal.records)
        self.do(partial(driver.propose, term, offset, proposal.records, partial(self._done, proposal.number)))

    def _done(self, number: int, outcome: Outcome) -> None:
        self._world.invariants.answered(number, outcome)
        if outcome is not Outcome.COMMITTED:
            self.speculative_offset = None


class _DiskOf:
    """`DiskWorker` of one life of a node: what is done is told when the process runs."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node

    def run(self, work: Callable[[], None], done: Callable[[Any], None]) -> None:
        """See `DiskWorker`."""
        self._node.disk.run(work, lambda error: self._node.do(partial(done, error)))

    def close(self) -> None:
        """See `DiskWorker`. What was given dies with the process."""
