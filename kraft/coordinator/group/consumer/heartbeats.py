"""What a heartbeat of a KIP-848 group comes to: whether it may be sent, and what it changes.

Error codes, and their order, are those of Kafka's `GroupMetadataManager.consumerGroupHeartbeat`.
"""

from __future__ import annotations

from msgspec.structs import replace

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.group.consumer.commands import ConsumerHeartbeat
from kraft.coordinator.group.consumer.config import ConsumerGroupConfig
from kraft.coordinator.group.consumer.draft import Draft
from kraft.coordinator.group.consumer.group import ConsumerGroup
from kraft.coordinator.group.consumer.members import JOINING, LEAVING, LEAVING_FOR_NOW, Member, Progress
from kraft.coordinator.group.consumer.topics import Topics
from kraft.coordinator.patterns import compiled


def check_heartbeat(command: ConsumerHeartbeat, config: ConsumerGroupConfig) -> None:
    """Raises KafkaError: INVALID_REQUEST, UNSUPPORTED_ASSIGNOR, INVALID_REGULAR_EXPRESSION."""
    if command.group_id == "":
        raise _invalid("GroupId can't be empty.")
    if command.instance_id == "":
        raise _invalid("InstanceId can't be empty.")
    if command.rack_id == "":
        raise _invalid("RackId can't be empty.")
    if command.member_id == "" and (command.names_itself or command.epoch != JOINING):
        raise _invalid("MemberId can't be empty.")
    if command.epoch < LEAVING_FOR_NOW:
        raise _invalid(f"MemberEpoch is {command.epoch}, but must be greater than or equal to -2.")
    if command.epoch == LEAVING_FOR_NOW and command.instance_id is None:
        raise _invalid("InstanceId can't be null.")
    if command.epoch == JOINING:
        _check_joining(command)
    if command.assignor is not None and command.assignor not in config.assignors:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_ASSIGNOR,
            f"ServerAssignor {command.assignor} is not supported. "
            f"Supported assignors: {', '.join(config.assignors)}.",
        )
    if command.regex:
        compiled(command.regex)


def _check_joining(command: ConsumerHeartbeat) -> None:
    if command.rebalance_timeout_ms == -1:
        raise _invalid("RebalanceTimeoutMs must be provided in first request.")
    if command.owned is None or command.owned:
        raise _invalid("TopicPartitions must be empty when (re-)joining.")
    # An empty list is an answer: a member of the group that wants nothing yet.
    if command.topics is None and command.regex is None:
        raise _invalid(
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
        )


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, message)


def find_member(draft: Draft, command: ConsumerHeartbeat, member_id: str) -> Member:
    """The member that sends the heartbeat, a new one if it joins; a static one that comes back takes the
    place of the one before it. Raises KafkaError: UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH,
    FENCED_INSTANCE_ID, UNRELEASED_INSTANCE_ID."""
    group = draft.group
    if command.epoch != JOINING:
        member = group.check_member(member_id, command.instance_id)
        check_epoch(group.progress_of(member_id), command)
        return member
    if command.instance_id is not None and command.instance_id in group.static:
        return _come_back(draft, group.members[group.static[command.instance_id]], member_id)
    return group.members.get(member_id) or Member(member_id)


def _come_back(draft: Draft, old: Member, member_id: str) -> Member:
    left = draft.group.progress_of(old.member_id).epoch == LEAVING_FOR_NOW
    if old.member_id == member_id and not left:
        return old
    if not left and old.classic is None:
        raise KafkaError(
            ErrorCode.UNRELEASED_INSTANCE_ID,
            f"instance id {old.instance_id} is owned by member {old.member_id}",
        )
    new = replace(old, member_id=member_id)
    draft.replace(old, new)
    return new


def check_epoch(progress: Progress, command: ConsumerHeartbeat) -> None:
    """Raises KafkaError(FENCED_MEMBER_EPOCH). The epoch before the present one is accepted of a member that
    has nothing but what it was given since: the reply that would have told it may have been lost."""
    if command.epoch == progress.epoch:
        return
    missed_reply = (
        command.epoch < progress.epoch
        and command.epoch == progress.previous_epoch
        and command.owned is not None
        and command.owned <= progress.assigned
    )
    if not missed_reply:
        raise KafkaError(
            ErrorCode.FENCED_MEMBER_EPOCH,
            f"the member's epoch is {progress.epoch}, not {command.epoch}; "
            "it must abandon all its partitions and rejoin",
        )


def updated(member: Member, command: ConsumerHeartbeat) -> Member:
    """The member with what the heartbeat says of it."""
    topics = member.topics if command.topics is None else tuple(sorted(set(command.topics)))
    timeout = command.rebalance_timeout_ms
    return Member(
        member.member_id,
        member.instance_id if command.instance_id is None else command.instance_id,
        member.rack_id if command.rack_id is None else command.rack_id,
        command.client_id,
        command.client_host,
        topics,
        member.regex if command.regex is None else command.regex or None,
        member.rebalance_timeout_ms if timeout == -1 else timeout,
        member.assignor if command.assignor is None else command.assignor,
    )


def needs_epoch(group: ConsumerGroup, before: Member, after: Member) -> bool:
    """Whether what a member asks for makes a new target necessary."""
    return group.epoch == 0 or (before.topics, before.regex) != (after.topics, after.regex)


def advance(draft: Draft, before: Member, after: Member, topics: Topics, now_ms: int) -> None:
    """Write what the member asks for, and begin a new epoch where that or the topics make it necessary."""
    bump = needs_epoch(draft.group, before, after)
    draft.put_member(after)
    if bump or draft.group.checked != topics.version:
        draft.look_at_topics(now_ms, bump=bump)


def leaves(command: ConsumerHeartbeat) -> bool:
    """Whether the member goes, for now or for good."""
    return command.epoch in (LEAVING, LEAVING_FOR_NOW)
