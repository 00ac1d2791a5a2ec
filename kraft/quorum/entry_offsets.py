"""Where metadata offsets are among Raft's entries, for the latest of them.

Metadata records and Raft's entries are counted apart (see `metadata.log`): brokers tell how many records they
have applied, voters how many entries they have.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

KEPT = 4096


class EntryOffsets:
    """Remembers, for the last KEPT entries with records, which records were there after them."""

    def __init__(self) -> None:
        self._ends: deque[tuple[int, int]] = deque(maxlen=KEPT)

    def restart(self, index: int, next_offset: int) -> None:
        """A snapshot has all up to entry `index`, which are the records before `next_offset`."""
        self._ends.clear()
        self._ends.append((next_offset, index))

    def applied(self, index: int, next_offset: int) -> None:
        """With entry `index` there are the records before `next_offset`, more than before it."""
        self._ends.append((next_offset, index))

    def last_entry(self, next_offset: int) -> int | None:
        """The last entry that somebody with the records before `next_offset` is known to have; None where
        that is longer ago than what is remembered."""
        at = bisect_right(self._ends, next_offset, key=lambda end: end[0])
        return self._ends[at - 1][1] if at else None
