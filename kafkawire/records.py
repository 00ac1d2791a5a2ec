"""Record batches in Kafka's format v2 (magic 2), on the wire and in log segments alike.

A batch is a header of 61 bytes and a records section, which is compressed as a whole. A broker works on the
header: reading it, checking the CRC-32C and stamping offsets copies nothing and decodes no record. The CRC
covers everything after itself, which leaves base offset and leader epoch outside, so that a broker can set
both in place.

    offset  0  base_offset        int64      43  producer_id     int64
            8  batch_length       int32      51  producer_epoch  int16
           12  leader_epoch       int32      53  base_sequence   int32
           16  magic              int8       57  record_count    int32
           17  crc                uint32     61  records
           21  attributes         int16
           23  last_offset_delta  int32
           27  base_timestamp     int64
           35  max_timestamp      int64

Source: KIP-98 and `org.apache.kafka.common.record.DefaultRecordBatch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from crc32c import crc32c

from kafkawire.compression import DEFAULT_LIMIT, Compression, compress, decompress
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.varints import read_varint, read_varlong, zigzag

Buffer = bytes | bytearray | memoryview

BATCH_OVERHEAD = 61
"""Bytes of a batch's header."""

LOG_OVERHEAD = 12
"""Bytes that `batch_length` does not count: base offset and the length itself."""

MAGIC = 2
NO_PRODUCER_ID = -1
NO_SEQUENCE = -1

_HEADER = Struct(">qiibIhiqqqhii")
_BASE_OFFSET = Struct(">q")
_LEADER_EPOCH = Struct(">i")
_UP_TO_CRC = Struct(">qiibI")
_AFTER_CRC = Struct(">hiqqqhii")
_LEADER_EPOCH_AT = 12
_CRC_AT = 17
_CRC = Struct(">I")
_AFTER_CRC_AT = 21
_ATTRIBUTES = Struct(">h")
_MAX_TIMESTAMP_AT = 35
_MAX_TIMESTAMP = Struct(">q")

_COMPRESSION_MASK = 0x07
_LOG_APPEND_TIME = 0x08
_TRANSACTIONAL = 0x10
_CONTROL = 0x20
_DELETE_HORIZON = 0x40

# Length, attributes, timestamp delta, offset delta, key length, value length, header count: a byte each.
_SMALLEST_RECORD = 7
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
        number = self.attributes & _COMPRESSION_MASK
        if number > Compression.ZSTD:
            raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"compression type {number}")
        return Compression(number)

    @property
    def log_append_time(self) -> bool:
        """True if the broker set the time: every record then carries `max_timestamp`."""
        return self.attributes & _LOG_APPEND_TIME != 0

    @property
    def is_transactional(self) -> bool:
        return self.attributes & _TRANSACTIONAL != 0

    @property
    def is_control(self) -> bool:
        """True for a batch that holds a transaction marker and no data."""
        return self.attributes & _CONTROL != 0

    @property
    def has_delete_horizon(self) -> bool:
        """True if `base_timestamp` says when a tombstone or marker may go (KIP-534)."""
        return self.attributes & _DELETE_HORIZON != 0

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


class Record(NamedTuple):
    """One record as a consumer sees it. `timestamp` is in milliseconds since the epoch."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


Headers = Sequence[tuple[str, bytes | None]]
NewRecord = (
    tuple[int, bytes | None, bytes | None]  # timestamp, key, value
    | tuple[int, bytes | None, bytes | None, Headers]
)


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
    _ATTRIBUTES.pack_into(buffer, position + _AFTER_CRC_AT, header.attributes | _LOG_APPEND_TIME)
    _MAX_TIMESTAMP.pack_into(buffer, position + _MAX_TIMESTAMP_AT, now_ms)
    covered = memoryview(buffer)[position + _AFTER_CRC_AT : position + header.size]
    _CRC.pack_into(buffer, position + _CRC_AT, crc32c(covered))


def records(buffer: Buffer, position: int = 0, *, limit: int = DEFAULT_LIMIT) -> Iterator[Record]:
    """The records of the batch at `position`, decompressed to at most `limit` bytes.

    The checksum is not looked at. Raises KafkaError: CORRUPT_MESSAGE (cut off, or does not decompress),
    UNSUPPORTED_COMPRESSION_TYPE, UNSUPPORTED_FOR_MESSAGE_FORMAT, MESSAGE_TOO_LARGE (past `limit`),
    INVALID_RECORD (lengths or counts that do not fit).
    """
    header = read_header(buffer, position)
    if position + header.size > len(buffer):
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "the batch is cut off")
    section = memoryview(buffer)[position + BATCH_OVERHEAD : position + header.size]
    payload = decompress(header.compression, section, limit)
    if not 0 <= header.record_count * _SMALLEST_RECORD <= len(payload):
        raise _invalid(f"{header.record_count} records do not fit into {len(payload)} bytes")
    return _parse_records(payload, header)


def _parse_records(payload: bytes, header: BatchHeader) -> Iterator[Record]:
    base_offset, base_timestamp = header.base_offset, header.base_timestamp
    append_time = header.max_timestamp if header.log_append_time else None
    size = len(payload)
    position = 0
    for _ in range(header.record_count):
        try:
            length, position = read_varint(payload, position)
            end = position + length
            if length < 0 or end > size:
                raise _invalid(f"a record of {length} bytes")
            position += 1  # attributes: no bit has a meaning
            timestamp_delta, position = read_varlong(payload, position)
            offset_delta, position = read_varint(payload, position)
            key, position = _read_bytes(payload, position, end)
            value, position = _read_bytes(payload, position, end)
            record_headers: list[tuple[str, bytes | None]] = []
            if payload[position] == 0:
                position += 1
            else:
                position = _read_headers(payload, position, end, record_headers)
        except IndexError:
            raise _invalid("a record is cut off") from None
        if position != end:
            raise _invalid(f"a record of {length} bytes has {position - end + length}")
        timestamp = base_timestamp + timestamp_delta if append_time is None else append_time
        yield Record(base_offset + offset_delta, timestamp, key, value, record_headers)
    if position != size:
        raise _invalid(f"{size - position} bytes follow the last record")


def _read_bytes(payload: bytes, position: int, end: int) -> tuple[bytes | None, int]:
    length, position = read_varint(payload, position)
    if length < 0:
        if length != -1:
            raise _invalid(f"a field of {length} bytes")
        return None, position
    stop = position + length
    if stop > end:
        raise _invalid(f"a field of {length} bytes")
    return payload[position:stop], stop


def _read_headers(payload: bytes, position: int, end: int, into: list[tuple[str, bytes | None]]) -> int:
    count, position = read_varint(payload, position)
    if not 0 <= count * 2 <= end - position:
        raise _invalid(f"{count} record headers")
    for _ in range(count):
        name, position = _read_bytes(payload, position, end)
        if name is None:
            raise _invalid("a record header without a name")
        value, position = _read_bytes(payload, position, end)
        into.append((name.decode("utf-8", "replace"), value))
    return position


def _invalid(reason: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_RECORD, reason)


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
        attributes |= _TRANSACTIONAL
    if control:
        attributes |= _CONTROL
    if log_append_time_ms is not None:
        attributes |= _LOG_APPEND_TIME
        max_timestamp = log_append_time_ms
    count = len(records)
    covered = _AFTER_CRC.pack(
        attributes,
        count - 1,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        count,
    ) + compress(compression, parts)
    length = _AFTER_CRC_AT - LOG_OVERHEAD + len(covered)
    return _UP_TO_CRC.pack(base_offset, length, leader_epoch, MAGIC, crc32c(covered)) + covered


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


class ControlType(IntEnum):
    """What a control record says (`ControlRecordType`). Only the first two stand in topic partitions."""

    ABORT = 0
    COMMIT = 1


class ControlRecord(NamedTuple):
    """A transaction marker: how the producer's transaction ended, and under which coordinator epoch."""

    kind: ControlType
    coordinator_epoch: int


_CONTROL_KEY = Struct(">hh")
_CONTROL_VALUE = Struct(">hi")


def build_control_batch(
    kind: ControlType,
    *,
    timestamp: int,
    producer_id: int,
    producer_epoch: int,
    coordinator_epoch: int,
    base_offset: int = 0,
    leader_epoch: int = -1,
) -> bytes:
    """The marker that ends a producer's transaction in one partition (KIP-98)."""
    record = (timestamp, _CONTROL_KEY.pack(0, kind), _CONTROL_VALUE.pack(0, coordinator_epoch))
    return build_batch(
        [record],
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        transactional=True,
        control=True,
    )


def parse_control_record(record: Record) -> ControlRecord:
    """What the one record of a control batch says; raises KafkaError(INVALID_RECORD)."""
    key, value = record.key, record.value
    if key is None or len(key) < _CONTROL_KEY.size or value is None or len(value) < _CONTROL_VALUE.size:
        raise _invalid("a control record without its fields")
    version, kind = _CONTROL_KEY.unpack_from(key)
    if version < 0 or kind not in (ControlType.ABORT, ControlType.COMMIT):
        raise _invalid(f"control record version {version} of type {kind}")
    _, coordinator_epoch = _CONTROL_VALUE.unpack_from(value)
    return ControlRecord(ControlType(kind), coordinator_epoch)
