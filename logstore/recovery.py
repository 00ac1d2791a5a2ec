"""Opening a log: what the files say after a clean stop, and what can be believed after any other.

After an unclean stop everything from the segment of the recovery point on is read and verified. The log ends
before the first batch that is cut off, fails its checksum, or goes back in offset or leader epoch; what
follows is dropped, and indexes, epochs, producers and aborted transactions are made anew from what was read.
A log that promises to be synced is written again from the recovery point on: what an earlier process failed
to sync can be read from the page cache as if all was well, and no later sync would cover it (Rebello et al.,
ATC'20).
Source: `org.apache.kafka.storage.internals.log.LogLoader` and `LogSegment.recover`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from kafkawire.errors import KafkaError
from logstore.checkpoints import read_epochs, write_epochs
from logstore.config import LogConfig
from logstore.epochs import EpochCache
from logstore.files import (
    ABORTED_INDEX,
    LEFTOVERS,
    LOG,
    OFFSET_INDEX,
    TIME_INDEX,
    offset_in_name,
)
from logstore.index import CorruptIndexError
from logstore.producers import ProducerStates
from logstore.replay import note_stored_batch, restore_producers
from logstore.scan import MAX_SPAN, scan_valid
from logstore.segment import Segment
from logstore.snapshots import SnapshotFiles
from logstore.storage import Storage
from logstore.swap import finish_swap

_PIECE = 1 << 20


class Recovered(NamedTuple):
    """What recovery had to drop: `size` bytes from `offset` on."""

    offset: int
    size: int
    was_synced: bool
    """True if `offset` lies before the recovery point: the disk lost what it had promised to keep. This
    replica may miss acknowledged records."""


class LoadedLog(msgspec.Struct):
    """The parts of a log. There is at least one segment; the last one is ready for writing."""

    segments: list[Segment]
    epochs: EpochCache
    producers: ProducerStates
    recovered: Recovered | None
    unsynced: list[str]
    """Paths of files that were written and not synced."""
    inherited: list[Segment]
    """The segments whose batches nobody has verified."""


class LogLoader:
    """Opens the log in one directory; used once."""

    def __init__(self, storage: Storage, directory: str, config: LogConfig, now_ms: int) -> None:
        self._storage = storage
        self._directory = directory
        self._config = config
        self._now_ms = now_ms
        self._snapshots = SnapshotFiles(storage, directory)
        self._segments: list[Segment] = []
        self._recovered: Recovered | None = None
        self._unsynced: list[str] = []

    def load(self, recovery_point: int, *, clean: bool, log_start: int) -> LoadedLog:
        """See `Log.open`; raises StorageError, KafkaError (a batch header that makes no sense)."""
        self._storage.make_directory(self._directory)
        bases = self._tidy()
        self._segments = [self._open(base) for base in bases]
        if not self._segments:
            self._segments = [self._open(log_start)]
        known = read_epochs(self._storage, self._directory)
        epochs = EpochCache(known or ())
        trusted = self._trusted_segments(recovery_point, clean)
        inherited = self._segments[:trusted]
        if trusted < len(self._segments):
            producers = self._recover(trusted, epochs, recovery_point)
        else:
            end = self._segments[-1].next_offset
            producers = restore_producers(self._snapshots, self._segments, end)
        if known is None:
            epochs = self._epochs_from_batches()
        changed = epochs.truncate_end(self._segments[-1].next_offset)
        if changed or (known or []) != epochs.entries or (self._doubts_syncs and not clean):
            write_epochs(self._storage, self._directory, epochs.entries, durable=True)
        self._snapshots.remove_strays(segment.base_offset for segment in self._segments)
        producers.expire(self._now_ms, self._config.producer_id_expiration_ms)
        return LoadedLog(self._segments, epochs, producers, self._recovered, self._unsynced, inherited)

    @property
    def _doubts_syncs(self) -> bool:
        return self._config.flush_messages == 1

    def _tidy(self) -> list[int]:
        """Remove what a stop left behind; returns the base offsets of the segments, ascending."""
        finish_swap(self._storage, self._directory)
        names = self._storage.list(self._directory)
        found = (offset_in_name(name, LOG) for name in names)
        bases = [base for base in found if base is not None]
        for name in names:
            leftover = name.endswith(LEFTOVERS)
            for suffix in (OFFSET_INDEX, TIME_INDEX, ABORTED_INDEX):
                base = offset_in_name(name, suffix)
                leftover = leftover or (base is not None and base not in bases)
            if leftover:
                self._storage.remove(f"{self._directory}/{name}")
        return bases

    def _open(self, base_offset: int) -> Segment:
        return Segment(
            self._storage,
            self._directory,
            base_offset,
            interval=self._config.index_interval_bytes,
            now_ms=self._now_ms,
        )

    def _trusted_segments(self, recovery_point: int, clean: bool) -> int:
        """Load the segments that need no recovery, from the first on; returns how many they are.

        A closed segment rebuilds an index that does not fit by itself, but for that of aborted transactions,
        which takes the producers' state.
        """
        last = len(self._segments) - 1
        for number, segment in enumerate(self._segments):
            following = self._segments[number + 1].base_offset if number < last else None
            # A recovery point at the very end of a segment says nothing of indexes saved after that sync.
            reached = following is None or following >= recovery_point
            if reached and not clean:
                return number
            try:
                if following is not None:
                    segment.load_closed(following)
                elif not segment.load_last():
                    return number
            except (CorruptIndexError, KafkaError):
                return number
        return len(self._segments)

    def _recover(self, first: int, epochs: EpochCache, recovery_point: int) -> ProducerStates:
        """Verify the segments from number `first` on, and cut the log where it stops being right."""
        base = self._segments[first].base_offset
        self._snapshots.remove_after(base)
        producers = restore_producers(self._snapshots, self._segments[:first], base)
        epochs.truncate_end(base)
        for number in range(first, len(self._segments)):
            segment = self._segments[number]
            expected = self._segments[number - 1].next_offset if number > first else base
            if segment.base_offset != expected and not self._may_leave_gap(segment, expected, recovery_point):
                self._drop_from(number, expected, recovery_point)
                break
            if number > first:
                self._unsynced.append(self._snapshots.save(segment.base_offset, producers))
            dropped = self._recover_segment(segment, producers, epochs)
            if self._doubts_syncs:
                self._write_again(segment, recovery_point)
            if dropped:
                self._note_loss(segment.next_offset, dropped, recovery_point)
                self._drop_from(number + 1, segment.next_offset, recovery_point)
                break
        for segment in self._segments[first:-1]:
            self._unsynced += segment.seal()
        return producers

    def _may_leave_gap(self, segment: Segment, expected: int, recovery_point: int) -> bool:
        # Our own compaction leaves the last batch of a segment, others' may not. Past the recovery point a
        # gap is what was not written.
        return self._config.compacts and expected < segment.base_offset <= recovery_point

    def _recover_segment(self, segment: Segment, producers: ProducerStates, epochs: EpochCache) -> int:
        """Rebuild everything about a segment from its batches; returns how many bytes were cut off."""
        file_size = segment.file.size()
        segment.clear()
        for position, header in scan_valid(segment.file, 0, file_size):
            epoch = header.partition_leader_epoch
            if (
                header.base_offset < segment.next_offset
                or header.last_offset_delta < 0
                or header.last_offset - segment.base_offset >= MAX_SPAN
                or epoch < epochs.latest
            ):
                break
            try:
                aborted = note_stored_batch(producers, segment, position, header)
            except KafkaError:
                break
            if epoch > epochs.latest:
                epochs.assign(epoch, segment.next_offset)
            segment.note(header.size, header.next_offset, header.largest_timestamp)
            if aborted is not None:
                segment.aborted.append(aborted)
        if segment.size < file_size:
            segment.file.truncate(segment.size)
        return file_size - segment.size

    @staticmethod
    def _write_again(segment: Segment, offset: int) -> None:
        """From the batch that holds `offset` on, so that the next sync covers it."""
        position = segment.locate(max(offset, segment.base_offset))
        while position < segment.size:
            piece = segment.file.read_at(position, min(_PIECE, segment.size - position))
            segment.file.write_at(position, piece)
            position += len(piece)

    def _drop_from(self, number: int, end: int, recovery_point: int) -> None:
        for segment in self._segments[number:]:
            size = segment.file.size()
            if size:
                self._note_loss(end, size, recovery_point)
            segment.file.close()
            for suffix in (LOG, OFFSET_INDEX, TIME_INDEX, ABORTED_INDEX):
                self._storage.remove(segment.path(suffix))
            self._snapshots.remove(segment.base_offset)
        del self._segments[number:]

    def _note_loss(self, offset: int, size: int, recovery_point: int) -> None:
        before = self._recovered
        if before is not None:
            offset, size = before.offset, before.size + size
        self._recovered = Recovered(offset, size, was_synced=offset < recovery_point)

    def _epochs_from_batches(self) -> EpochCache:
        """Find out the epochs of the whole log when their checkpoint is lost."""
        epochs = EpochCache()
        for segment in self._segments:
            end = segment.base_offset
            for _, header in segment.scan(0):
                if header.partition_leader_epoch > epochs.latest:
                    epochs.assign(header.partition_leader_epoch, end)
                end = header.next_offset
        return epochs
