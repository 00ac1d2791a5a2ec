"""A cluster by hand: real controller, logs, replicas and sessions; every message is sent by the test."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import cbor2
import pytest

from kafkawire.batch_builder import build_batch
from kafkawire.batch_header import headers
from kafkawire.errors import ErrorCode, KafkaError
from logstore.config import LogConfig
from logstore.log import Append, Log
from logstore.memory import MemoryStorage
from metadata.config_keys import TOPIC_KEYS, ConfigLayers, resolve
from metadata.controller.commands import (
    AlterConfigOp,
    AlterConfigsResource,
    AlterPartition,
    AlterPartitionItem,
    AlterPartitionReply,
    AlterPartitionResult,
    BrokerDisconnected,
    BrokerHeartbeat,
    BrokerHeartbeatReply,
    ConfigAlteration,
    ConfigEntry,
    CreateTopics,
    DeleteTopics,
    ElectionType,
    ElectLeaders,
    IncrementalAlterConfigs,
    IsrMember,
    NewTopic,
    RegisterBroker,
    RegisterBrokerReply,
    ReplicaAssignment,
)
from metadata.controller.decision import ControllerConfig
from metadata.controller.instant import InstantController
from metadata.image import MetadataImage, PartitionImage
from metadata.records import ConfigResourceType, Endpoint, NodeEndpoint
from replication.fetch_messages import ReplicaFetch, ReplicaFetchReply
from replication.fetcher import LeaderFetcher
from replication.isr import IsrChange
from replication.leader import Leader
from replication.outbox import Outbox
from replication.partition import Partition
from replication.replicas import Replicas
from replication.sessions import ReplicaSessions
from replication.settings import ReplicationSettings

WALL_MS = 1_700_000_000_000
LAG = 10.0

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def _through_cbor(value: Any) -> Any:
    return cbor2.loads(cbor2.dumps(value))


class Waiter:
    """Keeps what it was told (see `Acknowledgement`)."""

    def __init__(self) -> None:
        self.told: list[ErrorCode] = []

    def acknowledged(self, partition: Partition, error: ErrorCode) -> None:
        self.told.append(error)


class Host:
    """Logs in memory (see `LogHost`); `journal` has what was asked, in order."""

    def __init__(self, seed: int) -> None:
        self.storage = MemoryStorage(random.Random(seed))
        self.recovery_points: dict[str, int] = {}
        self.high_watermarks: dict[str, int] = {}
        self.journal: list[str] = []

    def open(self, topic: str, topic_id: UUID, index: int, config: LogConfig) -> tuple[Log, int]:
        name = f"{topic}-{index}.{topic_id.hex}"
        self.journal.append(f"open {topic}-{index}")
        self.storage.make_directory(name)
        point = self.recovery_points.get(name, 0)
        log = Log.open(self.storage, name, config, now_ms=WALL_MS, recovery_point=point)
        return log, self.high_watermarks.get(name, 0)

    def delete(self, log: Log) -> None:
        self.journal.append(f"delete {log.directory.partition('.')[0]}")
        log.close(clean=False)
        self.storage.remove_directory(log.directory)


class Settings:
    """The topic's settings as the image and the broker's file (`static`) have them (see `TopicSettings`)."""

    def __init__(self, static: Mapping[str, str]) -> None:
        self._static = static

    def log_config(self, image: MetadataImage, topic: str) -> LogConfig:
        values = image.configs.topic(topic)
        return LogConfig(
            flush_messages=int(values.get("flush.messages", 2**63 - 1)),
            flush_ms=int(values.get("flush.ms", 2**63 - 1)),
            retention_ms=int(values.get("retention.ms", 604_800_000)),
            segment_bytes=int(values.get("segment.bytes", 1 << 30)),
        )

    def replication_settings(self, image: MetadataImage, topic: str) -> ReplicationSettings:
        values = image.configs.topic(topic)
        layers = ConfigLayers(values, {}, image.configs.cluster_defaults, self._static)
        min_isr = resolve(TOPIC_KEYS["min.insync.replicas"], layers).value
        assert isinstance(min_isr, int)
        return ReplicationSettings(
            min_insync_replicas=min_isr,
            replica_lag_time_max=LAG,
            sync_before_acknowledging=values.get("flush.messages") == "1",
        )


@dataclass
class Broker:
    """One process and its disk."""

    broker_id: int
    host: Host
    epoch: int = -1
    static: Mapping[str, str] = field(default_factory=dict)
    replicas: Replicas = field(init=False)
    sessions: ReplicaSessions = field(init=False)
    fetchers_told: list[LeaderFetcher] = field(init=False)
    cuts: list[Partition] = field(init=False)

    def __post_init__(self) -> None:
        self.fetchers_told = []
        self.cuts = []
        outbox = Outbox(lambda: None, self.cuts.append)
        settings = Settings(self.static)
        self.replicas = Replicas(self.broker_id, self.host, settings, outbox, self.fetchers_told.append)
        self.sessions = ReplicaSessions(1)


@dataclass
class Exchange:
    """One replica fetch: what was asked, and what came of it."""

    request: ReplicaFetch
    reply: ReplicaFetchReply | None
    content: bytes = b""


class Bench:
    """Brokers 1 to `count`, unfenced, without a topic. `now` is moved by hand. `controllers` and `brokers`
    are what stands in the files of either."""

    def __init__(
        self,
        count: int = 3,
        controllers: Mapping[str, str] = _NOTHING,
        brokers: Mapping[str, str] = _NOTHING,
    ) -> None:
        self.now = 100.0
        self.incarnations = 0
        self.controller = InstantController(
            ControllerConfig("cluster", leader_balance_interval=None, static=controllers),
            random.Random(1),
            self.now,
        )
        numbers = range(1, count + 1)
        self.brokers = {number: Broker(number, Host(number), static=brokers) for number in numbers}
        for number in self.brokers:
            self.register(number)
            self.unfence(number)

    # The controller.

    @property
    def image(self) -> MetadataImage:
        return self.controller.image

    def state(self, index: int = 0) -> PartitionImage:
        return self.image.topics.by_name["t"].partitions[index]

    def register(self, number: int, *, clean: bool = False) -> None:
        self.incarnations += 1
        broker = self.brokers[number]
        if broker.epoch >= 0:
            self.controller.ask(BrokerDisconnected(number, broker.epoch), self.now)
        reply = self.controller.ask(
            RegisterBroker(
                number,
                UUID(int=self.incarnations),
                "cluster",
                (Endpoint("PLAINTEXT", f"b{number}", 9092),),
                NodeEndpoint(f"b{number}", 9093),
                previous_broker_epoch=broker.epoch if clean else -1,
            ),
            self.now,
        )
        assert isinstance(reply, RegisterBrokerReply)
        broker.epoch = reply.broker_epoch

    def heartbeat(self, number: int, **wanted: bool) -> BrokerHeartbeatReply:
        reply = self.controller.ask(
            BrokerHeartbeat(number, self.brokers[number].epoch, self.image.offset, **wanted), self.now
        )
        assert isinstance(reply, BrokerHeartbeatReply)
        return reply

    def unfence(self, *numbers: int) -> None:
        for number in numbers:
            assert not self.heartbeat(number).is_fenced

    def fence(self, *numbers: int) -> None:
        for number in numbers:
            assert self.heartbeat(number, want_fence=True).is_fenced

    def create(
        self, *replicas: tuple[int, ...], name: str = "t", hear: bool = True, **configs: object
    ) -> None:
        """A topic with these replicas; configs with underscores for dots."""
        entries = tuple(ConfigEntry(key.replace("_", "."), str(value)) for key, value in configs.items())
        assignments = tuple(ReplicaAssignment(number, each) for number, each in enumerate(replicas))
        self.controller.ask(
            CreateTopics((NewTopic(name, assignments=assignments, configs=entries),)), self.now
        )
        assert name in self.image.topics
        if hear:
            self.hear()

    def delete_topic(self, name: str = "t") -> None:
        self.controller.ask(DeleteTopics((name,)), self.now)
        assert name not in self.image.topics

    def configure(self, name: str = "t", **configs: object) -> None:
        changes = tuple(
            ConfigAlteration(key.replace("_", "."), AlterConfigOp.SET, str(value))
            for key, value in configs.items()
        )
        resource = AlterConfigsResource(ConfigResourceType.TOPIC, name, changes)
        self.controller.ask(IncrementalAlterConfigs((resource,)), self.now)

    def elect_preferred(self) -> None:
        self.controller.ask(ElectLeaders(ElectionType.PREFERRED, None), self.now)

    # Brokers.

    def hear(self, *numbers: int) -> None:
        """Let brokers (all if none is named) apply the latest image."""
        for number in numbers or self.brokers:
            self.brokers[number].replicas.apply(self.image, self.now)

    def partition(self, number: int, index: int = 0, name: str = "t") -> Partition:
        return self.brokers[number].replicas.find(name, index)

    def leader(self, number: int, index: int = 0) -> Leader:
        return self.partition(number, index).leads()

    def restart(self, number: int, *, power_lost: bool = False, clean: bool = False) -> None:
        """Another process on the same disk; it registers, is unfenced and hears of the latest image."""
        host = self.brokers[number].host
        if power_lost:
            host.storage.crash()
        else:
            host.storage.kill()
        epoch = self.brokers[number].epoch
        self.brokers[number] = Broker(number, host, epoch, self.brokers[number].static)
        self.register(number, clean=clean)
        self.unfence(number)
        self.hear(number)

    # Clients.

    def produce(self, number: int, *values: bytes, acks: int = -1, index: int = 0, **producer: Any) -> Append:
        records = [(WALL_MS, None, value) for value in values or (b"v",)]
        batch = bytearray(build_batch(records, **producer))
        return self.partition(number, index).append(memoryview(batch), acks, self.now, WALL_MS)

    def awaiting(self, number: int, appended: Append, timeout: float = 5.0) -> Waiter | None:
        """Wait for the append; None if it is committed already."""
        waiter = Waiter()
        done = self.partition(number).await_commit(appended.last_offset + 1, self.now + timeout, waiter)
        return None if done else waiter

    def log_of(self, number: int, index: int = 0) -> list[tuple[int, int]]:
        """(base offset, epoch) of every batch in a broker's log."""
        log = self.partition(number, index).log
        found: list[tuple[int, int]] = []
        offset = log.start_offset
        while offset < log.end_offset:
            for _, header in headers(log.read(offset, 1 << 20, up_to=log.end_offset).bytes()):
                found.append((header.base_offset, header.partition_leader_epoch))
                offset = header.next_offset
        return found

    # Replica fetches.

    def ask(self, follower: int, leader: int, max_bytes: int = 1 << 20) -> Exchange:
        """The follower's next request, as the leader takes and answers it; the answer is not delivered."""
        asking, asked = self.brokers[follower], self.brokers[leader]
        request = asking.replicas.fetchers[leader].next_request(asking.epoch, self.now, 500, max_bytes)
        return self.serve(leader, ReplicaFetch.from_wire(_through_cbor(request.to_wire())), asked)

    def serve(self, leader: int, request: ReplicaFetch, asked: Broker | None = None) -> Exchange:
        asked = asked or self.brokers[leader]
        session = asked.sessions.receive(request, asked.replicas.by_key, self.now)
        collected = session.collect(request.max_bytes, patient=False)
        if collected is None:
            return Exchange(request, ReplicaFetchReply(ErrorCode.NONE, session.session_id, ()))
        reply, slices = collected
        return Exchange(request, reply, b"".join(records.bytes() for records in slices))

    def deliver(self, follower: int, leader: int, exchange: Exchange) -> None:
        assert exchange.reply is not None
        reply = ReplicaFetchReply.from_wire(_through_cbor(exchange.reply.to_wire()))
        self.brokers[follower].replicas.fetchers[leader].apply(reply, memoryview(exchange.content), self.now)

    def fetch(self, follower: int, leader: int, times: int = 1, max_bytes: int = 1 << 20) -> Exchange:
        """One replica fetch or several, there and back; returns the last."""
        for _ in range(times):
            exchange = self.ask(follower, leader, max_bytes)
            self.deliver(follower, leader, exchange)
        return exchange

    def lose_connection(self, follower: int, leader: int) -> None:
        self.brokers[follower].replicas.fetchers[leader].reset()

    # ISR changes.

    def proposals(self, number: int) -> list[tuple[Partition, IsrChange]]:
        """Take what the outbox wants sent."""
        broker = self.brokers[number]
        wanted = list(broker.replicas.outbox.isr_changes)
        broker.replicas.outbox.isr_changes.clear()
        changes = [(partition, partition.isr_change(broker.epoch)) for partition in wanted]
        return [(partition, change) for partition, change in changes if change is not None]

    def decide(self, number: int, change: IsrChange) -> AlterPartitionResult:
        """Let the controller decide; the answer is not delivered."""
        item = AlterPartitionItem(
            UUID(bytes=change.topic_id),
            change.partition,
            change.leader_epoch,
            change.partition_epoch,
            tuple(IsrMember(*member) for member in change.members),
        )
        reply = self.controller.ask(AlterPartition(number, self.brokers[number].epoch, (item,)), self.now)
        assert isinstance(reply, AlterPartitionReply)
        return reply.partitions[0]

    def answer(self, partition: Partition, change: IsrChange, result: AlterPartitionResult) -> None:
        if result.error_code is ErrorCode.NONE:
            partition.isr_changed(change, frozenset(result.isr), result.partition_epoch, self.now)
        else:
            partition.isr_change_refused(change, result.error_code, self.now)

    def alter(self, number: int) -> list[ErrorCode]:
        """Send what waits and deliver the answers; returns the errors."""
        errors = []
        for partition, change in self.proposals(number):
            result = self.decide(number, change)
            self.answer(partition, change, result)
            errors.append(result.error_code)
        return errors

    # Syncs.

    def sync(self, number: int) -> None:
        """Sync what the outbox wants synced."""
        broker = self.brokers[number]
        wanted = list(broker.replicas.outbox.unsynced)
        broker.replicas.outbox.unsynced.clear()
        ends = {partition: partition.log.end_offset for partition in wanted}
        for partition in wanted:
            for file in partition.log.files_to_sync():
                file.sync()
            broker.host.recovery_points[partition.log.directory] = partition.log.end_offset
        broker.replicas.synced(ends, self.now)


@pytest.fixture
def make_bench() -> Callable[..., Bench]:
    return Bench


@pytest.fixture
def bench() -> Bench:
    """Three brokers and the topic t, whose only partition is led by 1 and followed by 2 and 3."""
    made = Bench()
    made.create((1, 2, 3))
    return made


@pytest.fixture
def refused() -> Callable[..., ErrorCode]:
    """Calls something that must raise KafkaError; returns the code."""

    def call(action: Callable[..., object], *args: object, **keywords: object) -> ErrorCode:
        with pytest.raises(KafkaError) as caught:
            action(*args, **keywords)
        return caught.value.code

    return call
