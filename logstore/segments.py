"""The segments of one log in order: which one holds an offset, when a new one begins, and how old ones go."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from zlib import crc32

from logstore.aborted import AbortedTransaction
from logstore.config import LogConfig
from logstore.deletion import DeletedSegments
from logstore.files import LOG
from logstore.scan import MAX_SPAN
from logstore.segment import Segment
from logstore.slices import EMPTY_SLICE, LogSlice
from logstore.storage import Storage, StorageError

_WARM_SEGMENTS = 4
"""Most closed segments whose indexes stay in memory."""


class Segments:
    """At least one segment; `active`, the last one, is written to."""

    __slots__ = ("_bases", "_directory", "_storage", "_warm", "active", "all", "deleted")

    def __init__(self, storage: Storage, directory: str, segments: list[Segment]) -> None:
        self._storage = storage
        self._directory = directory
        self.all = segments
        self.active = segments[-1]
        self.deleted = DeletedSegments(storage)
        self._bases = [segment.base_offset for segment in segments]
        self._warm: list[Segment] = []

    @property
    def first_offset(self) -> int:
        """Where the first segment starts."""
        return self._bases[0]

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in self.all)

    # Growing.

    def must_roll(
        self, config: LogConfig, size: int, next_offset: int, max_timestamp: int, now_ms: int
    ) -> bool:
        """Whether a batch of `size` bytes that ends before `next_offset` wants a new segment.

        Kafka's `LogSegment.shouldRoll`: by bytes, by the time between first batch and this one (by the clock
        where batches have no timestamps), by full indexes, and where relative offsets would not fit.
        """
        segment = self.active
        if not segment.size:
            return False
        if (
            segment.size + size > config.segment_bytes
            or next_offset - segment.base_offset > MAX_SPAN
            or segment.indexes.full(config.segment_index_bytes)
        ):
            return True
        if segment.first_timestamp >= 0:
            age = max_timestamp - segment.first_timestamp
        else:
            age = now_ms - segment.opened_ms
        limit = config.segment_ms
        if config.max_compaction_lag_ms < limit and config.compacts:
            limit = config.max_compaction_lag_ms  # in time for what has to be compacted by then
        if config.segment_jitter_ms > 0:
            # Spread over the segments, but the same for one of them every time.
            limit -= crc32(segment.path(LOG).encode()) % config.segment_jitter_ms
        return age > limit

    def roll(self, base_offset: int, config: LogConfig, now_ms: int) -> list[str]:
        """Begin a new segment; returns the paths of what has to be synced of the old one.

        After a StorageError the old one goes on.
        """
        new = self._create(base_offset, config, now_ms)
        try:
            paths = self.active.seal()
        except StorageError:
            new.file.close()
            self._storage.remove(new.path(LOG))
            raise
        self._append(new)
        return paths

    def _create(self, base_offset: int, config: LogConfig, now_ms: int) -> Segment:
        segment = Segment(
            self._storage,
            self._directory,
            base_offset,
            interval=config.index_interval_bytes,
            now_ms=now_ms,
        )
        if segment.file.size():
            segment.undo_write()
        return segment

    def _append(self, segment: Segment) -> None:
        self.all.append(segment)
        self._bases.append(segment.base_offset)
        self.active = segment

    # Reading.

    def holding(self, offset: int) -> int:
        """The number of the segment in which `offset` lies; the first one for anything before it."""
        return max(0, bisect_right(self._bases, offset) - 1)

    def read_closed(self, offset: int, max_bytes: int, up_to: int, at_least_one: bool) -> LogSlice:
        """Read from where `offset` is, or from the following segment where compaction left nothing."""
        for number in range(self.holding(offset), len(self.all)):
            segment = self.all[number]
            if segment.base_offset >= up_to:
                break
            found = segment.read(offset, max_bytes, up_to, at_least_one)
            self.keep_warm(segment)
            if found.size or segment.locate(offset) < segment.size:
                return found
        return EMPTY_SLICE

    def aborted_transactions(self, start: int, end: int) -> list[tuple[int, int]]:
        """(producer id, first offset) of the aborted transactions with records in [start, end)."""
        found = []
        for aborted in self.aborted_from(start):
            if aborted.first_offset < end:
                found.append((aborted.producer_id, aborted.first_offset))
            if aborted.last_stable_offset >= end:
                break
        return found

    def aborted_from(self, offset: int) -> Iterator[AbortedTransaction]:
        """The aborted transactions whose marker lies at or past `offset`, in the order of the markers."""
        for segment in self.all[self.holding(offset) :]:
            yield from segment.aborted.decided_from(offset)

    def keep_warm(self, segment: Segment) -> None:
        """Let the indexes of this segment stay in memory, rather than those of the one used longest ago."""
        if segment is self.active or segment in self._warm[-1:]:
            return
        if segment in self._warm:
            self._warm.remove(segment)
        self._warm.append(segment)
        if len(self._warm) > _WARM_SEGMENTS:
            cold = self._warm.pop(0)
            if cold is not self.active:
                cold.release()

    # Shrinking.

    def remove_first(self, count: int) -> None:
        """Delete the oldest segments; after a StorageError those before the failing one are gone."""
        for _ in range(count):
            self._delete(self.all[0])
            del self.all[0], self._bases[0]

    def replace(self, old: Sequence[Segment], new: Segment) -> None:
        """Let a closed segment stand for the ones that lie where it does and were deleted already."""
        number = self.all.index(old[0])
        self.all[number : number + len(old)] = [new]
        self._bases[number : number + len(old)] = [new.base_offset]
        self._warm = [segment for segment in self._warm if segment not in old]

    def truncate(self, offset: int) -> None:
        """Remove the batch that contains `offset` and everything behind it; raises StorageError, KafkaError.

        The first segment starts at or before `offset`.
        """
        if self._bases[-1] > offset:
            while self._bases[-1] > offset:
                self._delete(self.all[-1])
                del self.all[-1], self._bases[-1]
            # Before the last one left gets shorter: were they back after a power cut, the log had a hole.
            self._storage.sync_directory(self._directory)
        self.active = self.all[-1]
        self._warm = [segment for segment in self._warm if segment is not self.active]
        self.active.truncate(offset)

    def reset(self, offset: int, config: LogConfig, now_ms: int) -> None:
        """Delete every segment and begin an empty one at `offset`; raises StorageError."""
        while self.all:
            self._delete(self.all[-1])
            del self.all[-1], self._bases[-1]
        self._append(self._create(offset, config, now_ms))

    def _delete(self, segment: Segment) -> None:
        self.deleted.add(segment)
        if segment in self._warm:
            self._warm.remove(segment)

    def close(self) -> None:
        """Close every file."""
        for segment in self.all:
            segment.file.close()
        self.deleted.close()
