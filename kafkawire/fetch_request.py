"""The Fetch request as a broker reads it. See `kafkawire.fetch`."""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import NamedTuple

from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.primitives import TopicRef, invalid, read_unsigned, skip_tags
from kafkawire.reader import Reader

MAX_PARTITIONS = 100_000
"""Most partitions that one request may name or forget; each costs far more memory than bytes on the wire."""

_VERSIONS = range(APIS[ApiKey.FETCH].min_version, APIS[ApiKey.FETCH].max_version + 1)
_FLEXIBLE = 12
_TOPIC_IDS = 13
_REPLICA_STATE = 15
_REPLICA_STATE_TAG = 1

_INT16 = Struct(">h")
_INT32 = Struct(">i")
_FIXED_4 = Struct(">iiiibi")  # replica, max wait, min bytes, max bytes, isolation level, topics
_FIXED_7 = Struct(">iiiibiii")  # session id and epoch before the topics
_FIXED_12 = Struct(">iiiibiiB")
_FIXED_15 = Struct(">iiibiiB")  # no replica any more
_PARTITION_4 = Struct(">iqi")
_PARTITION_5 = Struct(">iqqi")
_PARTITION_9 = Struct(">iiqqi")
_PARTITION_12 = Struct(">iiqiqi")


class FetchPartition(NamedTuple):
    """What is wanted of one partition. Epochs and `log_start_offset` are -1 where the client does not know
    or say.
    """

    topic: TopicRef
    partition: int
    current_leader_epoch: int
    fetch_offset: int
    last_fetched_epoch: int
    log_start_offset: int
    max_bytes: int


class FetchRequest(NamedTuple):
    """`replica_id` is -1 for a consumer; `isolation_level` 1 is read_committed.

    Without fetch sessions `session_id` is 0 and `session_epoch` -1. `forgotten` lists (topic, partition) to
    drop from the session. `topic_ids` says that topics are referred to by id.
    """

    replica_id: int
    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    isolation_level: int
    session_id: int
    session_epoch: int
    partitions: list[FetchPartition]
    forgotten: list[tuple[TopicRef, int]]
    rack_id: str
    topic_ids: bool = False


def decode_fetch_request(version: int, body: memoryview) -> FetchRequest:
    """The request, partitions in the order in which they came, whatever topic they are of.

    Raises KafkaError: INVALID_REQUEST if lengths and counts do not fit the body, UNSUPPORTED_VERSION. Bytes
    after the request are ignored.
    """
    if version not in _VERSIONS:
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"Fetch version {version}")
    try:
        return _decode_flexible(version, body) if version >= _FLEXIBLE else _decode_plain(version, body)
    except (IndexError, struct_error):
        raise invalid("the Fetch request is cut off") from None
    except UnicodeDecodeError:
        raise invalid("a name in the Fetch request is not UTF-8") from None


def _decode_flexible(version: int, body: memoryview) -> FetchRequest:
    size = len(body)
    if version < _REPLICA_STATE:
        fixed = _FIXED_12.unpack_from(body)
        position = 26
    else:
        fixed = (-1, *_FIXED_15.unpack_from(body))
        position = 22
    topics = fixed[7]
    if topics > 0x7F:
        topics, position = read_unsigned(body, position - 1)
    if not 0 < topics <= size - position + 1:
        raise invalid(f"{topics - 1} topics")
    partitions: list[FetchPartition] = []
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
            partitions.append(
                tuple.__new__(FetchPartition, (topic, *_PARTITION_12.unpack_from(body, position)))
            )
            position += 32
            position = position + 1 if body[position] == 0 else skip_tags(body, position)
        position = position + 1 if body[position] == 0 else skip_tags(body, position)
    return _end_flexible(version, body, position, fixed[:7], partitions)


def _end_flexible(
    version: int,
    body: memoryview,
    position: int,
    fixed: tuple[int, ...],
    partitions: list[FetchPartition],
) -> FetchRequest:
    """What comes after the partitions, and the request as a whole."""
    forgotten: list[tuple[TopicRef, int]] = []
    if body[position] == 1:
        position += 1
    else:
        position = _read_forgotten_flexible(version, body, position, forgotten)
    length, position = read_unsigned(body, position)
    end = position + length - 1
    if not length > 0 or end > len(body):
        raise invalid(f"a rack id of {length - 1} bytes")
    rack_id = str(body[position:end], "utf-8") if length > 1 else ""
    if body[end]:
        skip_tags(body, end)
        if version >= _REPLICA_STATE:
            fixed = (_read_replica_id(body, end), *fixed[1:])
    return tuple.__new__(FetchRequest, (*fixed, partitions, forgotten, rack_id, version >= _TOPIC_IDS))


def _read_replica_id(body: memoryview, position: int) -> int:
    """What the tagged replica state says, which followers send; -1 without one."""
    state = Reader(body, compact=True, position=position).tags().get(_REPLICA_STATE_TAG)
    return -1 if state is None else state.int32()


def _read_forgotten_flexible(
    version: int, body: memoryview, position: int, into: list[tuple[TopicRef, int]]
) -> int:
    topics, position = read_unsigned(body, position)
    if not 0 < topics <= len(body) - position + 1:
        raise invalid(f"{topics - 1} forgotten topics")
    topic: TopicRef
    for _ in range(topics - 1):
        if version >= _TOPIC_IDS:
            end = position + 16
            topic = bytes(body[position:end])
        else:
            length, position = read_unsigned(body, position)
            end = position + length - 1
            if not length > 0 or end > len(body):
                raise invalid(f"a topic name of {length - 1} bytes")
            topic = str(body[position:end], "utf-8")
        count, position = read_unsigned(body, end)
        if not 0 < count <= MAX_PARTITIONS - len(into) + 1:
            raise invalid(f"{count - 1} forgotten partitions")
        for _ in range(count - 1):
            into.append((topic, _INT32.unpack_from(body, position)[0]))
            position += 4
        position = skip_tags(body, position)
    return position


def _decode_plain(version: int, body: memoryview) -> FetchRequest:
    size = len(body)
    if version >= 7:
        *fixed, topics = _FIXED_7.unpack_from(body)
        position = _FIXED_7.size
    else:
        *fixed, topics = _FIXED_4.unpack_from(body)
        fixed += (0, -1)  # no session
        position = _FIXED_4.size
    if not 0 <= topics <= size - position:
        raise invalid(f"{topics} topics")
    partitions: list[FetchPartition] = []
    for _ in range(topics):
        topic, count, position = _read_plain_topic(body, position)
        if count > MAX_PARTITIONS - len(partitions):
            raise invalid(f"{count} partitions")
        for _ in range(count):
            epoch = log_start = -1
            if version >= 9:
                index, epoch, offset, log_start, limit = _PARTITION_9.unpack_from(body, position)
                position += 28
            elif version >= 5:
                index, offset, log_start, limit = _PARTITION_5.unpack_from(body, position)
                position += 24
            else:
                index, offset, limit = _PARTITION_4.unpack_from(body, position)
                position += 16
            fields = (topic, index, epoch, offset, -1, log_start, limit)
            partitions.append(tuple.__new__(FetchPartition, fields))
    forgotten: list[tuple[TopicRef, int]] = []
    if version >= 7:
        position = _read_forgotten_plain(body, position, forgotten)
    rack_id = ""
    if version >= 11:
        (length,) = _INT16.unpack_from(body, position)
        end = position + 2 + length
        if length < 0 or end > size:
            raise invalid(f"a rack id of {length} bytes")
        rack_id = str(body[position + 2 : end], "utf-8")
    return tuple.__new__(FetchRequest, (*fixed, partitions, forgotten, rack_id, False))


def _read_plain_topic(body: memoryview, position: int) -> tuple[str, int, int]:
    """A topic's name, the count that follows it (0 or more), and the position after both."""
    (length,) = _INT16.unpack_from(body, position)
    position += 2
    end = position + length
    if length < 0 or end > len(body):
        raise invalid(f"a topic name of {length} bytes")
    (count,) = _INT32.unpack_from(body, end)
    if count < 0:
        raise invalid(f"{count} partitions")
    return str(body[position:end], "utf-8"), count, end + 4


def _read_forgotten_plain(body: memoryview, position: int, into: list[tuple[TopicRef, int]]) -> int:
    (topics,) = _INT32.unpack_from(body, position)
    position += 4
    if not 0 <= topics <= len(body) - position:
        raise invalid(f"{topics} forgotten topics")
    for _ in range(topics):
        topic, count, position = _read_plain_topic(body, position)
        if count > MAX_PARTITIONS - len(into):
            raise invalid(f"{count} forgotten partitions")
        for _ in range(count):
            into.append((topic, _INT32.unpack_from(body, position)[0]))
            position += 4
    return position
