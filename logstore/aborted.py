"""The aborted transactions of a segment, which a consumer that reads only committed records skips.

One entry of 34 bytes in `.txnindex`: version int16 (0), producer id, first offset, last offset (that of the
marker) and the last stable offset at that moment, each int64. Source:
`org.apache.kafka.storage.internals.log.AbortedTxn` and `TransactionIndex`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from operator import attrgetter
from struct import Struct
from typing import NamedTuple

from logstore.index import CorruptIndexError

_ENTRY = Struct(">hqqqq")
_VERSION = 0
_LAST_OFFSET = attrgetter("last_offset")


class AbortedTransaction(NamedTuple):
    """A transaction whose abort marker lies at `last_offset`, in the segment that keeps the entry."""

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


class AbortedTransactions:
    """The entries of one segment, by `last_offset`."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[AbortedTransaction] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[AbortedTransaction]:
        return iter(self._entries)

    def decided_from(self, offset: int) -> Iterator[AbortedTransaction]:
        """The entries whose marker lies at or past `offset`, in the order of the markers."""
        first = bisect_left(self._entries, offset, key=_LAST_OFFSET)
        return (self._entries[number] for number in range(first, len(self._entries)))

    def append(self, transaction: AbortedTransaction) -> None:
        """Add one whose marker lies behind all others."""
        self._entries.append(transaction)

    def truncate(self, offset: int) -> None:
        """Forget the transactions whose marker lies at or past `offset`."""
        while self._entries and self._entries[-1].last_offset >= offset:
            self._entries.pop()

    def encode(self) -> bytes:
        """The content of the `.txnindex` file."""
        return b"".join(_ENTRY.pack(_VERSION, *entry) for entry in self._entries)

    @classmethod
    def decode(cls, base_offset: int, data: bytes) -> AbortedTransactions:
        """Read a `.txnindex` file; raises CorruptIndexError."""
        if len(data) % _ENTRY.size:
            raise CorruptIndexError(f"{len(data)} bytes are no whole number of entries")
        index = cls()
        before = base_offset - 1
        for version, *fields in _ENTRY.iter_unpack(data):
            entry = AbortedTransaction(*fields)
            if version != _VERSION:
                raise CorruptIndexError(f"version {version}")
            if entry.last_offset <= before or entry.first_offset >= entry.last_offset:
                raise CorruptIndexError(f"a transaction from {entry.first_offset} to {entry.last_offset}")
            before = entry.last_offset
            index.append(entry)
        return index
