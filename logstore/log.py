"""One replica's log of one partition: batches appended at the end, read as file ranges, cut at either end.

A log is a synchronous object. It checks and stamps what it is given, writes each batch once, and keeps
segments, indexes, leader epochs and producers in step; when to sync, to retain or to truncate is for others
to say. Source: `org.apache.kafka.storage.internals.log.UnifiedLog`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import (
    BatchHeader,
    ControlRecord,
    check_crc,
    read_header,
    stamp,
    stamp_log_append_time,
)
from logstore.checkpoints import write_epochs
from logstore.config import LOG_APPEND_TIME, LogConfig
from logstore.durability import Durability
from logstore.epochs import EpochEnd
from logstore.producers import ProducerStates, RememberedBatch
from logstore.recovery import LoadedLog, LogLoader
from logstore.replay import control_of, note_batch, restore_producers
from logstore.retention import expired_segments
from logstore.segment import Segment
from logstore.segments import Segments
from logstore.slices import EMPTY_SLICE, LogSlice
from logstore.snapshots import SnapshotFiles
from logstore.storage import Buffer, Storage, StorageError, Syncable
from logstore.timestamps import TimestampOffset, first_at_or_after, youngest
from logstore.validation import (
    OffsetsOutOfOrder,
    Origin,
    StampedBatch,
    check_client_batch,
    check_leader_batches,
)

__all__ = [
    "EMPTY_SLICE",
    "Append",
    "EpochEnd",
    "Log",
    "LogSlice",
    "OffsetsOutOfOrder",
    "Origin",
    "TimestampOffset",
]


class Append(NamedTuple):
    """What an append did. An empty one has `last_offset` before `first_offset`."""

    first_offset: int
    last_offset: int
    log_append_time_ms: int
    """The time that the broker set, -1 where records keep their own."""
    log_start_offset: int
    duplicate: bool
    """True if the batch was there already, at these offsets, and nothing was written."""


class Log:
    """See the module; made by `Log.open`. Offsets count records, sizes are bytes, times are wall-clock ms.

    A StorageError of an append leaves the log as it was before, or failed if that could not be restored. Any
    other StorageError of a change leaves it failed: every later change raises StorageError.
    """

    def __init__(
        self, storage: Storage, directory: str, config: LogConfig, loaded: LoadedLog, recovery_point: int
    ) -> None:
        self._storage = storage
        self.directory = directory
        self.config = config
        self._segments = Segments(storage, directory, loaded.segments)
        self._end_offset = self._segments.active.next_offset
        self._start_offset = self._segments.first_offset
        self._epochs = loaded.epochs
        self._snapshots = SnapshotFiles(storage, directory)
        self._durability = Durability(storage, directory, min(recovery_point, self._end_offset))
        self._failure: str | None = None
        self._now_ms = 0
        self.producers: ProducerStates = loaded.producers
        self.recovered = loaded.recovered

    @classmethod
    def open(
        cls,
        storage: Storage,
        directory: str,
        config: LogConfig,
        *,
        now_ms: int,
        recovery_point: int = 0,
        clean: bool = False,
        log_start: int = 0,
    ) -> Log:
        """Open the log in `directory`, or begin one at `log_start`.

        Unless it was closed cleanly, everything from the segment of `recovery_point` on is verified, and the
        log is cut before the first batch that is not right: `recovered` says what was lost. Raises
        StorageError, KafkaError (CORRUPT_MESSAGE: a batch before the recovery point is damaged).
        """
        loader = LogLoader(storage, directory, config, now_ms)
        loaded = loader.load(recovery_point, clean=clean, log_start=log_start)
        log = cls(storage, directory, config, loaded, recovery_point)
        log._now_ms = now_ms
        if log_start > log.end_offset:
            log.reset_to(log_start)
        log._start_offset = max(log_start, log._start_offset)
        return log

    # What it is.

    @property
    def start_offset(self) -> int:
        """The first offset that may be read."""
        return self._start_offset

    @property
    def end_offset(self) -> int:
        """The offset that the next record gets."""
        return self._end_offset

    @property
    def size(self) -> int:
        """Bytes of all batches, those before the start in the first segment included."""
        return self._segments.size

    @property
    def segment_count(self) -> int:
        return len(self._segments.all)

    @property
    def latest_epoch(self) -> int:
        """The latest leader epoch, -1 if there was none."""
        return self._epochs.latest

    @property
    def failed(self) -> str | None:
        """Why the log takes no more changes, None while it does."""
        return self._failure

    def fail(self, reason: str) -> None:
        """Refuse every further change: what the disk holds is not known any more (a sync failed)."""
        if self._failure is None:
            self._failure = reason

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise StorageError(self.directory, self._failure)

    @contextlib.contextmanager
    def _all_or_failed(self) -> Iterator[None]:
        # A change of several files that stops half way cannot be taken back.
        self._check_usable()
        try:
            yield
        except StorageError as error:
            self.fail(str(error))
            raise

    # Appending.

    def append_as_leader(
        self, records: Buffer, leader_epoch: int, now_ms: int, *, origin: Origin = Origin.CLIENT
    ) -> Append:
        """Stamp a batch with the next offset and `leader_epoch` and write it.

        `records` is one whole batch; if it is writable it is stamped in place, else copied. A batch that its
        producer has sent before is not written: the answer is that of the first time. Raises KafkaError:
        CORRUPT_MESSAGE, INVALID_RECORD, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, INVALID_TIMESTAMP,
        UNSUPPORTED_COMPRESSION_TYPE, UNSUPPORTED_FOR_MESSAGE_FORMAT, OUT_OF_ORDER_SEQUENCE_NUMBER,
        INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, TRANSACTION_COORDINATOR_FENCED; StorageError.
        """
        if self._failure is not None:
            self._check_usable()
        header = read_header(records)
        size = len(records)
        if origin is Origin.CLIENT:
            check_client_batch(header, size, self.config, now_ms)
        elif header.size != size:
            raise KafkaError(ErrorCode.INVALID_RECORD, f"one batch of {header.size} in {size} bytes")
        if not check_crc(records, 0, header):
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "the checksum is wrong")
        control = None
        if header.producer_id >= 0:
            control = control_of(records, 0, header)
            if control is not None:
                self.producers.check_marker(header, control)
            elif origin is Origin.CLIENT:
                known = self.producers.check(header)
                if known is not None:
                    return self._answer_again(known)
        target = _writable(records)
        first_offset = self._end_offset
        append_time = -1
        if self.config.message_timestamp_type == LOG_APPEND_TIME and origin is Origin.CLIENT:
            append_time = now_ms
            stamp_log_append_time(target, 0, header, now_ms)
            header = header._replace(max_timestamp=now_ms)
        stamp(target, 0, first_offset, leader_epoch)
        next_offset = first_offset + header.last_offset_delta + 1
        if leader_epoch != self._epochs.latest:
            self._assign(leader_epoch, first_offset)
        self._now_ms = now_ms
        segments = self._segments
        if segments.must_roll(self.config, size, next_offset, header.max_timestamp, now_ms):
            self._roll()
        segment = segments.active
        self._write_at_end(segment, target)
        segment.note(size, next_offset, header.max_timestamp)
        self._end_offset = next_offset
        if header.producer_id >= 0:
            self._note_producer(header, control, first_offset)
        return Append(first_offset, next_offset - 1, append_time, self._start_offset, False)

    def _answer_again(self, known: RememberedBatch) -> Append:
        stamped = self.config.message_timestamp_type == LOG_APPEND_TIME
        append_time = known.timestamp if stamped else -1
        return Append(known.first_offset, known.last_offset, append_time, self._start_offset, True)

    def append_as_follower(self, records: Buffer) -> Append:
        """Write whole batches as the leader stamped them; a partial one at the end is ignored.

        They have to continue the log. Raises OffsetsOutOfOrder, KafkaError(CORRUPT_MESSAGE, INVALID_RECORD) —
        both before anything is written — and StorageError, after which the batches before the one that failed
        may be there.
        """
        self._check_usable()
        batches = check_leader_batches(
            records,
            self._end_offset,
            gaps=self.config.compacts,
            inside_first=self._end_offset == self._start_offset,
        )
        if not batches:
            return Append(self._end_offset, self._end_offset - 1, -1, self._start_offset, False)
        first_offset = batches[0].header.base_offset
        if first_offset < self._end_offset:
            self._begin_inside_batch(first_offset)
        view = memoryview(records)
        run: list[StampedBatch] = []
        run_size = 0
        for batch in batches:
            size = batch.header.size
            if run and (
                self._segments.active.size + run_size + size > self.config.segment_bytes
                or self._must_roll(run_size + size, batch.header)
            ):
                self._write_run(view, run)
                run, run_size = [], 0
            run.append(batch)
            run_size += size
        self._write_run(view, run)
        return Append(first_offset, self._end_offset - 1, -1, self._start_offset, False)

    def _must_roll(self, size: int, last: BatchHeader) -> bool:
        return self._segments.must_roll(self.config, size, last.next_offset, last.max_timestamp, self._now_ms)

    def _begin_inside_batch(self, base_offset: int) -> None:
        # The leader's log starts in the middle of a batch: the file has to begin with the whole of it.
        start = self._start_offset
        self.reset_to(base_offset)
        self._start_offset = start

    def _write_run(self, view: memoryview, run: list[StampedBatch]) -> None:
        """Append batches that go into one segment, with one write."""
        start = run[0].position
        stop = run[-1].position + run[-1].header.size
        for _, header, _ in run:
            if header.partition_leader_epoch > self._epochs.latest:
                self._assign(header.partition_leader_epoch, header.base_offset)
        if self._must_roll(run[0].header.size, run[0].header):
            self._roll()
        segment = self._segments.active
        self._write_at_end(segment, view[start:stop])
        for _, header, control in run:
            segment.note(header.size, header.next_offset, header.max_timestamp)
            if header.producer_id >= 0:
                self._note_producer(header, control, header.base_offset)
        self._end_offset = segment.next_offset

    def _write_at_end(self, segment: Segment, data: Buffer) -> None:
        try:
            segment.file.write_at(segment.size, data)
        except StorageError as error:
            try:
                segment.file.truncate(segment.size)
            except StorageError:
                self.fail(str(error))
            raise

    def _note_producer(self, header: BatchHeader, control: ControlRecord | None, first_offset: int) -> None:
        aborted = note_batch(self.producers, header, control, first_offset)
        if aborted is not None:
            self._segments.active.aborted.append(aborted)

    def assign_epoch(self, epoch: int) -> None:
        """A leader epoch begins at the present end; raises StorageError."""
        self._check_usable()
        self._assign(epoch, self._end_offset)

    def _assign(self, epoch: int, start_offset: int) -> None:
        # No sync: until the recovery point has passed `start_offset`, the batches themselves tell.
        if self._epochs.assign(epoch, start_offset):
            self._durability.epochs_changed = True
            write_epochs(self._storage, self.directory, self._epochs.entries, durable=False)

    def _roll(self) -> None:
        self._snapshots.save(self._end_offset, self.producers)
        self._segments.roll(self._end_offset, self.config, self._now_ms)
        self._durability.names_changed = True

    # Reading.

    def read(self, offset: int, max_bytes: int, *, up_to: int, at_least_one: bool = True) -> LogSlice:
        """Whole batches from the one that contains `offset` on, of one segment file.

        Nothing at or past `up_to` is in it, and at most `max_bytes`, but for a first batch that is larger and
        wanted by `at_least_one`. Raises KafkaError(OFFSET_OUT_OF_RANGE) before the start and past the end.
        """
        if not self._start_offset <= offset <= self._end_offset:
            raise KafkaError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"offset {offset} of a log from {self._start_offset} to {self._end_offset}",
            )
        if offset >= up_to:
            return EMPTY_SLICE
        active = self._segments.active
        if offset >= active.base_offset:
            return active.read(offset, max_bytes, up_to, at_least_one)
        return self._segments.read_closed(offset, max_bytes, up_to, at_least_one)

    def epoch_at(self, offset: int) -> int:
        """The leader epoch in which `offset` was or will be written, -1 if it is not known."""
        return self._epochs.epoch_at(offset)

    def end_offset_for_epoch(self, epoch: int) -> EpochEnd:
        """Where the largest epoch up to `epoch` ended; (-1, -1) if that cannot be known (KIP-279)."""
        return self._epochs.end_offset_for(epoch, self._end_offset)

    def offset_for_time(self, timestamp_ms: int, *, up_to: int) -> TimestampOffset | None:
        """The first record before `up_to` that is not older; raises StorageError, KafkaError."""
        return first_at_or_after(self._segments.all, timestamp_ms, start=self._start_offset, up_to=up_to)

    def max_timestamp(self, up_to: int) -> TimestampOffset | None:
        """The first of the youngest records before `up_to`; raises StorageError, KafkaError."""
        return youngest(self._segments.all, start=self._start_offset, up_to=up_to)

    # Transactions.

    def first_undecided(self) -> int | None:
        """First offset of the earliest open transaction, None without one."""
        return self.producers.first_undecided()

    def last_stable_offset(self, high_watermark: int) -> int:
        """Up to where every transaction is decided, and its decision replicated."""
        unstable = self.producers.first_unstable(high_watermark)
        if unstable is None or unstable >= high_watermark:
            return high_watermark
        return max(unstable, self._start_offset)

    def aborted_transactions(self, start: int, end: int) -> list[tuple[int, int]]:
        """(producer id, first offset) of the aborted transactions with records in [start, end)."""
        found = []
        for segment in self._segments.all[self._segments.holding(start) :]:
            for aborted in segment.aborted:
                if aborted.last_offset >= start and aborted.first_offset < end:
                    found.append((aborted.producer_id, aborted.first_offset))
                if aborted.last_stable_offset >= end:
                    return found
        return found

    def expire_producers(self, now_ms: int) -> int:
        """Forget producers that have long been silent (`producer.id.expiration.ms`); returns how many."""
        return self.producers.expire(now_ms, self.config.producer_id_expiration_ms)

    # Cutting.

    def truncate_to(self, offset: int) -> None:
        """Remove everything from `offset` on; `end_offset` is then the start of the batch it was in, or less.

        Epochs and producers follow. Raises StorageError, KafkaError.
        """
        if offset < self._segments.first_offset:
            self.reset_to(offset)
            return
        if offset > self._end_offset:
            return
        with self._all_or_failed():
            if offset < self._end_offset:
                self._durability.lower(offset)
                self._segments.truncate(offset)
                self._end_offset = self._segments.active.next_offset
                self._durability.lower(self._end_offset)
                self._start_offset = min(self._start_offset, self._end_offset)
                self._truncate_producers()
                self._storage.sync_directory(self.directory)
            if self._epochs.truncate_end(self._end_offset):
                self._save_epochs(durable=True)

    def _truncate_producers(self) -> None:
        end = self._end_offset
        self._snapshots.remove_after(end)
        if self.producers.reach(end):
            self.producers = restore_producers(self._snapshots, self._segments.all, end)

    def reset_to(self, offset: int) -> None:
        """Drop everything and start empty at `offset`; raises StorageError."""
        with self._all_or_failed():
            self._durability.lower(offset)
            self._segments.reset(offset, self.config, self._now_ms)
            self._snapshots.remove_after(-1)
            self._epochs.truncate_end(0)
            self._save_epochs(durable=True)
            self.producers = ProducerStates()
            self._start_offset = self._end_offset = offset
            self._durability.names_changed = True

    def advance_start(self, offset: int) -> None:
        """Let the log start at `offset`, if that is later than now; the space is freed by retention.

        Raises KafkaError(OFFSET_OUT_OF_RANGE) past the end, StorageError.
        """
        if offset > self._end_offset:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE, f"{offset} is past the end {self._end_offset}")
        if offset > self._start_offset:
            with self._all_or_failed():
                self._start_offset = offset
                if self._epochs.truncate_start(offset):
                    self._save_epochs(durable=False)

    def _save_epochs(self, *, durable: bool) -> None:
        write_epochs(self._storage, self.directory, self._epochs.entries, durable=durable)
        self._durability.epochs_changed = not durable

    def apply_retention(self, now_ms: int, high_watermark: int) -> int:
        """Delete the segments that have had their time; returns how many. Raises StorageError, KafkaError.

        If that is all of them, a new one is begun first, so that offsets go on.
        """
        self._check_usable()
        self._now_ms = now_ms
        segments = self._segments
        count = expired_segments(
            segments.all,
            self.config,
            now_ms=now_ms,
            high_watermark=high_watermark,
            log_start=self._start_offset,
        )
        if count:
            if count == len(segments.all):
                self._roll()
            segments.remove_first(count)
            self.advance_start(segments.first_offset)
        return count

    def delete_expired_files(self, now_ms: int) -> int:
        """Close and remove what was deleted `file_delete_delay_ms` ago; returns how many segments."""
        return self._segments.deleted.expire(now_ms, self.config.file_delete_delay_ms)

    # Syncing and closing.

    @property
    def recovery_point(self) -> int:
        """Everything before it survives a power cut."""
        return self._durability.recovery_point

    def files_to_sync(self) -> list[Syncable]:
        """What to sync so that everything before the present end is durable; one sync at a time.

        Raises StorageError.
        """
        return self._durability.files(self._segments, self._end_offset)

    def synced_to(self, offset: int) -> None:
        """All of `files_to_sync` were synced; `offset` was the end when they were asked for."""
        self._durability.synced_to(offset)

    def close(self, *, clean: bool = True) -> None:
        """Save what makes the next start fast, unless the log has failed, and close every file.

        A clean close does not sync: do that before. Raises StorageError.
        """
        try:
            if clean and self._failure is None:
                self._segments.active.save()
                self._snapshots.save(self._end_offset, self.producers)
                self._save_epochs(durable=False)
        finally:
            self.fail("the log is closed")
            self._segments.close()


def _writable(records: Buffer) -> bytearray | memoryview:
    if isinstance(records, bytearray):
        return records
    if isinstance(records, bytes) or records.readonly:
        return bytearray(records)
    return records
