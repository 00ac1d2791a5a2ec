"""Commands that administrators give about partitions, and their replies. `metadata.controller.commands` has
the rest.

`offset` in a reply is that of the last record of the decision (-1: none): a broker that has applied it shows
what was decided.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import msgspec

from kafkawire.errors import ErrorCode


class ElectionType(IntEnum):
    """Which election is asked for (KIP-460)."""

    PREFERRED = 0
    UNCLEAN = 1


class TopicPartition(NamedTuple):
    """A partition by name."""

    topic: str
    partition: int


class ElectLeaders(msgspec.Struct, frozen=True):
    """Elect leaders for the partitions, or with None for all that need it."""

    election_type: ElectionType
    partitions: tuple[TopicPartition, ...] | None = None


class ElectLeaderResult(msgspec.Struct, frozen=True):
    """What became of one partition."""

    topic: str
    partition: int
    error_code: ErrorCode = ErrorCode.NONE
    error_message: str | None = None


class ElectLeadersReply(msgspec.Struct, frozen=True):
    """One result per partition asked for; with None asked, one per partition that had an election."""

    partitions: tuple[ElectLeaderResult, ...]
    offset: int = -1


class Reassignment(NamedTuple):
    """The replicas that a partition is to have, the preferred leader first. None cancels the reassignment
    that is under way."""

    topic: str
    partition: int
    replicas: tuple[int, ...] | None


class AlterPartitionReassignments(msgspec.Struct, frozen=True):
    """Move partitions to other brokers (KIP-455), each on its own. Unless the number of replicas may change,
    a target of another size is refused (KIP-860)."""

    partitions: tuple[Reassignment, ...]
    allow_replication_factor_change: bool = True


class ReassignmentResult(msgspec.Struct, frozen=True):
    """What became of one partition."""

    topic: str
    partition: int
    error_code: ErrorCode = ErrorCode.NONE
    error_message: str | None = None


class AlterPartitionReassignmentsReply(msgspec.Struct, frozen=True):
    """One result per partition, in the order of the command."""

    partitions: tuple[ReassignmentResult, ...]
    offset: int = -1
