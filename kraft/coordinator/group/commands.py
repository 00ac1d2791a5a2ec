"""What is asked of a group coordinator, and its replies, in the terms of Kafka's messages and of no
version of them. Timeouts and times are milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from kafkawire.errors import ErrorCode
from kraft.coordinator.decision import Producer

NO_GENERATION = -1
UNKNOWN_MEMBER = ""
"""The member id of one that has none yet."""


class Protocol(NamedTuple):
    """A way to assign partitions that a member offers, and what it says to the leader if it is chosen."""

    name: str
    metadata: bytes


class JoinGroup(msgspec.Struct, frozen=True):
    """Become a member, or say that one still is. `requires_member_id`: the client knows that it has to come
    again with the id that it is given (KIP-394). `skips_assignment`: a static leader that came back
    understands that it need not assign (KIP-814)."""

    group_id: str
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocol_type: str
    protocols: tuple[Protocol, ...]
    requires_member_id: bool = True
    skips_assignment: bool = True


class JoinedMember(NamedTuple):
    """A member as the leader is told of it."""

    member_id: str
    instance_id: str | None
    metadata: bytes


class JoinReply(msgspec.Struct, frozen=True):
    """`members` are told to the leader alone."""

    error: ErrorCode
    member_id: str
    generation: int = NO_GENERATION
    protocol_type: str | None = None
    protocol: str | None = None
    leader: str = UNKNOWN_MEMBER
    skip_assignment: bool = False
    members: tuple[JoinedMember, ...] = ()


class SyncGroup(msgspec.Struct, frozen=True):
    """Ask for one's assignment; the leader brings all of them."""

    group_id: str
    generation: int
    member_id: str
    instance_id: str | None = None
    protocol_type: str | None = None
    protocol: str | None = None
    assignments: Mapping[str, bytes] = msgspec.field(default_factory=dict)


class SyncReply(msgspec.Struct, frozen=True):
    """The assignment of the member that asked."""

    error: ErrorCode
    protocol_type: str | None = None
    protocol: str | None = None
    assignment: bytes = b""


class Heartbeat(msgspec.Struct, frozen=True):
    """Say that a member lives."""

    group_id: str
    generation: int
    member_id: str
    instance_id: str | None = None


class MemberIdentity(NamedTuple):
    """A member by id, or a static one by its instance alone."""

    member_id: str
    instance_id: str | None = None


NOBODY = MemberIdentity(UNKNOWN_MEMBER)
"""A client that is no member."""


class LeaveGroup(msgspec.Struct, frozen=True):
    """Take members out of a group."""

    group_id: str
    members: tuple[MemberIdentity, ...]


class LeaveReply(msgspec.Struct, frozen=True):
    """`members` are in the order in which they were asked for."""

    error: ErrorCode
    members: tuple[tuple[MemberIdentity, ErrorCode], ...] = ()


class NewOffset(NamedTuple):
    """A partition's offset to commit."""

    topic: str
    partition: int
    offset: int
    leader_epoch: int = -1
    metadata: str = ""


class CommitOffsets(msgspec.Struct, frozen=True):
    """Commit offsets, in a transaction if there is a `producer`. `generation` is the member epoch in a
    KIP-848 group. `retention_ms` is -1 unless the client wants another one than the broker's.
    `tells_missing_group`: the client knows GROUP_ID_NOT_FOUND (it is ILLEGAL_GENERATION to others), and
    member epochs."""

    group_id: str
    offsets: tuple[NewOffset, ...]
    generation: int = NO_GENERATION
    member_id: str = UNKNOWN_MEMBER
    instance_id: str | None = None
    retention_ms: int = -1
    producer: Producer | None = None
    tells_missing_group: bool = True


class FetchOffsets(msgspec.Struct, frozen=True):
    """Ask for committed offsets: of (topic, partitions), or of everything if `topics` is None.
    `member_id` and `member_epoch` are checked in KIP-848 groups."""

    group_id: str
    topics: tuple[tuple[str, tuple[int, ...]], ...] | None = None
    require_stable: bool = False
    member_id: str | None = None
    member_epoch: int = -1


class FetchedOffset(NamedTuple):
    """What is committed for a partition; `offset` -1 if nothing is."""

    partition: int
    offset: int
    leader_epoch: int
    metadata: str
    error: ErrorCode


FetchedOffsets = tuple[tuple[str, tuple[FetchedOffset, ...]], ...]
"""Fetched offsets by topic, in the order of the request."""


class DeleteOffsets(msgspec.Struct, frozen=True):
    """Forget committed offsets of topics that the group does not use."""

    group_id: str
    partitions: tuple[tuple[str, int], ...]


class DescribedMember(msgspec.Struct, frozen=True):
    """A member as an administrator sees it; metadata and assignment of a stable group only."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes
    assignment: bytes


class DescribedGroup(msgspec.Struct, frozen=True):
    """A group as an administrator sees it. `state` is Kafka's name of it, "Dead" if there is no group."""

    group_id: str
    state: str
    protocol_type: str = ""
    protocol: str = ""
    members: tuple[DescribedMember, ...] = ()
    error: ErrorCode = ErrorCode.NONE


class ListedGroup(NamedTuple):
    """A group in a list. `kind` is "classic" or "consumer"."""

    group_id: str
    protocol_type: str
    state: str
    kind: str
