"""What a node knows of its quorum, as DescribeQuorum and a status page show it."""

from __future__ import annotations

from collections.abc import Container

import msgspec


def in_sight(leader: int | None, own: int, connected: Container[int]) -> int | None:
    """The leader, if it is this node or one that this node is connected to. Another one may be long dead,
    while nobody could replace it."""
    return leader if leader is not None and (leader == own or leader in connected) else None


class VoterStatus(msgspec.Struct, frozen=True):
    """One voter as the leader sees it; a node that does not lead knows only itself.

    `log_end_offset` counts Raft entries, like `QuorumStatus.high_watermark`. The times are the driver's
    clock, in seconds; None while nothing was heard. It was caught up when it last had everything that was
    committed.
    """

    node_id: int
    log_end_offset: int
    last_response: float | None
    last_caught_up: float | None


class QuorumStatus(msgspec.Struct, frozen=True):
    """`next_offset` counts metadata records that are committed here, apart from Raft's indexes."""

    node_id: int
    leader_id: int | None
    term: int
    high_watermark: int
    next_offset: int
    log_start_offset: int
    voters: tuple[VoterStatus, ...]


class Counters(msgspec.Struct):
    """What went wrong, or was refused, since the start."""

    malformed_messages: int = 0
    refused_messages: int = 0
    stale_replies: int = 0
    skipped_entries: int = 0
    elections: int = 0
    snapshots_taken: int = 0
    snapshots_installed: int = 0
