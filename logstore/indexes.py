"""The indexes of one segment together: kept while it is written, saved, loaded and rebuilt."""

from __future__ import annotations

from struct import Struct

from logstore.files import OFFSET_INDEX, TIME_INDEX, path_of, read_whole, write_whole
from logstore.index import OFFSET_ENTRY, TIME_ENTRY, CorruptIndexError, OffsetIndex, TimeIndex
from logstore.scan import in_order, scan_headers
from logstore.storage import File, Storage

NO_TIMESTAMP = -1

_REBUILD_CHUNK = 64 * 1024
_LAST_TIME = Struct(">qi")


class Indexes:
    """Where batches are and how young. `max_timestamp` (ms) is the largest, at the batch that ends at
    `max_timestamp_offset`; -1 while there is none.
    """

    __slots__ = ("_interval", "_since_entry", "max_timestamp", "max_timestamp_offset", "offsets", "times")

    def __init__(self, base_offset: int, interval: int) -> None:
        self.offsets = OffsetIndex(base_offset)
        self.times = TimeIndex(base_offset)
        self.max_timestamp = NO_TIMESTAMP
        self.max_timestamp_offset = base_offset
        self._interval = interval
        self._since_entry = 0

    def add(self, position: int, size: int, next_offset: int, max_timestamp: int) -> None:
        """Count in the batch at `position`, behind all others: it gets an entry every `interval` bytes."""
        if max_timestamp > self.max_timestamp:
            self.max_timestamp = max_timestamp
            self.max_timestamp_offset = next_offset - 1
        if self._since_entry > self._interval:
            self.offsets.append(next_offset - 1, position)
            self.times.append(self.max_timestamp, self.max_timestamp_offset)
            self._since_entry = 0
        self._since_entry += size

    def add_unindexed(self, position: int, size: int, next_offset: int, max_timestamp: int) -> None:
        """Count in a batch at or behind the last entry, when going on from loaded indexes."""
        if max_timestamp > self.max_timestamp:
            self.max_timestamp = max_timestamp
            self.max_timestamp_offset = next_offset - 1
        self._since_entry = position + size - self.offsets.last.position

    def truncate(self, position: int, offset: int) -> None:
        """Forget the batches from `position` on, which is where the batch of `offset` starts."""
        self.offsets.truncate(position)
        self.times.truncate(offset)
        self.max_timestamp, self.max_timestamp_offset = self.times.last
        self._since_entry = 0

    def full(self, limit: int) -> bool:
        """Whether the next batch gets an entry that might make a file outgrow `limit` bytes."""
        return self._since_entry > self._interval and (
            (len(self.offsets) + 1) * OFFSET_ENTRY > limit or (len(self.times) + 2) * TIME_ENTRY > limit
        )

    def save(
        self, storage: Storage, directory: str, base_offset: int, *, durable: bool = False, behind: str = ""
    ) -> list[str]:
        """Write both files, with `behind` their names, and return their paths; raises StorageError."""
        self.times.append(self.max_timestamp, self.max_timestamp_offset)
        offsets_path = path_of(directory, base_offset, OFFSET_INDEX) + behind
        times_path = path_of(directory, base_offset, TIME_INDEX) + behind
        write_whole(storage, offsets_path, self.offsets.encode(), durable=durable)
        write_whole(storage, times_path, self.times.encode(), durable=durable)
        return [offsets_path, times_path]

    @classmethod
    def load(
        cls, storage: Storage, directory: str, base_offset: int, *, size: int, next_offset: int, interval: int
    ) -> Indexes:
        """Read both files for a segment of `size` bytes that ends before `next_offset`.

        Raises CorruptIndexError if one is missing or cannot be right, StorageError.
        """
        offsets = read_whole(storage, path_of(directory, base_offset, OFFSET_INDEX))
        times = read_whole(storage, path_of(directory, base_offset, TIME_INDEX))
        if offsets is None or times is None:
            raise CorruptIndexError("an index is missing")
        indexes = cls(base_offset, interval)
        indexes.offsets = OffsetIndex.decode(base_offset, offsets, size)
        indexes.times = TimeIndex.decode(base_offset, times, next_offset)
        indexes.max_timestamp, indexes.max_timestamp_offset = indexes.times.last
        return indexes

    @classmethod
    def rebuild(cls, file: File, base_offset: int, *, size: int, interval: int) -> Indexes:
        """Make them anew from the headers of the segment file; raises StorageError, KafkaError."""
        indexes = cls(base_offset, interval)
        for position, header in in_order(scan_headers(file, 0, size, chunk=_REBUILD_CHUNK), base_offset):
            indexes.add(position, header.size, header.next_offset, header.largest_timestamp)
        return indexes


def peek_largest_timestamp(
    storage: Storage, directory: str, base_offset: int, *, size: int, next_offset: int
) -> tuple[int, int]:
    """(timestamp, offset) of the last entry in the time index, after a look at the shape of both files.

    That is all that a closed segment needs until it is read. Raises CorruptIndexError, StorageError.
    """
    try:
        with_offsets = storage.open(path_of(directory, base_offset, OFFSET_INDEX))
        offsets_size = with_offsets.size()
        with_offsets.close()
        times = storage.open(path_of(directory, base_offset, TIME_INDEX))
        times_size = times.size()
        last = times.read_at(max(0, times_size - TIME_ENTRY), TIME_ENTRY)
        times.close()
    except FileNotFoundError as error:
        raise CorruptIndexError(f"{error} is missing") from error
    if offsets_size % OFFSET_ENTRY or times_size % TIME_ENTRY or len(last) not in (0, TIME_ENTRY):
        raise CorruptIndexError("no whole number of entries")
    if not last:
        return NO_TIMESTAMP, base_offset
    timestamp, relative = _LAST_TIME.unpack(last)
    if timestamp < 0 or not 0 <= relative < next_offset - base_offset or not size:
        raise CorruptIndexError(f"timestamp {timestamp} at relative offset {relative}")
    return timestamp, base_offset + relative
