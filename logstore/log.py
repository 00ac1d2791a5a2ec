"""One replica's log of one partition: batches appended at the end, read as file ranges, cut at either end.

A log is a synchronous object. It checks and stamps what it is given, writes each batch once, and keeps
segments, indexes, leader epochs and producers in step; when to sync, to retain or to truncate is for others
to say. Source: `org.apache.kafka.storage.internals.log.UnifiedLog`.
"""

from __future__ import annotations

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import (
    BatchHeader,
    ControlRecord,
    check_crc,
    read_header,
    stamp,
    stamp_log_append_time,
)
from logstore.appended import Append
from logstore.compaction import Compaction
from logstore.config import AS_PRODUCED, LOG_APPEND_TIME, LogConfig
from logstore.content import LogContent
from logstore.epochs import EpochEnd
from logstore.integrity import Integrity
from logstore.producers import ProducerStates, RememberedBatch
from logstore.recompression import as_configured
from logstore.recovery import LoadedLog, LogLoader
from logstore.replay import control_of
from logstore.retention import expired_segments
from logstore.slices import EMPTY_SLICE, LogSlice
from logstore.storage import Buffer, Storage, Syncable
from logstore.timestamps import TimestampOffset, first_at_or_after, youngest
from logstore.validation import (
    OffsetsOutOfOrder,
    Origin,
    StampedBatch,
    check_client_batch,
    check_keys,
    check_leader_batches,
    no_batch,
    writable,
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


class Log:
    """See the module; made by `Log.open`. Offsets count records, sizes are bytes, times are wall-clock ms.

    A StorageError of an append leaves the log as it was before, or failed if that could not be restored. Any
    other StorageError of a change, and damage that it meets, leaves it failed: every later change raises
    StorageError.
    """

    def __init__(self, directory: str, content: LogContent, loaded: LoadedLog) -> None:
        self.directory = directory
        self.recovered = loaded.recovered
        """What recovery had to drop when the log was opened, None if nothing."""
        self.compaction = Compaction(content)
        """What removes records that a later one of the same key has replaced."""
        self.integrity = Integrity(content, loaded.inherited)
        """What knows whether the files still say what was written, and mends them."""
        self._content = content

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
        content = LogContent(storage, directory, config, loaded, recovery_point=recovery_point, now_ms=now_ms)
        if log_start > content.end_offset:
            content.reset(log_start)
        content.start_offset = max(log_start, content.start_offset)
        return cls(directory, content, loaded)

    # What it is.

    @property
    def start_offset(self) -> int:
        """The first offset that may be read."""
        return self._content.start_offset

    @property
    def end_offset(self) -> int:
        """The offset that the next record gets."""
        return self._content.end_offset

    @property
    def size(self) -> int:
        """Bytes of all batches, those before the start in the first segment included."""
        return self._content.segments.size

    @property
    def segment_count(self) -> int:
        """How many segment files there are, one at least."""
        return len(self._content.segments.all)

    @property
    def latest_epoch(self) -> int:
        """The latest leader epoch, -1 if there was none."""
        return self._content.epochs.latest

    @property
    def producers(self) -> ProducerStates:
        """What is remembered of each producer."""
        return self._content.producers

    @property
    def config(self) -> LogConfig:
        """May be set at any time; segments that exist keep their shape."""
        return self._content.config

    @config.setter
    def config(self, config: LogConfig) -> None:
        self._content.config = config

    @property
    def failed(self) -> str | None:
        """Why the log takes no more changes, None while it does."""
        return self._content.failure

    def fail(self, reason: str) -> None:
        """Refuse every further change: what the disk holds is not known any more (a sync failed)."""
        self._content.fail(reason)

    # Appending.

    def append_as_leader(
        self, records: Buffer, leader_epoch: int, now_ms: int, *, origin: Origin = Origin.CLIENT
    ) -> Append:
        """Stamp a batch with the next offset and `leader_epoch` and write it.

        `records` is one whole batch; if it is writable it is stamped in place, else copied. A batch that its
        producer has sent before is not written: the answer is that of the first time. Raises KafkaError:
        CORRUPT_MESSAGE, INVALID_RECORD, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, INVALID_TIMESTAMP,
        UNSUPPORTED_COMPRESSION_TYPE, OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE,
        TRANSACTION_COORDINATOR_FENCED; StorageError.
        """
        content = self._content
        if content.failure is not None:
            content.check_usable()
        config = content.config
        try:
            header = read_header(records)
        except KafkaError as error:
            raise no_batch(records, error) from None
        size = len(records)
        if origin is Origin.CLIENT:
            check_client_batch(header, size, config, now_ms)
        elif header.size != size:
            raise KafkaError(ErrorCode.INVALID_RECORD, f"one batch of {header.size} in {size} bytes")
        if not check_crc(records, 0, header):
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "the checksum is wrong")
        if config.compacts and origin is Origin.CLIENT:
            check_keys(records, header)
        control = None
        if header.producer_id >= 0:
            control = control_of(records, 0, header)
            known = self._check_producer(header, control, origin)
            if known is not None:
                return self._answer_again(known)
        if config.compression_type != AS_PRODUCED and origin is Origin.CLIENT:
            records, header = as_configured(records, header, config)
            size = header.size
        records = writable(records)
        first_offset = content.end_offset
        append_time = -1
        if origin is Origin.CLIENT and config.message_timestamp_type == LOG_APPEND_TIME:
            append_time = now_ms
            stamp_log_append_time(records, 0, header, now_ms)
            header = header._replace(max_timestamp=now_ms)
        stamp(records, 0, first_offset, leader_epoch)
        next_offset = first_offset + header.last_offset_delta + 1
        if leader_epoch != content.epochs.latest:
            content.assign_newer_epoch(leader_epoch, first_offset)
        content.now_ms = now_ms
        if content.segments.must_roll(config, size, next_offset, header.max_timestamp, now_ms):
            content.roll()
        content.write(records).note(size, next_offset, header.max_timestamp)
        content.end_offset = next_offset
        if header.producer_id >= 0:
            content.note_producer(header, control, first_offset)
        appended = (first_offset, next_offset - 1, append_time, content.start_offset, False)
        return tuple.__new__(Append, appended)

    def _check_producer(
        self, header: BatchHeader, control: ControlRecord | None, origin: Origin
    ) -> RememberedBatch | None:
        if control is not None:
            self.producers.check_marker(header, control)
        elif origin is Origin.CLIENT:
            return self.producers.check(header)
        return None

    def _answer_again(self, known: RememberedBatch) -> Append:
        append_time = known.timestamp if self.config.message_timestamp_type == LOG_APPEND_TIME else -1
        return Append(known.first_offset, known.last_offset, append_time, self.start_offset, True)

    def append_as_follower(self, records: Buffer, *, gaps: bool = True) -> Append:
        """Write whole batches as the leader stamped them; a partial one at the end is ignored.

        They have to continue the log. With `gaps` offsets may be missing, for the topic may have been
        compacted at any time in the past. Raises OffsetsOutOfOrder, KafkaError(CORRUPT_MESSAGE,
        INVALID_RECORD) — both before anything is written — and StorageError, after which the batches before
        the one that failed may be there.
        """
        content = self._content
        content.check_usable()
        end = content.end_offset
        batches = check_leader_batches(records, end, gaps=gaps, inside_first=end == content.start_offset)
        if not batches:
            return Append(end, end - 1, -1, content.start_offset, False)
        first_offset = batches[0].header.base_offset
        if first_offset < end:
            content.begin_inside_batch(first_offset)
        view = memoryview(records)
        run: list[StampedBatch] = []
        run_size = 0
        for batch in batches:
            size = batch.header.size
            if run and (
                content.segments.active.size + run_size + size > content.config.segment_bytes
                or content.must_roll(run_size + size, batch.header)
            ):
                content.write_run(view, run)
                run, run_size = [], 0
            run.append(batch)
            run_size += size
        content.write_run(view, run)
        return Append(first_offset, content.end_offset - 1, -1, content.start_offset, False)

    def assign_epoch(self, epoch: int) -> None:
        """A leader epoch begins at the present end; raises StorageError."""
        self._content.check_usable()
        self._content.assign_epoch(epoch, self._content.end_offset)

    # Reading.

    def read(self, offset: int, max_bytes: int, *, up_to: int, at_least_one: bool = True) -> LogSlice:
        """Whole batches from the one that contains `offset` on, of one segment file.

        Nothing at or past `up_to` is in it, and at most `max_bytes`, but for a first batch that is larger and
        wanted by `at_least_one`. Raises KafkaError: OFFSET_OUT_OF_RANGE before the start and past the end,
        CORRUPT_MESSAGE where an earlier process's batch is damaged (see `integrity`); StorageError.
        """
        content = self._content
        if not content.start_offset <= offset <= content.end_offset:
            raise KafkaError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"offset {offset} of a log from {content.start_offset} to {content.end_offset}",
            )
        if offset >= up_to:
            return EMPTY_SLICE
        active = content.segments.active
        try:
            if offset >= active.base_offset:
                found = active.read(offset, max_bytes, up_to, at_least_one)
            else:
                found = content.segments.read_closed(offset, max_bytes, up_to, at_least_one)
        except KafkaError as error:
            raise self.integrity.unreadable(offset) from error
        if self.integrity.doubts and (found.size or at_least_one):
            return self.integrity.confirm(found, offset)
        return found

    def epoch_at(self, offset: int) -> int:
        """The leader epoch in which `offset` was or will be written, -1 if it is not known."""
        return self._content.epochs.epoch_at(offset)

    def end_offset_for_epoch(self, epoch: int) -> EpochEnd:
        """Where the largest epoch up to `epoch` ended; (-1, -1) if that cannot be known (KIP-279)."""
        return self._content.epochs.end_offset_for(epoch, self._content.end_offset)

    def offset_for_time(self, timestamp_ms: int, *, up_to: int) -> TimestampOffset | None:
        """The first record before `up_to` that is not older; raises StorageError, KafkaError."""
        return first_at_or_after(
            self._content.segments, timestamp_ms, start=self._content.start_offset, up_to=up_to
        )

    def max_timestamp(self, up_to: int) -> TimestampOffset | None:
        """The first of the youngest records before `up_to`; raises StorageError, KafkaError."""
        return youngest(self._content.segments, start=self._content.start_offset, up_to=up_to)

    # Transactions.

    def first_undecided(self) -> int | None:
        """First offset of the earliest open transaction, None without one."""
        return self.producers.first_undecided()

    def last_stable_offset(self, high_watermark: int) -> int:
        """Up to where every transaction is decided, and its decision replicated."""
        unstable = self.producers.first_unstable(high_watermark)
        if unstable is None or unstable >= high_watermark:
            return high_watermark
        return max(unstable, self._content.start_offset)

    def aborted_transactions(self, start: int, end: int) -> list[tuple[int, int]]:
        """(producer id, first offset) of the aborted transactions with records in [start, end)."""
        return self._content.segments.aborted_transactions(start, end)

    def expire_producers(self, now_ms: int) -> int:
        """Forget producers that have long been silent (`producer.id.expiration.ms`); returns how many."""
        return self.producers.expire(now_ms, self.config.producer_id_expiration_ms)

    # Cutting.

    def truncate_to(self, offset: int) -> None:
        """Remove everything from `offset` on; `end_offset` is then the start of the batch it was in, or less.

        Epochs and producers follow. Raises StorageError, KafkaError.
        """
        if offset < self._content.segments.first_offset:
            self._content.reset(offset)
        elif offset <= self._content.end_offset:
            self._content.truncate(offset)

    def reset_to(self, offset: int) -> None:
        """Drop everything and start empty at `offset`; raises StorageError."""
        self._content.reset(offset)

    def advance_start(self, offset: int) -> None:
        """Let the log start at `offset`, if that is later than now; the space is freed by retention.

        Raises KafkaError(OFFSET_OUT_OF_RANGE) past the end, StorageError.
        """
        if offset > self._content.end_offset:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE, f"{offset} is past {self._content.end_offset}")
        self._content.advance_start(offset)

    def apply_retention(self, now_ms: int, high_watermark: int) -> int:
        """Delete the segments that have had their time; returns how many. Raises StorageError."""
        content = self._content
        content.check_usable()
        content.now_ms = now_ms
        count = expired_segments(
            content.segments.all,
            content.config,
            now_ms=now_ms,
            high_watermark=high_watermark,
            log_start=content.start_offset,
        )
        if count:
            content.remove_segments(count)
        return count

    def delete_expired_files(self, now_ms: int) -> int:
        """Close and remove what was deleted `file_delete_delay_ms` ago; returns how many segments."""
        return self._content.segments.deleted.expire(now_ms, self.config.file_delete_delay_ms)

    # Syncing and closing.

    @property
    def recovery_point(self) -> int:
        """Everything before it survives a power cut."""
        return self._content.durability.recovery_point

    @property
    def has_unsynced_closed_segments(self) -> bool:
        """Whether something of a segment is not synced that is not written to any more."""
        return self._content.durability.behind(self._content.segments)

    def files_to_sync(self) -> list[Syncable]:
        """What to sync so that everything before the present end is durable; raises StorageError."""
        return self._content.durability.files(self._content.segments, self._content.end_offset)

    def synced_to(self, offset: int) -> None:
        """All of `files_to_sync` were synced; `offset` was the end when they were asked for."""
        self._content.durability.synced_to(offset)

    def close(self, *, clean: bool = True) -> None:
        """Save what makes the next start fast, unless the log has failed, and close every file.

        A clean close does not sync: do that before. Raises StorageError.
        """
        self._content.close(clean=clean)
