"""What changes in a KIP-848 group, each kind of change being one kind of record.

A change without a value takes back what was said before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from kraft.coordinator.group.consumer.members import Assignment, Member, Progress


class GroupEpoch(NamedTuple):
    """`metadata_hash` stands for the subscribed topics and their partitions, as they were then (KIP-1101)."""

    epoch: int
    metadata_hash: int = 0


class Resolved(NamedTuple):
    """The topics that a regular expression stands for: names in order, the metadata's version, and when that
    was (wall clock milliseconds)."""

    topics: tuple[str, ...]
    version: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class EpochChange:
    """The group's epoch; without one the group is gone."""

    group_id: str
    value: GroupEpoch | None


@dataclass(frozen=True, slots=True)
class PartitionMetadataChange:
    """Subscribed topics as Kafka 4.0 wrote them. Later versions, and we, only take it back."""

    group_id: str
    present: bool = False


@dataclass(frozen=True, slots=True)
class MemberChange:
    """What a member asks for."""

    group_id: str
    member_id: str
    value: Member | None


@dataclass(frozen=True, slots=True)
class TargetEpochChange:
    """The group epoch that the target assignment was made for."""

    group_id: str
    value: int | None


@dataclass(frozen=True, slots=True)
class TargetChange:
    """What a member is to have."""

    group_id: str
    member_id: str
    value: Assignment | None


@dataclass(frozen=True, slots=True)
class ProgressChange:
    """How far a member has got."""

    group_id: str
    member_id: str
    value: Progress | None


@dataclass(frozen=True, slots=True)
class RegexChange:
    """What a regular expression that members subscribe with stands for."""

    group_id: str
    regex: str
    value: Resolved | None


Change = (
    EpochChange
    | PartitionMetadataChange
    | MemberChange
    | TargetEpochChange
    | TargetChange
    | ProgressChange
    | RegexChange
)
