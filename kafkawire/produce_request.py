"""The Produce request as a broker reads it. See `kafkawire.produce`."""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import NamedTuple

from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.primitives import TopicRef, invalid, read_unsigned, skip_tags

MAX_PARTITIONS = 100_000
"""Most partitions that one request may name; each costs far more memory than bytes on the wire."""

_VERSIONS = range(APIS[ApiKey.PRODUCE].min_version, APIS[ApiKey.PRODUCE].max_version + 1)
_ZSTD = 7
_FLEXIBLE = 9
_TOPIC_IDS = 13

_INT16 = Struct(">h")
_INT32 = Struct(">i")
_ACKS_TIMEOUT = Struct(">hi")
_INDEX_LENGTH = Struct(">ii")


class ProducePartition(NamedTuple):
    """The records for one partition: one batch, as a view into the frame. None where the client sent null."""

    topic: TopicRef
    partition: int
    records: memoryview | None


class ProduceRequest(NamedTuple):
    """`acks` is 0, 1 or -1 (all in-sync replicas); `timeout_ms` bounds the wait for them."""

    transactional_id: str | None
    acks: int
    timeout_ms: int
    partitions: list[ProducePartition]


def knows_zstd(version: int) -> bool:
    """Whether batches may be compressed with zstd (KIP-110)."""
    return version >= _ZSTD


def decode_produce_request(version: int, body: memoryview) -> ProduceRequest:
    """The request, partitions in the order in which they came, whatever topic they are of.

    Raises KafkaError: INVALID_REQUEST if lengths and counts do not fit the body, UNSUPPORTED_VERSION. Bytes
    after the request are ignored.
    """
    if version not in _VERSIONS:
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"Produce version {version}")
    try:
        return _decode_flexible(version, body) if version >= _FLEXIBLE else _decode_plain(body)
    except (IndexError, struct_error):
        raise invalid("the Produce request is cut off") from None
    except UnicodeDecodeError:
        raise invalid("a name in the Produce request is not UTF-8") from None


def _decode_flexible(version: int, body: memoryview) -> ProduceRequest:
    size = len(body)
    transactional_id, position = (None, 1) if not body[0] else _read_transactional_id(body)
    acks, timeout_ms = _ACKS_TIMEOUT.unpack_from(body, position)
    topics, position = body[position + 6], position + 7
    if topics > 0x7F:
        topics, position = read_unsigned(body, position - 1)
    if not 0 < topics <= size - position + 1:
        raise invalid(f"{topics - 1} topics")
    partitions: list[ProducePartition] = []
    by_id = version >= _TOPIC_IDS
    topic: TopicRef
    for _ in range(topics - 1):
        if by_id:
            end = position + 16
            topic = bytes(body[position:end])
        else:
            length, position = body[position], position + 1
            if length > 0x7F:
                length, position = read_unsigned(body, position - 1)
            end = position + length - 1
            if not length > 0 or end > size:
                raise invalid(f"a topic name of {length - 1} bytes")
            topic = str(body[position:end], "utf-8")
        count, position = body[end], end + 1
        if count > 0x7F:
            count, position = read_unsigned(body, end)
        if not 0 < count <= MAX_PARTITIONS - len(partitions) + 1:
            raise invalid(f"{count - 1} partitions")
        for _ in range(count - 1):
            (index,) = _INT32.unpack_from(body, position)
            length, position = body[position + 4], position + 5
            if length > 0x7F:
                if (second := body[position]) <= 0x7F:  # up to 16 KiB: most batches
                    length, position = length & 0x7F | second << 7, position + 1
                else:
                    length, position = read_unsigned(body, position - 1)
            records = None
            if length:
                end = position + length - 1
                if end > size:
                    raise invalid(f"records of {length - 1} bytes")
                records = body[position:end]
                position = end
            partitions.append(tuple.__new__(ProducePartition, (topic, index, records)))
            position = position + 1 if body[position] == 0 else skip_tags(body, position)
        position = position + 1 if body[position] == 0 else skip_tags(body, position)
    if body[position]:
        skip_tags(body, position)
    return tuple.__new__(ProduceRequest, (transactional_id, acks, timeout_ms, partitions))


def _read_transactional_id(body: memoryview) -> tuple[str, int]:
    length, position = read_unsigned(body, 0)
    end = position + length - 1
    if not position <= end <= len(body):
        raise invalid(f"a transactional id of {length - 1} bytes")
    return str(body[position:end], "utf-8"), end


def _decode_plain(body: memoryview) -> ProduceRequest:
    size = len(body)
    (length,) = _INT16.unpack_from(body)
    position = 2
    transactional_id = None
    if length >= 0:
        end = position + length
        if end > size:
            raise invalid(f"a transactional id of {length} bytes")
        transactional_id = str(body[position:end], "utf-8")
        position = end
    acks, timeout_ms = _ACKS_TIMEOUT.unpack_from(body, position)
    (topics,) = _INT32.unpack_from(body, position + 6)
    position += 10
    if not 0 <= topics <= size - position:
        raise invalid(f"{topics} topics")
    partitions: list[ProducePartition] = []
    for _ in range(topics):
        (length,) = _INT16.unpack_from(body, position)
        position += 2
        end = position + length
        if length < 0 or end > size:
            raise invalid(f"a topic name of {length} bytes")
        topic = str(body[position:end], "utf-8")
        (count,) = _INT32.unpack_from(body, end)
        position = end + 4
        if not 0 <= count <= MAX_PARTITIONS - len(partitions):
            raise invalid(f"{count} partitions")
        for _ in range(count):
            index, length = _INDEX_LENGTH.unpack_from(body, position)
            position += 8
            records = None
            if length >= 0:
                end = position + length
                if end > size:
                    raise invalid(f"records of {length} bytes")
                records = body[position:end]
                position = end
            partitions.append(tuple.__new__(ProducePartition, (topic, index, records)))
    return tuple.__new__(ProduceRequest, (transactional_id, acks, timeout_ms, partitions))
