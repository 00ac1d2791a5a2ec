"""What a KIP-848 group knows of a member: what it asks for, and how far it has got."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

import msgspec

from kraft.coordinator.group.commands import Protocol

TopicPartition = tuple[bytes, int]
"""A topic's id and a partition's number."""

Assignment = frozenset[TopicPartition]

NOTHING: Final[Assignment] = frozenset()

JOINING: Final = 0
"""The epoch that a member says when it joins or comes back."""
LEAVING: Final = -1
"""The epoch that it says when it leaves."""
LEAVING_FOR_NOW: Final = -2
"""The epoch that a static member says when it leaves and is to come back; it has that epoch meanwhile."""


class MemberState(IntEnum):
    """Where a member stands between what it has and what it is to have."""

    STABLE = 0
    """It has what it is to have under its epoch."""
    UNREVOKED_PARTITIONS = 1
    """It has to give up partitions before it reaches the next epoch."""
    UNRELEASED_PARTITIONS = 2
    """It waits for partitions that others have to give up."""
    UNKNOWN = 127
    """A later software wrote the record."""


class ClassicMember(msgspec.Struct, frozen=True):
    """What a member that still speaks the classic protocol said when it joined."""

    session_timeout_ms: int
    protocols: tuple[Protocol, ...]


class Member(msgspec.Struct, frozen=True):
    """What a member asks for. `topics` are sorted; a `regex` is never empty."""

    member_id: str
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    topics: tuple[str, ...] = ()
    regex: str | None = None
    rebalance_timeout_ms: int = -1
    assignor: str | None = None
    classic: ClassicMember | None = None


class Progress(msgspec.Struct, frozen=True):
    """How far a member has got. It owns what is `assigned` and, until it says that it gave it up, what it is
    `revoking`. `previous_epoch` is accepted too, since a reply may have been lost."""

    epoch: int = 0
    previous_epoch: int = 0
    state: MemberState = MemberState.STABLE
    assigned: Assignment = NOTHING
    revoking: Assignment = NOTHING

    @property
    def owned(self) -> Assignment:
        """What nobody else may have."""
        return self.assigned | self.revoking

    def is_at(self, target_epoch: int) -> bool:
        """Whether nothing is left to be done under this target."""
        return self.state is MemberState.STABLE and self.epoch == target_epoch


def by_topic(assignment: Iterable[TopicPartition]) -> dict[bytes, list[int]]:
    """The partitions of each topic, both in order."""
    topics: dict[bytes, list[int]] = {}
    for topic_id, partition in sorted(assignment):
        topics.setdefault(topic_id, []).append(partition)
    return topics
