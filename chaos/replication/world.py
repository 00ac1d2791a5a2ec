"""What the brokers of a simulated cluster share: time, chance, a network, a controller, a trace of it all.

The metadata log is taken to be perfect: what the controller decides is committed. Each broker hears of it
later, in order, several images at once or one by one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from chaos.virtual_time import EPOCH_MS, EventQueue
from kafkawire.errors import KafkaError
from logstore.config import LogConfig
from metadata.controller.commands import (
    AlterConfigOp,
    AlterConfigsResource,
    Command,
    ConfigAlteration,
    ConfigEntry,
    CreateTopics,
    ElectionType,
    ElectLeaders,
    IncrementalAlterConfigs,
    NewTopic,
    ReplicaAssignment,
    Reply,
)
from metadata.controller.decision import ControllerConfig
from metadata.controller.instant import InstantController
from metadata.image import MetadataImage
from metadata.records import ConfigResourceType
from replication.settings import ReplicationSettings

CONTROLLER = 0
"""The controller's id on the network; brokers count from 1, clients from `FIRST_CLIENT`."""
FIRST_CLIENT = 100
TOPIC = "t"
SESSION_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class Shape:
    """The cluster of one history: how many brokers, what its topic is like, how fast its network is
    (seconds)."""

    brokers: int
    replicas: int
    partitions: int
    min_isr: int
    flush: bool
    """flush.messages=1: everything acknowledged survives any power cut."""
    lag: float
    latency: float
    loss: float
    """The part of messages between nodes that gets lost."""
    segment_bytes: int
    fetch_bytes: int


class Links:
    """The network. Directions are cut one by one; what is sent or would arrive meanwhile is lost.

    Nothing keeps two messages in order, apart from those of one `lane`.
    """

    def __init__(self, queue: EventQueue, rng: random.Random, latency: float, loss: float) -> None:
        self._queue = queue
        self._rng = rng
        self._latency = latency
        self._loss = loss
        self._slow = 0.03
        self._cuts: dict[tuple[int, int], int] = {}
        self._lanes: dict[tuple[int, ...], float] = {}

    def cut(self, source: int, target: int) -> None:
        self._cuts[source, target] = self._cuts.get((source, target), 0) + 1

    def mend(self, source: int, target: int) -> None:
        """Take back one cut."""
        count = self._cuts.get((source, target), 0)
        if count > 1:
            self._cuts[source, target] = count - 1
        else:
            self._cuts.pop((source, target), None)

    def heal(self) -> None:
        """Take back all cuts; from now on nothing is lost or slow."""
        self._cuts.clear()
        self._loss = self._slow = 0.0

    @property
    def rough(self) -> bool:
        """Whether messages may be slow or get lost."""
        return self._slow > 0

    def passes(self, source: int, target: int) -> bool:
        return (source, target) not in self._cuts

    def delay(self) -> float:
        """How long the next message takes; a few take very long."""
        chance = self._rng.random()
        if chance < self._slow:
            return min(1.0, self._latency * 200) * chance / self._slow
        return self._latency * (0.2 + chance)

    def send(
        self,
        source: int,
        target: int,
        deliver: Callable[..., object],
        *args: object,
        lane: tuple[int, ...] = (),
    ) -> None:
        """Call `deliver(*args)` when the message arrives, if it does."""
        if (source, target) in self._cuts:
            return
        if self._loss and target < FIRST_CLIENT and self._rng.random() < self._loss:
            return
        when = self._queue.time() + self.delay()
        if lane:
            when = self._lanes[lane] = max(when, self._lanes.get(lane, 0.0))
        self._queue.call_at(when, self._arrive, source, target, deliver, args)

    def _arrive(
        self, source: int, target: int, deliver: Callable[..., object], args: tuple[object, ...]
    ) -> None:
        if (source, target) not in self._cuts:
            deliver(*args)


def _nothing(*args: object) -> None:
    """For whoever need not be told."""
    del args


class Subscriber(Protocol):
    """A broker process as the metadata reaches it."""

    broker_id: int

    @property
    def alive(self) -> bool: ...

    def image_arrived(self, image: MetadataImage) -> None: ...


Answered = Callable[[Reply | KafkaError], object]


class ControllerNode:
    """The active controller on the network, and the delivery of its images."""

    def __init__(self, queue: EventQueue, rng: random.Random, links: Links, shape: Shape) -> None:
        self._queue = queue
        self._rng = rng
        self._links = links
        self._shape = shape
        self.on_image: Callable[[MetadataImage, MetadataImage], object] = _nothing
        config = ControllerConfig("cluster", session_timeout=SESSION_TIMEOUT, leader_balance_interval=2.0)
        self._controller = InstantController(config, rng, queue.time(), self._changed)
        self._images: list[MetadataImage] = [self._controller.image]
        self._fed: dict[Subscriber, int] = {}
        self._feeding: set[Subscriber] = set()

    @property
    def image(self) -> MetadataImage:
        return self._controller.image

    def ask(self, sender: int, command: Command, answered: Answered) -> None:
        """Send a command over the network; its answer comes back the same way. Commands of one broker, which
        has one link to the controller, keep their order."""
        self._links.send(
            sender, CONTROLLER, self._decide, sender, command, answered, lane=(sender, CONTROLLER)
        )

    def _decide(self, sender: int, command: Command, answered: Answered) -> None:
        outcome: Reply | KafkaError
        try:
            outcome = self._controller.ask(command, self._queue.time(), EPOCH_MS)
        except KafkaError as error:
            outcome = error
        self._links.send(CONTROLLER, sender, answered, outcome)

    def tell(self, command: Command) -> None:
        """Let the controller decide on something at once; a refusal is nothing."""
        self._decide(CONTROLLER, command, _nothing)

    def tick(self) -> None:
        self._controller.tick(self._queue.time(), EPOCH_MS)

    def take_over(self) -> None:
        """Another controller takes over and knows nothing but the image."""
        self._controller.take_over(self._queue.time())

    # What operators do.

    def create_topic(self) -> None:
        """The topic of this history, on brokers in turn."""
        shape = self._shape
        assignments = tuple(
            ReplicaAssignment(
                number, tuple((number + each) % shape.brokers + 1 for each in range(shape.replicas))
            )
            for number in range(shape.partitions)
        )
        configs = [ConfigEntry("min.insync.replicas", str(shape.min_isr))]
        if shape.flush:
            configs.append(ConfigEntry("flush.messages", "1"))
        self.tell(CreateTopics((NewTopic(TOPIC, assignments=assignments, configs=tuple(configs)),)))

    def set_min_isr(self, value: int) -> None:
        change = ConfigAlteration("min.insync.replicas", AlterConfigOp.SET, str(value))
        resource = AlterConfigsResource(ConfigResourceType.TOPIC, TOPIC, (change,))
        self.tell(IncrementalAlterConfigs((resource,)))

    def elect_preferred(self) -> None:
        self.tell(ElectLeaders(ElectionType.PREFERRED, None))

    # How brokers hear of it.

    def subscribe(self, process: Subscriber) -> None:
        """Deliver images to a process for as long as it lives."""
        self._fed[process] = 0
        self._feed_later(process, self._links.delay())

    def _changed(self, old: MetadataImage, new: MetadataImage) -> None:
        self._images.append(new)
        self.on_image(old, new)
        for process in self._fed:
            self._feed_later(process, self._feed_delay())

    def _feed_delay(self) -> float:
        """Metadata lags now and then, so that other messages outrun it."""
        if self._links.rough and self._rng.random() < 0.1:
            return 1.5 * self._rng.random()
        return self._links.delay()

    def _feed_later(self, process: Subscriber, delay: float) -> None:
        if process not in self._feeding:
            self._feeding.add(process)
            self._queue.call_at(self._queue.time() + delay, self._feed, process)

    def _feed(self, process: Subscriber) -> None:
        self._feeding.discard(process)
        if not process.alive:
            self._fed.pop(process, None)
            return
        last = len(self._images) - 1
        if self._fed[process] == last:
            return
        if not self._links.passes(CONTROLLER, process.broker_id):
            self._feed_later(process, 0.1)
            return
        number = last
        if self._rng.random() < 0.3:
            number = self._rng.randint(self._fed[process] + 1, last)
        self._fed[process] = number
        process.image_arrived(self._images[number])
        if number < last:
            self._feed_later(process, self._feed_delay())


@dataclass(slots=True)
class SimulatedSettings:
    """Implements `replication.replicas.TopicSettings` for the one topic there is."""

    shape: Shape
    log: LogConfig = field(init=False)
    _replication: dict[str, ReplicationSettings] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.log = LogConfig(
            segment_bytes=self.shape.segment_bytes, flush_messages=1 if self.shape.flush else 2**63 - 1
        )

    def log_config(self, image: MetadataImage, topic: str) -> LogConfig:
        del image, topic
        return self.log

    def replication_settings(self, image: MetadataImage, topic: str) -> ReplicationSettings:
        value = image.configs.topic(topic).get("min.insync.replicas", "1")
        settings = self._replication.get(value)
        if settings is None:
            settings = self._replication[value] = ReplicationSettings(
                min_insync_replicas=int(value),
                replica_lag_time_max=self.shape.lag,
                sync_before_acknowledging=self.shape.flush,
            )
        return settings
