"""Reassigning partitions (KIP-455, KIP-860), as Kafka's `ReplicationControlManager` does."""

from __future__ import annotations

from uuid import UUID

from kafkawire.errors import ErrorCode, KafkaError
from metadata.controller.assignment import check_replica_list
from metadata.controller.decision import Decision, View
from metadata.controller.election import Change, Election, change_partition
from metadata.controller.partition_commands import (
    AlterPartitionReassignments,
    AlterPartitionReassignmentsReply,
    Reassignment,
    ReassignmentResult,
)
from metadata.controller.replica_moves import Assignment, assignment_of, towards
from metadata.image import PartitionEntry, PartitionImage
from metadata.records import PartitionChangeRecord
from metadata.replay import changed_partition


def alter_reassignments(
    view: View, command: AlterPartitionReassignments
) -> Decision[AlterPartitionReassignmentsReply]:
    """Begin, replace and cancel reassignments."""
    records: list[PartitionChangeRecord] = []
    changed: dict[tuple[UUID, int], PartitionImage] = {}
    results = []
    for wanted in command.partitions:
        try:
            entry = _entry(view, wanted)
            key = (entry.topic.topic_id, entry.number)
            entry = entry._replace(partition=changed.get(key, entry.partition))
            record = _alter(view, entry, wanted.replicas, command.allow_replication_factor_change)
        except KafkaError as error:
            results.append(
                ReassignmentResult(wanted.topic, wanted.partition, error.code, error.message or None)
            )
            continue
        if record is not None:
            records.append(record)
            changed[key] = changed_partition(entry.partition, record)
        results.append(ReassignmentResult(wanted.topic, wanted.partition))
    return Decision(
        records, AlterPartitionReassignmentsReply(tuple(results), view.image.offset + len(records))
    )


def _entry(view: View, wanted: Reassignment) -> PartitionEntry:
    topic = view.image.topics.get(wanted.topic)
    if topic is None:
        raise KafkaError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find a topic named {wanted.topic}."
        )
    partition = topic.partition(wanted.partition)
    if partition is None:
        raise KafkaError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            f"Unable to find partition {wanted.topic}:{wanted.partition}.",
        )
    return PartitionEntry(topic, wanted.partition, partition)


def _alter(
    view: View, entry: PartitionEntry, target: tuple[int, ...] | None, allow_change: bool
) -> PartitionChangeRecord | None:
    present = assignment_of(entry.partition)
    if target is None:
        return _cancel(view, entry, present)
    check_replica_list(view.image, target)
    if not allow_change and len(target) != len(present.target):
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"The replication factor is changed from {len(present.target)} to {len(target)}",
        )
    assignment = towards(present, target)
    return _changed(view, entry, Change(entry.partition.isr, assignment=assignment))


def _cancel(view: View, entry: PartitionEntry, present: Assignment) -> PartitionChangeRecord | None:
    """Go back to the replicas from before."""
    if not present.in_progress:
        raise KafkaError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, "No partition reassignment is in progress.")
    partition, originals = entry.partition, present.original
    complete = {*partition.isr, *partition.elr}
    unclean = view.rules(entry.topic.name).unclean
    if complete and complete.isdisjoint(originals) and not unclean:
        raise KafkaError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"Unable to revert partition assignment for {entry.topic.name}:{entry.number} because it would "
            "require an unclean leader election.",
        )
    change = Change(
        tuple(replica for replica in partition.isr if replica in originals),
        Election.UNCLEAN if unclean else Election.ONLINE,
        assignment=Assignment(originals),
    )
    return _changed(view, entry, change)


def _changed(view: View, entry: PartitionEntry, change: Change) -> PartitionChangeRecord | None:
    topic = entry.topic
    rules = view.rules(topic.name)
    return change_partition(
        topic.topic_id, entry.number, entry.partition, change, rules, view.image.is_active
    )
