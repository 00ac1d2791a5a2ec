"""Records of one partition on their way: collected into a batch, encoded once, acknowledged together."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, NamedTuple

from kafkawire.compression import Compression
from kafkawire.errors import KafkaError
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

    __slots__ = ("acknowledged", "attempts", "encoded", "records", "size")

    def __init__(self) -> None:
        self.records: list[NewRecord] = []
        self.size = BATCH_OVERHEAD
        self.attempts = 0
        self.encoded = b""
        self.acknowledged: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def add(self, record: NewRecord, size: int) -> Delivery:
        """Take one more record of `size` in."""
        self.records.append(record)
        self.size += size
        return Delivery(self, len(self.records) - 1)

    def fail(self, error: KafkaError) -> None:
        """Tell whoever waits that it is not stored, or not known to be."""
        if not self.acknowledged.done():
            self.acknowledged.set_exception(error)
            self.acknowledged.exception()  # who does not wait for it is told by `flush` and `send`

    def fits(self, size: int, limit: int) -> bool:
        """True if a record of `size` may come in; the first one always may."""
        return not self.records or (self.size + size <= limit and len(self.records) < MAX_RECORDS)

    def encode(
        self, producer: Producer, sequence: int, compression: Compression, *, transactional: bool
    ) -> int:
        """Give it its place in the sequence; returns the next one. It is never encoded in another way."""
        self.encoded = build_batch(
            self.records,
            compression=compression,
            producer_id=producer.producer_id,
            producer_epoch=producer.epoch,
            base_sequence=sequence,
            transactional=transactional,
        )
        return (sequence + len(self.records)) & MAX_SEQUENCE


class Delivery:
    """The promise that one record is stored; `await delivery` gives its offset, -1 if it is not known.

    It raises OutcomeUnknownError if the record may be stored or not, another KafkaError if it surely is not.
    """

    __slots__ = ("_batch", "_index")

    def __init__(self, batch: PendingBatch, index: int) -> None:
        self._batch = batch
        self._index = index

    def __await__(self) -> Generator[Any, None, int]:
        acknowledged = self._batch.acknowledged
        if acknowledged.done():
            base = acknowledged.result()
        else:
            base = yield from asyncio.shield(acknowledged).__await__()
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
    """Bytes to reckon for a record; TypeError for text, of which nobody has said how it is encoded."""
    if isinstance(key, str) or isinstance(value, str):
        raise TypeError("key and value of a record are bytes, not text")
    return RECORD_OVERHEAD + len(key or b"") + len(value or b"")
