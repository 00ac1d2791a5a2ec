"""The group coordinator of one partition of `__consumer_offsets`: groups of every kind, and their offsets
(Kafka's `GroupCoordinatorShard`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.decision import Decision, LogRecord, TransactionMarker
from kraft.coordinator.group.classic import ClassicGroups
from kraft.coordinator.group.classic_group import ClassicGroup, Empty, Stable
from kraft.coordinator.group.commands import (
    CommitOffsets,
    DeleteOffsets,
    DescribedGroup,
    DescribedMember,
    FetchedOffsets,
    FetchOffsets,
    Heartbeat,
    JoinGroup,
    JoinReply,
    LeaveGroup,
    LeaveReply,
    ListedGroup,
    MemberIdentity,
    SyncGroup,
    SyncReply,
)
from kraft.coordinator.group.config import GroupConfig
from kraft.coordinator.group.consumer.commands import (
    ConsumerHeartbeat,
    ConsumerHeartbeatReply,
    DescribedConsumerGroup,
)
from kraft.coordinator.group.consumer.config import TimingOf
from kraft.coordinator.group.consumer.groups import ConsumerGroupWorld
from kraft.coordinator.group.consumer.migration import Migration
from kraft.coordinator.group.consumer.topics import Topics
from kraft.coordinator.group.formats import (
    GroupKey,
    OffsetKey,
    OtherKey,
    decode_group,
    decode_key,
    encode_group_key,
)
from kraft.coordinator.group.offsets import Offsets
from kraft.coordinator.group.outcome import Outcome
from kraft.coordinator.group.parts import BYTES_AT_ONCE, in_parts, tombstone_size

DEFAULT_ROOM: Final = 1_000_000
"""Somewhat less than the default of `max.message.bytes`."""


class GroupShard:
    """See the module, and `Shard`. `new_id` makes member ids unique; `topics` are those that there are, kept
    up to date by others; `room` says how many bytes of records fit into one decision (`size_of`), `timing`
    the times of KIP-848 groups, those of `config` by default."""

    def __init__(
        self,
        config: GroupConfig,
        new_id: Callable[[], str],
        topics: Topics | None = None,
        room: Callable[[], int] = lambda: DEFAULT_ROOM,
        timing: TimingOf | None = None,
    ) -> None:
        self.config = config
        self.classic = ClassicGroups(config, new_id, room)
        self.offsets = Offsets(config)
        consumer = config.consumer
        world = ConsumerGroupWorld(consumer, new_id, topics or Topics(), timing or consumer.timing)
        self.migration = Migration(self.classic, world)
        self.consumer = self.migration.consumer
        self._sessions = self.classic.rebalancing.timers
        self._loading = True
        self._look_at = 0.0
        self._deleted_topics: set[str] = set()

    # -- Shard ------------------------------------------------------------------------------------

    def replay(self, record: LogRecord) -> None:
        """See `Shard`."""
        key = decode_key(record.key)
        match key:
            case OffsetKey():
                self.offsets.replay(key, record)
                if record.value is not None and not record.transactional:
                    self._ensure(key.group_id)
            case GroupKey(group_id):
                self._replay_group(group_id, record.value)
            case OtherKey():
                ended = self.consumer.replay(record)
                if ended is not None and self.offsets.has(ended):
                    self.classic.ensure(ended)

    def _replay_group(self, group_id: str, value: bytes | None) -> None:
        if value is None:
            self.classic.forget(group_id)
        elif self._loading or group_id not in self.classic.groups:
            self.classic.restore(group_id, decode_group(value))
        else:
            # The decision that wrote it has changed the group already; only members' soft state is newer.
            self.classic.written(group_id)

    def _ensure(self, group_id: str) -> None:
        if not self.consumer.has(group_id):
            self.classic.ensure(group_id)

    def replay_marker(self, marker: TransactionMarker) -> None:
        """See `Shard`."""
        for group_id in self.offsets.replay_marker(marker):
            self._ensure(group_id)

    def loaded(self, now: float, now_ms: int) -> None:
        """See `Shard`."""
        self._loading = False
        # A group may be known by offsets alone when its own records were taken for another kind's.
        for group_id in tuple(self.classic.groups):
            if self.consumer.has(group_id):
                self.classic.forget(group_id)
        self.classic.loaded(now, now_ms)
        self.consumer.loaded(now)
        self._look_at = now + self.config.retention_check_interval_ms / 1000

    def next_deadline(self) -> float:
        """See `Shard`."""
        if self._deleted_topics:
            return 0.0
        return min(self._sessions.earliest, self.consumer.timeouts.timers.earliest, self._look_at)

    def tick(self, now: float, now_ms: int) -> Iterator[Decision[Any]]:
        """See `Shard`."""
        yield from self.classic.tick(now, now_ms)
        yield from self.consumer.tick(now, now_ms, self._bytes_at_once())
        if self._deleted_topics:
            deleted, self._deleted_topics = self._deleted_topics, set()
            yield from self._forget(self.offsets.keys_in(deleted))
        if now >= self._look_at:
            self._look_at = now + self.config.retention_check_interval_ms / 1000
            yield from self._expire(now_ms)

    # -- members ----------------------------------------------------------------------------------

    def join(self, command: JoinGroup, now: float, now_ms: int) -> Decision[JoinReply]:
        """See `ClassicGroups.join`."""
        if self.consumer.has(command.group_id):
            return self.migration.join(command, now, now_ms)
        return self.classic.join(command, now, now_ms)

    def sync(self, command: SyncGroup, now: float, now_ms: int) -> Decision[SyncReply]:
        """See `ClassicGroups.sync`."""
        if self.consumer.has(command.group_id):
            return self.migration.members.sync(command, now, now_ms)
        return self.classic.sync(command, now, now_ms)

    def heartbeat(self, command: Heartbeat, now: float) -> ErrorCode:
        """See `ClassicGroups.heartbeat`."""
        if command.group_id in self.consumer.groups:
            return self.migration.members.heartbeat(command, now)
        return self.classic.heartbeat(command, now)

    def leave(self, command: LeaveGroup, now: float, now_ms: int) -> Decision[LeaveReply]:
        """See `ClassicGroups.leave`."""
        if self.consumer.has(command.group_id):
            return self.migration.members.leave(command, now, now_ms)
        return self.classic.leave(command, now, now_ms)

    def consumer_heartbeat(
        self, command: ConsumerHeartbeat, now: float, now_ms: int
    ) -> Decision[ConsumerHeartbeatReply]:
        """See `Migration.heartbeat`."""
        return self.migration.heartbeat(command, now, now_ms)

    # -- offsets ----------------------------------------------------------------------------------

    def commit(self, command: CommitOffsets, now: float, now_ms: int) -> Decision[tuple[ErrorCode, ...]]:
        """Commit what can be; the reply has a code for each offset. Raises KafkaError with the code of all of
        them."""
        if self.consumer.has(command.group_id):
            self.consumer.check_commit(command)
        else:
            self._check_commit(command, now)
        out = Outcome()
        codes = self.offsets.commit(command, out, now_ms)
        return Decision(tuple(out.records), codes, producer=command.producer if out.records else None)

    def _check_commit(self, command: CommitOffsets, now: float) -> None:
        group = self.classic.groups.get(command.group_id)
        if group is None:
            # Whoever is no member and commits makes a group without members of it.
            if command.generation >= 0:
                raise KafkaError(
                    ErrorCode.GROUP_ID_NOT_FOUND
                    if command.tells_missing_group
                    else ErrorCode.ILLEGAL_GENERATION
                )
            return
        who = MemberIdentity(command.member_id, command.instance_id)
        member = group.check_commit(command.generation, who, transactional=command.producer is not None)
        if member is not None:
            self.classic.committed(group, member, now)

    def fetch(self, command: FetchOffsets, now: float, now_ms: int) -> FetchedOffsets:
        """What is committed; -1 where nothing is, and for a group that is not there. Raises KafkaError in a
        KIP-848 group."""
        del now, now_ms
        if self.consumer.has(command.group_id):
            self.consumer.check_fetch(command)
        return self.offsets.fetch(command)

    def delete_offsets(
        self, command: DeleteOffsets, now: float, now_ms: int
    ) -> Decision[tuple[ErrorCode, ...]]:
        """Forget offsets; the reply has a code for each partition. Raises KafkaError: GROUP_ID_NOT_FOUND,
        NON_EMPTY_GROUP (members whose topics are not known)."""
        del now, now_ms
        uses_topic = self._topics_in_use(command.group_id)
        out = Outcome()
        codes = []
        known = frozenset(self.offsets.keys_of(command.group_id))
        for topic, partition in command.partitions:
            if uses_topic(topic):
                codes.append(ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC)
                continue
            key = OffsetKey(command.group_id, topic, partition)
            if key in known:
                self.offsets.forget([key], out)
            codes.append(ErrorCode.NONE)
        return out.decision(tuple(codes))

    def _topics_in_use(self, group_id: str) -> Callable[[str], bool]:
        if self.consumer.has(group_id):
            return self.consumer.topics_of(group_id).__contains__
        group = self.classic.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND)
        if not isinstance(group.state, Empty) and not group.uses_consumer_protocol:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP)
        return group.uses_topic

    # -- administration ---------------------------------------------------------------------------

    def describe(self, group_id: str, now: float, now_ms: int) -> DescribedGroup:
        """A classic group; it is "Dead", with GROUP_ID_NOT_FOUND, if there is none."""
        del now, now_ms
        group = self.classic.groups.get(group_id)
        if group is None:
            return DescribedGroup(group_id, "Dead", error=ErrorCode.GROUP_ID_NOT_FOUND)
        stable = isinstance(group.state, Stable)
        protocol = (group.protocol or "") if stable else ""
        members = tuple(
            DescribedMember(
                each.member_id,
                each.instance_id,
                each.client_id,
                each.client_host,
                each.metadata(group.protocol) if stable else b"",
                each.assignment if stable else b"",
            )
            for each in group.members.values()
        )
        return DescribedGroup(group_id, group.state.name, group.protocol_type or "", protocol, members)

    def describe_consumer(self, group_id: str, now: float, now_ms: int) -> DescribedConsumerGroup:
        """A group of the new protocol; with GROUP_ID_NOT_FOUND if there is none of this kind."""
        del now, now_ms
        if not group_id:
            return DescribedConsumerGroup(group_id, error=ErrorCode.INVALID_GROUP_ID)
        if self.consumer.has(group_id):
            return self.consumer.describe(group_id)
        # Java's client shows this text also where it turns out that there is no group of either kind.
        reason = "is not a consumer group" if group_id in self.classic.groups else "not found"
        message = f"Group {group_id} {reason}."
        return DescribedConsumerGroup(group_id, error=ErrorCode.GROUP_ID_NOT_FOUND, message=message)

    def listed(
        self, states: Collection[str], kinds: Collection[str], now: float, now_ms: int
    ) -> list[ListedGroup]:
        """The groups in one of `states` and of one of `kinds` (lower case), where any are given."""
        del now, now_ms
        every = [
            ListedGroup(group.group_id, group.protocol_type or "", group.state.name, "classic")
            for group in self.classic.groups.values()
        ]
        every += self.consumer.listed()
        return [
            each
            for each in every
            if (not states or each.state.lower() in states) and (not kinds or each.kind in kinds)
        ]

    def delete(self, group_id: str, now: float, now_ms: int) -> Decision[bool]:
        """Delete a group without members; False: there were so many offsets that it has to be asked for
        again. Raises KafkaError: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP."""
        del now, now_ms
        if not self._is_empty(group_id):
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP)
        out = Outcome()
        batches = self._batches(self.offsets.keys_of(group_id))
        self.offsets.forget(next(batches, ()), out)
        last = next(batches, None) is None
        if last:
            self._delete(group_id, out)
        return out.decision(last)

    def _is_empty(self, group_id: str) -> bool:
        if self.consumer.has(group_id):
            return self.consumer.is_empty(group_id)
        group = self.classic.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND)
        return isinstance(group.state, Empty) and not group.pending

    def _delete(self, group_id: str, out: Outcome) -> None:
        if self.consumer.has(group_id):
            self.consumer.delete(group_id, out)
        else:
            out.write(encode_group_key(group_id), None)

    # -- what goes by itself ----------------------------------------------------------------------

    def topics_deleted(self, topics: Collection[str]) -> None:
        """Soft: the next tick takes back the offsets of these topics."""
        self._deleted_topics.update(topics)

    def _forget(self, keys: list[OffsetKey]) -> Iterator[Decision[None]]:
        for batch in self._batches(keys):
            out = Outcome()
            self.offsets.forget(batch, out)
            yield out.decision(None)

    def _expire(self, now_ms: int) -> Iterator[Decision[None]]:
        """Offsets that have had their time, and then groups that have nothing left."""
        every = (*self.offsets.groups(), *self.consumer.groups, *self.classic.groups)
        for group_id in dict.fromkeys(every):
            if self.consumer.has(group_id):
                in_use = self._topics_in_use(group_id)
                yield from self._forget(self.offsets.expired(group_id, now_ms, in_use, None))
                if self.consumer.is_empty(group_id) and not self.offsets.has(group_id):
                    out = Outcome()
                    self._delete(group_id, out)
                    yield out.decision(None)
                continue
            group = self.classic.groups.get(group_id)
            if group is None:
                continue
            yield from self._forget(self._expired_of(group, now_ms))
            if isinstance(group.state, Empty) and not group.pending and not self.offsets.has(group_id):
                out = Outcome()
                self._delete(group_id, out)
                yield out.decision(None)

    def _expired_of(self, group: ClassicGroup, now_ms: int) -> list[OffsetKey]:
        """`ClassicGroup.offsetExpirationCondition`: with members, only what none of them subscribes to;
        without, everything, counted from when the last one left."""
        if isinstance(group.state, Empty):
            since = group.since_ms if group.protocol_type is not None and group.since_ms >= 0 else None
            return self.offsets.expired(group.group_id, now_ms, lambda _: False, since)
        if isinstance(group.state, Stable) and group.uses_consumer_protocol and group.topics is not None:
            return self.offsets.expired(group.group_id, now_ms, group.uses_topic, None)
        return []

    def _batches(self, keys: Sequence[OffsetKey]) -> Iterator[Sequence[OffsetKey]]:
        """`keys` in parts whose records fit into a batch."""
        return in_parts(keys, lambda each: tombstone_size(each.group_id, each.topic), self._bytes_at_once())

    def _bytes_at_once(self) -> int:
        return min(BYTES_AT_ONCE, self.classic.room() // 2)
