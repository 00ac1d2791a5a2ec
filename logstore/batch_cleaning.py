"""What compaction leaves of one batch. Source: `Cleaner.cleanInto` of Kafka's `LogCleaner`, KIP-534.

A record goes when a later one has its key, when its transaction was aborted, or when it has no key. A
tombstone, a record without value, stays for `delete.retention.ms` after the first cleaning that removes what
it replaces, so that readers learn of it; so does a transaction's marker once the transaction's records are
gone. The batch that holds the last sequence of a producer stays, without records if need be. A marker that
tells a producer's epoch stays whole, unlike Kafka's, for an empty one would keep nothing, and not every
client reads it.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple, assert_never

from kafkawire.compression import Compression, compress
from kafkawire.records import (
    BatchHeader,
    RawRecord,
    empty_batch,
    placeholder_batch,
    raw_records,
    rebuild_batch,
    records_section,
    with_base_timestamp,
)
from logstore.aborted import AbortedTransaction
from logstore.cleaned_transactions import CleanedTransactions
from logstore.key_offsets import KeyOffsets
from logstore.replay import control_of
from logstore.steps import Aside, Steps

RECORDS_PER_STEP = 64
_SMALL = 32 * 1024
"""Bytes that are compressed or decompressed at once; more is done aside."""


def read_records(header: BatchHeader, data: bytes) -> Steps[bytes]:
    """The records section of a batch, decompressed; raises KafkaError."""
    if header.compression is Compression.NONE or len(data) <= _SMALL:
        return records_section(header, data)
    aside = Aside(lambda: records_section(header, data))
    yield aside
    return aside.result


def _compressed(kind: Compression, section: bytes) -> Steps[bytes]:
    if kind is Compression.NONE:
        return section
    if len(section) <= _SMALL:
        return compress(kind, section)
    aside = Aside(lambda: compress(kind, section))
    yield aside
    return aside.result


class Stay(Enum):
    """Why a batch may not vanish."""

    NOT = auto()
    PLACE = auto()
    """It is the last one of a segment, and shows where that ends."""
    PRODUCER = auto()
    """It is the last one of a producer that is known."""


class CleanedBatch(NamedTuple):
    """What is left of a batch, None if nothing; `aborted` if it is the marker of an aborted transaction."""

    data: bytes | None
    aborted: AbortedTransaction | None = None


class BatchCleaner:
    """Judges batches in the order of the log. `now_ms` is when the cleaning began."""

    __slots__ = ("_horizon_ms", "_keys", "_now_ms", "_transactions")

    def __init__(
        self, keys: KeyOffsets, transactions: CleanedTransactions, now_ms: int, delete_retention_ms: int
    ) -> None:
        self._keys = keys
        self._transactions = transactions
        self._now_ms = now_ms
        self._horizon_ms = now_ms + delete_retention_ms

    def clean(self, header: BatchHeader, data: bytes, stay: Stay) -> Steps[CleanedBatch]:
        """What is left of the batch, at least what `stay` asks for; raises KafkaError."""
        if header.is_control:
            return (yield from self._clean_marker(header, data, stay))
        kept: list[RawRecord] = []
        if not self._transactions.pass_data(header):
            payload = yield from read_records(header, data)
            for number, record in enumerate(raw_records(header, payload)):
                if self._stays(record, header):
                    kept.append(record)
                if number % RECORDS_PER_STEP == RECORDS_PER_STEP - 1:
                    yield None
        if not kept:
            return CleanedBatch(_remainder(header, stay))
        needs_horizon = self._begins_their_time(header) and any(record.is_tombstone for record in kept)
        if len(kept) == header.record_count and not needs_horizon:
            return CleanedBatch(data)
        return CleanedBatch((yield from self._rebuild(header, kept, needs_horizon)))

    def _begins_their_time(self, header: BatchHeader) -> bool:
        """Whether the time of its tombstones begins now. It does not while what they replace is still there,
        for whose keys memory had no room."""
        return not header.has_delete_horizon and header.next_offset <= self._keys.end

    def _stays(self, record: RawRecord, header: BatchHeader) -> bool:
        if record.offset >= self._keys.end:
            return True
        if record.key is None or record.offset < self._keys.newest(record.key):
            return False
        return not (record.is_tombstone and self._is_past_horizon(header))

    def _is_past_horizon(self, header: BatchHeader) -> bool:
        return header.has_delete_horizon and header.base_timestamp <= self._now_ms

    def _clean_marker(self, header: BatchHeader, data: bytes, stay: Stay) -> Steps[CleanedBatch]:
        stale, aborted = self._transactions.pass_marker(header, control_of(data, 0, header))
        if not stale:
            return CleanedBatch(data, aborted)
        if stay is not Stay.PRODUCER and (not header.record_count or self._is_past_horizon(header)):
            return CleanedBatch(_remainder(header, stay))
        if not header.record_count or header.has_delete_horizon:
            return CleanedBatch(data)
        kept = list(raw_records(header, records_section(header, data)))
        return CleanedBatch((yield from self._rebuild(header, kept, needs_horizon=True)))

    def _rebuild(self, header: BatchHeader, kept: list[RawRecord], needs_horizon: bool) -> Steps[bytes]:
        if needs_horizon:
            section = b"".join(with_base_timestamp(record, self._horizon_ms) for record in kept)
        else:
            section = b"".join(record.encoded for record in kept)
        section = yield from _compressed(header.compression, section)
        return rebuild_batch(header, kept, section, self._horizon_ms if needs_horizon else None)


def _remainder(header: BatchHeader, stay: Stay) -> bytes | None:
    """What is left of a batch of which no record is."""
    match stay:
        case Stay.NOT:
            return None
        case Stay.PLACE:
            return placeholder_batch(header)
        case Stay.PRODUCER:
            return empty_batch(header)
        case _:
            assert_never(stay)
