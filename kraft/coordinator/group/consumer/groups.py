"""The KIP-848 groups of one shard."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.decision import Decision, LogRecord
from kraft.coordinator.group.commands import (
    NO_GENERATION,
    NOBODY,
    CommitOffsets,
    FetchOffsets,
    ListedGroup,
    MemberIdentity,
)
from kraft.coordinator.group.consumer.commands import (
    ConsumerHeartbeat,
    ConsumerHeartbeatReply,
    DescribedConsumer,
    DescribedConsumerGroup,
)
from kraft.coordinator.group.consumer.config import ConsumerGroupConfig, TimingOf
from kraft.coordinator.group.consumer.draft import Draft
from kraft.coordinator.group.consumer.formats import decode
from kraft.coordinator.group.consumer.group import ConsumerGroup
from kraft.coordinator.group.consumer.heartbeats import advance, find_member, updated
from kraft.coordinator.group.consumer.members import LEAVING_FOR_NOW, NOTHING, Member, Progress
from kraft.coordinator.group.consumer.records import EpochChange
from kraft.coordinator.group.consumer.timeouts import Timeouts, Wait
from kraft.coordinator.group.consumer.topics import Topics
from kraft.coordinator.group.outcome import Outcome
from kraft.coordinator.group.parts import in_parts, tombstone_size
from kraft.coordinator.group.subscriptions import CONSUMER_PROTOCOL_TYPE

TOMBSTONES = 3
"""Records that take a member back; see `Draft.remove`."""


class ConsumerGroupWorld(msgspec.Struct, frozen=True):
    """What KIP-848 groups need: settings, ids that nobody else ever gets, the topics there are, and the times
    of single groups."""

    config: ConsumerGroupConfig
    new_id: Callable[[], str]
    topics: Topics
    timing: TimingOf


class ConsumerGroups:
    """`on_lost(draft, member ids, now, now_ms)` decides what becomes of a group that loses members: they are
    taken out, or the group becomes a classic one."""

    def __init__(
        self, world: ConsumerGroupWorld, on_lost: Callable[[Draft, Collection[str], float, int], None]
    ) -> None:
        self.config = world.config
        self.topics = world.topics
        self.groups: dict[str, ConsumerGroup] = {}
        self.timeouts = Timeouts()
        self._new_id = world.new_id
        self._timing = world.timing
        self._on_lost = on_lost

    # -- what the log says ------------------------------------------------------------------------

    def replay(self, record: LogRecord) -> str | None:
        """Take a record in; returns the id of a group that it ended. Records of other kinds of groups are
        skipped. Raises KafkaError(CORRUPT_MESSAGE)."""
        change = decode(record.key, record.value)
        if change is None:
            return None
        group = self.groups.get(change.group_id)
        if isinstance(change, EpochChange) and change.value is None:
            self._forget(change.group_id)
            return change.group_id
        if group is None:
            if record.value is None:
                return None
            group = self.groups[change.group_id] = ConsumerGroup(change.group_id)
        group.apply(change)
        return None

    def _forget(self, group_id: str) -> None:
        group = self.groups.pop(group_id, None)
        if group is not None:
            for member_id in group.members:
                self.timeouts.forget(group_id, member_id)

    def loaded(self, now: float) -> None:
        """Every member gets its times anew."""
        for group in self.groups.values():
            for member in group.members.values():
                self.heard_of(group.group_id, member, now)
                if member.classic is None:
                    progress = group.progress_of(member.member_id)
                    self.expect_revocation(group.group_id, member, progress, now)

    # -- time -------------------------------------------------------------------------------------

    def heard_of(self, group_id: str, member: Member, now: float) -> None:
        """The member lives: its session begins anew."""
        classic = member.classic
        own = self._timing(group_id).session_timeout_ms
        timeout_ms = own if classic is None else classic.session_timeout_ms
        self.timeouts.expect(group_id, member.member_id, Wait.HEARTBEAT, now + timeout_ms / 1000)

    def expect_revocation(self, group_id: str, member: Member, progress: Progress, now: float) -> None:
        """Give the member its time, if it has to give partitions up."""
        deadline = now + member.rebalance_timeout_ms / 1000
        self.timeouts.expect_revocation(group_id, member.member_id, progress, deadline)

    def tick(self, now: float, now_ms: int, bytes_at_once: int) -> Iterator[Decision[None]]:
        """Members that were too late are out, as many of a group together as fit into one decision: each
        look at a group of thousands takes its time."""
        for group_id, member_ids in self._late(now).items():
            for part in _parts(group_id, member_ids, bytes_at_once):
                late = [each for each in part if self._is_member(group_id, each)]
                if late:
                    out = Outcome()
                    self.lose(self.draft(group_id, out), late, now, now_ms)
                    yield out.decision(None)

    def _late(self, now: float) -> dict[str, list[str]]:
        late: dict[str, dict[str, None]] = {}
        for due in self.timeouts.due(now):
            late.setdefault(due.group_id, {})[due.member_id] = None  # it may be late with several things
        return {group_id: list(member_ids) for group_id, member_ids in late.items()}

    def _is_member(self, group_id: str, member_id: str) -> bool:
        group = self.groups.get(group_id)
        return group is not None and member_id in group.members

    def lose(self, draft: Draft, member_ids: Collection[str], now: float, now_ms: int) -> None:
        """Members are gone."""
        self._on_lost(draft, member_ids, now, now_ms)
        for member_id in member_ids:
            self.timeouts.forget(draft.group_id, member_id)

    # -- heartbeats -------------------------------------------------------------------------------

    def draft(self, group_id: str, out: Outcome) -> Draft:
        """For changes of a group, a new one if there is none."""
        return Draft(self.groups.get(group_id) or ConsumerGroup(group_id), self.topics, out)

    def heartbeat(
        self, draft: Draft, command: ConsumerHeartbeat, now: float, now_ms: int
    ) -> ConsumerHeartbeatReply:
        """A member of the group, or one that joins it, sends a heartbeat that was checked. Raises
        KafkaError: see `find_member`, and GROUP_MAX_SIZE_REACHED."""
        self.check_room(draft.group, command.member_id)
        member_id = command.member_id or self._new_id()
        known = find_member(draft, command, member_id)
        before = draft.group.progress_of(member_id)
        member = updated(known, command)
        advance(draft, known, member, self.topics, now_ms)
        draft.retarget(self.config.assignors[0])
        draft.reconcile(member_id, command.owned)
        progress = draft.group.progress_of(member_id)
        self._note_life(draft.group_id, member, before, progress, now)
        told = progress.assigned if command.is_full or progress.assigned != before.assigned else None
        interval_ms = self._timing(draft.group_id).heartbeat_interval_ms
        return ConsumerHeartbeatReply(member_id, progress.epoch, interval_ms, told)

    def _note_life(
        self, group_id: str, member: Member, before: Progress, progress: Progress, now: float
    ) -> None:
        self.heard_of(group_id, member, now)
        self.timeouts.met(group_id, member.member_id, Wait.JOIN)
        self.timeouts.met(group_id, member.member_id, Wait.SYNC)
        if progress != before:
            self.expect_revocation(group_id, member, progress, now)

    def check_room(self, group: ConsumerGroup, member_id: str) -> None:
        """Raises KafkaError(GROUP_MAX_SIZE_REACHED)."""
        if len(group.members) >= self.config.max_size and member_id not in group.members:
            raise KafkaError(
                ErrorCode.GROUP_MAX_SIZE_REACHED,
                f"The consumer group has reached its maximum capacity of {self.config.max_size} members.",
            )

    def leave(
        self, draft: Draft, command: ConsumerHeartbeat, now: float, now_ms: int
    ) -> ConsumerHeartbeatReply:
        """A member goes; a static one may keep its place while it is away. Raises KafkaError:
        UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID."""
        member = draft.group.check_member(command.member_id, command.instance_id)
        if command.epoch == LEAVING_FOR_NOW:
            progress = draft.group.progress_of(member.member_id)
            away = replace(progress, epoch=LEAVING_FOR_NOW, revoking=NOTHING)
            draft.put_progress(member.member_id, away)
            self.timeouts.met(draft.group_id, member.member_id, Wait.REVOKE)
        else:
            self.lose(draft, [member.member_id], now, now_ms)
        return ConsumerHeartbeatReply(member.member_id, command.epoch)

    # -- offsets ----------------------------------------------------------------------------------

    def check_commit(self, command: CommitOffsets) -> None:
        """Whether the member may commit. Raises KafkaError: UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH,
        UNSUPPORTED_VERSION (a version that cannot say member epochs), ILLEGAL_GENERATION (of a member that
        speaks the classic protocol, and in a transaction)."""
        group = self.groups[command.group_id]
        if command.generation < 0 and not group.members:
            return
        transactional = command.producer is not None
        if transactional and command.generation == NO_GENERATION:
            who = MemberIdentity(command.member_id, command.instance_id)
            if who == NOBODY:
                return  # the producer knows the group alone, which has always been enough in a transaction
        member = group.check_member(command.member_id, None)
        if not (transactional or member.classic is not None or command.tells_missing_group):
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, "OffsetCommit 9 or later is needed")
        _check_member_epoch(group, member, command.generation, transactional=transactional)

    def check_fetch(self, command: FetchOffsets) -> None:
        """Whether the member may ask for offsets; whoever is none may. Raises KafkaError: UNKNOWN_MEMBER_ID,
        STALE_MEMBER_EPOCH, ILLEGAL_GENERATION."""
        if command.member_id is None and command.member_epoch == NO_GENERATION:
            return
        group = self.groups[command.group_id]
        member = group.check_member(command.member_id or "", None)
        _check_member_epoch(group, member, command.member_epoch, transactional=False)

    def topics_of(self, group_id: str) -> Collection[str]:
        """What any member subscribes to, whose offsets stay. Takes a look at every member: ask once."""
        return self.groups[group_id].subscribed()

    # -- administration ---------------------------------------------------------------------------

    def has(self, group_id: str) -> bool:
        return group_id in self.groups

    def is_empty(self, group_id: str) -> bool:
        """Whether the group has no members: then it may be deleted."""
        return not self.groups[group_id].members

    def delete(self, group_id: str, out: Outcome) -> None:
        """Write that the group is gone."""
        self.draft(group_id, out).delete(out)

    def listed(self) -> list[ListedGroup]:
        """All of them."""
        return [
            ListedGroup(group.group_id, CONSUMER_PROTOCOL_TYPE, group.state, "consumer")
            for group in self.groups.values()
        ]

    def describe(self, group_id: str) -> DescribedConsumerGroup:
        """A group that is there."""
        group = self.groups[group_id]
        members = tuple(
            DescribedConsumer(
                member,
                group.progress_of(member.member_id),
                group.targets.get(member.member_id, NOTHING),
            )
            for member in group.members.values()
        )
        assignor = group.assignor(self.config.assignors[0])
        return DescribedConsumerGroup(
            group_id, group.state, group.epoch, group.target_epoch, assignor, members
        )


def _parts(group_id: str, member_ids: list[str], bytes_at_once: int) -> Iterator[Sequence[str]]:
    def size(member_id: str) -> int:
        return TOMBSTONES * tombstone_size(group_id, member_id)

    return in_parts(member_ids, size, bytes_at_once)


def _check_member_epoch(group: ConsumerGroup, member: Member, epoch: int, *, transactional: bool) -> None:
    expected = group.progress_of(member.member_id).epoch
    if epoch != expected:
        code = (
            ErrorCode.ILLEGAL_GENERATION
            if member.classic is not None or transactional
            else ErrorCode.STALE_MEMBER_EPOCH
        )
        raise KafkaError(code, f"the member's epoch is {expected}, not {epoch}")
