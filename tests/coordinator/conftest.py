"""A coordinator's partition on a log in memory, and a clock that goes where a test wants it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import ControlType
from kraft.coordinator.decision import Decision, LogRecord, Ticket, TransactionMarker
from kraft.coordinator.group.commands import (
    CommitOffsets,
    DescribedGroup,
    FetchOffsets,
    Heartbeat,
    JoinGroup,
    LeaveGroup,
    MemberIdentity,
    NewOffset,
    Protocol,
    SyncGroup,
)
from kraft.coordinator.group.config import GroupConfig
from kraft.coordinator.group.consumer.commands import ConsumerHeartbeat
from kraft.coordinator.group.consumer.config import ConsumerGroupConfig, Timing
from kraft.coordinator.group.consumer.topics import Topic, Topics
from kraft.coordinator.group.shard import GroupShard
from logstore.config import LogConfig
from logstore.log import Log
from logstore.memory import MemoryStorage
from metadata.image import PartitionImage
from replication.outbox import Outbox
from replication.partition import Partition
from replication.settings import ReplicationSettings

NOW_MS = 1_700_000_000_000
TOPIC_ID = b"\x07" * 16


class ManualClock:
    """See `kraft.clock.Clock`; moves with `advance` alone."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.now_ms = NOW_MS

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.now_ms += round(seconds * 1000)


class Replica:
    """One replica on broker 0 of a partition of an internal topic, and who leads it.

    With more than one replica nothing is committed before `follow` says that broker 1 has it.
    """

    def __init__(
        self,
        topic: str,
        clock: ManualClock,
        *,
        index: int = 0,
        replicas: int = 1,
        config: LogConfig | None = None,
        min_isr: int = 1,
    ) -> None:
        self.storage = MemoryStorage(random.Random(7))
        self.storage.make_directory("/data")
        self.clock = clock
        self.replicas = tuple(range(replicas))
        log = Log.open(self.storage, f"/data/{topic}-{index}", config or LogConfig(), now_ms=clock.wall_ms())
        settings = ReplicationSettings(min_insync_replicas=min_isr)
        self.partition = Partition(topic, (TOPIC_ID, index), log, 0, settings, Outbox(lambda: None))
        self.epoch = 0
        self._partition_epoch = 0

    def lead(self, isr: tuple[int, ...] | None = None) -> None:
        """Broker 0 is elected, under a new epoch."""
        self.epoch += 1
        self._become(0, self.replicas if isr is None else isr)

    def lose(self) -> None:
        """Broker 1 is elected."""
        self.epoch += 1
        self._become(1, self.replicas)

    def shrink(self, *isr: int) -> None:
        """The ISR is this, under the same leader."""
        self._become(0, isr)

    def _become(self, leader: int, isr: tuple[int, ...]) -> None:
        self._partition_epoch += 1
        image = PartitionImage(self.replicas, isr, leader, self.epoch, self._partition_epoch)
        self.partition.update(image, lambda _: 1, self.clock.monotonic())

    def follow(self, end: int | None = None) -> None:
        """Broker 1 fetches: it has everything before `end`, all of it by default, and that is committed."""
        end = self.partition.log.end_offset if end is None else end
        now = self.clock.monotonic()
        self.partition.fetched_by(1, 1, self.epoch, end, self.partition.log.latest_epoch, now)

    def expire(self) -> None:
        """Let who waited too long for followers know."""
        self.partition.tick(self.clock.monotonic())


MakeReplica = Callable[..., Replica]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make_replica(clock: ManualClock) -> MakeReplica:
    """Makes a `Replica`: (topic, index=, replicas=, config=, min_isr=)."""

    def make(topic: str, **options: object) -> Replica:
        return Replica(topic, clock, **options)  # type: ignore[arg-type]

    return make


class Waiting:
    """A reply that has come or will come."""

    def __init__(self) -> None:
        self.replies: list[Any] = []

    @property
    def reply(self) -> Any:
        """The one reply."""
        (reply,) = self.replies
        return reply

    @property
    def open(self) -> bool:
        return not self.replies


def topic_id(name: str) -> bytes:
    return name.encode().rjust(16, b"\0")


class GroupWorld:
    """A group shard as its runtime keeps it, but that everything is committed at once.

    `log` is what was written, so that `reload` can make a shard of it. Errors are replies too.
    """

    def __init__(self, clock: ManualClock, config: GroupConfig, room: int) -> None:
        self.clock = clock
        self.config = config
        self.room = room
        self.timings: dict[str, Timing] = {}
        self._ids = itertools.count(1)
        self.topics = Topics()
        self.log: list[LogRecord | TransactionMarker] = []
        self.tickets: dict[Ticket, Waiting] = {}
        self.shard = self.empty_shard()
        self.shard.loaded(clock.now, clock.now_ms)

    def empty_shard(self) -> GroupShard:
        return GroupShard(
            self.config, lambda: f"id{next(self._ids)}", self.topics, lambda: self.room, self.timing
        )

    def timing(self, group_id: str) -> Timing:
        return self.timings.get(group_id) or self.config.consumer.timing(group_id)

    def replayed(self) -> GroupShard:
        """A shard that knows the log alone."""
        shard = self.empty_shard()
        for entry in self.log:
            if isinstance(entry, LogRecord):
                shard.replay(entry)
            else:
                shard.replay_marker(entry)
        shard.loaded(self.clock.now, self.clock.now_ms)
        return shard

    def reload(self) -> None:
        """Another broker takes over; whoever waited is forgotten."""
        self.tickets.clear()
        self.shard = self.replayed()

    def do(self, decide: Callable[..., Decision[Any]], *command: Any) -> Waiting:
        """Let a method of the shard, or of another like it, decide."""
        waiting = Waiting()
        try:
            decision = decide(*command, self.clock.now, self.clock.now_ms)
        except KafkaError as error:
            waiting.replies.append(error.code)
            return waiting
        self._apply(decision, waiting)
        return waiting

    def _apply(self, decision: Decision[Any], waiting: Waiting) -> None:
        for record in decision.records:
            producer = decision.producer
            written = LogRecord(
                record.key,
                record.value,
                self.clock.now_ms,
                len(self.log),
                producer.producer_id if producer else -1,
                producer.producer_epoch if producer else -1,
                producer is not None,
            )
            self.log.append(written)
            self.shard.replay(written)
        if isinstance(decision.reply, Ticket):
            self.tickets[decision.reply] = waiting
        else:
            waiting.replies.append(decision.reply)
        for answer in decision.answers:
            self.tickets.pop(answer.ticket).replies.append(answer.reply)

    def end_transaction(self, kind: ControlType, producer_id: int) -> None:
        marker = TransactionMarker(kind, producer_id, 0, 0)
        self.log.append(marker)
        self.shard.replay_marker(marker)

    def tick(self) -> None:
        for decision in self.shard.tick(self.clock.now, self.clock.now_ms):
            self._apply(decision, Waiting())

    def pass_time(self, seconds: float, *, step: float = 0.5) -> None:
        """Let time go by, in steps, as a runtime would see it."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.advance(min(step, end - self.clock.now))
            self.tick()

    # -- commands ---------------------------------------------------------------------------------

    def join(self, member_id: str = "", group_id: str = "g", **fields: Any) -> Waiting:
        protocols = fields.pop("protocols", {"range": b""})
        values: dict[str, Any] = {
            "instance_id": None,
            "client_id": "app",
            "client_host": "/10.0.0.1",
            "session_timeout_ms": 10_000,
            "rebalance_timeout_ms": 60_000,
            "protocol_type": "consumer",
            "protocols": tuple(Protocol(name, data) for name, data in protocols.items()),
        }
        return self.do(self.shard.join, JoinGroup(group_id, member_id, **{**values, **fields}))

    def enter(self, **fields: Any) -> tuple[str, Waiting]:
        """Join as a new member does: ask for an id, and come again with it."""
        first = self.join(**fields).reply
        assert first.error is ErrorCode.MEMBER_ID_REQUIRED
        return first.member_id, self.join(first.member_id, **fields)

    def sync(self, member_id: str, generation: int, group_id: str = "g", **fields: Any) -> Waiting:
        return self.do(self.shard.sync, SyncGroup(group_id, generation, member_id, **fields))

    def heartbeat(self, member_id: str, generation: int, instance_id: str | None = None) -> ErrorCode:
        command = Heartbeat("g", generation, member_id, instance_id)
        try:
            return self.shard.heartbeat(command, self.clock.now)
        except KafkaError as error:
            return error.code

    def leave(self, *members: tuple[str, str | None], group_id: str = "g") -> Any:
        identities = tuple(MemberIdentity(*each) for each in members)
        return self.do(self.shard.leave, LeaveGroup(group_id, identities)).reply

    def commit(self, topic: str = "t", partition: int = 0, offset: int = 1, **fields: Any) -> Any:
        metadata = fields.pop("metadata", "")
        group_id = fields.pop("group_id", "g")
        offsets = (NewOffset(topic, partition, offset, 0, metadata),)
        reply = self.do(self.shard.commit, CommitOffsets(group_id, offsets, **fields)).reply
        return reply[0] if isinstance(reply, tuple) else reply

    def committed(self, topic: str = "t", partition: int = 0, group_id: str = "g", **fields: Any) -> int:
        """The committed offset, -1 if there is none."""
        command = FetchOffsets(group_id, ((topic, (partition,)),), **fields)
        ((_, (found,)),) = self.shard.fetch(command, self.clock.now, self.clock.now_ms)
        return found.offset

    def describe(self, group_id: str = "g") -> DescribedGroup:
        return self.shard.describe(group_id, self.clock.now, self.clock.now_ms)

    # -- KIP-848 groups ---------------------------------------------------------------------------

    def set_topics(self, **partitions: int) -> None:
        """These topics exist, with so many partitions each; nothing is forgotten."""
        for name, count in partitions.items():
            self.topics.put(Topic(name, topic_id(name), count))
        self.topics.version += 1

    def beat(self, member_id: str, epoch: int, group_id: str = "g", **fields: Any) -> Any:
        """A heartbeat of a KIP-848 group; `owned` is a list of (topic name, partition)."""
        owned = fields.pop("owned", None)
        if owned is not None:
            fields["owned"] = frozenset((topic_id(name), number) for name, number in owned)
        command = ConsumerHeartbeat(group_id, member_id, epoch, **fields)
        return self.do(self.shard.consumer_heartbeat, command).reply

    def come(self, member_id: str, topics: tuple[str, ...] | None = ("t",), **fields: Any) -> Any:
        """Join a KIP-848 group."""
        return self.beat(
            member_id, 0, **{"topics": topics, "owned": [], "rebalance_timeout_ms": 30_000, **fields}
        )

    # -- scenes -----------------------------------------------------------------------------------

    def settle(self, **fields: Any) -> tuple[str, int]:
        """A stable group of one; returns its member and generation."""
        member_id, joining = self.enter(**fields)
        generation = joining.reply.generation
        synced = self.sync(member_id, generation, assignments={member_id: b"all"})
        assert synced.reply.error is ErrorCode.NONE
        return member_id, generation


@pytest.fixture
def make_groups(clock: ManualClock) -> Callable[..., GroupWorld]:
    """Makes a `GroupWorld` with so much room for a decision's records; keywords of `GroupConfig`, and as a
    dictionary `consumer` of its part."""

    def make(room: int = 1_000_000, **fields: Any) -> GroupWorld:
        fields["consumer"] = ConsumerGroupConfig(**fields.pop("consumer", {}))
        return GroupWorld(clock, GroupConfig(**{"initial_rebalance_delay_ms": 0, **fields}), room)

    return make


@pytest.fixture
def groups(make_groups: Callable[..., GroupWorld]) -> GroupWorld:
    """Groups that do not wait for more members before their first rebalance."""
    return make_groups()
