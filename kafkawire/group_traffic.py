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

from kafkawire.apis import APIS, Api, ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.primitives import compact_string, invalid, plain_string
from kafkawire.reader import Reader
from kafkawire.varints import unsigned

MAX_COMMITTED_PARTITIONS = 100_000
"""Most partitions that one OffsetCommit may name; each costs far more memory than bytes on the wire."""

_HEARTBEAT = APIS[ApiKey.HEARTBEAT]
_OFFSET_COMMIT = APIS[ApiKey.OFFSET_COMMIT]

_HEARTBEAT_0 = Struct(">iih")  # size and correlation id, error code
_HEARTBEAT_1 = Struct(">iiih")  # throttle time
_FLEXIBLE_HEARTBEAT = Struct(">iiBihB")  # tags of the header and of the body
_INT32 = Struct(">i")
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
    return _decode(_HEARTBEAT, version, body, _heartbeat)


def decode_offset_commit_request(version: int, body: memoryview) -> OffsetCommitRequest:
    """Raises KafkaError: INVALID_REQUEST if lengths and counts do not fit the body, UNSUPPORTED_VERSION.
    Bytes after the request are ignored."""
    return _decode(_OFFSET_COMMIT, version, body, _offset_commit)


def encode_heartbeat_response(version: int, correlation_id: int, error_code: int) -> bytes:
    """The whole frame."""
    if version >= 4:
        return _FLEXIBLE_HEARTBEAT.pack(12, correlation_id, 0, 0, error_code, 0)
    if version >= 1:
        return _HEARTBEAT_1.pack(10, correlation_id, 0, error_code)
    return _HEARTBEAT_0.pack(6, correlation_id, error_code)


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


def _decode(api: Api, version: int, body: memoryview, read: Callable[[int, Reader], R]) -> R:
    if not api.accepts(version):
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"{api.name} version {version}")
    try:
        return read(version, Reader(body, compact=api.is_flexible(version)))
    except (IndexError, struct_error):
        raise invalid(f"the {api.name} request is cut off") from None
    except UnicodeDecodeError:
        raise invalid(f"a text in the {api.name} request is not UTF-8") from None


def _heartbeat(version: int, reader: Reader) -> HeartbeatRequest:
    group_id, generation, member_id = reader.string(), reader.int32(), reader.string()
    instance_id = reader.nullable_string() if version >= 3 else None
    if version >= 4:
        reader.skip_tags()
    return HeartbeatRequest(group_id, generation, member_id, instance_id)


def _offset_commit(version: int, reader: Reader) -> OffsetCommitRequest:
    group_id, generation, member_id = reader.string(), reader.int32(), reader.string()
    instance_id = reader.nullable_string() if version >= 7 else None
    retention_ms = reader.int64() if version <= 4 else -1
    topics: list[CommittedTopic] = []
    left = MAX_COMMITTED_PARTITIONS
    for _ in reader.required_items(left):
        name, topic_id = "", None
        if version >= 10:
            topic_id = _topic_id(reader.uuid())
        else:
            name = reader.string()
        partitions = _partitions(version, reader, left)
        left -= len(partitions)
        topics.append(CommittedTopic(name, topic_id, partitions))
        if version >= 8:
            reader.skip_tags()
    reader.skip_tags()
    return OffsetCommitRequest(group_id, generation, member_id, instance_id, retention_ms, topics)


def _partitions(version: int, reader: Reader, most: int) -> list[CommittedPartition]:
    partitions = []
    epoch = -1
    for _ in reader.required_items(most):
        if version >= 6:
            index, offset, epoch = reader.fields(_INDEX_OFFSET_EPOCH)
        else:
            index, offset = reader.fields(_INDEX_OFFSET)
        partitions.append(CommittedPartition(index, offset, epoch, reader.nullable_string()))
        if version >= 8:
            reader.skip_tags()
    return partitions


def _topic_id(raw: bytes) -> UUID | None:
    return UUID(bytes=raw) if any(raw) else None
