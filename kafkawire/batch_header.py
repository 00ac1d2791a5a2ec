"""The header of a record batch: read, checked and stamped without a copy and without decoding a record.

The layout and its source stand in `kafkawire.records`.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from crc32c import crc32c

from kafkawire.compression import Compression
from kafkawire.errors import ErrorCode, KafkaError

Buffer = bytes | bytearray | memoryview

BATCH_OVERHEAD = 61
"""Bytes of a batch's header."""

LOG_OVERHEAD = 12
"""Bytes that `batch_length` does not count: base offset and the length itself."""
SMALLEST_RECORD = 7
"""Bytes: length, attributes, timestamp delta, offset delta, key length, value length, header count."""

MAGIC = 2
NO_PRODUCER_ID = -1
NO_SEQUENCE = -1

_HEADER = Struct(">qiibIhiqqqhii")
_BASE_OFFSET = Struct(">q")
_LEADER_EPOCH = Struct(">i")
_LEADER_EPOCH_AT = 12
_CRC_AT = 17
_CRC = Struct(">I")
_AFTER_CRC_AT = 21
_ATTRIBUTES = Struct(">h")
_MAX_TIMESTAMP_AT = 35
_MAX_TIMESTAMP = Struct(">q")

COMPRESSION_MASK = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20
DELETE_HORIZON = 0x40

_MAX_INT32 = 2**31 - 1


class BatchHeader(NamedTuple):
    """The header of one batch, field for field. Timestamps are milliseconds since the epoch."""

    base_offset: int
    batch_length: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return LOG_OVERHEAD + self.batch_length

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def compression(self) -> Compression:
        """Raises KafkaError(UNSUPPORTED_COMPRESSION_TYPE) for the numbers 5 to 7, which mean nothing."""
        number = self.attributes & COMPRESSION_MASK
        if number > Compression.ZSTD:
            raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"compression type {number}")
        return Compression(number)

    @property
    def log_append_time(self) -> bool:
        """True if the broker set the time: every record then carries `max_timestamp`."""
        return self.attributes & LOG_APPEND_TIME != 0

    @property
    def is_transactional(self) -> bool:
        return self.attributes & TRANSACTIONAL != 0

    @property
    def is_control(self) -> bool:
        """True for a batch that holds a transaction marker and no data."""
        return self.attributes & CONTROL != 0

    @property
    def has_delete_horizon(self) -> bool:
        """True if `base_timestamp` says when a tombstone or marker may go (KIP-534)."""
        return self.attributes & DELETE_HORIZON != 0

    @property
    def largest_timestamp(self) -> int:
        """`max_timestamp`, but -1 for a batch that compaction has emptied: no record is that young."""
        return self.max_timestamp if self.record_count else -1

    @property
    def has_producer(self) -> bool:
        """True if an idempotent or transactional producer wrote it."""
        return self.producer_id > NO_PRODUCER_ID

    @property
    def last_sequence(self) -> int:
        """Sequence of the last record; sequences go from 2^31-1 back to 0. -1 without sequences."""
        if self.base_sequence == NO_SEQUENCE:
            return NO_SEQUENCE
        return (self.base_sequence + self.last_offset_delta) & _MAX_INT32


def read_header(buffer: Buffer, position: int = 0) -> BatchHeader:
    """The header of the batch at `position`; the records need not be there. Copies nothing.

    Raises KafkaError: CORRUPT_MESSAGE if fewer than 61 bytes are left, or the length or magic is
    impossible, and UNSUPPORTED_FOR_MESSAGE_FORMAT for the message sets of before 2017 (magic 0 and 1).
    """
    if len(buffer) - position < BATCH_OVERHEAD:
        left = len(buffer) - position
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{left} bytes cannot hold a batch header")
    fields = _HEADER.unpack_from(buffer, position)
    if fields[3] != MAGIC:
        if fields[3] in (0, 1):
            raise KafkaError(ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT, f"message format {fields[3]}")
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"magic {fields[3]}")
    if fields[1] < BATCH_OVERHEAD - LOG_OVERHEAD:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"batch length {fields[1]}")
    return tuple.__new__(BatchHeader, fields)


def is_zstd(buffer: Buffer) -> bool:
    """True if the batch at the start of `buffer` says that it is compressed with zstd; False if there is
    none.
    """
    if len(buffer) < BATCH_OVERHEAD:
        return False
    (attributes,) = _ATTRIBUTES.unpack_from(buffer, _AFTER_CRC_AT)
    return bool(attributes & COMPRESSION_MASK == Compression.ZSTD)


def headers(buffer: Buffer) -> Iterator[tuple[int, BatchHeader]]:
    """Position and header of each whole batch in `buffer`; a partial batch at the end is left out.

    Raises KafkaError like `read_header`.
    """
    size = len(buffer)
    position = 0
    while size - position >= BATCH_OVERHEAD:
        header = read_header(buffer, position)
        end = position + LOG_OVERHEAD + header.batch_length
        if end > size:
            return
        yield position, header
        position = end


def check_crc(buffer: Buffer, position: int, header: BatchHeader) -> bool:
    """True if the whole batch is there and its bytes are those that its checksum was made of. Copies
    nothing.
    """
    end = position + LOG_OVERHEAD + header.batch_length
    if end > len(buffer):
        return False
    return bool(crc32c(memoryview(buffer)[position + _AFTER_CRC_AT : end]) == header.crc)


def stamp(buffer: bytearray | memoryview, position: int, base_offset: int, leader_epoch: int) -> None:
    """Set base offset and leader epoch of the batch at `position`. The checksum covers neither."""
    _BASE_OFFSET.pack_into(buffer, position, base_offset)
    _LEADER_EPOCH.pack_into(buffer, position + _LEADER_EPOCH_AT, leader_epoch)


def stamp_log_append_time(
    buffer: bytearray | memoryview, position: int, header: BatchHeader, now_ms: int
) -> None:
    """Turn the batch into one whose time the broker set, `now_ms`, and make its checksum good again."""
    _ATTRIBUTES.pack_into(buffer, position + _AFTER_CRC_AT, header.attributes | LOG_APPEND_TIME)
    _MAX_TIMESTAMP.pack_into(buffer, position + _MAX_TIMESTAMP_AT, now_ms)
    covered = memoryview(buffer)[position + _AFTER_CRC_AT : position + header.size]
    _CRC.pack_into(buffer, position + _CRC_AT, crc32c(covered))
