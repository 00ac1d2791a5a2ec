"""Records of one partition on their way: collected into a batch, encoded once, acknowledged together."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, NamedTuple

from kafkawire.compression import Compression
from kafkawire.records import NewRecord, build_batch

RECORD_OVERHEAD = 24
"""Bytes that a record costs beside key and value, at most, for a batch of usual size."""

BATCH_OVERHEAD = 61
MAX_RECORDS = 50_000
MAX_SEQUENCE = 0x7FFFFFFF


class Producer(NamedTuple):
    """Who writes: what the cluster's InitProducerId answered."""

    producer_id: int
    epoch: int


class PendingBatch:
    """A batch that grows until it is full or its time has come, and then stays as it is."""

    __slots__ = ("acknowledged", "encoded", "records", "sequence", "size")

    def __init__(self) -> None:
        self.records: list[NewRecord] = []
        self.size = BATCH_OVERHEAD
        self.sequence = -1
        self.encoded = b""
        self.acknowledged: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def add(self, timestamp_ms: int, key: bytes | None, value: bytes | None) -> Delivery:
        """Take one more record in."""
        self.records.append((timestamp_ms, key, value))
        self.size += record_size(key, value)
        return Delivery(self, len(self.records) - 1)

    def fits(self, size: int, limit: int) -> bool:
        """True if a record of `size` may come in; the first one always may."""
        return not self.records or (self.size + size <= limit and len(self.records) < MAX_RECORDS)

    def encode(self, producer: Producer, sequence: int, compression: Compression) -> int:
        """Give it its place in the sequence; returns the next one. It is never encoded in another way."""
        self.sequence = sequence
        self.encoded = build_batch(
            self.records,
            compression=compression,
            producer_id=producer.producer_id,
            producer_epoch=producer.epoch,
            base_sequence=sequence,
        )
        return (sequence + len(self.records)) & MAX_SEQUENCE


class Delivery:
    """The promise that one record is stored; `await delivery` gives its offset, -1 if it is not known."""

    __slots__ = ("_batch", "_index")

    def __init__(self, batch: PendingBatch, index: int) -> None:
        self._batch = batch
        self._index = index

    def __await__(self) -> Generator[Any, None, int]:
        base = yield from asyncio.shield(self._batch.acknowledged).__await__()
        return base + self._index if base >= 0 else -1

    @property
    def begins_batch(self) -> bool:
        """True for the first record of a batch."""
        return self._index == 0

    @property
    def done(self) -> bool:
        """True once it is stored, or has failed."""
        return self._batch.acknowledged.done()


def record_size(key: bytes | None, value: bytes | None) -> int:
    """Bytes to reckon for a record."""
    return RECORD_OVERHEAD + len(key or b"") + len(value or b"")
