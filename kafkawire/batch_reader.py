"""The records of a batch, decompressed and decoded: what consumers do, and brokers hardly ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kafkawire.batch_header import BATCH_OVERHEAD, SMALLEST_RECORD, BatchHeader, Buffer, read_header
from kafkawire.compression import DEFAULT_LIMIT, decompress
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.varints import read_varint, read_varlong


class Record(NamedTuple):
    """One record as a consumer sees it. `timestamp` is in milliseconds since the epoch."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def records(
    buffer: Buffer,
    position: int = 0,
    *,
    header: BatchHeader | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Iterator[Record]:
    """The records of the batch at `position`, decompressed to at most `limit` bytes. `header` is the batch's,
    where it has been read already.

    The checksum is not looked at. Raises KafkaError: CORRUPT_MESSAGE (cut off, or does not decompress),
    UNSUPPORTED_COMPRESSION_TYPE, UNSUPPORTED_FOR_MESSAGE_FORMAT, MESSAGE_TOO_LARGE (past `limit`),
    INVALID_RECORD (lengths or counts that do not fit).
    """
    if header is None:
        header = read_header(buffer, position)
    payload = records_section(header, buffer, position, limit=limit)
    if not 0 <= header.record_count * SMALLEST_RECORD <= len(payload):
        raise _invalid(f"{header.record_count} records do not fit into {len(payload)} bytes")
    return _parse_records(payload, header)


def records_section(
    header: BatchHeader, buffer: Buffer, position: int = 0, *, limit: int = DEFAULT_LIMIT
) -> bytes:
    """The records of the batch at `position` as bytes, decompressed to at most `limit`.

    Raises KafkaError: CORRUPT_MESSAGE, UNSUPPORTED_COMPRESSION_TYPE, MESSAGE_TOO_LARGE.
    """
    if position + header.size > len(buffer):
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "the batch is cut off")
    section = memoryview(buffer)[position + BATCH_OVERHEAD : position + header.size]
    return decompress(header.compression, section, limit)


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
        fields = (base_offset + offset_delta, timestamp, key, value, record_headers)
        yield tuple.__new__(Record, fields)
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
