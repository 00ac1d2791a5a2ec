"""Record batches made anew from others: with some of their records taken out, as log compaction does it, or
compressed in another way.

A record is cut out of its batch as it stands, without a look at its value or headers. What is left keeps the
batch's base offset, last offset and sequences, so that offsets and producers do not notice. Source:
`MemoryRecords.filterTo` and KIP-534, which keeps the time at which tombstones may go (the delete horizon) in
the base timestamp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from crc32c import crc32c

from kafkawire.batch_builder import AFTER_CRC, UP_TO_CRC
from kafkawire.batch_header import (
    COMPRESSION_MASK,
    CONTROL,
    DELETE_HORIZON,
    LOG_APPEND_TIME,
    LOG_OVERHEAD,
    MAGIC,
    NO_PRODUCER_ID,
    NO_SEQUENCE,
    TRANSACTIONAL,
    BatchHeader,
)
from kafkawire.compression import Compression, compress
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.varints import read_varint, read_varlong, zigzag

_SMALLEST_RECORD = 7
_NO_TIMESTAMP = -1


class RawRecord(NamedTuple):
    """A record as it stands in its batch: `encoded` begins with its length, and with the offset delta at
    `rest`. `timestamp` is in ms, counted from the batch's base timestamp even where the broker set the time.
    """

    offset: int
    timestamp: int
    key: bytes | None
    is_tombstone: bool
    encoded: bytes
    rest: int


def raw_records(header: BatchHeader, payload: bytes) -> Iterator[RawRecord]:
    """The records of a batch whose records section decompresses to `payload`.

    Raises KafkaError(INVALID_RECORD) for lengths, counts or offsets that do not fit the batch.
    """
    size = len(payload)
    if not 0 <= header.record_count * _SMALLEST_RECORD <= size:
        raise _invalid(f"{header.record_count} records do not fit into {size} bytes")
    base_offset, base_timestamp, last_delta = (
        header.base_offset,
        header.base_timestamp,
        header.last_offset_delta,
    )
    position, before = 0, -1
    for _ in range(header.record_count):
        start = position
        try:
            length, position = read_varint(payload, start)
            end = position + length
            timestamp_delta, rest = read_varlong(payload, position + 1)
            offset_delta, position = read_varint(payload, rest)
            key_length, position = read_varint(payload, position)
            key = None if key_length < 0 else payload[position : position + key_length]
            value_length, position = read_varint(payload, position + max(0, key_length))
        except IndexError:
            raise _invalid("a record is cut off") from None
        after = position + max(0, value_length)  # the number of headers
        if key_length < -1 or not after < end <= size or (payload[after] == 0 and after + 1 != end):
            raise _invalid(f"a record of {length} bytes")
        if not before < offset_delta <= last_delta:
            raise _invalid(f"a record at {offset_delta} of a batch that ends at {last_delta}")
        before = offset_delta
        fields = (
            base_offset + offset_delta,
            base_timestamp + timestamp_delta,
            key,
            value_length < 0,
            payload[start:end],
            rest - start,
        )
        yield tuple.__new__(RawRecord, fields)
        position = end
    if position != size:
        raise _invalid(f"{size - position} bytes follow the last record")


def with_base_timestamp(record: RawRecord, base_timestamp: int) -> bytes:
    """The record as it is encoded in a batch with another base timestamp (ms)."""
    body = b"\x00" + zigzag(record.timestamp - base_timestamp) + record.encoded[record.rest :]
    return zigzag(len(body)) + body


def rebuild_batch(
    header: BatchHeader, kept: Sequence[RawRecord], section: bytes, delete_horizon_ms: int | None = None
) -> bytes:
    """The batch of `header` with `kept` alone, one record at least, which `section` holds, compressed.

    `delete_horizon_ms`, if it is not None, is set; the records' timestamps then have to count from it.
    """
    attributes, base_timestamp = header.attributes, header.base_timestamp
    if delete_horizon_ms is not None:
        attributes |= DELETE_HORIZON
        base_timestamp = delete_horizon_ms
    max_timestamp = header.max_timestamp
    if not header.log_append_time:
        max_timestamp = max(record.timestamp for record in kept)
    return _seal(header, attributes, base_timestamp, max_timestamp, len(kept), section)


def recompress_batch(header: BatchHeader, payload: bytes, kind: Compression) -> bytes:
    """The batch of `header`, whose records section decompresses to `payload`, with that compressed as
    `kind`."""
    attributes = header.attributes & ~COMPRESSION_MASK | kind
    section = compress(kind, payload)
    count = header.record_count
    return _seal(header, attributes, header.base_timestamp, header.max_timestamp, count, section)


def empty_batch(header: BatchHeader) -> bytes:
    """The batch of `header` without records: it keeps a producer's last sequence."""
    attributes = header.attributes & (LOG_APPEND_TIME | TRANSACTIONAL | CONTROL)
    return _seal(header, attributes, _NO_TIMESTAMP, header.max_timestamp, 0, b"")


def placeholder_batch(header: BatchHeader) -> bytes:
    """A batch at the offsets of `header` and in its epoch that says nothing else."""
    anonymous = header._replace(producer_id=NO_PRODUCER_ID, producer_epoch=-1, base_sequence=NO_SEQUENCE)
    return _seal(anonymous, 0, _NO_TIMESTAMP, header.max_timestamp, 0, b"")


def placeholder_at(offset: int, leader_epoch: int) -> bytes:
    """A batch at one offset that says nothing, where none is that could tell more."""
    header = BatchHeader(
        offset,
        0,
        leader_epoch,
        MAGIC,
        0,
        0,
        0,
        _NO_TIMESTAMP,
        _NO_TIMESTAMP,
        NO_PRODUCER_ID,
        -1,
        NO_SEQUENCE,
        0,
    )
    return placeholder_batch(header)


def _seal(
    header: BatchHeader, attributes: int, base_timestamp: int, max_timestamp: int, count: int, section: bytes
) -> bytes:
    covered = (
        AFTER_CRC.pack(
            attributes,
            header.last_offset_delta,
            base_timestamp,
            max_timestamp,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            count,
        )
        + section
    )
    length = UP_TO_CRC.size - LOG_OVERHEAD + len(covered)
    before = UP_TO_CRC.pack(
        header.base_offset, length, header.partition_leader_epoch, header.magic, crc32c(covered)
    )
    return before + covered


def _invalid(reason: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_RECORD, reason)
