"""The records of `__consumer_offsets` for KIP-848 groups, in Kafka's formats.

    key    version int16 · group string · …
      3   the group's epoch                 6   the target assignment's epoch
      4   subscribed topics, of Kafka 4.0   7   · member string    what the member is to have
      5   · member string    the member     8   · member string    how far the member has got
                                            16  · expression string    what it stands for
    value, version int16 (0), compact lengths and tagged fields (KIP-482)
      3   epoch int32 · tag 0: metadata hash int64, unless it is 0
      5   instance string? · rack string? · client id · client host · [topic] · expression string? ·
          rebalance timeout ms int32 · assignor string? · tag 0: what a classic member says
            1 int8 · session timeout ms int32 · [name string · metadata bytes]
      6   epoch int32
      7   [topic id uuid · [partition int32]]
      8   epoch int32 · previous epoch int32 · state int8 · as 7: assigned · as 7: to be given up
      16  [topic] · metadata's version int64 · time ms int64

Source: Kafka's `ConsumerGroup*Key.json` and `ConsumerGroup*Value.json`, `GroupCoordinatorRecordHelpers`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from enum import IntEnum
from struct import Struct
from typing import TypeVar, assert_never

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.primitives import compact_nullable, plain_nullable
from kafkawire.reader import Reader
from kafkawire.varints import unsigned
from kraft.coordinator.group.commands import Protocol
from kraft.coordinator.group.consumer.members import (
    Assignment,
    ClassicMember,
    Member,
    MemberState,
    Progress,
    TopicPartition,
    by_topic,
)
from kraft.coordinator.group.consumer.records import (
    Change,
    EpochChange,
    GroupEpoch,
    MemberChange,
    PartitionMetadataChange,
    ProgressChange,
    RegexChange,
    Resolved,
    TargetChange,
    TargetEpochChange,
)


class _Key(IntEnum):
    GROUP_EPOCH = 3
    PARTITION_METADATA = 4
    MEMBER = 5
    TARGET_EPOCH = 6
    TARGET = 7
    PROGRESS = 8
    REGEX = 16


_INT16 = Struct(">h")
_INT32 = Struct(">i")
_INT64 = Struct(">q")
_INT64_PAIR = Struct(">qq")
_PROGRESS_FRONT = Struct(">hiib")
_FRONT = _INT16.pack(0)
_NO_TAGS = b"\x00"
_STATES = frozenset(map(int, MemberState))

T = TypeVar("T")


# -- writing --------------------------------------------------------------------------------------


def encode(change: Change) -> tuple[bytes, bytes | None]:
    """The record of a change: its key, and its value."""
    match change:
        case EpochChange(group_id, value):
            return _key(_Key.GROUP_EPOCH, group_id), None if value is None else _epoch(value)
        case PartitionMetadataChange(group_id):
            assert not change.present, "not written any more"
            return _key(_Key.PARTITION_METADATA, group_id), None
        case MemberChange(group_id, member_id, member):
            return _key(_Key.MEMBER, group_id, member_id), None if member is None else _member(member)
        case TargetEpochChange(group_id, epoch):
            body = None if epoch is None else _FRONT + _INT32.pack(epoch) + _NO_TAGS
            return _key(_Key.TARGET_EPOCH, group_id), body
        case TargetChange(group_id, member_id, target):
            body = None if target is None else _FRONT + _partitions(target) + _NO_TAGS
            return _key(_Key.TARGET, group_id, member_id), body
        case ProgressChange(group_id, member_id, progress):
            return _key(_Key.PROGRESS, group_id, member_id), None if progress is None else _progress(progress)
        case RegexChange(group_id, regex, resolved):
            return _key(_Key.REGEX, group_id, regex), None if resolved is None else _resolved(resolved)
        case _:
            assert_never(change)


def _key(version: int, *texts: str) -> bytes:
    return _INT16.pack(version) + b"".join(map(plain_nullable, texts))


def _epoch(value: GroupEpoch) -> bytes:
    if value.metadata_hash == 0:
        return _FRONT + _INT32.pack(value.epoch) + _NO_TAGS
    return _FRONT + _INT32.pack(value.epoch) + b"\x01\x00\x08" + _INT64.pack(value.metadata_hash)


def _member(member: Member) -> bytes:
    parts = [
        _FRONT,
        compact_nullable(member.instance_id),
        compact_nullable(member.rack_id),
        compact_nullable(member.client_id),
        compact_nullable(member.client_host),
        _array(map(compact_nullable, member.topics), len(member.topics)),
        compact_nullable(member.regex),
        _INT32.pack(member.rebalance_timeout_ms),
        compact_nullable(member.assignor),
        _NO_TAGS if member.classic is None else _classic(member.classic),
    ]
    return b"".join(parts)


def _classic(classic: ClassicMember) -> bytes:
    protocols = _array(
        (
            compact_nullable(each.name) + unsigned(len(each.metadata) + 1) + each.metadata + _NO_TAGS
            for each in classic.protocols
        ),
        len(classic.protocols),
    )
    # The first byte says that it is not null.
    body = b"\x01" + _INT32.pack(classic.session_timeout_ms) + protocols + _NO_TAGS
    return b"\x01\x00" + unsigned(len(body)) + body


def _progress(progress: Progress) -> bytes:
    front = _PROGRESS_FRONT.pack(0, progress.epoch, progress.previous_epoch, progress.state)
    return front + _partitions(progress.assigned) + _partitions(progress.revoking) + _NO_TAGS


def _resolved(resolved: Resolved) -> bytes:
    topics = _array(map(compact_nullable, resolved.topics), len(resolved.topics))
    return _FRONT + topics + _INT64_PAIR.pack(resolved.version, resolved.timestamp_ms) + _NO_TAGS


def _partitions(assignment: Assignment) -> bytes:
    topics = by_topic(assignment)
    return _array(
        (
            topic_id + _array(map(_INT32.pack, partitions), len(partitions)) + _NO_TAGS
            for topic_id, partitions in topics.items()
        ),
        len(topics),
    )


def _array(items: Iterable[bytes], count: int) -> bytes:
    return unsigned(count + 1) + b"".join(items)


# -- reading --------------------------------------------------------------------------------------


def decode(key: bytes, value: bytes | None) -> Change | None:
    """The change that a record is; None for a key of another kind of group. Raises
    KafkaError(CORRUPT_MESSAGE)."""
    try:
        return _decode(key, value)
    except (IndexError, struct.error, UnicodeDecodeError, KafkaError) as error:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"an unreadable record of a group: {error}") from error


def _decode(key: bytes, value: bytes | None) -> Change | None:
    reader = Reader(memoryview(key), compact=False)
    version = reader.int16()
    match version:
        case _Key.GROUP_EPOCH:
            return EpochChange(reader.string(), _tagged(value, _read_epoch))
        case _Key.PARTITION_METADATA:
            return PartitionMetadataChange(reader.string(), value is not None)
        case _Key.MEMBER:
            group_id, member_id = reader.string(), reader.string()
            return MemberChange(
                group_id, member_id, _tagged(value, lambda body: _read_member(body, member_id))
            )
        case _Key.TARGET_EPOCH:
            return TargetEpochChange(reader.string(), _value(value, Reader.int32))
        case _Key.TARGET:
            return TargetChange(reader.string(), reader.string(), _value(value, _read_partitions))
        case _Key.PROGRESS:
            return ProgressChange(reader.string(), reader.string(), _value(value, _read_progress))
        case _Key.REGEX:
            return RegexChange(reader.string(), reader.string(), _value(value, _read_resolved))
        case _:
            return None


def _value(value: bytes | None, read: Callable[[Reader], T]) -> T | None:
    def read_whole(reader: Reader) -> T:
        found = read(reader)
        reader.tags()
        return found

    return _tagged(value, read_whole)


def _tagged(value: bytes | None, read: Callable[[Reader], T]) -> T | None:
    """`read` reads the tagged fields at the end as well."""
    if value is None:
        return None
    version: int = _INT16.unpack_from(value)[0]
    if version != 0:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"a value of version {version}")
    return read(Reader(memoryview(value), compact=True, position=2))


def _read_epoch(reader: Reader) -> GroupEpoch:
    epoch = reader.int32()
    tagged = reader.tags().get(0)
    return GroupEpoch(epoch, 0 if tagged is None else tagged.int64())


def _read_member(reader: Reader, member_id: str) -> Member:
    instance_id, rack_id = reader.nullable_string(), reader.nullable_string()
    client_id, client_host = reader.string(), reader.string()
    topics = tuple(reader.string() for _ in reader.items())
    regex = reader.nullable_string() or None
    rebalance_timeout_ms = reader.int32()
    assignor = reader.nullable_string()
    tagged = reader.tags().get(0)
    classic = None if tagged is None else _read_classic(tagged)
    return Member(
        member_id,
        instance_id,
        rack_id,
        client_id,
        client_host,
        topics,
        regex,
        rebalance_timeout_ms,
        assignor,
        classic,
    )


def _read_classic(reader: Reader) -> ClassicMember | None:
    if reader.int8() < 0:
        return None
    session_timeout_ms = reader.int32()
    protocols = []
    for _ in reader.items():
        protocols.append(Protocol(reader.string(), bytes(reader.nullable_bytes() or b"")))
        reader.tags()
    return ClassicMember(session_timeout_ms, tuple(protocols))


def _read_progress(reader: Reader) -> Progress:
    epoch, previous_epoch, state = reader.int32(), reader.int32(), reader.int8()
    known = MemberState(state) if state in _STATES else MemberState.UNKNOWN
    return Progress(epoch, previous_epoch, known, _read_partitions(reader), _read_partitions(reader))


def _read_resolved(reader: Reader) -> Resolved:
    topics = tuple(reader.string() for _ in reader.items())
    return Resolved(topics, reader.int64(), reader.int64())


def _read_partitions(reader: Reader) -> Assignment:
    found: list[TopicPartition] = []
    for _ in reader.items():
        topic_id = reader.uuid()
        found += [(topic_id, reader.int32()) for _ in reader.items()]
        reader.tags()
    return frozenset(found)
