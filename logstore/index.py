"""The two sparse indexes of a segment: by offset and by time. Both are disposable.

An index is a cache of what the log says: it is checked when it is read and rebuilt from the segment when it
does not agree with it. Entries are relative to the segment's base offset and stored big-endian:

    .index      relative last offset int32, position int32                  every `index.interval.bytes`
    .timeindex  timestamp int64, relative offset of its batch's end int32    where the largest timestamp grew

Sources: `org.apache.kafka.storage.internals.log.OffsetIndex` and `TimeIndex`.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, bisect_right
from operator import lt
from struct import Struct
from typing import NamedTuple

OFFSET_ENTRY = 8
TIME_ENTRY = 12

_TIME = Struct(">qi")


class CorruptIndexError(Exception):
    """The bytes of an index cannot be right for their segment: it has to be rebuilt."""


class IndexEntry(NamedTuple):
    """A batch whose place is known. At position 0 it is the segment's start, whatever batch is there."""

    last_offset: int
    position: int


class OffsetIndex:
    """From offsets to positions in the segment file: where to start looking for an offset.

    An entry stands for one batch: its last offset and the position at which it starts.
    """

    __slots__ = ("_base", "_offsets", "_positions")

    def __init__(self, base_offset: int) -> None:
        self._base = base_offset
        self._offsets: array[int] = array("i")
        self._positions: array[int] = array("i")

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def last(self) -> IndexEntry:
        """The last entry."""
        return self._entry(len(self._offsets))

    def append(self, last_offset: int, position: int) -> None:
        """Add the batch at `position`; it lies behind all that have an entry."""
        self._offsets.append(last_offset - self._base)
        self._positions.append(position)

    def floor(self, offset: int) -> IndexEntry:
        """The last entry of a batch that ends at or before `offset`."""
        return self._entry(bisect_right(self._offsets, offset - self._base))

    def floor_position(self, position: int) -> IndexEntry:
        """The last entry of a batch that starts at or before `position`."""
        return self._entry(bisect_right(self._positions, position))

    def from_end(self, count: int) -> IndexEntry:
        """The `count`-th last entry."""
        return self._entry(max(0, len(self._offsets) - count + 1))

    def _entry(self, number: int) -> IndexEntry:
        if not number:
            return IndexEntry(self._base - 1, 0)
        return IndexEntry(self._base + self._offsets[number - 1], self._positions[number - 1])

    def truncate(self, position: int) -> None:
        """Forget the batches that start at or behind `position`."""
        number = bisect_left(self._positions, position)
        del self._offsets[number:]
        del self._positions[number:]

    def encode(self) -> bytes:
        """The content of the `.index` file."""
        entries = array("i", bytes(OFFSET_ENTRY * len(self._offsets)))
        entries[0::2] = self._offsets
        entries[1::2] = self._positions
        if sys.byteorder == "little":
            entries.byteswap()
        return entries.tobytes()

    @classmethod
    def decode(cls, base_offset: int, data: bytes, log_size: int) -> OffsetIndex:
        """Read an `.index` file of a segment of `log_size` bytes; raises CorruptIndexError."""
        if len(data) % OFFSET_ENTRY:
            raise CorruptIndexError(f"{len(data)} bytes are no whole number of entries")
        entries = array("i", data)
        if sys.byteorder == "little":
            entries.byteswap()
        index = cls(base_offset)
        index._offsets = entries[0::2]
        index._positions = entries[1::2]
        if entries:
            if entries[0] < 0 or entries[1] < 0:
                raise CorruptIndexError("an entry is negative")
            if not (_grows(index._offsets) and _grows(index._positions)):
                raise CorruptIndexError("entries are out of order")
            if index.last.position >= log_size:
                raise CorruptIndexError(f"position {index.last.position} of {log_size} bytes")
        return index


class TimeIndex:
    """From timestamps (ms) to offsets: no record before an entry's offset is younger than its timestamp."""

    __slots__ = ("_base", "_offsets", "_timestamps")

    def __init__(self, base_offset: int) -> None:
        self._base = base_offset
        self._offsets: array[int] = array("i")
        self._timestamps: array[int] = array("q")

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def last(self) -> tuple[int, int]:
        """The last entry as (timestamp, offset), (-1, base offset) if there is none."""
        if not self._timestamps:
            return -1, self._base
        return self._timestamps[-1], self._base + self._offsets[-1]

    def append(self, timestamp: int, offset: int) -> None:
        """Add an entry if `timestamp` is larger than all before it."""
        if timestamp > self.last[0]:
            self._timestamps.append(timestamp)
            self._offsets.append(offset - self._base)

    def floor(self, timestamp: int) -> int:
        """An offset such that every record before it is older than `timestamp`."""
        number = bisect_right(self._timestamps, timestamp)
        return self._base + self._offsets[number - 1] if number else self._base

    def truncate(self, offset: int) -> None:
        """Forget the entries at or past `offset`."""
        number = bisect_left(self._offsets, offset - self._base)
        del self._offsets[number:]
        del self._timestamps[number:]

    def encode(self) -> bytes:
        """The content of the `.timeindex` file."""
        pack = _TIME.pack
        return b"".join(map(pack, self._timestamps, self._offsets))

    @classmethod
    def decode(cls, base_offset: int, data: bytes, next_offset: int) -> TimeIndex:
        """Read a `.timeindex` file of a segment that ends before `next_offset`; raises CorruptIndexError."""
        if len(data) % TIME_ENTRY:
            raise CorruptIndexError(f"{len(data)} bytes are no whole number of entries")
        index = cls(base_offset)
        if data:
            timestamps, offsets = zip(*_TIME.iter_unpack(data), strict=True)
            index._timestamps.extend(timestamps)
            index._offsets.extend(offsets)
            if offsets[0] < 0 or timestamps[0] < 0:
                raise CorruptIndexError("an entry is negative")
            if not (_grows(index._timestamps) and _grows(index._offsets)):
                raise CorruptIndexError("entries are out of order")
            if index.last[1] >= next_offset:
                raise CorruptIndexError(f"offset {index.last[1]} in a segment that ends at {next_offset}")
        return index


def _grows(values: array[int]) -> bool:
    return all(map(lt, values, values[1:]))
