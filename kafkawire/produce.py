"""Produce, versions 3 to 11, by hand: the request that a broker reads most often.

The common case, a flexible version with one-byte lengths, takes no function call per field. Record sections
stay where they are: `ProducePartition.records` is a view into the frame.

Source: `ProduceRequest.json` and `ProduceResponse.json` of Kafka 4.2. Version 5 adds the log start offset,
8 the error message, 9 is flexible, 10 adds the current leader (KIP-951).
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from struct import error as struct_error
from typing import NamedTuple

from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.primitives import (
    compact_nullable,
    compact_string,
    invalid,
    plain_nullable,
    plain_string,
    read_unsigned,
    skip_tags,
)
from kafkawire.varints import unsigned

MAX_PARTITIONS = 100_000
"""Most partitions that one request may name; each costs far more memory than bytes on the wire."""

_VERSIONS = range(APIS[ApiKey.PRODUCE].min_version, APIS[ApiKey.PRODUCE].max_version + 1)
_FLEXIBLE = 9

_INT16 = Struct(">h")
_INT32 = Struct(">i")
_ACKS_TIMEOUT = Struct(">hi")
_INDEX_LENGTH = Struct(">ii")


class ProducePartition(NamedTuple):
    """The records for one partition: one batch, as a view into the frame. None where the client sent null."""

    topic: str
    partition: int
    records: memoryview | None


class ProduceRequest(NamedTuple):
    """`acks` is 0, 1 or -1 (all in-sync replicas); `timeout_ms` bounds the wait for them."""

    transactional_id: str | None
    acks: int
    timeout_ms: int
    partitions: list[ProducePartition]


class ProduceResult(NamedTuple):
    """What became of one partition's records.

    `base_offset` is -1 on an error, `log_append_time_ms` -1 unless the broker set the time. `leader` is
    (leader id, leader epoch) for a client that asked the wrong broker; versions before 10 leave it out.
    """

    topic: str
    partition: int
    error_code: int
    base_offset: int
    log_append_time_ms: int
    log_start_offset: int
    error_message: str | None
    leader: tuple[int, int] | None


class NodeEndpoint(NamedTuple):
    """Where a leader that `ProduceResult.leader` names can be reached."""

    node_id: int
    host: str
    port: int
    rack: str | None


def decode_produce_request(version: int, body: memoryview) -> ProduceRequest:
    """The request, partitions in the order in which they came, whatever topic they are of.

    Raises KafkaError: INVALID_REQUEST if lengths and counts do not fit the body, UNSUPPORTED_VERSION. Bytes
    after the request are ignored.
    """
    if version not in _VERSIONS:
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"Produce version {version}")
    try:
        return _decode_flexible(body) if version >= _FLEXIBLE else _decode_plain(body)
    except (IndexError, struct_error):
        raise invalid("the Produce request is cut off") from None
    except UnicodeDecodeError:
        raise invalid("a name in the Produce request is not UTF-8") from None


def _decode_flexible(body: memoryview) -> ProduceRequest:
    size = len(body)
    length, position = body[0], 1
    if length > 0x7F:
        length, position = read_unsigned(body, 0)
    transactional_id = None
    if length:
        end = position + length - 1
        if end > size:
            raise invalid(f"a transactional id of {length - 1} bytes")
        transactional_id = str(body[position:end], "utf-8")
        position = end
    acks, timeout_ms = _ACKS_TIMEOUT.unpack_from(body, position)
    topics, position = body[position + 6], position + 7
    if topics > 0x7F:
        topics, position = read_unsigned(body, position - 1)
    if not 0 < topics <= size - position + 1:
        raise invalid(f"{topics - 1} topics")
    partitions: list[ProducePartition] = []
    for _ in range(topics - 1):
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


_HEAD_PLAIN = Struct(">iii")  # frame size, correlation id, topics
_HEAD_FLEXIBLE = Struct(">iiBB")  # frame size, correlation id, no tags, topics + 1
_PARTITION_3 = Struct(">ihqq")
_PARTITION_5 = Struct(">ihqqq")
_PARTITION_8 = Struct(">ihqqqi")  # ends in: no record errors
_PARTITION_9 = Struct(">ihqqqB")
# One topic, one partition, no error message: everything after the topic's name.
_SINGLE_3 = Struct(">iihqqi")
_SINGLE_5 = Struct(">iihqqqi")
_SINGLE_8 = Struct(">iihqqqihi")
_SINGLE_9 = Struct(">BihqqqBBBBiB")
_REST_OF_SINGLE_9 = _HEAD_FLEXIBLE.size - 4 + _SINGLE_9.size  # the frame's size without the topic's name
_LEADER = Struct(">BBBiiB")  # one tag, number 0, 9 bytes: leader id, epoch, no tags


def encode_produce_response(
    version: int,
    correlation_id: int,
    results: Sequence[ProduceResult],
    throttle_ms: int = 0,
    endpoints: Sequence[NodeEndpoint] = (),
) -> bytes:
    """The whole frame. Results of one topic that follow each other share its entry.

    `endpoints` goes out from version 10 on.
    """
    if len(results) == 1 and not endpoints:
        topic, partition, error, base, append_time, log_start, message, leader = results[0]
        if message is None and leader is None:
            if version >= _FLEXIBLE:
                name = compact_string(topic)
                return (
                    _HEAD_FLEXIBLE.pack(_REST_OF_SINGLE_9 + len(name), correlation_id, 0, 2)
                    + name
                    + _SINGLE_9.pack(
                        2, partition, error, base, append_time, log_start, 1, 0, 0, 0, throttle_ms, 0
                    )
                )
            return _encode_single_plain(version, correlation_id, results[0], throttle_ms)
    if version >= _FLEXIBLE:
        return _encode_flexible(version, correlation_id, results, throttle_ms, endpoints)
    return _encode_plain(version, correlation_id, results, throttle_ms)


def _encode_single_plain(version: int, correlation_id: int, result: ProduceResult, throttle_ms: int) -> bytes:
    topic, partition, error, base, append_time, log_start, _, _ = result
    name = plain_string(topic)
    if version >= 8:
        rest = _SINGLE_8.pack(1, partition, error, base, append_time, log_start, 0, -1, throttle_ms)
    elif version >= 5:
        rest = _SINGLE_5.pack(1, partition, error, base, append_time, log_start, throttle_ms)
    else:
        rest = _SINGLE_3.pack(1, partition, error, base, append_time, throttle_ms)
    return _HEAD_PLAIN.pack(8 + len(name) + len(rest), correlation_id, 1) + name + rest


def _runs(results: Sequence[ProduceResult]) -> list[tuple[str, list[ProduceResult]]]:
    """Results by topic, as long as those of one topic follow each other."""
    runs: list[tuple[str, list[ProduceResult]]] = []
    topic = None
    for result in results:
        if result[0] != topic:
            topic = result[0]
            runs.append((topic, run := []))
        run.append(result)
    return runs


def _encode_plain(
    version: int, correlation_id: int, results: Sequence[ProduceResult], throttle_ms: int
) -> bytes:
    runs = _runs(results)
    parts: list[bytes] = []
    for name, run in runs:
        parts += (plain_string(name), _INT32.pack(len(run)))
        for _, partition, error, base, append_time, log_start, message, _ in run:
            if version >= 8:
                parts.append(_PARTITION_8.pack(partition, error, base, append_time, log_start, 0))
                parts.append(plain_nullable(message))
            elif version >= 5:
                parts.append(_PARTITION_5.pack(partition, error, base, append_time, log_start))
            else:
                parts.append(_PARTITION_3.pack(partition, error, base, append_time))
    parts.append(_INT32.pack(throttle_ms))
    body = b"".join(parts)
    return _HEAD_PLAIN.pack(8 + len(body), correlation_id, len(runs)) + body


def _encode_flexible(
    version: int,
    correlation_id: int,
    results: Sequence[ProduceResult],
    throttle_ms: int,
    endpoints: Sequence[NodeEndpoint],
) -> bytes:
    runs = _runs(results)
    parts = [b"\x00", unsigned(len(runs) + 1)]
    for name, run in runs:
        parts += (compact_string(name), unsigned(len(run) + 1))
        for _, partition, error, base, append_time, log_start, message, leader in run:
            parts.append(_PARTITION_9.pack(partition, error, base, append_time, log_start, 1))
            parts.append(compact_nullable(message))
            if leader is None or version < 10:
                parts.append(b"\x00")
            else:
                parts.append(_LEADER.pack(1, 0, 9, *leader, 0))
        parts.append(b"\x00")
    parts.append(_INT32.pack(throttle_ms))
    parts.append(_encode_endpoints(endpoints) if endpoints and version >= 10 else b"\x00")
    body = b"".join(parts)
    return _INDEX_LENGTH.pack(4 + len(body), correlation_id) + body


def _encode_endpoints(endpoints: Sequence[NodeEndpoint]) -> bytes:
    parts = [unsigned(len(endpoints) + 1)]
    for node_id, host, port, rack in endpoints:
        parts += (
            _INT32.pack(node_id),
            compact_string(host),
            _INT32.pack(port),
            compact_nullable(rack),
            b"\0",
        )
    field = b"".join(parts)
    return b"\x01\x00" + unsigned(len(field)) + field
