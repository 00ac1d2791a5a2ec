"""Members of a KIP-848 group that still speak the classic protocol, while the group is being migrated.

To such a member a generation is its own epoch, and a rebalance is over at once: JoinGroup takes its next step
and is answered without waiting for the others; SyncGroup tells what it has then. Its heartbeats tell it when
to join again. Error codes, and their order, are those of Kafka's
`GroupMetadataManager.classicGroup…ToConsumerGroup`.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from kafkawire.consumer_protocol import (
    MalformedProtocolError,
    Subscription,
    read_subscription,
    write_assignment,
)
from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.decision import Decision
from kraft.coordinator.group.commands import (
    UNKNOWN_MEMBER,
    Heartbeat,
    JoinGroup,
    JoinReply,
    LeaveGroup,
    LeaveReply,
    MemberIdentity,
    SyncGroup,
    SyncReply,
)
from kraft.coordinator.group.consumer.draft import Draft
from kraft.coordinator.group.consumer.group import ConsumerGroup
from kraft.coordinator.group.consumer.groups import ConsumerGroups
from kraft.coordinator.group.consumer.heartbeats import advance
from kraft.coordinator.group.consumer.members import (
    Assignment,
    ClassicMember,
    Member,
    MemberState,
    Progress,
    by_topic,
)
from kraft.coordinator.group.consumer.timeouts import Wait
from kraft.coordinator.group.consumer.topics import Topics
from kraft.coordinator.group.outcome import Outcome
from kraft.coordinator.group.subscriptions import CONSUMER_PROTOCOL_TYPE


class ClassicMembers:
    """`new_id` makes member ids. `downgrade(draft, rebalances, now, now_ms)` makes the group a classic
    one if the static member that was replaced was the last to speak the new protocol; returns whether it
    did."""

    def __init__(
        self,
        groups: ConsumerGroups,
        new_id: Callable[[], str],
        downgrade: Callable[[Draft, bool, float, int], bool],
    ) -> None:
        self._groups = groups
        self._new_id = new_id
        self._downgrade = downgrade

    # -- JoinGroup --------------------------------------------------------------------------------

    def join(self, command: JoinGroup, now: float, now_ms: int) -> Decision[JoinReply]:
        """Raises KafkaError with the code of the reply."""
        group = self._groups.groups[command.group_id]
        self._groups.check_room(group, command.member_id)
        names = [each.name for each in command.protocols]
        if command.protocol_type != CONSUMER_PROTOCOL_TYPE or not group.supports(names):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        is_new = command.member_id == UNKNOWN_MEMBER
        member_id = self._new_id() if is_new else command.member_id
        if is_new and command.instance_id is None and command.requires_member_id:
            return Decision((), JoinReply(ErrorCode.MEMBER_ID_REQUIRED, member_id))
        out = Outcome()
        draft = self._groups.draft(command.group_id, out)
        known = self._find(draft, member_id, command.instance_id, is_new=is_new)
        subscription = _subscription_of(command)
        member = _joined(known, command, subscription)
        epoch = draft.group.epoch
        advance(draft, known, member, self._groups.topics, now_ms)
        replaces = is_new and command.instance_id in group.static
        if replaces and self._downgrade(draft, draft.group.epoch != epoch, now, now_ms):
            generation = draft.group.epoch
        else:
            draft.retarget(self._groups.config.assignors[0])
            draft.reconcile(member_id, owned_by(subscription, self._groups.topics))
            self._expect_sync(draft.group_id, member, now)
            generation = draft.group.progress_of(member_id).epoch
        protocol = command.protocols[0].name
        return out.decision(
            JoinReply(ErrorCode.NONE, member_id, generation, CONSUMER_PROTOCOL_TYPE, protocol)
        )

    @staticmethod
    def _find(draft: Draft, member_id: str, instance_id: str | None, *, is_new: bool) -> Member:
        group = draft.group
        if instance_id is None:
            return group.members.get(member_id) or Member(member_id)
        if not is_new:
            return group.check_member(member_id, instance_id)
        if instance_id not in group.static:
            return Member(member_id)
        old = group.members[group.static[instance_id]]
        new = replace(old, member_id=member_id)
        draft.replace(old, new)
        return new

    def _expect_sync(self, group_id: str, member: Member, now: float) -> None:
        timeouts = self._groups.timeouts
        timeouts.met(group_id, member.member_id, Wait.JOIN)
        timeouts.met(group_id, member.member_id, Wait.REVOKE)
        self._groups.heard_of(group_id, member, now)
        deadline = now + member.rebalance_timeout_ms / 1000
        timeouts.expect(group_id, member.member_id, Wait.SYNC, deadline)

    # -- SyncGroup, Heartbeat, LeaveGroup ---------------------------------------------------------

    def sync(self, command: SyncGroup, now: float, now_ms: int) -> Decision[SyncReply]:
        """Raises KafkaError with the code of the reply."""
        del now_ms
        group = self._groups.groups[command.group_id]
        member, classic = self._check(group, command)
        protocol = classic.protocols[0]
        if command.protocol_type not in (None, CONSUMER_PROTOCOL_TYPE) or command.protocol not in (
            None,
            protocol.name,
        ):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        progress = group.progress_of(member.member_id)
        if group.epoch > progress.epoch and progress.state is not MemberState.UNREVOKED_PARTITIONS:
            # Whoever is giving partitions up has joined in this rebalance already.
            self._expect_join(group.group_id, member, now)
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)
        self._groups.timeouts.met(group.group_id, member.member_id, Wait.SYNC)
        self._groups.heard_of(group.group_id, member, now)
        assignment = assignment_for(progress.assigned, protocol.metadata, self._groups.topics)
        reply = SyncReply(ErrorCode.NONE, command.protocol_type, command.protocol, assignment)
        return Decision((), reply)

    def heartbeat(self, command: Heartbeat, now: float) -> ErrorCode:
        """NONE, or REBALANCE_IN_PROGRESS: join again. Raises KafkaError with any other code."""
        group = self._groups.groups[command.group_id]
        member, _ = self._check(group, command)
        self._groups.heard_of(group.group_id, member, now)
        progress = group.progress_of(member.member_id)
        if (
            progress.epoch < group.epoch
            or progress.state is MemberState.UNREVOKED_PARTITIONS
            or (progress.state is MemberState.UNRELEASED_PARTITIONS and _is_released(group, member, progress))
        ):
            self._expect_join(group.group_id, member, now)
            return ErrorCode.REBALANCE_IN_PROGRESS
        return ErrorCode.NONE

    def _expect_join(self, group_id: str, member: Member, now: float) -> None:
        deadline = now + member.rebalance_timeout_ms / 1000
        self._groups.timeouts.expect_once(group_id, member.member_id, Wait.JOIN, deadline)

    @staticmethod
    def _check(group: ConsumerGroup, command: SyncGroup | Heartbeat) -> tuple[Member, ClassicMember]:
        member = group.check_member(command.member_id, command.instance_id)
        if member.classic is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        if group.progress_of(member.member_id).epoch != command.generation:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        return member, member.classic

    def leave(self, command: LeaveGroup, now: float, now_ms: int) -> Decision[LeaveReply]:
        """Each member leaves on its own; those that speak the new protocol are not known here."""
        group = self._groups.groups[command.group_id]
        out = Outcome()
        gone: dict[str, None] = {}
        results = []
        for who in command.members:
            try:
                gone[_leaving(group, who, gone)] = None
            except KafkaError as error:
                results.append((who, error.code))
            else:
                results.append((who, ErrorCode.NONE))
        if gone:
            self._groups.lose(self._groups.draft(command.group_id, out), list(gone), now, now_ms)
        return out.decision(LeaveReply(ErrorCode.NONE, tuple(results)))


def _leaving(group: ConsumerGroup, who: MemberIdentity, gone: dict[str, None]) -> str:
    member_id = who.member_id
    if member_id == UNKNOWN_MEMBER and who.instance_id is not None:
        # An administrator takes out a static member, whatever its id is now.
        member_id = group.static.get(who.instance_id, UNKNOWN_MEMBER)
    member = group.check_member(member_id, who.instance_id)
    if member.classic is None or member_id in gone:
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
    return member_id


def _is_released(group: ConsumerGroup, member: Member, progress: Progress) -> bool:
    """Whether nobody has what the member waits for any more."""
    missing = group.target_of(member.member_id).assignment - progress.assigned
    return all(map(group.is_free, missing))


def _subscription_of(command: JoinGroup) -> Subscription:
    # A consumer says the same under each of its protocols.
    try:
        return read_subscription(command.protocols[0].metadata)
    except MalformedProtocolError as error:
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, str(error)) from error


def _joined(known: Member, command: JoinGroup, subscription: Subscription) -> Member:
    return Member(
        known.member_id,
        known.instance_id if command.instance_id is None else command.instance_id,
        subscription.rack_id or known.rack_id,
        command.client_id,
        command.client_host,
        tuple(sorted(set(subscription.topics))),
        None,
        command.rebalance_timeout_ms,
        known.assignor,
        ClassicMember(command.session_timeout_ms, command.protocols),
    )


def owned_by(subscription: Subscription, topics: Topics) -> Assignment:
    """What a consumer says that it owns, as far as the topics exist."""
    return frozenset(
        (topic.topic_id, partition)
        for name, partitions in subscription.owned
        if (topic := topics.get(name)) is not None
        for partition in partitions
    )


def assignment_for(assignment: Assignment, metadata: bytes, topics: Topics) -> bytes:
    """How an assignment is told to a consumer that subscribed with `metadata`. Raises
    KafkaError(UNKNOWN_SERVER_ERROR) if that cannot be read."""
    try:
        version = read_subscription(metadata).version
    except MalformedProtocolError as error:
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, str(error)) from error
    named = [(topics.name_of(topic_id), tuple(numbers)) for topic_id, numbers in by_topic(assignment).items()]
    return write_assignment(tuple((name, numbers) for name, numbers in named if name is not None), version)
