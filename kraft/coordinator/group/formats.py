"""The records of `__consumer_offsets` for classic groups and offsets, in Kafka's formats.

    key    version int16 · …
      0, 1   group string · topic string · partition int32            a committed offset (1 is written)
      2      group string                                             a classic group
    value of an offset, version int16 ·
      3      offset int64 · leader epoch int32 · metadata string · committed ms int64          (written)
      1      offset int64 · metadata string · committed ms int64 · expires ms int64            (written
             for a commit that has a retention of its own)
    value of a group, version int16 (3 is written) · protocol type string · generation int32 ·
      protocol string? · leader string? · state since ms int64 · [member]
      member  id string · instance id string? · client id string · client host string ·
              rebalance timeout ms int32 · session timeout ms int32 · subscription bytes · assignment bytes

A null value takes back what was said of the key. Keys of other versions are those of KIP-848 groups and of
kinds of groups that are yet to come. Source: Kafka's `OffsetCommitKey.json`, `OffsetCommitValue.json`,
`GroupMetadataKey.json`, `GroupMetadataValue.json`, `GroupCoordinatorRecordHelpers`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple, TypeVar

import msgspec

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.primitives import plain_string
from kafkawire.reader import Reader

OFFSET_KEY: Final = 1
GROUP_KEY: Final = 2

MAX_STRING: Final = 32_767
"""Bytes of the longest text that a record can hold."""

NO_EXPIRY: Final = -1
NO_LEADER_EPOCH: Final = -1

_OFFSET_VALUE: Final = 3
_OFFSET_VALUE_WITH_EXPIRY: Final = 1
_GROUP_VALUE: Final = 3
_FLEXIBLE_FROM: Final = 4
_KNOWN_KEYS: Final = 16_384
_LONGEST_KNOWN: Final = 512
"""Keys that are remembered, and bytes of the longest: clients choose what is in them."""

_INT16 = Struct(">h")
_INT32 = Struct(">i")
_INT64 = Struct(">q")
_INT64_PAIR = Struct(">qq")
_OFFSET_FRONT = Struct(">hqi")
_OLD_OFFSET_FRONT = Struct(">hq")
_TIMEOUTS = Struct(">ii")
_BARE_OFFSET = Struct(">hqihq")
_WRITTEN_OFFSET = _INT16.pack(_OFFSET_VALUE)
_VERSIONED_KEY = _INT16.pack(OFFSET_KEY)

T = TypeVar("T")


class OffsetKey(NamedTuple):
    """Whose offset, and of which partition."""

    group_id: str
    topic: str
    partition: int


class GroupKey(NamedTuple):
    """A classic group."""

    group_id: str


class OtherKey(NamedTuple):
    """A key of a version that is not a classic group's or an offset's."""

    version: int


Key = OffsetKey | GroupKey | OtherKey


class CommittedOffset(msgspec.Struct, frozen=True):
    """What was committed. `committed_ms` and `expires_ms` (NO_EXPIRY: by the broker's retention) are wall
    clock milliseconds. `record_offset` is where the record stands, -1 for one that stands nowhere yet."""

    offset: int
    leader_epoch: int
    metadata: str
    committed_ms: int
    expires_ms: int = NO_EXPIRY
    record_offset: int = -1


class MemberValue(msgspec.Struct, frozen=True):
    """A member as it is written. Timeouts in milliseconds; -1 where the record is too old to say."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    subscription: bytes
    assignment: bytes


class GroupValue(msgspec.Struct, frozen=True):
    """A classic group after a rebalance, or without members. `since_ms` is -1 where it is not known."""

    protocol_type: str
    generation: int
    protocol: str | None
    leader: str | None
    since_ms: int
    members: tuple[MemberValue, ...]


# -- keys -----------------------------------------------------------------------------------------


def encode_offset_key(group_id: str, topic: str, partition: int) -> bytes:
    """The key of a committed offset."""
    return _VERSIONED_KEY + plain_string(group_id) + plain_string(topic) + _INT32.pack(partition)


def encode_group_key(group_id: str) -> bytes:
    """The key of a classic group."""
    return _INT16.pack(GROUP_KEY) + plain_string(group_id)


def decode_key(key: bytes) -> Key:
    """What a record is about; offsets are remembered, since a group commits the same partitions again and
    again. Raises KafkaError(CORRUPT_MESSAGE)."""
    comes_again = len(key) <= _LONGEST_KNOWN and key.startswith(_VERSIONED_KEY)
    return _known_key(key) if comes_again else _decoded_key(key)


def _decoded_key(key: bytes) -> Key:
    return _decoded("key", key, _read_key)


_known_key = lru_cache(_KNOWN_KEYS)(_decoded_key)


def _read_key(reader: Reader, version: int) -> Key:
    if version in (0, OFFSET_KEY):
        return OffsetKey(reader.string(), reader.string(), reader.int32())
    if version == GROUP_KEY:
        return GroupKey(reader.string())
    return OtherKey(version)


# -- values ---------------------------------------------------------------------------------------


def encode_offset(committed: CommittedOffset) -> bytes:
    """The value of a committed offset, in the version that Kafka writes."""
    metadata = committed.metadata.encode()
    text = _INT16.pack(len(metadata)) + metadata
    if committed.expires_ms != NO_EXPIRY:
        front = _OLD_OFFSET_FRONT.pack(_OFFSET_VALUE_WITH_EXPIRY, committed.offset)
        return front + text + _INT64_PAIR.pack(committed.committed_ms, committed.expires_ms)
    front = _OFFSET_FRONT.pack(_OFFSET_VALUE, committed.offset, committed.leader_epoch)
    return front + text + _INT64.pack(committed.committed_ms)


def decode_offset(value: bytes, record_offset: int = -1) -> CommittedOffset:
    """A value of version 0 to 4. Raises KafkaError(CORRUPT_MESSAGE)."""
    if value[:2] == _WRITTEN_OFFSET and len(value) == _BARE_OFFSET.size:
        # What nearly all of them are: our own version, without metadata.
        _, offset, leader_epoch, length, committed_ms = _BARE_OFFSET.unpack(value)
        if length == 0:
            return CommittedOffset(offset, leader_epoch, "", committed_ms, NO_EXPIRY, record_offset)
    return _decoded("offset", value, lambda reader, version: _read_offset(reader, version, record_offset))


def _read_offset(reader: Reader, version: int, record_offset: int) -> CommittedOffset:
    _check_version(version)
    offset = reader.int64()
    leader_epoch = reader.int32() if version >= _OFFSET_VALUE else NO_LEADER_EPOCH
    metadata = reader.string()
    committed_ms = reader.int64()
    expires_ms = reader.int64() if version == _OFFSET_VALUE_WITH_EXPIRY else NO_EXPIRY
    return CommittedOffset(offset, leader_epoch, metadata, committed_ms, expires_ms, record_offset)


def encode_group(group: GroupValue) -> bytes:
    """The value of a classic group, in the version that Kafka writes."""
    parts = [
        _INT16.pack(_GROUP_VALUE),
        _text(group.protocol_type),
        _INT32.pack(group.generation),
        _text(group.protocol),
        _text(group.leader),
        _INT64.pack(group.since_ms),
        _INT32.pack(len(group.members)),
    ]
    for member in group.members:
        parts += (
            _text(member.member_id),
            _text(member.instance_id),
            _text(member.client_id),
            _text(member.client_host),
            _TIMEOUTS.pack(member.rebalance_timeout_ms, member.session_timeout_ms),
            _INT32.pack(len(member.subscription)),
            member.subscription,
            _INT32.pack(len(member.assignment)),
            member.assignment,
        )
    return b"".join(parts)


def decode_group(value: bytes) -> GroupValue:
    """A value of version 0 to 4. Raises KafkaError(CORRUPT_MESSAGE)."""
    return _decoded("group", value, _read_group)


def _read_group(reader: Reader, version: int) -> GroupValue:
    _check_version(version)
    protocol_type = reader.string()
    generation = reader.int32()
    protocol = reader.nullable_string()
    leader = reader.nullable_string()
    since_ms = reader.int64() if version >= 2 else -1
    members = tuple(_read_member(reader, version) for _ in reader.items())
    return GroupValue(protocol_type, generation, protocol, leader, since_ms, members)


def _read_member(reader: Reader, version: int) -> MemberValue:
    member_id = reader.string()
    instance_id = reader.nullable_string() if version >= 3 else None
    client_id, client_host = reader.string(), reader.string()
    rebalance_timeout_ms = reader.int32() if version >= 1 else -1
    session_timeout_ms = reader.int32()
    if rebalance_timeout_ms < 0:
        rebalance_timeout_ms = session_timeout_ms
    subscription = bytes(reader.nullable_bytes() or b"")
    assignment = bytes(reader.nullable_bytes() or b"")
    reader.tags()
    return MemberValue(
        member_id,
        instance_id,
        client_id,
        client_host,
        rebalance_timeout_ms,
        session_timeout_ms,
        subscription,
        assignment,
    )


# -- both -----------------------------------------------------------------------------------------


def _text(value: str | None) -> bytes:
    if value is None:
        return b"\xff\xff"
    encoded = value.encode()
    return _INT16.pack(len(encoded)) + encoded


def _check_version(version: int) -> None:
    if not 0 <= version <= _FLEXIBLE_FROM:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"a value of version {version}")


def _decoded(what: str, data: bytes, read: Callable[[Reader, int], T]) -> T:
    try:
        version: int = _INT16.unpack_from(data)[0]
        compact = what != "key" and version >= _FLEXIBLE_FROM
        return read(Reader(memoryview(data), compact=compact, position=2), version)
    except (IndexError, struct.error, UnicodeDecodeError, KafkaError) as error:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"an unreadable {what}: {error}") from error
