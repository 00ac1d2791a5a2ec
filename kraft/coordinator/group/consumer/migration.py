"""Groups that change their protocol: which of the two serves a request, and what becomes of a group when a
member of the other one comes or the last of its own goes.

    classic ──a member that sends ConsumerGroupHeartbeat joins──> KIP-848, its classic members within it
            <──the last of those goes, some classic ones are left──

A group without members changes either way as soon as somebody of the other protocol joins. Source: Kafka's
`GroupMetadataManager.convertToConsumerGroup`, `convertToClassicGroup`.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from kafkawire.consumer_protocol import (
    EmbeddedAssignment,
    MalformedProtocolError,
    Subscription,
    read_assignment,
    read_subscription,
)
from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.decision import Decision, LogRecord, size_of
from kraft.coordinator.group.classic import ClassicGroups
from kraft.coordinator.group.classic_group import STABLE, ClassicGroup, Empty
from kraft.coordinator.group.classic_group import Member as JoinedMember
from kraft.coordinator.group.commands import JoinGroup, JoinReply
from kraft.coordinator.group.consumer.classic_members import ClassicMembers, assignment_for
from kraft.coordinator.group.consumer.commands import ConsumerHeartbeat, ConsumerHeartbeatReply
from kraft.coordinator.group.consumer.draft import Draft
from kraft.coordinator.group.consumer.group import ConsumerGroup
from kraft.coordinator.group.consumer.groups import ConsumerGroups, ConsumerGroupWorld
from kraft.coordinator.group.consumer.heartbeats import check_heartbeat, leaves
from kraft.coordinator.group.consumer.members import JOINING, Assignment, ClassicMember, Member, Progress
from kraft.coordinator.group.consumer.records import (
    EpochChange,
    GroupEpoch,
    MemberChange,
    ProgressChange,
    TargetChange,
    TargetEpochChange,
)
from kraft.coordinator.group.consumer.topics import Topics
from kraft.coordinator.group.formats import encode_group_key
from kraft.coordinator.group.outcome import Outcome
from kraft.coordinator.group.subscriptions import CONSUMER_PROTOCOL_TYPE


class Migration:
    """Has the KIP-848 groups of a shard, beside its classic ones."""

    def __init__(self, classic: ClassicGroups, world: ConsumerGroupWorld) -> None:
        self.consumer = ConsumerGroups(world, self._lost)
        self.members = ClassicMembers(self.consumer, world.new_id, self._replaced)
        self._classic = classic
        self._policy = world.config.migration_policy

    # -- who joins --------------------------------------------------------------------------------

    def heartbeat(
        self, command: ConsumerHeartbeat, now: float, now_ms: int
    ) -> Decision[ConsumerHeartbeatReply]:
        """A heartbeat of the new protocol; it may turn a classic group into one of its kind. Raises
        KafkaError: see `check_heartbeat`, `ConsumerGroups.heartbeat` and `leave`; GROUP_ID_NOT_FOUND for a
        group that is not there, or cannot be changed."""
        check_heartbeat(command, self.consumer.config)
        out = Outcome()
        if self.consumer.has(command.group_id):
            draft = self.consumer.draft(command.group_id, out)
            serve = self.consumer.leave if leaves(command) else self.consumer.heartbeat
            return out.decision(serve(draft, command, now, now_ms))
        if command.epoch != JOINING:
            raise _not_found(command.group_id, "is not a consumer group")
        group = self._classic.groups.get(command.group_id)
        draft = self._upgraded(command.group_id, group, out)
        moved = list(draft.group.members.values())
        reply = self.consumer.heartbeat(draft, command, now, now_ms)
        if not self._fits(out.records):
            raise KafkaError(ErrorCode.GROUP_MAX_SIZE_REACHED)
        if group is not None:
            self._send_on(group, out)
        for member in moved:
            self.consumer.heard_of(command.group_id, member, now)
        return out.decision(reply)

    def join(self, command: JoinGroup, now: float, now_ms: int) -> Decision[JoinReply]:
        """A member of the classic protocol joins a KIP-848 group, which becomes a classic one if it has no
        members. Raises KafkaError with the code of the reply."""
        self._classic.check_join(command)
        if not self.consumer.is_empty(command.group_id):
            return self.members.join(command, now, now_ms)
        decision = self._classic.join(command, now, now_ms)
        out = Outcome()
        self.consumer.delete(command.group_id, out)
        return replace(decision, records=(*out.records, *decision.records))

    # -- from classic -----------------------------------------------------------------------------

    def _upgraded(self, group_id: str, group: ClassicGroup | None, out: Outcome) -> Draft:
        """The classic group as a KIP-848 one; an empty one if there is none, or nobody in it."""
        if group is None:
            return self.consumer.draft(group_id, out)
        out.write(encode_group_key(group_id), None)
        if isinstance(group.state, Empty):
            return self.consumer.draft(group_id, out)
        if not self._policy.upgrades:
            raise _not_found(group_id, "is a classic group, and upgrades are disabled")
        if not group.uses_consumer_protocol:
            raise _not_found(group_id, "is a classic group, and not one of consumers")
        if len(group.members) > self.consumer.config.max_size:
            raise _not_found(group_id, "is a classic group with too many members")
        try:
            members, assignments = _embedded(group, self.consumer.topics)
        except MalformedProtocolError as error:
            raise _not_found(group_id, f"is a classic group that cannot be upgraded: {error}") from error
        return self._moved(group, members, assignments, out)

    def _moved(
        self, group: ClassicGroup, members: list[Member], assignments: dict[str, Assignment], out: Outcome
    ) -> Draft:
        """Everybody has what the classic group's last generation gave to it."""
        group_id, generation = group.group_id, group.generation
        draft = self.consumer.draft(group_id, out)
        for member in members:
            draft.write(MemberChange(group_id, member.member_id, member))
        metadata_hash = self.consumer.topics.hash_of(draft.group.subscribed())
        draft.write(EpochChange(group_id, GroupEpoch(generation, metadata_hash)))
        for member_id, assignment in assignments.items():
            draft.write(TargetChange(group_id, member_id, assignment))
        draft.write(TargetEpochChange(group_id, generation))
        for member_id, assignment in assignments.items():
            progress = Progress(generation, generation, assigned=assignment)
            draft.write(ProgressChange(group_id, member_id, progress))
        return draft

    def _fits(self, records: list[LogRecord]) -> bool:
        """Whether they can be written: what does not fit into a batch must not have changed anything."""
        return size_of(records) <= self._classic.room()

    def _send_on(self, group: ClassicGroup, out: Outcome) -> None:
        """Whoever waits for the classic group's rebalance is to join again."""
        for member_id in tuple(group.members):
            self._classic.rebalancing.turn_away(group, member_id, ErrorCode.REBALANCE_IN_PROGRESS, out)

    # -- to classic -------------------------------------------------------------------------------

    def _lost(self, draft: Draft, member_ids: Collection[str], now: float, now_ms: int) -> None:
        """See `ConsumerGroups`."""
        gone = frozenset(member_ids)
        left = [each for each in draft.group.members.values() if each.member_id not in gone]
        if not (left and self._downgraded(draft, left, True, now, now_ms)):
            draft.lose(member_ids, now_ms)

    def _replaced(self, draft: Draft, rebalances: bool, now: float, now_ms: int) -> bool:
        """See `ClassicMembers`."""
        return self._downgraded(draft, list(draft.group.members.values()), rebalances, now, now_ms)

    def _downgraded(
        self, draft: Draft, members: list[Member], rebalances: bool, now: float, now_ms: int
    ) -> bool:
        """Make it a classic group of `members`; False if it has to stay what it is."""
        if not self._can_downgrade(members):
            return False
        try:
            group = self._as_classic(draft.group, members, now_ms)
        except KafkaError:  # what a member offers beside its first protocol was never looked at
            return False
        rebalancing, out = self._classic.rebalancing, Outcome()
        draft.delete(out)
        rebalancing.write(group, out)
        records = draft.out.records + out.records
        if not self._fits(records):
            return False
        draft.out.records = records
        self._classic.groups[group.group_id] = group
        for member in group.members.values():
            rebalancing.heard_of(group, member, now)
        if rebalances:
            rebalancing.prepare(group, draft.out, now, now_ms)
        return True

    def _can_downgrade(self, members: list[Member]) -> bool:
        return (
            self._policy.downgrades
            and all(each.classic is not None for each in members)
            and len(members) <= self._classic.config.max_size
        )

    def _as_classic(self, group: ConsumerGroup, members: list[Member], now_ms: int) -> ClassicGroup:
        classic = ClassicGroup(group.group_id, since_ms=now_ms, state=STABLE, generation=group.epoch)
        classic.protocol_type = CONSUMER_PROTOCOL_TYPE
        for member in members:
            assert member.classic is not None
            classic.add(
                JoinedMember(
                    member.member_id,
                    member.instance_id,
                    member.client_id,
                    member.client_host,
                    member.classic.session_timeout_ms,
                    member.rebalance_timeout_ms,
                    member.classic.protocols,
                )
            )
        classic.protocol = classic.elected_protocol()
        classic.topics = classic.subscribed()
        for joined in classic.members.values():
            target = group.target_of(joined.member_id).assignment
            metadata = joined.metadata(classic.protocol)
            classic.assign(joined, assignment_for(target, metadata, self.consumer.topics))
        return classic


def _not_found(group_id: str, reason: str) -> KafkaError:
    return KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} {reason}.")


def _embedded(group: ClassicGroup, topics: Topics) -> tuple[list[Member], dict[str, Assignment]]:
    """The members of a classic group, and what each has. Raises MalformedProtocolError, also for what would
    be lost: user data of an assignor of the client's, or a partition that several were given."""
    members: list[Member] = []
    assignments: dict[str, Assignment] = {}
    taken: set[tuple[bytes, int]] = set()
    for joined in group.members.values():
        metadata = joined.metadata(group.protocol) or joined.protocols[0].metadata
        subscription, given = read_subscription(metadata), read_assignment(joined.assignment)
        assignment = _assigned(given, topics)
        if not taken.isdisjoint(assignment):
            raise MalformedProtocolError("a partition is assigned to several members")
        taken |= assignment
        members.append(_as_member(joined, subscription))
        assignments[joined.member_id] = assignment
    return members, assignments


def _assigned(given: EmbeddedAssignment, topics: Topics) -> Assignment:
    if given.user_data:
        raise MalformedProtocolError("an assignor of its own left user data")
    return frozenset(
        (topic.topic_id, partition)
        for name, partitions in given.owned
        if (topic := topics.get(name)) is not None
        for partition in partitions
    )


def _as_member(joined: JoinedMember, subscription: Subscription) -> Member:
    return Member(
        joined.member_id,
        joined.instance_id,
        subscription.rack_id,
        joined.client_id,
        joined.client_host,
        tuple(sorted(set(subscription.topics))),
        rebalance_timeout_ms=joined.rebalance_timeout_ms,
        classic=ClassicMember(joined.session_timeout_ms, joined.protocols),
    )
