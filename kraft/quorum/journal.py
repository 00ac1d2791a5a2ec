"""The Raft log, the term and the vote in memory, and what of them is on disk.

pysyncobj changes a journal in the middle of handling a message. The journal notes each change; the driver
hands the notes to the disk (`stored.py`) after the message, any number at once, and one sync serves all of
them. Positions in the sequence of changes say what a message that leaves has to wait for.

The commit index is not stored: a leader tells it again, or counts it again. A stored one could lie, by
covering entries whose replacement was lost in a power cut.
"""

from __future__ import annotations

from typing import overload

import msgspec
from pysyncobj.journal import Journal as PysyncobjJournal

from kraft.quorum.messages import Entry
from kraft.quorum.snapshots import Snapshot


class Append(msgspec.Struct, frozen=True):
    """Entries to add at the end; their indexes follow each other."""

    entries: list[Entry]


class Truncate(msgspec.Struct, frozen=True):
    """Entries from `index` on are gone. Must be durable before anything is written in their place."""

    index: int


class Reset(msgspec.Struct, frozen=True):
    """All entries are gone, and these two stand in their place: the last two that a snapshot holds."""

    entries: list[Entry]


class Discard(msgspec.Struct, frozen=True):
    """Entries below `index` are not needed any more."""

    index: int


class Vote(msgspec.Struct, frozen=True):
    """The term, and who got this node's vote in it."""

    term: int
    voted_for: int | None


Change = Append | Truncate | Reset | Discard | Vote


class Journal(PysyncobjJournal):  # type: ignore[misc]  # pysyncobj has no types
    """See the module. The upper half is pysyncobj's interface, whose positions count from the first entry
    here.
    """

    def __init__(self, entries: list[Entry], vote: Vote) -> None:
        self._entries = entries
        self._vote = vote
        self._vote_at = 0
        self._changes: list[Change] = []
        self._flight: int | None = None
        self._flying_index: int | None = None
        self.written = 0
        """Changes so far."""
        self.synced = 0
        """How many of them are durable."""
        self.synced_index = self._entries[-1][1] if self._entries else 0
        """The last entry that is durable, and still in the log."""

    # pysyncobj's interface.

    def add(self, command: bytes, idx: int, term: int) -> None:
        entry = (command, idx, term)
        self._entries.append(entry)
        last = self._changes[-1] if self._changes else None
        if isinstance(last, Append):
            last.entries.append(entry)
            self.written += 1
        else:
            self._note(Append([entry]))

    def deleteEntriesFrom(self, entryFrom: int) -> None:  # noqa: N802, N803
        if entryFrom < len(self._entries):
            index = self._entries[entryFrom][1]
            del self._entries[entryFrom:]
            self.synced_index = min(self.synced_index, index - 1)
            if self._flying_index is not None:
                self._flying_index = min(self._flying_index, index - 1)
            self._note(Truncate(index))

    @overload
    def __getitem__(self, item: int) -> Entry: ...
    @overload
    def __getitem__(self, item: slice) -> list[Entry]: ...
    def __getitem__(self, item: int | slice) -> Entry | list[Entry]:
        return self._entries[item]

    def __len__(self) -> int:
        return len(self._entries)

    def setCurrentTerm(self, term: int, votedForNodeId: int | None) -> None:  # noqa: N802, N803
        vote = Vote(term, votedForNodeId)
        if vote != self._vote:
            self._vote = vote
            self._note(vote)
            self._vote_at = self.written

    def getCurrentTerm(self) -> int:  # noqa: N802
        return self._vote.term

    def getVotedForNodeId(self) -> int | None:  # noqa: N802
        return self._vote.voted_for

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:  # noqa: N802, N803
        """Not stored; see the module."""

    def getRaftCommitIndex(self) -> int:  # noqa: N802
        return 1

    def _destroy(self) -> None:
        """Nothing is held here."""

    # Ours, in Raft's indexes.

    @property
    def first_index(self) -> int:
        return self._entries[0][1]

    @property
    def last_index(self) -> int:
        return self._entries[-1][1]

    @property
    def last_term(self) -> int:
        return self._entries[-1][2]

    @property
    def term_is_durable(self) -> bool:
        """Whether the current term, and the vote in it, would survive a power cut."""
        return self._vote_at <= self.synced

    def entry(self, index: int) -> Entry:
        """The entry at `index`, which must be here."""
        position = index - self._entries[0][1]
        if position < 0:
            raise IndexError(f"entry {index} is below {self.first_index}")
        return self._entries[position]

    def term_at(self, index: int) -> int:
        """The term of the entry at `index`, which must be here."""
        return self.entry(index)[2]

    def install(self, snapshot: Snapshot) -> None:
        """Replace everything by the last two entries of a snapshot that is durable already."""
        self._entries = list(snapshot.entries)
        self.synced_index = snapshot.id.last_index
        self._flying_index = None
        self._note(Reset(list(snapshot.entries)))

    def discard_below(self, index: int) -> None:
        """Drop the entries before `index`: a snapshot that is durable holds what they did."""
        count = index - self.first_index
        if count > 0:
            self._entries = self._entries[count:]
            self._note(Discard(index))

    # The way to the disk.

    @property
    def is_flying(self) -> bool:
        """Whether changes are on their way to the disk."""
        return self._flight is not None

    def take(self) -> list[Change]:
        """The changes that the disk has not been given yet; `landed` has to follow before the next call."""
        changes, self._changes = self._changes, []
        self._flight = self.written
        self._flying_index = self.last_index
        return changes

    def landed(self) -> None:
        """What `take` gave is durable."""
        if self._flight is None:
            raise AssertionError("nothing was taken")
        self.synced = self._flight
        self._flight = None
        if self._flying_index is not None:
            self.synced_index = self._flying_index
            self._flying_index = None

    @property
    def has_changes(self) -> bool:
        """Whether there is something for the disk."""
        return bool(self._changes)

    def _note(self, change: Change) -> None:
        self._changes.append(change)
        self.written += 1
