"""What consumers of the classic protocol say inside JoinGroup and SyncGroup (Kafka's `ConsumerProtocol`).

subscription  version int16 · [topic string] · user data bytes?
  1 on          · [topic string · [partition int32]] what it owns
  2 on          · generation int32
  3             · rack string?
assignment    version int16 · [topic string · [partition int32]] · user data bytes?
"""

from __future__ import annotations

import struct
from struct import Struct

import msgspec

from kafkawire.errors import KafkaError
from kafkawire.primitives import plain_nullable, plain_string
from kafkawire.reader import Reader

_INT16 = Struct(">h")
_INT32 = Struct(">i")
_NO_USER_DATA = _INT32.pack(-1)
_NEWEST = 3

Owned = tuple[tuple[str, tuple[int, ...]], ...]
"""Partitions by topic."""


class MalformedProtocolError(ValueError):
    """What a client said cannot be read."""


class Subscription(msgspec.Struct, frozen=True):
    """What a consumer wants, and what it says that it owns."""

    version: int
    topics: tuple[str, ...]
    owned: Owned = ()
    rack_id: str | None = None
    generation: int = -1


class EmbeddedAssignment(msgspec.Struct, frozen=True):
    """What a consumer was given by its group's leader."""

    owned: Owned
    user_data: bytes = b""


def read_subscription(metadata: bytes) -> Subscription:
    """Raises MalformedProtocolError."""
    reader = Reader(memoryview(metadata), compact=False)
    try:
        version = reader.int16()
        if version < 0:
            raise MalformedProtocolError(f"a subscription of version {version}")
        topics = tuple(reader.string() for _ in reader.items())
        reader.nullable_bytes()
        owned = _read_owned(reader) if version >= 1 else ()
        generation = reader.int32() if version >= 2 else -1
        rack_id = reader.nullable_string() if version >= 3 else None
    except (IndexError, struct.error, UnicodeDecodeError, KafkaError) as error:
        raise MalformedProtocolError(str(error)) from error
    return Subscription(version, topics, owned, rack_id or None, generation)


def write_subscription(subscription: Subscription) -> bytes:
    """The same as bytes, in its version but the newest that is known at most."""
    version = min(subscription.version, _NEWEST)
    parts = [_INT16.pack(version), _INT32.pack(len(subscription.topics))]
    parts += map(plain_string, subscription.topics)
    parts.append(_NO_USER_DATA)
    if version >= 1:
        parts.append(_write_owned(subscription.owned))
    if version >= 2:
        parts.append(_INT32.pack(subscription.generation))
    if version >= 3:
        parts.append(plain_nullable(subscription.rack_id))
    return b"".join(parts)


def read_assignment(assignment: bytes) -> EmbeddedAssignment:
    """Nothing stands for an assignment that has not been made. Raises MalformedProtocolError."""
    if not assignment:
        return EmbeddedAssignment(())
    reader = Reader(memoryview(assignment), compact=False)
    try:
        version = reader.int16()
        if version < 0:
            raise MalformedProtocolError(f"an assignment of version {version}")
        return EmbeddedAssignment(_read_owned(reader), bytes(reader.nullable_bytes() or b""))
    except (IndexError, struct.error, UnicodeDecodeError, KafkaError) as error:
        raise MalformedProtocolError(str(error)) from error


def write_assignment(owned: Owned, version: int) -> bytes:
    """An assignment in the version of the member's subscription."""
    return _INT16.pack(min(version, _NEWEST)) + _write_owned(owned) + _NO_USER_DATA


def _write_owned(owned: Owned) -> bytes:
    parts = [_INT32.pack(len(owned))]
    for topic, partitions in owned:
        parts += (plain_string(topic), _INT32.pack(len(partitions)), *map(_INT32.pack, partitions))
    return b"".join(parts)


def _read_owned(reader: Reader) -> Owned:
    return tuple((reader.string(), tuple(reader.int32() for _ in reader.items())) for _ in reader.items())
