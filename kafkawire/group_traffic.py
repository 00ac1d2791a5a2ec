"""Heartbeat and OffsetCommit, by hand: what members of consumer groups send all the time, and a coordinator
reads for thousands of them.

Source: `HeartbeatRequest.json`, `OffsetCommitRequest.json` and their responses of Kafka 4.2. Heartbeat
3 adds the instance id, 4 is flexible. OffsetCommit has a retention time from 2 to 4 only; 6 adds the leader
epoch, 7 the instance id, 8 is flexible, 9 may be of a KIP-848 group, 10 names topics by id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from struct import error as struct_error
from typing import NamedTuple, TypeVar
from uuid import UUID

from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.primitives import compact_string, invalid, plain_string, read_unsigned, skip_tags
from kafkawire.varints import unsigned

MAX_COMMITTED_PARTITIONS = 100_000
"""Most partitions that one OffsetCommit may name; each costs far more memory than bytes on the wire."""

_LONGEST_TEXT = 0x7FFF

_INT16 = Struct(">h")
_INT32 = Struct(">i")
_INT64 = Struct(">q")
_INDEX_OFFSET = Struct(">iq")
_INDEX_OFFSET_EPOCH = Struct(">iqi")
_INDEX_ERROR = Struct(">ih")
_INDEX_ERROR_TAGS = Struct(">ihB")
_FRAME_HEADER = Struct(">ii")

R = TypeVar("R")


class HeartbeatRequest(NamedTuple):
    """A member lives. `instance_id` is that of a static member (KIP-345)."""

    group_id: str
    generation: int
    member_id: str
    instance_id: str | None


class CommittedPartition(NamedTuple):
    """How far one partition has been read; `leader_epoch` is -1 and `metadata` None where nothing is said."""

    partition: int
    offset: int
    leader_epoch: int
    metadata: str | None


class CommittedTopic(NamedTuple):
    """`name` from version 2 to 9, `topic_id` (None for zeros) from 10 on; the other one is empty or None."""

    name: str
    topic_id: UUID | None
    partitions: list[CommittedPartition]


class OffsetCommitRequest(NamedTuple):
    """`generation` is the member epoch in a KIP-848 group; `retention_ms` is -1 where nothing is said."""

    group_id: str
    generation: int
    member_id: str
    instance_id: str | None
    retention_ms: int
    topics: list[CommittedTopic]


def decode_heartbeat_request(version: int, body: memoryview) -> HeartbeatRequest:
    """Raises KafkaError: INVALID_REQUEST if lengths do not fit the body, UNSUPPORTED_VERSION. Bytes after the
    request are ignored."""
    return _decode(ApiKey.HEARTBEAT, version, body, _heartbeat)


def decode_offset_commit_request(version: int, body: memoryview) -> OffsetCommitRequest:
    """Raises KafkaError: INVALID_REQUEST if lengths and counts do not fit the body, UNSUPPORTED_VERSION.
    Bytes after the request are ignored."""
    return _decode(ApiKey.OFFSET_COMMIT, version, body, _offset_commit)


def encode_heartbeat_response(version: int, correlation_id: int, error_code: int) -> bytes:
    """The whole frame."""
    throttle = _INT32.pack(0) if version >= 1 else b""
    flexible = version >= 4
    return _frame(correlation_id, (throttle, _INT16.pack(error_code)), flexible=flexible)


def encode_offset_commit_response(
    version: int,
    correlation_id: int,
    topics: Iterable[tuple[str, UUID | None, Iterable[tuple[int, int]]]],
) -> bytes:
    """The whole frame; `topics` are (name, topic id, (partition, error code) for each partition)."""
    flexible = version >= 8
    parts = [_INT32.pack(0) if version >= 3 else b"", b""]
    count = 0
    for name, topic_id, partitions in topics:
        count += 1
        if version >= 10:
            parts.append(bytes(16) if topic_id is None else topic_id.bytes)
        else:
            parts.append(compact_string(name) if flexible else plain_string(name))
        if flexible:
            entries = [_INDEX_ERROR_TAGS.pack(index, code, 0) for index, code in partitions]
            parts += (unsigned(len(entries) + 1), *entries, b"\x00")
        else:
            entries = [_INDEX_ERROR.pack(index, code) for index, code in partitions]
            parts += (_INT32.pack(len(entries)), *entries)
    parts[1] = unsigned(count + 1) if flexible else _INT32.pack(count)
    return _frame(correlation_id, parts, flexible=flexible)


def _frame(correlation_id: int, parts: Iterable[bytes], *, flexible: bool) -> bytes:
    body = b"".join(parts)
    if flexible:
        return b"".join((_FRAME_HEADER.pack(len(body) + 6, correlation_id), b"\x00", body, b"\x00"))
    return _FRAME_HEADER.pack(len(body) + 4, correlation_id) + body


def _decode(key: ApiKey, version: int, body: memoryview, read: Callable[[int, memoryview], R]) -> R:
    if not APIS[key].accepts(version):
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"{APIS[key].name} version {version}")
    try:
        return read(version, body)
    except (IndexError, struct_error):
        raise invalid(f"the {APIS[key].name} request is cut off") from None
    except UnicodeDecodeError:
        raise invalid(f"a text in the {APIS[key].name} request is not UTF-8") from None


def _heartbeat(version: int, body: memoryview) -> HeartbeatRequest:
    flexible = version >= 4
    group_id, position = _text(body, 0, flexible)
    (generation,) = _INT32.unpack_from(body, position)
    member_id, position = _text(body, position + 4, flexible)
    instance_id = None
    if version >= 3:
        instance_id, position = _nullable(body, position, flexible)
    if flexible:
        skip_tags(body, position)
    return HeartbeatRequest(group_id, generation, member_id, instance_id)


def _offset_commit(version: int, body: memoryview) -> OffsetCommitRequest:
    flexible = version >= 8
    group_id, position = _text(body, 0, flexible)
    (generation,) = _INT32.unpack_from(body, position)
    member_id, position = _text(body, position + 4, flexible)
    instance_id, retention_ms = None, -1
    if version >= 7:
        instance_id, position = _nullable(body, position, flexible)
    if version <= 4:
        (retention_ms,) = _INT64.unpack_from(body, position)
        position += 8
    count, position = _count(body, position, flexible)
    topics: list[CommittedTopic] = []
    left = MAX_COMMITTED_PARTITIONS
    for _ in range(count):
        name, topic_id = "", None
        if version >= 10:
            topic_id, position = _topic_id(body, position), position + 16
        else:
            name, position = _text(body, position, flexible)
        partitions, position = _partitions(version, body, position, left)
        left -= len(partitions)
        topics.append(CommittedTopic(name, topic_id, partitions))
        if flexible:
            position = skip_tags(body, position)
    if flexible:
        skip_tags(body, position)
    return OffsetCommitRequest(group_id, generation, member_id, instance_id, retention_ms, topics)


def _partitions(
    version: int, body: memoryview, position: int, most: int
) -> tuple[list[CommittedPartition], int]:
    flexible = version >= 8
    count, position = _count(body, position, flexible)
    if count > most:
        raise invalid(f"{count} partitions")
    partitions = []
    for _ in range(count):
        if version >= 6:
            index, offset, epoch = _INDEX_OFFSET_EPOCH.unpack_from(body, position)
            position += 16
        else:
            index, offset = _INDEX_OFFSET.unpack_from(body, position)
            epoch = -1
            position += 12
        metadata, position = _nullable(body, position, flexible)
        if flexible:
            position = skip_tags(body, position)
        partitions.append(CommittedPartition(index, offset, epoch, metadata))
    return partitions, position


def _topic_id(body: memoryview, position: int) -> UUID | None:
    raw = bytes(body[position : position + 16])
    if len(raw) < 16:
        raise IndexError
    return UUID(bytes=raw) if any(raw) else None


def _count(body: memoryview, position: int, compact: bool) -> tuple[int, int]:
    if compact:
        count, position = read_unsigned(body, position)
        count -= 1
    else:
        (count,) = _INT32.unpack_from(body, position)
        position += 4
    # Every item takes a byte at least, so that a hostile count ends here.
    if not 0 <= count <= len(body) - position:
        raise invalid(f"an array of {count} items")
    return count, position


def _text(body: memoryview, position: int, compact: bool) -> tuple[str, int]:
    text, position = _nullable(body, position, compact)
    if text is None:
        raise invalid("null where a text is needed")
    return text, position


def _nullable(body: memoryview, position: int, compact: bool) -> tuple[str | None, int]:
    if compact:
        length, position = body[position], position + 1
        if length > 0x7F:
            length, position = read_unsigned(body, position - 1)
        length -= 1
    else:
        (length,) = _INT16.unpack_from(body, position)
        position += 2
    if length == -1:
        return None, position
    end = position + length
    if not 0 <= length <= _LONGEST_TEXT or end > len(body):
        raise invalid(f"a text of {length} bytes")
    return str(body[position:end], "utf-8"), end
