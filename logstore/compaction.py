"""Compaction of one log: the last record of every key stays, older ones go, offsets do not change.

A cleaning first collects the newest offset of each key in the part that is not clean yet, as many keys as it
has memory for, and then copies every segment up to there without the records that a later one has replaced.
Closed segments do not change, so that it can take its time; only the swap of new segments for old ones has to
be done at once. Source: Kafka's `LogCleaner`.
"""

from __future__ import annotations

import contextlib

from kafkawire.records import BatchHeader, raw_records
from logstore.batch_cleaning import RECORDS_PER_STEP, BatchCleaner, Stay, read_records
from logstore.cleanable import Dirt, find_dirt, groups
from logstore.cleaned_segment import BatchReader
from logstore.cleaned_transactions import CleanedTransactions
from logstore.content import LogContent
from logstore.key_offsets import KeyOffsets
from logstore.replay import control_of
from logstore.segment import Segment
from logstore.steps import Aside, Steps

DEFAULT_CHUNK = 512 * 1024


class CleaningAborted(Exception):  # noqa: N818 - nothing is wrong
    """The log is repaired, or was cut, retained or closed while it was cleaned: what was prepared is of no
    use."""


class Compaction:
    """What may be cleaned of a log, and the cleaning. Everything before `cleaned_to` was cleaned."""

    def __init__(self, content: LogContent) -> None:
        self._content = content

    @property
    def cleaned_to(self) -> int:
        """Up to where the log is clean; may be set when it is opened, from what was remembered."""
        return self._content.cleaned_to

    @cleaned_to.setter
    def cleaned_to(self, offset: int) -> None:
        self._content.cleaned_to = offset

    def dirt(self, stable_offset: int, now_ms: int) -> Dirt:
        """What there is to clean, nothing of it past `stable_offset`, up to where every record is committed
        and every transaction decided. Raises StorageError, KafkaError."""
        content = self._content
        first = content.cleaned_to
        if not content.start_offset <= first <= content.end_offset:
            first = content.start_offset
        return find_dirt(
            content.segments.all, content.config, first_dirty=first, up_to=stable_offset, now_ms=now_ms
        )

    def clean(
        self, stable_offset: int, now_ms: int, *, memory: int, chunk: int = DEFAULT_CHUNK
    ) -> Steps[None]:
        """Clean what is dirty and synced, in steps (see `logstore.steps`). `memory` bounds the bytes of the
        keys: if not all fit, only a part is cleaned, and the rest is left for another time.

        Raises CleaningAborted; KafkaError (a batch is damaged) and StorageError, after which the log is as it
        was or has failed.
        """
        content = self._content
        content.check_usable()
        if content.rewriting:
            raise CleaningAborted
        # A record must not go for the sake of one that a power cut may take.
        dirt = self.dirt(min(stable_offset, content.durability.recovery_point), now_ms)
        if not dirt.dirty:
            return
        shortenings = content.shortenings
        with contextlib.closing(_Cleaning(content, dirt, now_ms, chunk).steps(memory)) as steps:
            for step in steps:
                yield step
                if content.failure is not None or content.shortenings != shortenings:
                    raise CleaningAborted


class _LastBatches:
    """The last batch of each producer that is known, and its last one before `end`, behind which everything
    may yet be taken back; or the marker that tells its epoch, where it has written nothing since. Source:
    `UnifiedLog.lastRecordsOfActiveProducers`, which does not look at `end`.
    """

    def __init__(self, content: LogContent, end: int) -> None:
        self._known = {state.producer_id: (state.last_offset, state.epoch) for state in content.producers}
        self._settled = {
            state.producer_id: max(
                (each.last_offset for each in state.batches if each.last_offset < end), default=-1
            )
            for state in content.producers
        }

    def holds(self, header: BatchHeader) -> bool:
        if not header.has_producer or header.producer_id not in self._known:
            return False
        offset, epoch = self._known[header.producer_id]
        settled = self._settled[header.producer_id]
        if offset >= 0 and settled < 0:
            return True  # all that is remembered of it may go: any other may be its last
        if header.is_control:
            return offset < 0 and header.producer_epoch == epoch
        return header.last_offset in (offset, settled)


class _Cleaning:
    """One run over a log."""

    def __init__(self, content: LogContent, dirt: Dirt, now_ms: int, chunk: int) -> None:
        self._content = content
        self._dirt = dirt
        self._now_ms = now_ms
        self._chunk = chunk

    def steps(self, memory: int) -> Steps[None]:
        content, dirt = self._content, self._dirt
        keys = KeyOffsets(memory, dirt.first_offset)
        yield from self._collect(keys)
        segments = [segment for segment in content.segments.all if segment.base_offset < keys.end]
        cleaner = BatchCleaner(keys, self._transactions(0), self._now_ms, content.config.delete_retention_ms)
        for group in groups(segments, content.config):
            yield from self._clean_group(group, cleaner)
        content.cleaned_to = keys.end

    def _transactions(self, start: int) -> CleanedTransactions:
        """The aborted transactions of what lies between `start` and the end of the dirt."""
        return CleanedTransactions(
            aborted
            for segment in self._content.segments.all
            for aborted in segment.aborted
            if aborted.last_offset >= start and aborted.first_offset < self._dirt.end
        )

    # Collecting keys.

    def _collect(self, keys: KeyOffsets) -> Steps[None]:
        first, end = self._dirt.first_offset, self._dirt.end
        transactions = self._transactions(first)
        for segment in self._content.segments.all:
            if segment.next_offset <= first or segment.base_offset >= end:
                continue
            position = 0
            if segment.base_offset < first:
                position = segment.locate(first)
                self._content.segments.keep_warm(segment)
            reader = BatchReader(segment, position, self._chunk)
            while not reader.at_end:
                header, data = yield from reader.next()
                if header.is_control:
                    transactions.pass_marker(header, control_of(data, 0, header))
                elif not transactions.pass_data(header) and not (
                    yield from self._collect_batch(keys, header, data)
                ):
                    return
                keys.end = max(keys.end, header.next_offset)
                yield None
            keys.end = max(keys.end, segment.next_offset)

    def _collect_batch(self, keys: KeyOffsets, header: BatchHeader, data: bytes) -> Steps[bool]:
        """False if not all of its keys fit any more."""
        payload = yield from read_records(header, data)
        for number, record in enumerate(raw_records(header, payload)):
            counts = record.key is not None and record.offset >= self._dirt.first_offset
            if counts and not keys.add(record.key or b"", record.offset):
                return False
            if number % RECORDS_PER_STEP == RECORDS_PER_STEP - 1:
                yield None
        return True

    # Copying what stays.

    def _clean_group(self, group: list[Segment], cleaner: BatchCleaner) -> Steps[None]:
        content = self._content
        last_ones = _LastBatches(content, self._dirt.end)
        with content.cleaned_segment(group[0].base_offset, self._chunk) as cleaned:
            for segment in group:
                reader = BatchReader(segment, 0, self._chunk)
                while not reader.at_end:
                    header, data = yield from reader.next()
                    stay = Stay.NOT
                    if last_ones.holds(header):
                        stay = Stay.PRODUCER
                    elif segment is group[-1] and reader.at_end:
                        stay = Stay.PLACE
                    left = yield from cleaner.clean(header, data, stay)
                    if left.data is not None:
                        yield from cleaned.add(left.data)
                    if left.aborted is not None:
                        cleaned.note_aborted(left.aborted)
                    yield None
            yield from cleaned.finish()
            content.swap(group)
        aside = Aside(content.sync_names)
        yield aside
        return aside.result
