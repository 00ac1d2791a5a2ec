"""How a quorum is tuned: one frozen value, checked once."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

MIB = 1024 * 1024

MAX_CARRIED_BYTES = 4 * MIB
"""What one message may carry, in entries or in bytes of a snapshot; the same on all nodes, whatever they are
tuned to.
"""


class QuorumConfig(msgspec.Struct, frozen=True):
    """Times are seconds, sizes are bytes. Raises ValueError for settings that cannot work together.

    A quorum is safe whatever the times are; they decide how fast a dead leader is replaced and how much a
    busy machine may stutter before that happens for nothing.
    """

    node_id: int
    voters: tuple[int, ...]

    election_timeout_min: float = 0.3
    """A follower that has heard nothing for so long, or up to `election_timeout_max`, asks for votes."""
    election_timeout_max: float = 0.6
    heartbeat_interval: float = 0.075
    check_quorum_timeout: float = 0.25
    """A leader that a majority has not answered for so long steps down (below the election timeout)."""
    link_grace_min: float = 0.05
    """After the link to the leader closed, ask for votes this much later, or up to `link_grace_max`."""
    link_grace_max: float = 0.15
    resend_interval: float = 0.02
    """A follower that refused entries is sent others at once, but not more often than this."""
    disk_stall_timeout: float = 1.0
    """A leader whose disk has not finished a write for so long hands over; it could commit nothing."""

    max_entry_bytes: int = MIB
    """The largest proposal, encoded."""
    max_append_bytes: int = MIB
    """Entries of one message add up to this, and one entry more."""
    max_pending_proposals: int = 10_000
    """Proposals that wait for their commit; further ones are rejected."""
    max_pending_bytes: int = 16 * MIB
    snapshot_interval_records: int = 10_000
    """A snapshot is taken after so many records ..."""
    snapshot_interval_bytes: int = 20 * MIB
    """... or bytes: `metadata.log.max.record.bytes.between.snapshots`."""
    max_snapshot_bytes: int = 256 * MIB
    snapshot_piece_bytes: int = 256 * 1024
    snapshot_pieces_per_round: int = 8
    """Pieces that one round of messages carries to a follower; a round starts every `heartbeat_interval`."""

    def __post_init__(self) -> None:
        problems = {
            "node.id is not among the voters": self.node_id not in self.voters,
            "a voter is listed twice": len(set(self.voters)) != len(self.voters),
            "the election timeout has no range": not 0
            < self.election_timeout_min
            < self.election_timeout_max,
            "three heartbeats must fit into an election timeout": not (
                0 < self.heartbeat_interval * 3 < self.election_timeout_min
            ),
            "the check-quorum timeout must lie between a heartbeat and the election timeout": not (
                self.heartbeat_interval < self.check_quorum_timeout <= self.election_timeout_min
            ),
            "the link grace has no range": not 0 <= self.link_grace_min <= self.link_grace_max,
            "a message would carry too much": (
                max(self.max_append_bytes + self.max_entry_bytes, self.snapshot_piece_bytes)
                > MAX_CARRIED_BYTES
            ),
            "a size or count is not positive": min(
                self.max_entry_bytes,
                self.max_append_bytes,
                self.max_pending_proposals,
                self.max_pending_bytes,
                self.snapshot_interval_records,
                self.snapshot_interval_bytes,
                self.max_snapshot_bytes,
                self.snapshot_piece_bytes,
                self.snapshot_pieces_per_round,
            )
            < 1,
        }
        for problem, holds in problems.items():
            if holds:
                raise ValueError(problem)

    @classmethod
    def tuned(
        cls,
        node_id: int,
        voters: tuple[int, ...],
        *,
        election_timeout: float,
        majority_timeout: float,
        **limits: int,
    ) -> QuorumConfig:
        """With these times, and the others at their defaults where they fit in, else as much shorter as that
        takes. `majority_timeout` is the most that a leader goes on without a majority in touch."""
        usual = cls(node_id, voters, **limits)
        patience = min(usual.check_quorum_timeout, majority_timeout, election_timeout)
        return replace(
            usual,
            election_timeout_min=election_timeout,
            election_timeout_max=2 * election_timeout,
            heartbeat_interval=min(usual.heartbeat_interval, election_timeout / 4, patience / 2),
            check_quorum_timeout=patience,
        )

    @property
    def peers(self) -> tuple[int, ...]:
        """The other voters."""
        return tuple(voter for voter in self.voters if voter != self.node_id)

    @property
    def majority(self) -> int:
        """How many voters decide."""
        return len(self.voters) // 2 + 1
