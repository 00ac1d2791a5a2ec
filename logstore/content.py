"""What a log consists of, and the few changes that are ever made to it: each keeps all parts in step.

Segments, leader epochs, producers and snapshots say the same thing in different ways. Whoever changes one of
them here changes the others too, in an order that a crash at any point leaves recoverable.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from kafkawire.errors import KafkaError
from kafkawire.records import BatchHeader, ControlRecord
from logstore import swap
from logstore.checkpoints import write_epochs
from logstore.cleaned_segment import CleanedSegment
from logstore.config import LogConfig
from logstore.durability import Durability
from logstore.epochs import EpochCache
from logstore.producers import ProducerStates
from logstore.recovery import LoadedLog
from logstore.replay import note_batch, restore_producers
from logstore.segment import Segment
from logstore.segments import Segments
from logstore.snapshots import SnapshotFiles
from logstore.storage import Buffer, Storage, StorageError
from logstore.validation import StampedBatch


class LogContent:
    """The parts of one log. `start_offset` and `end_offset` bound what may be read; `failure` says why no
    more changes are taken, None while they are.
    """

    __slots__ = (
        "_directory",
        "_snapshots",
        "_storage",
        "cleaned_to",
        "config",
        "durability",
        "end_offset",
        "epochs",
        "failure",
        "now_ms",
        "producers",
        "replacements",
        "rewriting",
        "segments",
        "shortenings",
        "start_offset",
    )

    def __init__(
        self,
        storage: Storage,
        directory: str,
        config: LogConfig,
        loaded: LoadedLog,
        *,
        recovery_point: int,
        now_ms: int,
    ) -> None:
        self._storage = storage
        self._directory = directory
        self._snapshots = SnapshotFiles(storage, directory)
        self.config = config
        self.segments = Segments(storage, directory, loaded.segments)
        self.end_offset = self.segments.active.next_offset
        self.start_offset = self.segments.first_offset
        self.epochs = loaded.epochs
        self.producers = loaded.producers
        self.durability = Durability(storage, directory, min(recovery_point, self.end_offset))
        self.durability.unsynced.extend(loaded.unsynced)
        self.failure: str | None = None
        self.now_ms = now_ms
        """The wall clock when it was last told."""
        self.cleaned_to = 0
        """Up to where compaction has removed what was replaced."""
        self.shortenings = 0
        """How often batches were removed at either end since the log was opened."""
        self.replacements = 0
        """How often segments were replaced since then."""
        self.rewriting = False
        """Whether a segment is in the making that is to take the place of others: one at a time."""

    def fail(self, reason: str) -> None:
        """Take no more changes; the first reason stays."""
        if self.failure is None:
            self.failure = reason

    def check_usable(self) -> None:
        """Raise StorageError if the log has failed."""
        if self.failure is not None:
            raise StorageError(self._directory, self.failure)

    @contextlib.contextmanager
    def all_or_failed(self) -> Iterator[None]:
        """A change of several files, which cannot be taken back when it stops half way: the disk failed, or a
        batch is damaged that has to be read for it."""
        self.check_usable()
        try:
            yield
        except (StorageError, KafkaError) as error:
            self.fail(str(error))
            raise

    # Growing.

    def write(self, data: Buffer) -> Segment:
        """Write behind the last batch without counting it in; returns the segment, whose `note` does that.

        After a StorageError nothing of it is there, or the log has failed.
        """
        segment = self.segments.active
        try:
            segment.file.write_at(segment.size, data)
        except StorageError as error:
            try:
                segment.undo_write()
            except StorageError:
                self.fail(str(error))
            raise
        segment.written_ms = self.now_ms
        return segment

    def must_roll(self, size: int, last: BatchHeader) -> bool:
        """Whether `size` more bytes, the batch `last` at their end, want a new segment."""
        return self.segments.must_roll(
            self.config, size, last.next_offset, last.largest_timestamp, self.now_ms
        )

    def write_run(self, records: memoryview, run: Sequence[StampedBatch]) -> None:
        """Append batches that lie next to each other in `records` and go into one segment, with one write."""
        first, last = run[0], run[-1]
        end = self.end_offset
        for _, header, _ in run:
            if header.partition_leader_epoch > self.epochs.latest:
                # At the earliest offset where it may have begun: compaction may have removed its first
                # records, and of a replica that parted from this log there nothing more may stay.
                self.assign_epoch(header.partition_leader_epoch, end)
            end = header.next_offset
        if self.must_roll(first.header.size, first.header):
            self.roll()
        segment = self.write(records[first.position : last.position + last.header.size])
        for _, header, control in run:
            segment.note(header.size, header.next_offset, header.largest_timestamp)
            if header.producer_id >= 0:
                self.note_producer(header, control, header.base_offset)
        self.end_offset = segment.next_offset

    def begin_inside_batch(self, base_offset: int) -> None:
        """Let the files of an empty log start before its start: the leader's log starts inside a batch, of
        which only the whole can be copied. Raises StorageError.
        """
        start = self.start_offset
        self.reset(base_offset)
        self.start_offset = start

    def note_producer(self, header: BatchHeader, control: ControlRecord | None, first_offset: int) -> None:
        """Count in a producer's batch that was written at `first_offset`."""
        aborted = note_batch(self.producers, header, control, first_offset)
        if aborted is not None:
            self.segments.active.aborted.append(aborted)

    def roll(self) -> None:
        """Begin a new segment; after a StorageError the old one goes on."""
        snapshot = self._snapshots.save(self.end_offset, self.producers)
        indexes = self.segments.roll(self.end_offset, self.config, self.now_ms)
        self.durability.unsynced.extend((snapshot, *indexes))
        self.durability.names_changed = True

    def assign_epoch(self, epoch: int, start_offset: int) -> None:
        """A leader epoch begins; raises StorageError, after which it has not begun."""
        before = self.epochs.entries
        if not self.epochs.assign(epoch, start_offset):
            return
        try:
            # No sync: until the recovery point has passed `start_offset`, the batches themselves tell.
            self.save_epochs(durable=False)
        except StorageError:
            self.epochs = EpochCache(before)  # or nobody would store it again
            raise

    def assign_newer_epoch(self, epoch: int, start_offset: int) -> None:
        """The same for the epoch of a batch: a leader never writes in an older one than before."""
        if epoch < self.epochs.latest:
            raise ValueError(f"a batch of epoch {epoch} behind one of epoch {self.epochs.latest}")
        self.assign_epoch(epoch, start_offset)

    def save_epochs(self, *, durable: bool) -> None:
        """Write the epochs' checkpoint; raises StorageError."""
        self.durability.epochs_changed = True
        write_epochs(self._storage, self._directory, self.epochs.entries, durable=durable)
        self.durability.epochs_changed = not durable
        if not durable:
            self.durability.names_changed = True  # the file was replaced: to sync it is not enough

    # Shrinking.

    def truncate(self, offset: int) -> None:
        """Remove the batch that contains `offset`, everything behind it, and what came of it.

        `offset` lies in or behind the first segment. Raises StorageError, KafkaError.
        """
        with self.all_or_failed():
            if offset < self.end_offset:
                self.shortenings += 1
                self.durability.lower(offset)
                self.segments.truncate(offset)
                self.end_offset = self.segments.active.next_offset
                self.durability.lower(self.end_offset)
                self.cleaned_to = min(self.cleaned_to, self.end_offset)
                self.start_offset = min(self.start_offset, self.end_offset)
                self._snapshots.remove_after(self.end_offset)
                if self.producers.reach(self.end_offset):
                    self.producers = restore_producers(self._snapshots, self.segments.all, self.end_offset)
                self._storage.sync_directory(self._directory)
            if self.epochs.truncate_end(self.end_offset):
                self.save_epochs(durable=True)

    def reset(self, offset: int) -> None:
        """Drop everything and start empty at `offset`; raises StorageError."""
        with self.all_or_failed():
            self.shortenings += 1
            self.durability.lower(offset)
            self.segments.reset(offset, self.config, self.now_ms)
            self._snapshots.remove_after(-1)
            self.producers = ProducerStates()
            self.start_offset = self.end_offset = self.cleaned_to = offset
            self.durability.names_changed = True
            self.epochs.truncate_end(0)
            self.save_epochs(durable=True)

    def advance_start(self, offset: int) -> None:
        """Let what is readable begin at `offset`, not before; raises StorageError."""
        if offset > self.start_offset:
            with self.all_or_failed():
                self.start_offset = offset
                if self.epochs.truncate_start(offset):
                    self.save_epochs(durable=False)

    def remove_segments(self, count: int) -> None:
        """Delete the oldest segments; if that is all, offsets go on in a new one. Raises StorageError."""
        if count == len(self.segments.all):
            self.roll()
        self.shortenings += 1
        self.segments.remove_first(count)
        self.advance_start(self.segments.first_offset)

    # Replacing segments.

    @contextlib.contextmanager
    def cleaned_segment(self, base_offset: int, chunk: int) -> Iterator[CleanedSegment]:
        """A segment to write, which is gone at the end if it was not swapped in. Raises StorageError,
        FileNotFoundError."""
        assert not self.rewriting, "two would have the same names"
        cleaned = CleanedSegment(
            self._storage,
            self._directory,
            base_offset,
            interval=self.config.index_interval_bytes,
            chunk=chunk,
        )
        self.rewriting = True
        try:
            yield cleaned
        finally:
            self.rewriting = False
            cleaned.close()
            swap.discard(self._storage, self._directory, base_offset)

    def swap(self, old: Sequence[Segment]) -> None:
        """Let the cleaned segment take the place of the closed ones that it replaces; raises StorageError.

        The producers' snapshot at its start is as good as before; those between its batches go.
        """
        with self.all_or_failed():
            base_offset = old[0].base_offset
            swap.decide(self._storage, self._directory, base_offset)
            for segment in old:
                self.segments.deleted.add(segment, keep_snapshot=segment is old[0])
            swap.complete(self._storage, self._directory, base_offset)
            new = Segment(
                self._storage,
                self._directory,
                base_offset,
                interval=self.config.index_interval_bytes,
                now_ms=self.now_ms,
            )
            new.load_closed(old[-1].next_offset)
            new.written_ms = old[-1].written_ms
            self.segments.replace(old, new)
            self.replacements += 1
            self.durability.names_changed = True

    def sync_names(self) -> None:
        """Make durable which files there are; raises StorageError."""
        self._storage.sync_directory(self._directory)

    def close(self, *, clean: bool) -> None:
        """Close every file and, if `clean`, save what spares the next start a recovery.

        Raises StorageError.
        """
        try:
            if clean and self.failure is None:
                self.segments.active.save(durable=True)
                self._snapshots.save(self.end_offset, self.producers)
                if self.durability.epochs_changed:
                    self.save_epochs(durable=True)
        finally:
            self.fail("the log is closed")
            self.segments.close()
            self.durability.close()
