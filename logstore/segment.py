"""One segment of a log: a file of record batches, its indexes and its aborted transactions.

The places of the newest batches are also kept in memory, so that a read at the tail looks nothing up in a
file. The indexes of the last segment live in memory and are saved when it is sealed; those of a closed one
are loaded when something is looked up, checked against the log, and rebuilt when they disagree with it.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import TypeVar

from kafkawire.errors import KafkaError
from kafkawire.records import BatchHeader, check_crc, read_header
from logstore.aborted import AbortedTransactions
from logstore.files import ABORTED_INDEX, LOG, path_of, read_whole, write_whole
from logstore.index import CorruptIndexError, IndexEntry
from logstore.indexes import NO_TIMESTAMP, Indexes, peek_largest_timestamp
from logstore.scan import in_order, scan_headers
from logstore.slices import EMPTY_SLICE, LogSlice
from logstore.storage import Buffer, Storage, StorageError

RECENT_BATCHES = 4096
"""Most batches at the end of the log whose places are kept in memory; half are forgotten at a time."""

_RESUME_POINTS = 32

_Found = TypeVar("_Found")


class Segment:
    """The batches from `base_offset` to before `next_offset`: `size` bytes in `file`.

    `next_offset` is the base of the following segment where there is one. `first_timestamp` (ms) is that of
    the first batch; `opened_ms` and `written_ms` are what the wall clock said when the segment was opened and
    when it was last known to be written.
    """

    __slots__ = (
        "_directory",
        "_floor",
        "_indexes",
        "_interval",
        "_largest",
        "_nexts",
        "_positions",
        "_resume",
        "_storage",
        "aborted",
        "base_offset",
        "file",
        "first_timestamp",
        "next_offset",
        "opened_ms",
        "size",
        "written_ms",
    )

    def __init__(
        self, storage: Storage, directory: str, base_offset: int, *, interval: int, now_ms: int
    ) -> None:
        """Open the file, creating it if need be, and know nothing of its batches yet: see `load_tail`,
        `load_closed` and `clear`. `interval` is `index.interval.bytes`. Raises StorageError.
        """
        self._storage = storage
        self._directory = directory
        self._interval = interval
        self.base_offset = base_offset
        self.file = storage.open(self.path(LOG), create=True)
        self.opened_ms = self.written_ms = now_ms
        self._resume: dict[int, int] = {}
        self.clear()

    def path(self, suffix: str) -> str:
        """The path of one of its files."""
        return path_of(self._directory, self.base_offset, suffix)

    def clear(self) -> None:
        """Begin to count batches from the start of the file."""
        self.size = 0
        self.next_offset = self.base_offset
        self.first_timestamp = NO_TIMESTAMP
        self.aborted = AbortedTransactions()
        self._indexes: Indexes | None = Indexes(self.base_offset, self._interval)
        self._largest = (NO_TIMESTAMP, self.base_offset)
        self._start_recent(self.base_offset)

    def _start_recent(self, floor: int) -> None:
        # Every batch that ends past `_floor` has its end in `_nexts` and its place in `_positions`.
        self._floor = floor
        self._nexts: list[int] = []
        self._positions: list[int] = []
        self._resume.clear()

    # Writing.

    def append(self, data: Buffer, size: int, next_offset: int, max_timestamp: int) -> None:
        """Write one batch behind the last; after a StorageError nothing of it counts."""
        self.file.write_at(self.size, data)
        self.note(size, next_offset, max_timestamp)

    def note(self, size: int, next_offset: int, max_timestamp: int) -> None:
        """Count in a batch that is in the file already, right behind the last one."""
        position = self.size
        if not position:
            self.first_timestamp = max_timestamp
        (self._indexes or self.indexes).add(position, size, next_offset, max_timestamp)
        nexts = self._nexts
        nexts.append(next_offset)
        self._positions.append(position)
        if len(nexts) > RECENT_BATCHES:
            half = RECENT_BATCHES // 2
            self._floor = nexts[half - 1]
            del nexts[:half]
            del self._positions[:half]
        self.size = position + size
        self.next_offset = next_offset

    def undo_write(self) -> None:
        """Cut off what a failed write left behind the last batch; raises StorageError."""
        self.file.truncate(self.size)

    def save(self, *, durable: bool = False) -> list[str]:
        """Save indexes and aborted transactions; returns what is to be synced. Raises StorageError."""
        paths = self.indexes.save(self._storage, self._directory, self.base_offset, durable=durable)
        if len(self.aborted):
            # It does not show when this file is missing, so it is never left to chance.
            write_whole(self._storage, self.path(ABORTED_INDEX), self.aborted.encode(), durable=True)
        else:
            self._storage.remove(self.path(ABORTED_INDEX))
        return paths

    def seal(self) -> list[str]:
        """Save, and give back the memory that only the last segment needs; returns what is to be synced.

        Raises StorageError.
        """
        paths = self.save()
        self.release()
        self._start_recent(self.next_offset)
        return paths

    def truncate(self, offset: int) -> None:
        """Remove the batch that contains `offset` and all behind it; raises StorageError, KafkaError."""
        position = self.locate(offset)
        indexes = self.indexes
        self.file.truncate(position)
        # Durable before anything is written in the place of what went: a power cut must not mix old and new.
        self.file.sync()
        self.size = position
        indexes.truncate(position, offset)
        self.aborted.truncate(offset)
        self._trusting_index(self.load_tail)

    # Opening.

    def load_closed(self, next_offset: int) -> None:
        """Take the file for what it is, and look at no batch unless an index does not fit and is rebuilt.

        Raises CorruptIndexError (the aborted transactions), StorageError, KafkaError.
        """
        self.size = self.file.size()
        self.next_offset = next_offset
        self._start_recent(next_offset)
        self._load_aborted()
        self._indexes = None
        try:
            self._largest = peek_largest_timestamp(
                self._storage, self._directory, self.base_offset, size=self.size, next_offset=next_offset
            )
        except CorruptIndexError:
            self.rebuild_indexes()
            self.release()

    def load_last(self) -> bool:
        """Open for writing from saved indexes; False unless the file ends with a whole, right batch.

        Raises CorruptIndexError if an index does not fit, StorageError, KafkaError.
        """
        self.size = self.file.size()
        self._indexes = self._load_indexes(self.base_offset + 2**31)  # the end is not known yet
        self._load_aborted()
        whole = self.load_tail()
        if self.indexes.times.last[1] >= max(self.next_offset, self.base_offset + 1):
            raise CorruptIndexError("the time index goes past the end")
        if self._positions:
            # Where the log ends is what this one says.
            last = self.file.read_at(self._positions[-1], self.size - self._positions[-1])
            whole = whole and check_crc(last, 0, read_header(last))
        return whole

    def _load_indexes(self, next_offset: int) -> Indexes:
        return Indexes.load(
            self._storage,
            self._directory,
            self.base_offset,
            size=self.size,
            next_offset=next_offset,
            interval=self._interval,
        )

    def _load_aborted(self) -> None:
        data = read_whole(self._storage, self.path(ABORTED_INDEX))
        self.aborted = AbortedTransactions.decode(self.base_offset, data or b"")

    def load_tail(self) -> bool:
        """Read the headers from the last index entry on, to know the end and the batches before it.

        False if something follows that is no whole batch. Raises CorruptIndexError, StorageError, KafkaError.
        """
        indexes = self.indexes
        first = next(scan_headers(self.file, 0, self.size), None)
        self.first_timestamp = first[1].largest_timestamp if first else NO_TIMESTAMP
        self.next_offset = self.base_offset
        self._start_recent(self.base_offset)
        end = indexes.offsets.last.position
        for position, header in in_order(self._scan_from(indexes.offsets.last, self.size), self.base_offset):
            if not self._nexts:
                self._floor = header.base_offset if position else self.base_offset
            indexes.add_unindexed(position, header.size, header.next_offset, header.largest_timestamp)
            self._nexts.append(header.next_offset)
            self._positions.append(position)
            self.next_offset = header.next_offset
            end = position + header.size
        return end == self.size

    def release(self) -> None:
        """Drop the indexes from memory; they were saved."""
        if self._indexes is not None:
            self._largest = (self._indexes.max_timestamp, self._indexes.max_timestamp_offset)
            self._indexes = None

    @property
    def loaded(self) -> bool:
        """Whether the indexes are in memory."""
        return self._indexes is not None

    @property
    def indexes(self) -> Indexes:
        """Loaded, or rebuilt, when they are not in memory; raises StorageError, KafkaError."""
        if self._indexes is None:
            try:
                self._indexes = self._load_indexes(self.next_offset)
            except CorruptIndexError:
                return self.rebuild_indexes()
        return self._indexes

    def rebuild_indexes(self) -> Indexes:
        """Make the indexes anew from the batches in the file; raises StorageError, KafkaError."""
        self._indexes = Indexes.rebuild(self.file, self.base_offset, size=self.size, interval=self._interval)
        with contextlib.suppress(StorageError):  # the disk may be full: they work from memory as well
            self._indexes.save(self._storage, self._directory, self.base_offset, durable=True)
        return self._indexes

    # Looking up.

    @property
    def largest_timestamp(self) -> tuple[int, int]:
        """The largest timestamp in ms, -1 if there is none, and the last offset of its batch."""
        if self._indexes is None:
            return self._largest
        return self._indexes.max_timestamp, self._indexes.max_timestamp_offset

    def find_first_timestamp(self) -> int:
        """The largest timestamp of the first batch, -1 if there is none; raises StorageError, KafkaError."""
        if self.first_timestamp == NO_TIMESTAMP:
            first = next(self.scan(0), None)
            self.first_timestamp = first[1].largest_timestamp if first else NO_TIMESTAMP
        return self.first_timestamp

    def confirm_largest_timestamp(self) -> int:
        """The largest timestamp, after asking the batch itself; raises StorageError, KafkaError.

        Data is deleted on the strength of it, so that a damaged index must not have the last word.
        """
        timestamp, offset = self.largest_timestamp
        if timestamp != NO_TIMESTAMP:
            found = next(self.scan(self.locate(offset)), None)
            if found is None or found[1].largest_timestamp != timestamp:
                return self.rebuild_indexes().max_timestamp
        return timestamp

    def scan(self, position: int) -> Iterator[tuple[int, BatchHeader]]:
        """Position and header of the batches from `position` on; raises StorageError, KafkaError."""
        return scan_headers(self.file, position, self.size)

    def last_headers(self, entries: int, size: int) -> list[BatchHeader]:
        """Headers of the last batches: as many as the last index `entries` span, or `size` bytes if more."""

        def read() -> list[BatchHeader]:
            offsets = self.indexes.offsets
            entry = min(offsets.from_end(entries), offsets.floor_position(max(0, self.size - size)))
            return [header for _, header in self._scan_from(entry, self.size)]

        return self._trusting_index(read)

    def locate(self, offset: int) -> int:
        """Where the first batch that ends past `offset` starts, the segment's size if none does.

        Raises StorageError, KafkaError.
        """
        if offset >= self._floor:
            number = bisect_right(self._nexts, offset)
            return self._positions[number] if number < len(self._positions) else self.size
        known = self._resume.get(offset)
        return self._trusting_index(lambda: self._search(offset)) if known is None else known

    def _search(self, offset: int) -> int:
        for position, header in self._scan_from(self.indexes.offsets.floor(offset), self.size):
            if header.next_offset > offset:
                return position
        return self.size

    def position_before(self, offset: int) -> int:
        """Where a batch starts that ends before `offset` and that the index knows, 0 if it knows none.

        Raises StorageError, KafkaError.
        """

        def look() -> int:
            entry = self.indexes.offsets.floor(offset - 1)
            next(self._scan_from(entry, self.size), None)
            return entry.position

        return self._trusting_index(look)

    def _scan_from(self, entry: IndexEntry, end: int) -> Iterator[tuple[int, BatchHeader]]:
        """Batches from an index entry on; raises CorruptIndexError if the entry does not tell the truth."""
        checked = not entry.position
        try:
            for position, header in scan_headers(self.file, entry.position, end):
                if not checked and header.last_offset != entry.last_offset:
                    break
                checked = True
                yield position, header
        except KafkaError:
            if checked:
                raise
        if not checked:
            raise CorruptIndexError(f"no batch that ends at {entry.last_offset} is at {entry.position}")

    def _trusting_index(self, look_up: Callable[[], _Found]) -> _Found:
        try:
            return look_up()
        except CorruptIndexError:
            self.rebuild_indexes()
            return look_up()

    def read(self, offset: int, max_bytes: int, up_to: int, at_least_one: bool) -> LogSlice:
        """See `Log.read`: here `offset` lies in the segment and before `up_to`."""
        if offset < self._floor:
            return self._read_older(offset, max_bytes, up_to, at_least_one)
        nexts, positions = self._nexts, self._positions
        first = bisect_right(nexts, offset)
        count = len(nexts)
        if first == count:
            return EMPTY_SLICE
        position = positions[first]
        limit = position + max_bytes
        stop = count if up_to >= self.next_offset else bisect_right(nexts, up_to)
        if limit < self.size:
            # The batch at `positions[i]` ends where the next one starts.
            fitting = bisect_right(positions, limit, first) - 1
            if fitting < stop:
                stop = max(fitting, first + 1) if at_least_one and stop > first else fitting
        if stop <= first:
            return EMPTY_SLICE
        end = positions[stop] if stop < count else self.size
        return LogSlice(self.file, position, end - position, nexts[stop - 1])

    def _read_older(self, offset: int, max_bytes: int, up_to: int, at_least_one: bool) -> LogSlice:
        start = self.locate(offset)
        end, next_offset = self._trusting_index(lambda: self._find_end(start, start + max_bytes, up_to))
        if end <= start:
            found = next(self.scan(start), None)
            if not at_least_one or found is None or found[1].next_offset > up_to:
                return EMPTY_SLICE
            end, next_offset = start + found[1].size, found[1].next_offset
        if len(self._resume) >= _RESUME_POINTS:
            del self._resume[next(iter(self._resume))]
        self._resume[next_offset] = end
        return LogSlice(self.file, start, end - start, next_offset)

    def _find_end(self, start: int, limit: int, up_to: int) -> tuple[int, int]:
        """The last place where a batch ends that keeps to both limits, and the offset that comes there."""
        if limit >= self.size and up_to >= self.next_offset:
            return self.size, self.next_offset
        offsets = self.indexes.offsets
        entry = min(offsets.floor_position(limit), offsets.floor(up_to - 1))
        indexed = entry.position >= start
        batches = self._scan_from(entry, self.size) if indexed else self.scan(start)
        next_offset = None
        for position, header in batches:
            if header.next_offset > up_to or position + header.size > limit:
                return position, header.base_offset if next_offset is None else next_offset
            next_offset = header.next_offset
        return self.size, self.next_offset
