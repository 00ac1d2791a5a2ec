"""The port to the replicated metadata log: what a controller needs of a quorum.

`kraft.quorum` implements it with Raft. Offsets count metadata records, densely from 0, apart from Raft's
own indexes: a record's offset is known when it is decided, and a proposal says at which offset it expects
to land.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Protocol

import msgspec


class Outcome(Enum):
    """What became of a proposal, as its proposer learns it."""

    COMMITTED = auto()
    REJECTED = auto()
    """It reached the log out of its term or offset and was skipped, the same way on every node."""
    UNKNOWN = auto()
    """Leadership was lost first: it may or may not be committed."""


class Leadership(msgspec.Struct, frozen=True):
    """Who leads the quorum as this node knows it. `leader_id` is None while nobody does."""

    term: int
    leader_id: int | None


class CommittedBatch(msgspec.Struct, frozen=True):
    """Records that a majority holds: `records[i]` (encoded) has offset `first_offset + i`."""

    first_offset: int
    term: int
    records: Sequence[bytes]


def batch_bytes(records: Sequence[bytes]) -> int:
    """What encoded records take of a proposal: their bytes, and four for the size of each."""
    return sum(map(len, records)) + 4 * len(records)


class MetadataLogListener(Protocol):
    """What the log tells its state machine, in order, never concurrently and never from inside `propose`."""

    def on_committed(self, batch: CommittedBatch) -> None: ...

    def on_snapshot(self, snapshot: bytes, next_offset: int) -> None:
        """Replace the whole state: the records before `next_offset` are in `snapshot`."""

    def on_leadership(self, leadership: Leadership) -> None:
        """Called when the leader or the term changes. With `leader_id` of this node, every record committed
        in earlier terms has been delivered by `on_committed` before."""

    def take_snapshot(self) -> bytes:
        """The state after the last committed record that was delivered, encoded."""


class MetadataLog(Protocol):
    """One node's view of the metadata log."""

    @property
    def node_id(self) -> int: ...

    @property
    def leadership(self) -> Leadership: ...

    @property
    def next_offset(self) -> int:
        """The offset of the first record that is not yet committed here."""

    @property
    def max_batch_bytes(self) -> int:
        """The most that one proposal can carry, as `batch_bytes` counts."""

    def propose(
        self, term: int, expected_offset: int, records: Sequence[bytes], done: Callable[[Outcome], None]
    ) -> None:
        """Append `records` if this node leads `term`; they commit only at `expected_offset`.

        `done` is called exactly once, later: COMMITTED after `on_committed` delivered the batch. Proposals of
        one term are appended in the order of the calls, so that several can be in flight.
        """
