"""One simulated broker: the replication core as it ships, driven by events instead of by asyncio.

`Machine` is what outlives a process: the disk. `BrokerProcess` is one incarnation: it registers, hears of
the metadata, follows, leads, and dies. What it does between the cores is what `kraft.broker` does, in the
same order.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from chaos.replication.fetching import FetchServer, FollowerLoops
from chaos.replication.upkeep import IsrUpdates, Syncs
from chaos.replication.world import ControllerNode, Links, SimulatedSettings
from chaos.trace import Trace
from chaos.virtual_time import EventQueue, SimulatedClock
from kafkawire.errors import ErrorCode, KafkaError
from kraft.broker.log_directories import LogDirectories
from logstore.memory import MemoryStorage
from logstore.storage import StorageError
from metadata.controller.commands import (
    BrokerDisconnected,
    BrokerHeartbeat,
    BrokerHeartbeatReply,
    RegisterBroker,
    RegisterBrokerReply,
    Reply,
)
from metadata.image import MetadataImage
from metadata.records import Endpoint, NodeEndpoint
from replication.fetch_messages import Key
from replication.fetcher import LeaderFetcher
from replication.outbox import Outbox
from replication.partition import Partition
from replication.replicas import Replicas

if TYPE_CHECKING:
    from chaos.replication.invariants import ReplicationInvariants

HEARTBEAT = 0.3
TICK = 0.15
REGISTER_TIMEOUT = 0.4
CHECKPOINT_EVERY = 4
"""Ticks between two checkpoints of high watermarks and recovery points."""


def _nothing(*args: object) -> None:
    """For whoever needs no call."""
    del args


class Cluster:
    """Everything a broker can reach. Machines whose process ended start another after `mean_down` seconds."""

    def __init__(
        self,
        queue: EventQueue,
        rng: random.Random,
        links: Links,
        controller: ControllerNode,
        settings: SimulatedSettings,
        trace: Trace,
        mean_down: float,
    ) -> None:
        self.queue = queue
        self.rng = rng
        self.links = links
        self.controller = controller
        self.settings = settings
        self.trace = trace
        self.mean_down = mean_down
        self.machines: dict[int, Machine] = {}
        self.invariants: ReplicationInvariants

    def process(self, broker_id: int) -> BrokerProcess | None:
        """The live process of a broker."""
        machine = self.machines.get(broker_id)
        return None if machine is None else machine.process

    @property
    def image(self) -> MetadataImage:
        """See `ClusterView`."""
        return self.controller.image

    def replica(self, broker_id: int, key: Key) -> Partition | None:
        """See `ClusterView`."""
        process = self.process(broker_id)
        return None if process is None else process.replicas.by_key(key)

    def lost_power(self, broker_id: int, incarnation: UUID) -> bool:
        """See `ClusterView`."""
        return self.machines[broker_id].lossy_incarnation == incarnation


class Machine:
    """A broker's disk, and the process on it, if one runs."""

    def __init__(self, broker_id: int, cluster: Cluster) -> None:
        self.broker_id = broker_id
        self.cluster = cluster
        self.storage = MemoryStorage(cluster.rng)
        self.storage.make_directory("data")
        self.process: BrokerProcess | None = None
        self.power_was_lost = False
        """Whether the last process died that way."""
        self.lossy_incarnation: UUID | None = None
        """The incarnation that last lost its power, so that its logs may have lost their ends."""

    def start(self) -> None:
        """Start a process unless one runs."""
        if self.process is None:
            incarnation = UUID(int=self.cluster.rng.getrandbits(64))
            self.cluster.trace.note("start", self.broker_id)
            self.process = BrokerProcess(self, incarnation)
            self.process.begin()

    def crash(self, *, power_lost: bool) -> None:
        """Kill the process; with the power goes what was not synced."""
        process = self.process
        if process is None:
            return
        self.cluster.trace.note("power" if power_lost else "kill", self.broker_id)
        self.power_was_lost = power_lost
        if power_lost:
            self.lossy_incarnation = process.incarnation
            self.storage.crash()
        else:
            self.storage.kill()
        self._gone(process)

    def stopped(self, process: BrokerProcess) -> None:
        """The process ended by itself, cleanly."""
        self.cluster.trace.note("stopped", self.broker_id)
        self.power_was_lost = False
        self.storage.kill()
        self._gone(process)

    def _gone(self, process: BrokerProcess) -> None:
        process.alive = False
        self.process = None
        down = self.cluster.rng.expovariate(1.0 / self.cluster.mean_down)
        self.cluster.queue.call_at(self.cluster.queue.time() + down, self.start)
        disconnected = BrokerDisconnected(self.broker_id, process.broker_epoch)
        self.cluster.controller.ask(self.broker_id, disconnected, _nothing)


class BrokerProcess:
    """One incarnation of a broker."""

    def __init__(self, machine: Machine, incarnation: UUID) -> None:
        self.machine = machine
        self.cluster = machine.cluster
        self.broker_id = machine.broker_id
        self.incarnation = incarnation
        self.broker_epoch = -1
        self.after_power_cut = machine.power_was_lost
        self.alive = True
        self.image: MetadataImage | None = None
        self._latest: MetadataImage | None = None
        self._leaving = False
        self._ticks = 0
        self._backlog: list[tuple[Callable[..., object], tuple[object, ...]]] | None = None
        clock = SimulatedClock(self.cluster.queue)
        self.directories = LogDirectories(machine.storage, ("data",), clock)
        self.outbox = Outbox(_nothing, self.directories.log_was_cut)
        self.replicas = Replicas(
            self.broker_id, self.directories, self.cluster.settings, self.outbox, self._fetcher_changed
        )
        self.following = FollowerLoops(self)
        self.serving = FetchServer(self)
        self._isr_updates = IsrUpdates(self)
        self._syncs = Syncs(self)

    @property
    def now(self) -> float:
        return self.cluster.queue.time()

    # Running.

    def enter(self, action: Callable[..., object], *args: object) -> None:
        """Run something in this process: now, after its pause, or never if it is dead."""
        if not self.alive:
            return
        if self._backlog is not None:
            self._backlog.append((action, args))
            return
        try:
            action(*args)
        except StorageError:
            self.machine.crash(power_lost=False)
            return
        if self.alive:
            self._isr_updates.pump()
            self._syncs.pump()
            self.cluster.invariants.observe(self.replicas, after_power_cut=self.after_power_cut)

    def later(self, delay: float, action: Callable[..., object], *args: object) -> None:
        """Run something after `delay` seconds."""
        self.cluster.queue.call_at(self.now + delay, self.enter, action, *args)

    def pause(self) -> None:
        """Stop as SIGSTOP does: nothing is lost, everything waits."""
        if self._backlog is None:
            self.cluster.trace.note("pause", self.broker_id)
            self._backlog = []

    def resume(self) -> None:
        """Do what has gathered meanwhile."""
        backlog, self._backlog = self._backlog, None
        if backlog is not None:
            self.cluster.trace.note("resume", self.broker_id)
        for action, args in backlog or ():
            self.enter(action, *args)

    # Life with the controller.

    def begin(self) -> None:
        """Register and listen to the metadata."""
        self.cluster.controller.subscribe(self)
        self._register()
        self.later(TICK, self._tick)

    def _register(self) -> None:
        if self.broker_epoch >= 0:
            return
        registration = RegisterBroker(
            self.broker_id,
            self.incarnation,
            "cluster",
            (Endpoint("PLAINTEXT", f"b{self.broker_id}", 9092),),
            NodeEndpoint(f"b{self.broker_id}", 9093),
            previous_broker_epoch=self.directories.clean_epoch,
        )
        self.cluster.controller.ask(
            self.broker_id, registration, lambda outcome: self.enter(self._registered, outcome)
        )
        self.later(REGISTER_TIMEOUT, self._register)

    def _registered(self, outcome: Reply | KafkaError) -> None:
        if isinstance(outcome, RegisterBrokerReply) and self.broker_epoch < 0:
            self.broker_epoch = outcome.broker_epoch
            self.cluster.trace.note("registered", self.broker_id, outcome.broker_epoch)
            self._apply_latest()
            self._beat_again()

    def _beat_again(self) -> None:
        self._beat()
        self.later(HEARTBEAT if not self._leaving else 0.1, self._beat_again)

    def _beat(self) -> None:
        applied = -1 if self.image is None else self.image.offset
        heartbeat = BrokerHeartbeat(self.broker_id, self.broker_epoch, applied, want_shutdown=self._leaving)
        self.cluster.controller.ask(
            self.broker_id, heartbeat, lambda outcome: self.enter(self._beaten, outcome)
        )

    def _beaten(self, outcome: Reply | KafkaError) -> None:
        if isinstance(outcome, KafkaError):
            if outcome.code is ErrorCode.STALE_BROKER_EPOCH:
                self.machine.crash(power_lost=False)
        elif isinstance(outcome, BrokerHeartbeatReply) and outcome.should_shutdown and self._leaving:
            self._stop()

    def leave(self, patience: float) -> None:
        """Begin a controlled shutdown, and stop after `patience` seconds at the latest."""
        if not self._leaving and self.broker_epoch >= 0:
            self.cluster.trace.note("leave", self.broker_id)
            self._leaving = True
            self._beat()
            self.later(patience, self._stop)

    def _stop(self) -> None:
        for name in self.directories.new_names():
            name.sync()
        for partition in self.replicas:
            end = partition.log.end_offset
            for file in partition.log.files_to_sync():
                file.sync()
            self.replicas.synced({partition: end}, self.now)
        self.cluster.invariants.observe(self.replicas, after_power_cut=self.after_power_cut)
        self.directories.close(self.replicas, self.broker_epoch)
        self.machine.stopped(self)

    # Metadata.

    def image_arrived(self, image: MetadataImage) -> None:
        """See `Subscriber`."""
        self.enter(self._take_image, image)

    def _take_image(self, image: MetadataImage) -> None:
        self._latest = image
        self._apply_latest()

    def _apply_latest(self) -> None:
        image = self._latest
        if image is None or self.broker_epoch < 0 or image.offset < self.broker_epoch:
            return
        first = self.image is None
        self.serving.forget_missing(image)
        self.replicas.apply(image, self.now)
        self.image = image
        if first:
            self.directories.set_strays_aside()
            self._beat()

    def _fetcher_changed(self, fetcher: LeaderFetcher) -> None:
        self.following.changed(fetcher)

    def fetchers_synced(self, fetchers: list[LeaderFetcher]) -> None:
        """These may ask for more."""
        for fetcher in fetchers:
            self.following.changed(fetcher)

    def _tick(self) -> None:
        self.replicas.tick(self.now)
        self._ticks += 1
        if self._ticks % CHECKPOINT_EVERY == 0:
            self.directories.checkpoint_high_watermarks(self.replicas)
            self.directories.checkpoint_recovery_points(self.replicas)
        self.later(TICK, self._tick)
