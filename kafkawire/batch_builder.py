"""Record batches built from records: what producers do."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from crc32c import crc32c

from kafkawire.batch_header import (
    CONTROL,
    LOG_APPEND_TIME,
    LOG_OVERHEAD,
    MAGIC,
    NO_PRODUCER_ID,
    NO_SEQUENCE,
    TRANSACTIONAL,
)
from kafkawire.compression import Compression, compress
from kafkawire.varints import zigzag

UP_TO_CRC = Struct(">qiibI")
"""Base offset, length, leader epoch, magic, CRC."""
AFTER_CRC = Struct(">hiqqqhii")
"""Attributes, last offset delta, base and maximum timestamp, producer id, epoch, sequence, record count."""

Headers = Sequence[tuple[str, bytes | None]]
NewRecord = (
    tuple[int, bytes | None, bytes | None]  # timestamp, key, value
    | tuple[int, bytes | None, bytes | None, Headers]
)


def build_batch(
    records: Sequence[NewRecord],
    *,
    base_offset: int = 0,
    leader_epoch: int = -1,
    compression: Compression = Compression.NONE,
    producer_id: int = NO_PRODUCER_ID,
    producer_epoch: int = -1,
    base_sequence: int = NO_SEQUENCE,
    transactional: bool = False,
    control: bool = False,
    log_append_time_ms: int | None = None,
) -> bytes:
    """One batch of `records`: (timestamp in ms, key, value) or (timestamp, key, value, headers), one at
    least.

    Offsets follow each other from `base_offset`. With `log_append_time_ms` the batch says that a broker set
    its time.
    """
    if not records:
        raise ValueError("a batch holds one record at least")
    base_timestamp = max_timestamp = records[0][0]
    parts = bytearray()
    for delta, record in enumerate(records):
        timestamp = record[0]
        max_timestamp = max(max_timestamp, timestamp)
        body = _encode_record(delta, timestamp - base_timestamp, record)
        parts += zigzag(len(body))
        parts += body
    attributes = int(compression)
    if transactional:
        attributes |= TRANSACTIONAL
    if control:
        attributes |= CONTROL
    if log_append_time_ms is not None:
        attributes |= LOG_APPEND_TIME
        max_timestamp = log_append_time_ms
    count = len(records)
    covered = AFTER_CRC.pack(
        attributes,
        count - 1,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        count,
    ) + compress(compression, parts)
    length = UP_TO_CRC.size - LOG_OVERHEAD + len(covered)
    return UP_TO_CRC.pack(base_offset, length, leader_epoch, MAGIC, crc32c(covered)) + covered


def _encode_record(offset_delta: int, timestamp_delta: int, record: NewRecord) -> bytearray:
    key, value = record[1], record[2]
    body = bytearray(1)
    body += zigzag(timestamp_delta)
    body += zigzag(offset_delta)
    if key is None:
        body += b"\x01"
    else:
        body += zigzag(len(key))
        body += key
    if value is None:
        body += b"\x01"
    else:
        body += zigzag(len(value))
        body += value
    if len(record) == 3:
        body += b"\x00"
        return body
    body += zigzag(len(record[3]))
    for name, content in record[3]:
        encoded = name.encode()
        body += zigzag(len(encoded))
        body += encoded
        if content is None:
            body += b"\x01"
        else:
            body += zigzag(len(content))
            body += content
    return body
