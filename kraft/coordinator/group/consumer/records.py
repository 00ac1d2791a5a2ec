"""What changes in a KIP-848 group, each kind of change being one kind of record.

A change without a value takes back what was said before.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

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


class EpochChange(msgspec.Struct, frozen=True):
    """The group's epoch; without one the group is gone."""

    group_id: str
    value: GroupEpoch | None


class PartitionMetadataChange(msgspec.Struct, frozen=True):
    """Subscribed topics as Kafka 4.0 wrote them. Later versions, and we, only take it back."""

    group_id: str
    present: bool = False


class MemberChange(msgspec.Struct, frozen=True):
    """What a member asks for."""

    group_id: str
    member_id: str
    value: Member | None


class TargetEpochChange(msgspec.Struct, frozen=True):
    """The group epoch that the target assignment was made for."""

    group_id: str
    value: int | None


class TargetChange(msgspec.Struct, frozen=True):
    """What a member is to have."""

    group_id: str
    member_id: str
    value: Assignment | None


class ProgressChange(msgspec.Struct, frozen=True):
    """How far a member has got."""

    group_id: str
    member_id: str
    value: Progress | None


class RegexChange(msgspec.Struct, frozen=True):
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
