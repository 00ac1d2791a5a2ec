"""Replicas that a client chose itself, checked as Kafka's `ReplicationControlManager` does."""

from __future__ import annotations

from collections.abc import Sequence

from kafkawire.errors import ErrorCode, KafkaError
from metadata.controller.commands import ReplicaAssignment
from metadata.image import MetadataImage


def numbered(assignments: Sequence[ReplicaAssignment]) -> list[tuple[int, ...]]:
    """The replicas by partition number, which must run from 0 without a gap or a repeat.

    Raises KafkaError(INVALID_REPLICA_ASSIGNMENT).
    """
    by_number: dict[int, tuple[int, ...]] = {}
    for assignment in assignments:
        if assignment.partition in by_number:
            raise _invalid(
                f"Found multiple manual partition assignments for partition {assignment.partition}"
            )
        by_number[assignment.partition] = assignment.broker_ids
    if sorted(by_number) != list(range(len(by_number))):
        raise _invalid("partitions should be a consecutive 0-based integer sequence")
    return [by_number[number] for number in range(len(by_number))]


def check_replicas(
    image: MetadataImage, partitions: Sequence[tuple[int, ...]], factor: int | None, first: int = 0
) -> None:
    """Check the replicas of partitions `first` and following, which must number `factor` each (None: as
    many as the first has). Raises KafkaError(INVALID_REPLICA_ASSIGNMENT)."""
    for number, replicas in enumerate(partitions, first):
        check_replica_list(image, replicas, factor)
        factor = len(replicas)
        if not any(image.is_active(broker_id) for broker_id in replicas):
            raise _invalid(
                f"All brokers specified in the manual partition assignment for partition {number} are fenced "
                "or in controlled shutdown."
            )


def check_replica_list(image: MetadataImage, replicas: tuple[int, ...], factor: int | None = None) -> None:
    """Check the replicas of one partition, fenced ones included, which must number `factor` if it is given.
    Raises KafkaError(INVALID_REPLICA_ASSIGNMENT)."""
    if not replicas:
        raise _invalid("The manual partition assignment includes an empty replica list.")
    for broker_id in sorted(replicas):
        if replicas.count(broker_id) > 1:
            raise _invalid(f"The manual partition assignment includes the broker {broker_id} more than once.")
        if broker_id not in image.brokers:
            raise _invalid(
                f"The manual partition assignment includes broker {broker_id}, but no such broker is "
                f"registered."
            )
    if factor is not None and len(replicas) != factor:
        raise _invalid(
            f"The manual partition assignment includes a partition with {len(replicas)} replica(s), but "
            f"this is "
            f"not consistent with previous partitions, which have {factor} replica(s)."
        )


def _invalid(problem: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, problem)
