"""AlterPartition: leaders propose ISRs, the controller accepts or refuses (KIP-497, KIP-841, KIP-903)."""

from __future__ import annotations

from uuid import UUID

from kafkawire.errors import ErrorCode
from metadata.controller.commands import (
    AlterPartition,
    AlterPartitionItem,
    AlterPartitionReply,
    AlterPartitionResult,
    IsrMember,
)
from metadata.controller.decision import Decision, View
from metadata.controller.election import Change, Election, change_partition
from metadata.image import MetadataImage, PartitionImage
from metadata.records import LeaderRecoveryState, PartitionChangeRecord
from metadata.replay import changed_partition


def alter_partition(view: View, command: AlterPartition) -> Decision[AlterPartitionReply]:
    """Judge each proposal on its own. The broker's epoch has been checked."""
    records: list[PartitionChangeRecord] = []
    changed: dict[tuple[UUID, int], PartitionImage] = {}
    results = []
    for item in command.partitions:
        topic = view.image.topics.by_id.get(item.topic_id)
        before = None if topic is None else topic.partition(item.partition)
        if topic is None or before is None:
            unknown = ErrorCode.UNKNOWN_TOPIC_ID if topic is None else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            results.append(AlterPartitionResult(item.topic_id, item.partition, unknown))
            continue
        before = changed.get((item.topic_id, item.partition), before)
        error, record = _judge(view, command.broker_id, topic.name, before, item)
        after = before
        if record is not None:
            records.append(record)
            after = changed[item.topic_id, item.partition] = changed_partition(before, record)
            if after.leader != command.broker_id:
                error = ErrorCode.NEW_LEADER_ELECTED
        results.append(_result(item, error, after))
    return Decision(records, AlterPartitionReply(tuple(results)))


def _judge(
    view: View, broker_id: int, topic: str, partition: PartitionImage, item: AlterPartitionItem
) -> tuple[ErrorCode, PartitionChangeRecord | None]:
    """The error, or NONE and the record that makes the change, if it changes anything."""
    error = _refusal(view.image, broker_id, partition, item)
    if error is not ErrorCode.NONE:
        return error, None
    rules = view.rules(topic)
    change = Change(
        isr=tuple(member.broker_id for member in item.new_isr),
        election=Election.UNCLEAN if rules.unclean else Election.ONLINE,
        recovery=item.leader_recovery_state,
    )
    return error, change_partition(
        item.topic_id, item.partition, partition, change, rules, view.image.is_active
    )


def _refusal(
    image: MetadataImage, broker_id: int, partition: PartitionImage, item: AlterPartitionItem
) -> ErrorCode:
    """Why a proposal is refused, in the order in which Kafka's controller looks."""
    if item.leader_epoch > partition.leader_epoch or item.partition_epoch > partition.partition_epoch:
        # The leader has seen what this controller has not: another one is active.
        return ErrorCode.NOT_CONTROLLER
    if item.leader_epoch < partition.leader_epoch:
        return ErrorCode.FENCED_LEADER_EPOCH
    if broker_id != partition.leader:
        return ErrorCode.INVALID_REQUEST
    if item.partition_epoch < partition.partition_epoch:
        return ErrorCode.INVALID_UPDATE_VERSION
    members = {member.broker_id for member in item.new_isr}
    if len(members) < len(item.new_isr) or not members <= set(partition.replicas):
        return ErrorCode.INVALID_REQUEST
    if partition.leader not in members:
        return ErrorCode.INVALID_REQUEST
    if item.leader_recovery_state is LeaderRecoveryState.RECOVERING and (
        len(members) > 1 or not partition.recovering
    ):
        return ErrorCode.INVALID_REQUEST
    if not all(_eligible(image, member) for member in item.new_isr):
        return ErrorCode.INELIGIBLE_REPLICA
    return ErrorCode.NONE


def _eligible(image: MetadataImage, member: IsrMember) -> bool:
    """Whether a broker may be in an ISR: neither fenced nor leaving, and the process that fetched."""
    broker = image.brokers.get(member.broker_id)
    return broker is not None and broker.active and member.broker_epoch in {-1, broker.epoch}


def _result(item: AlterPartitionItem, error: ErrorCode, state: PartitionImage) -> AlterPartitionResult:
    return AlterPartitionResult(
        topic_id=item.topic_id,
        partition=item.partition,
        error_code=error,
        leader_id=state.leader,
        leader_epoch=state.leader_epoch,
        isr=state.isr,
        leader_recovery_state=state.leader_recovery_state,
        partition_epoch=state.partition_epoch,
    )
