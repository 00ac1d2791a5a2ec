"""The two roles of a replica that does not lead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Follower:
    """Copies from `leader_id`, which leads at `epoch`."""

    leader_id: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Offline:
    """Nobody leads at `epoch`; the replica waits for an election."""

    epoch: int
