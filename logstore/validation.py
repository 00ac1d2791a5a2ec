"""What a leader checks of a batch before it appends it, judging by the header alone.

The order and the error codes follow Kafka's `ProduceRequest.validateRecords`,
`UnifiedLog.analyzeAndValidateRecords` and `LogValidator`.
Records are not decoded, except for the keys of a compacted topic: the timestamps that count are those of the
first record and the largest one, which the header carries. That their number is what the header says is not
checked beyond what fits into the batch: to go from length to length takes 0.22 µs a record, more than
everything else that a broker does with records of 100 bytes.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from kafkawire.batch_header import COMPRESSION_MASK, CONTROL, LOG_APPEND_TIME, TRANSACTIONAL
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import (
    BATCH_OVERHEAD,
    LOG_OVERHEAD,
    SMALLEST_RECORD,
    BatchHeader,
    ControlRecord,
    check_crc,
    headers,
    raw_records,
    records_section,
)
from logstore.config import CREATE_TIME, LogConfig
from logstore.replay import control_of
from logstore.storage import Buffer

NO_TIMESTAMP = -1

_LAST_COMPRESSION = 4
_REFUSED = LOG_APPEND_TIME | CONTROL


class Origin(Enum):
    """Who wrote the batch that a leader appends (`AppendOrigin`)."""

    CLIENT = auto()
    """A producer: nothing in the batch is believed, and it has to be exactly one."""
    COORDINATOR = auto()
    """A coordinator of this cluster: may write transaction markers."""
    RAFT_LEADER = auto()
    """The quorum's leader: entries of its own log."""


def no_batch(records: Buffer, error: KafkaError) -> KafkaError:
    """What a producer is told whose batch has no header, as `error` says. It is INVALID_RECORD where Kafka's
    `ProduceRequest.validateRecords` finds no batch, or one of an older format: producers repeat what they are
    told is CORRUPT_MESSAGE, and it would be refused again."""
    if len(records) < BATCH_OVERHEAD or error.code is ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT:
        return KafkaError(ErrorCode.INVALID_RECORD, error.message)
    return error


def check_client_batch(header: BatchHeader, given: int, config: LogConfig, now_ms: int) -> None:
    """Judge one batch in `given` bytes, all but its checksum.

    Raises KafkaError: INVALID_RECORD, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, UNSUPPORTED_COMPRESSION_TYPE,
    INVALID_TIMESTAMP.
    """
    size = header.batch_length + LOG_OVERHEAD
    if size != given:
        if size > given:
            raise KafkaError(ErrorCode.INVALID_RECORD, f"{given} bytes of a batch of {size}")
        raise KafkaError(ErrorCode.INVALID_RECORD, "a partition takes exactly one batch per request")
    if header.base_offset != 0:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"base offset {header.base_offset} instead of 0")
    if size > config.max_message_bytes:
        raise KafkaError(
            ErrorCode.MESSAGE_TOO_LARGE, f"{size} bytes, max.message.bytes is {config.max_message_bytes}"
        )
    if size > config.segment_bytes:
        raise KafkaError(
            ErrorCode.RECORD_LIST_TOO_LARGE, f"{size} bytes, segment.bytes is {config.segment_bytes}"
        )
    count = header.record_count
    if count <= 0 or header.last_offset_delta != count - 1:
        raise KafkaError(
            ErrorCode.INVALID_RECORD, f"{count} records with a last offset of {header.last_offset_delta}"
        )
    attributes = header.attributes
    if count * SMALLEST_RECORD > size - BATCH_OVERHEAD and not attributes & COMPRESSION_MASK:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"{count} records do not fit into {size} bytes")
    if attributes & COMPRESSION_MASK > _LAST_COMPRESSION:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"compression type {attributes & COMPRESSION_MASK}"
        )
    if attributes & _REFUSED:
        _refuse(attributes)
    if header.producer_id < 0:
        if attributes & TRANSACTIONAL:
            raise KafkaError(ErrorCode.INVALID_RECORD, "a transaction without a producer id")
    elif header.base_sequence < 0 or header.producer_epoch < 0:
        raise KafkaError(
            ErrorCode.INVALID_RECORD,
            f"producer id with epoch {header.producer_epoch} and sequence {header.base_sequence}",
        )
    if config.message_timestamp_type == CREATE_TIME:
        _check_timestamps(header, config, now_ms)


def _refuse(attributes: int) -> None:
    if attributes & CONTROL:
        raise KafkaError(ErrorCode.INVALID_RECORD, "clients do not write control records")
    raise KafkaError(ErrorCode.INVALID_TIMESTAMP, "producers do not set the log append time")


def _check_timestamps(header: BatchHeader, config: LogConfig, now_ms: int) -> None:
    latest = now_ms + config.message_timestamp_after_max_ms
    earliest = now_ms - config.message_timestamp_before_max_ms
    if earliest <= header.max_timestamp <= latest and earliest <= header.base_timestamp <= latest:
        return
    for timestamp in (header.max_timestamp, header.base_timestamp):
        if not earliest <= timestamp <= latest and timestamp != NO_TIMESTAMP:
            raise KafkaError(
                ErrorCode.INVALID_TIMESTAMP, f"timestamp {timestamp} is not within {earliest} and {latest}"
            )


def check_keys(records: Buffer, header: BatchHeader) -> None:
    """Refuse a batch for a compacted topic that cannot be compacted: every record needs a key, and the offset
    that follows the one before it.

    Raises KafkaError: INVALID_RECORD, CORRUPT_MESSAGE, MESSAGE_TOO_LARGE.
    """
    expected = header.base_offset
    for record in raw_records(header, records_section(header, records)):
        if record.key is None:
            raise KafkaError(ErrorCode.INVALID_RECORD, "a compacted topic takes no record without a key")
        if record.offset != expected:
            raise KafkaError(ErrorCode.INVALID_RECORD, f"a record at {record.offset}, {expected} is next")
        expected += 1


class OffsetsOutOfOrder(Exception):  # noqa: N818 - it says what is wrong, as Kafka's names do
    """A follower was given batches that do not continue its log."""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(f"batches from offset {found} on for a log that ends at {expected}")
        self.expected = expected
        self.found = found


class StampedBatch(NamedTuple):
    """A batch of `records` as its leader stamped it; `control` if it is a transaction marker."""

    position: int
    header: BatchHeader
    control: ControlRecord | None


def check_leader_batches(
    records: Buffer, expected: int, *, gaps: bool, inside_first: bool
) -> list[StampedBatch]:
    """The whole batches that a follower fetched for offset `expected`; a partial one at the end is left out.

    With `gaps` offsets may be missing, as compaction leaves it; with `inside_first` the first batch may
    begin before `expected`. Raises OffsetsOutOfOrder, KafkaError(CORRUPT_MESSAGE, INVALID_RECORD).
    """
    batches: list[StampedBatch] = []
    for position, header in headers(records):
        base = header.base_offset
        if header.last_offset_delta < 0 or not check_crc(records, position, header):
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"the batch at offset {base} is damaged")
        if base != expected:
            begins_before = inside_first and not batches and base < expected < header.next_offset
            if not begins_before and not (gaps and base > expected):
                raise OffsetsOutOfOrder(expected, base)
        batches.append(StampedBatch(position, header, control_of(records, position, header)))
        expected = header.next_offset
    return batches


def writable(records: Buffer) -> bytearray | memoryview:
    """The same bytes, copied if they cannot be stamped where they are."""
    if isinstance(records, bytes) or (isinstance(records, memoryview) and records.readonly):
        return bytearray(records)
    return records
