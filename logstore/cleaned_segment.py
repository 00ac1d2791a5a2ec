"""Reading the batches of closed segments and writing what is left of them, a chunk at a time."""

from __future__ import annotations

import contextlib

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import BATCH_OVERHEAD, BatchHeader, check_crc, read_header
from logstore.aborted import AbortedTransaction, AbortedTransactions
from logstore.files import ABORTED_INDEX, CLEANED, LOG, path_of, write_whole
from logstore.indexes import Indexes
from logstore.segment import Segment
from logstore.steps import Aside, Steps
from logstore.storage import Storage

_LARGEST_FILE = 2**31 - 1
"""Positions in an index are int32."""


class BatchReader:
    """The batches of a segment from `position` on, with their checksums verified."""

    __slots__ = ("_chunk", "_data", "_segment", "_start", "position")

    def __init__(self, segment: Segment, position: int, chunk: int) -> None:
        self._segment = segment
        self._chunk = max(chunk, BATCH_OVERHEAD)
        self._data = b""
        self._start = self.position = position

    @property
    def at_end(self) -> bool:
        """Whether there is no further batch."""
        return self.position >= self._segment.size

    def next(self) -> Steps[tuple[BatchHeader, bytes]]:
        """The next batch. Raises KafkaError(CORRUPT_MESSAGE) for one that is damaged, StorageError."""
        if self.position + BATCH_OVERHEAD > self._start + len(self._data):
            yield from self._fill(self._chunk)
        header = read_header(self._data, self.position - self._start)
        following = self.position + header.size
        if following > self._segment.size:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"a batch of {header.size} bytes at {self.position}")
        if following > self._start + len(self._data):
            yield from self._fill(max(self._chunk, header.size))
        at = self.position - self._start
        if not check_crc(self._data, at, header):
            raise KafkaError(
                ErrorCode.CORRUPT_MESSAGE, f"the batch at offset {header.base_offset} is damaged"
            )
        self.position = following
        return header, self._data[at : at + header.size]

    def _fill(self, size: int) -> Steps[None]:
        start = self.position
        size = min(size, self._segment.size - start)
        aside = Aside(lambda: self._segment.file.read_at(start, size), size)
        yield aside
        self._start, self._data = start, aside.result


class CleanedSegment:
    """A segment in the making, under names that end in `.cleaned`. Times are those of its batches."""

    __slots__ = (
        "_aborted",
        "_base_offset",
        "_chunk",
        "_directory",
        "_file",
        "_indexes",
        "_pending",
        "_pending_size",
        "_storage",
        "size",
    )

    def __init__(
        self, storage: Storage, directory: str, base_offset: int, *, interval: int, chunk: int
    ) -> None:
        """Begin it. `interval` is `index.interval.bytes`, `chunk` how many bytes are written at once. Raises
        StorageError, FileNotFoundError (the log was deleted)."""
        self._storage = storage
        self._directory = directory
        self._base_offset = base_offset
        self._chunk = chunk
        self._indexes = Indexes(base_offset, interval)
        self._aborted = AbortedTransactions()
        self._pending: list[bytes] = []
        self._pending_size = 0
        self.size = 0
        self._file = storage.open(path_of(directory, base_offset, LOG) + CLEANED, create=True)
        self._file.truncate(0)

    def add(self, data: bytes) -> Steps[None]:
        """Add a batch behind the others; raises StorageError, KafkaError (the file would be too large)."""
        header = read_header(data)
        if self.size + header.size > _LARGEST_FILE:
            raise KafkaError(ErrorCode.RECORD_LIST_TOO_LARGE, "cleaning makes the segment too large")
        self._indexes.add(self.size, header.size, header.next_offset, header.largest_timestamp)
        self.size += header.size
        self._pending.append(data)
        self._pending_size += len(data)
        if self._pending_size >= self._chunk:
            yield from self._write()

    def note_aborted(self, transaction: AbortedTransaction) -> None:
        """The marker of an aborted transaction, some of which is still there, was added."""
        self._aborted.append(transaction)

    def _write(self) -> Steps[None]:
        data, position = b"".join(self._pending), self.size - self._pending_size
        self._pending.clear()
        self._pending_size = 0
        aside = Aside(lambda: self._file.write_at(position, data), len(data))
        yield aside
        return aside.result

    def finish(self) -> Steps[None]:
        """Write and sync everything that belongs to it. Raises StorageError, FileNotFoundError."""
        yield from self._write()
        aside = Aside(self._complete)
        yield aside
        return aside.result

    def _complete(self) -> None:
        aborted = path_of(self._directory, self._base_offset, ABORTED_INDEX) + CLEANED
        write_whole(self._storage, aborted, self._aborted.encode())
        indexes = self._indexes.save(self._storage, self._directory, self._base_offset, behind=CLEANED)
        self._file.sync()
        for path in (*indexes, aborted):
            with contextlib.closing(self._storage.open(path)) as file:
                file.sync()
        self._storage.sync_directory(self._directory)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
