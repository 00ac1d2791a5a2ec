"""The two roles of a replica that does not lead."""

from __future__ import annotations

import msgspec


class Follower(msgspec.Struct, frozen=True):
    """Copies from `leader_id`, which leads at `epoch`."""

    leader_id: int
    epoch: int


class Offline(msgspec.Struct, frozen=True):
    """Nobody leads at `epoch`; the replica waits for an election."""

    epoch: int
