"""The client's half of Heartbeat and OffsetCommit, which members of groups send all the time.

Versions are those of `kafkawire.group_traffic`, whose request types these are.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import NamedTuple
from uuid import UUID

from kafkawire.apis import APIS, ApiKey
from kafkawire.group_traffic import CommittedPartition, CommittedTopic, HeartbeatRequest, OffsetCommitRequest
from kafkawire.headers import encode_request_header
from kafkawire.primitives import (
    compact_nullable,
    compact_string,
    invalid,
    plain_nullable,
    plain_string,
)
from kafkawire.reader import Reader
from kafkawire.varints import unsigned

_INT32 = Struct(">i")
_INT64 = Struct(">q")
_INDEX_OFFSET = Struct(">iq")
_INDEX_OFFSET_EPOCH = Struct(">iqi")
_NO_ID = bytes(16)


class HeartbeatResponse(NamedTuple):
    """Whether the member is one still."""

    error_code: int


class CommitResult(NamedTuple):
    """What came of one partition; the topic's name is empty where it is referred to by id."""

    topic: str
    topic_id: UUID | None
    partition: int
    error_code: int


class OffsetCommitResponse(NamedTuple):
    """A result for each partition, in the order of the response."""

    results: list[CommitResult]


def encode_heartbeat_request(
    version: int, correlation_id: int, request: HeartbeatRequest, client_id: str | None = None
) -> bytes:
    """The whole frame."""
    compact = APIS[ApiKey.HEARTBEAT].is_flexible(version)
    header = encode_request_header(ApiKey.HEARTBEAT, version, correlation_id, client_id)
    parts = [header, *_member(version >= 3, compact, request[:4])]
    if compact:
        parts.append(b"\x00")
    return _frame(parts)


def encode_offset_commit_request(
    version: int, correlation_id: int, request: OffsetCommitRequest, client_id: str | None = None
) -> bytes:
    """The whole frame."""
    compact = APIS[ApiKey.OFFSET_COMMIT].is_flexible(version)
    header = encode_request_header(ApiKey.OFFSET_COMMIT, version, correlation_id, client_id)
    parts = [header, *_member(version >= 7, compact, request[:4])]
    if version <= 4:
        parts.append(_INT64.pack(request.retention_ms))
    parts.append(_count(compact, len(request.topics)))
    for topic in request.topics:
        parts += _topic(version, compact, topic)
    if compact:
        parts.append(b"\x00")
    return _frame(parts)


def _frame(parts: list[bytes]) -> bytes:
    payload = b"".join(parts)
    return _INT32.pack(len(payload)) + payload


def _member(has_instance: bool, compact: bool, member: tuple[str, int, str, str | None]) -> tuple[bytes, ...]:
    group_id, generation, member_id, instance_id = member
    string = compact_string if compact else plain_string
    fields = (string(group_id), _INT32.pack(generation), string(member_id))
    if not has_instance:
        return fields
    return (*fields, (compact_nullable if compact else plain_nullable)(instance_id))


def _count(compact: bool, count: int) -> bytes:
    return unsigned(count + 1) if compact else _INT32.pack(count)


def _topic(version: int, compact: bool, topic: CommittedTopic) -> list[bytes]:
    if version >= 10:
        parts = [_NO_ID if topic.topic_id is None else topic.topic_id.bytes]
    else:
        parts = [(compact_string if compact else plain_string)(topic.name)]
    parts.append(_count(compact, len(topic.partitions)))
    parts += [_partition(version, compact, partition) for partition in topic.partitions]
    if compact:
        parts.append(b"\x00")
    return parts


def _partition(version: int, compact: bool, partition: CommittedPartition) -> bytes:
    index, offset, epoch, metadata = partition
    fixed = (
        _INDEX_OFFSET_EPOCH.pack(index, offset, epoch) if version >= 6 else _INDEX_OFFSET.pack(index, offset)
    )
    if compact:
        return fixed + compact_nullable(metadata) + b"\x00"
    return fixed + plain_nullable(metadata)


def decode_heartbeat_response(version: int, payload: memoryview) -> HeartbeatResponse:
    """The response in a frame's payload; raises KafkaError(INVALID_REQUEST) for malformed bytes."""
    reader = Reader(payload, compact=APIS[ApiKey.HEARTBEAT].is_flexible(version), position=4)
    try:
        reader.skip_tags()
        if version >= 1:
            reader.int32()
        error_code = reader.int16()
        reader.skip_tags()
        return HeartbeatResponse(error_code)
    except (IndexError, struct_error):
        raise invalid("the Heartbeat response is cut off") from None


def decode_offset_commit_response(version: int, payload: memoryview) -> OffsetCommitResponse:
    """The response in a frame's payload; raises KafkaError(INVALID_REQUEST) for malformed bytes."""
    reader = Reader(payload, compact=APIS[ApiKey.OFFSET_COMMIT].is_flexible(version), position=4)
    try:
        return _read_commit(version, reader)
    except (IndexError, struct_error):
        raise invalid("the OffsetCommit response is cut off") from None
    except UnicodeDecodeError:
        raise invalid("a text in the OffsetCommit response is not UTF-8") from None


def _read_commit(version: int, reader: Reader) -> OffsetCommitResponse:
    reader.skip_tags()
    if version >= 3:
        reader.int32()
    results = []
    for _ in reader.items():
        name, topic_id = "", None
        if version >= 10:
            raw = reader.uuid()
            topic_id = UUID(bytes=raw) if any(raw) else None
        else:
            name = reader.string()
        for _ in reader.items():
            results.append(CommitResult(name, topic_id, reader.int32(), reader.int16()))
            reader.skip_tags()
        reader.skip_tags()
    reader.skip_tags()
    return OffsetCommitResponse(results)
