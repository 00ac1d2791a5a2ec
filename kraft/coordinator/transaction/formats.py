"""The records of `__transaction_state`, in Kafka's format.

    key    version int16 (0) · transactional id string
    value  version int16 · producer id int64 · epoch int16 · timeout ms int32 · status int8 ·
           [topic string · [partition int32]] (null when empty) · updated ms int64 · started ms int64

Version 0 of the value has plain lengths; version 1, which is written, has compact ones and tagged fields:
previous producer id (0), next producer id (1), client transaction version (2). A null value forgets the id.
Source: Kafka's `TransactionLogKey.json`, `TransactionLogValue.json`, `TransactionLog`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from struct import Struct
from typing import Final

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.primitives import compact_string
from kafkawire.reader import Reader
from kafkawire.varints import unsigned
from kraft.coordinator.decision import NO_PRODUCER_ID
from kraft.coordinator.transaction.states import (
    CompleteAbort,
    CompleteCommit,
    Empty,
    Ongoing,
    PrepareAbort,
    PrepareCommit,
    State,
    TopicPartition,
    Transaction,
    TransactionStatus,
)

KEY_VERSION: Final = 0
VALUE_VERSION: Final = 1

_INT16 = Struct(">h")
_INT32 = Struct(">i")
_INT64 = Struct(">q")
_FRONT = Struct(">hqhib")
_TIMES = Struct(">qq")

_PREVIOUS_PRODUCER_ID: Final = 0
_NEXT_PRODUCER_ID: Final = 1
_CLIENT_VERSION: Final = 2


def encode_key(transactional_id: str) -> bytes:
    """The key of everything that is written about a transactional id."""
    encoded = transactional_id.encode()
    return _INT16.pack(KEY_VERSION) + _INT16.pack(len(encoded)) + encoded


def decode_key(key: bytes) -> str | None:
    """The transactional id, or None for a key of a version that is yet to come, which is skipped as Kafka
    does. Raises KafkaError(CORRUPT_MESSAGE)."""
    reader = Reader(memoryview(key), compact=False)
    try:
        return reader.string() if reader.int16() == KEY_VERSION else None
    except (IndexError, struct.error, UnicodeDecodeError, KafkaError) as error:
        raise _unreadable("key", error) from error


def encode_value(transaction: Transaction) -> bytes:
    """A value of version 1."""
    parts = [
        _FRONT.pack(
            VALUE_VERSION,
            transaction.producer_id,
            transaction.producer_epoch,
            transaction.timeout_ms,
            transaction.status,
        ),
        _encode_partitions(transaction),
        _TIMES.pack(transaction.updated_ms, transaction.started_ms),
        _encode_tags(transaction),
    ]
    return b"".join(parts)


def _encode_partitions(transaction: Transaction) -> bytes:
    if isinstance(transaction.state, Empty):
        return b"\x00"  # null
    topics = by_topic(transaction.partitions)
    parts = [unsigned(len(topics) + 1)]
    for topic, indexes in topics.items():
        parts += (compact_string(topic), unsigned(len(indexes) + 1))
        parts += (_INT32.pack(index) for index in indexes)
        parts.append(b"\x00")  # no tagged fields
    return b"".join(parts)


def by_topic(partitions: Iterable[TopicPartition]) -> dict[str, list[int]]:
    """Indexes by topic, both in order, so that equal sets look equal."""
    topics: dict[str, list[int]] = {}
    for topic, index in sorted(partitions):
        topics.setdefault(topic, []).append(index)
    return topics


def _encode_tags(transaction: Transaction) -> bytes:
    tags = []
    if transaction.previous_producer_id != NO_PRODUCER_ID:
        tags.append((_PREVIOUS_PRODUCER_ID, _INT64.pack(transaction.previous_producer_id)))
    if transaction.next_producer_id != NO_PRODUCER_ID:
        tags.append((_NEXT_PRODUCER_ID, _INT64.pack(transaction.next_producer_id)))
    if transaction.client_version:
        tags.append((_CLIENT_VERSION, _INT16.pack(transaction.client_version)))
    return unsigned(len(tags)) + b"".join(
        unsigned(tag) + unsigned(len(content)) + content for tag, content in tags
    )


def decode_value(transactional_id: str, value: bytes) -> Transaction:
    """A value of version 0 or 1. Raises KafkaError(CORRUPT_MESSAGE) for any other, and for what is not
    whole."""
    try:
        (version,) = _INT16.unpack_from(value)
        if version not in (0, 1):
            raise _unreadable("value", f"version {version}")
        return _decode_value(transactional_id, value, compact=version == 1)
    except (IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise _unreadable("value", error) from error
    except KafkaError as error:
        raise _unreadable("value", error.message) from error


def _decode_value(transactional_id: str, value: bytes, *, compact: bool) -> Transaction:
    _, producer_id, epoch, timeout_ms, status = _FRONT.unpack_from(value)
    reader = Reader(memoryview(value), compact=compact, position=_FRONT.size)
    partitions = _read_partitions(reader)
    updated_ms, started_ms = reader.int64(), reader.int64()
    tags = reader.tags()
    return Transaction(
        transactional_id,
        producer_id,
        epoch,
        timeout_ms,
        _state(TransactionStatus(status), partitions, started_ms),
        updated_ms,
        tags[_PREVIOUS_PRODUCER_ID].int64() if _PREVIOUS_PRODUCER_ID in tags else NO_PRODUCER_ID,
        tags[_NEXT_PRODUCER_ID].int64() if _NEXT_PRODUCER_ID in tags else NO_PRODUCER_ID,
        tags[_CLIENT_VERSION].int16() if _CLIENT_VERSION in tags else 0,
    )


def _read_partitions(reader: Reader) -> frozenset[TopicPartition]:
    partitions = []
    for _ in reader.items():
        topic = reader.string()
        partitions += [(topic, reader.int32()) for _ in reader.items()]
        reader.tags()
    return frozenset(partitions)


def _state(status: TransactionStatus, partitions: frozenset[TopicPartition], started_ms: int) -> State:
    match status:
        case TransactionStatus.EMPTY:
            return Empty()
        case TransactionStatus.ONGOING:
            return Ongoing(partitions, started_ms)
        case TransactionStatus.PREPARE_COMMIT:
            return PrepareCommit(partitions, started_ms)
        case TransactionStatus.PREPARE_ABORT:
            return PrepareAbort(partitions, started_ms)
        case TransactionStatus.COMPLETE_COMMIT:
            return CompleteCommit(started_ms)
        case TransactionStatus.COMPLETE_ABORT:
            return CompleteAbort(started_ms)
        case TransactionStatus.DEAD | TransactionStatus.PREPARE_EPOCH_FENCE:
            raise ValueError(f"{status.title} is never written")


def _unreadable(what: str, reason: object) -> KafkaError:
    return KafkaError(ErrorCode.CORRUPT_MESSAGE, f"a {what} of __transaction_state: {reason}")
