"""Fetch, versions 4 to 12, by hand: long polls of every consumer, and bytes straight from a log.

A response is a list of segments. The records of a partition are not in it as bytes but as the payload
object that the caller gave, at the place where they belong, so that a shell can send them from the file.

Source: `FetchRequest.json` and `FetchResponse.json` of Kafka 4.2. Version 5 adds log start offsets, 7 fetch
sessions (KIP-227), 9 leader epochs (KIP-320), 11 racks (KIP-392); 12 is flexible.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from struct import error as struct_error
from typing import NamedTuple, Protocol

from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.primitives import compact_string, invalid, plain_string, read_unsigned, skip_tags
from kafkawire.varints import unsigned

MAX_PARTITIONS = 100_000
"""Most partitions that one request may name or forget; each costs far more memory than bytes on the wire."""

_VERSIONS = range(APIS[ApiKey.FETCH].min_version, APIS[ApiKey.FETCH].max_version + 1)
_FLEXIBLE = 12

_INT16 = Struct(">h")
_INT32 = Struct(">i")
_FIXED_4 = Struct(">iiiibi")  # replica, max wait, min bytes, max bytes, isolation level, topics
_FIXED_7 = Struct(">iiiibiii")  # session id and epoch before the topics
_FIXED_12 = Struct(">iiiibiiB")
_PARTITION_4 = Struct(">iqi")
_PARTITION_5 = Struct(">iqqi")
_PARTITION_9 = Struct(">iiqqi")
_PARTITION_12 = Struct(">iiqiqi")


class FetchPartition(NamedTuple):
    """What is wanted of one partition. Epochs and `log_start_offset` are -1 where the client does not know
    or say.
    """

    topic: str
    partition: int
    current_leader_epoch: int
    fetch_offset: int
    last_fetched_epoch: int
    log_start_offset: int
    max_bytes: int


class FetchRequest(NamedTuple):
    """`replica_id` is -1 for a consumer; `isolation_level` 1 is read_committed.

    Without fetch sessions `session_id` is 0 and `session_epoch` -1. `forgotten` lists (topic, partition) to
    drop from the session.
    """

    replica_id: int
    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    isolation_level: int
    session_id: int
    session_epoch: int
    partitions: list[FetchPartition]
    forgotten: list[tuple[str, int]]
    rack_id: str


class Payload(Protocol):
    """Records that are sent as they are. `size` is their number of bytes; 0 means none."""

    @property
    def size(self) -> int: ...


class FetchResult(NamedTuple):
    """What one partition gives.

    `aborted` lists (producer id, first offset) of aborted transactions; None unless the client reads
    committed records.
    `preferred_read_replica` is -1 without one. `leader` is (leader id, leader epoch) for a client that
    asked the wrong broker; versions before 12 leave it out.
    """

    topic: str
    partition: int
    error_code: int
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    aborted: Sequence[tuple[int, int]] | None
    preferred_read_replica: int
    records: Payload
    leader: tuple[int, int] | None


def decode_fetch_request(version: int, body: memoryview) -> FetchRequest:
    """The request, partitions in the order in which they came, whatever topic they are of.

    Raises KafkaError: INVALID_REQUEST if lengths and counts do not fit the body, UNSUPPORTED_VERSION. Bytes
    after the request are ignored.
    """
    if version not in _VERSIONS:
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"Fetch version {version}")
    try:
        return _decode_flexible(body) if version >= _FLEXIBLE else _decode_plain(version, body)
    except (IndexError, struct_error):
        raise invalid("the Fetch request is cut off") from None
    except UnicodeDecodeError:
        raise invalid("a name in the Fetch request is not UTF-8") from None


def _decode_flexible(body: memoryview) -> FetchRequest:
    size = len(body)
    replica_id, max_wait, min_bytes, max_bytes, isolation, session_id, session_epoch, topics = (
        _FIXED_12.unpack_from(body)
    )
    position = 26
    if topics > 0x7F:
        topics, position = read_unsigned(body, 25)
    if not 0 < topics <= size - position + 1:
        raise invalid(f"{topics - 1} topics")
    partitions: list[FetchPartition] = []
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
            partitions.append(
                tuple.__new__(FetchPartition, (topic, *_PARTITION_12.unpack_from(body, position)))
            )
            position += 32
            position = position + 1 if body[position] == 0 else skip_tags(body, position)
        position = position + 1 if body[position] == 0 else skip_tags(body, position)
    forgotten: list[tuple[str, int]] = []
    if body[position] == 1:
        position += 1
    else:
        position = _read_forgotten_flexible(body, position, forgotten)
    length, position = read_unsigned(body, position)
    end = position + length - 1
    if not length > 0 or end > size:
        raise invalid(f"a rack id of {length - 1} bytes")
    rack_id = str(body[position:end], "utf-8") if length > 1 else ""
    if body[end]:
        skip_tags(body, end)
    return tuple.__new__(
        FetchRequest,
        (
            replica_id,
            max_wait,
            min_bytes,
            max_bytes,
            isolation,
            session_id,
            session_epoch,
            partitions,
            forgotten,
            rack_id,
        ),
    )


def _read_forgotten_flexible(body: memoryview, position: int, into: list[tuple[str, int]]) -> int:
    topics, position = read_unsigned(body, position)
    if not 0 < topics <= len(body) - position + 1:
        raise invalid(f"{topics - 1} forgotten topics")
    for _ in range(topics - 1):
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
    session_id, session_epoch = 0, -1
    if version >= 7:
        replica_id, max_wait, min_bytes, max_bytes, isolation, session_id, session_epoch, topics = (
            _FIXED_7.unpack_from(body)
        )
        position = 29
    else:
        replica_id, max_wait, min_bytes, max_bytes, isolation, topics = _FIXED_4.unpack_from(body)
        position = 21
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
    forgotten: list[tuple[str, int]] = []
    if version >= 7:
        position = _read_forgotten_plain(body, position, forgotten)
    rack_id = ""
    if version >= 11:
        (length,) = _INT16.unpack_from(body, position)
        end = position + 2 + length
        if length < 0 or end > size:
            raise invalid(f"a rack id of {length} bytes")
        rack_id = str(body[position + 2 : end], "utf-8")
    return FetchRequest(
        replica_id,
        max_wait,
        min_bytes,
        max_bytes,
        isolation,
        session_id,
        session_epoch,
        partitions,
        forgotten,
        rack_id,
    )


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


def _read_forgotten_plain(body: memoryview, position: int, into: list[tuple[str, int]]) -> int:
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


_HEAD_4 = Struct(">iiii")  # frame size, correlation id, throttle time, topics
_HEAD_7 = Struct(">iiihii")  # error code and session id before the topics
_HEAD_12 = Struct(">iiBihiB")  # topics + 1 at the end
_RESULT_4 = Struct(">ihqq")
_RESULT_5 = Struct(">ihqqq")
_SINGLE_12 = Struct(">BihqqqBi")  # partitions + 1, the partition up to and with the preferred read replica
_RESULT_12 = Struct(">ihqqq")
_ABORTED = Struct(">qq")
_LEADER = Struct(">BBBiiB")  # one tag, number 1, 9 bytes: leader id, epoch, no tags
_END_OF_SINGLE = b"\x00\x00\x00"  # no tags: of the partition, the topic, the response
_REST_OF_SINGLE_12 = _HEAD_12.size - 4 + _SINGLE_12.size + len(_END_OF_SINGLE)


def encode_fetch_response(
    version: int,
    correlation_id: int,
    results: Sequence[FetchResult],
    *,
    throttle_ms: int = 0,
    error_code: int = 0,
    session_id: int = 0,
) -> list[bytes | Payload]:
    """The segments of the whole frame in order; the first starts with the frame's size.

    A payload stands where its bytes belong; one of size 0 does not appear. Results of one topic that follow
    each other share its entry. A frame holds less than 2 GiB: to keep to that is up to the caller. Versions
    before 7 leave out `error_code` and `session_id`.
    """
    if version >= _FLEXIBLE:
        if len(results) == 1:
            topic, index, error, high, stable, log_start, aborted, preferred, records, leader = results[0]
            if aborted is None and leader is None:
                size = records.size
                name = compact_string(topic)
                middle = _SINGLE_12.pack(2, index, error, high, stable, log_start, 0, preferred)
                length = unsigned(size + 1)
                head = (
                    _HEAD_12.pack(
                        _REST_OF_SINGLE_12 + len(name) + len(length) + size,
                        correlation_id,
                        0,
                        throttle_ms,
                        error_code,
                        session_id,
                        2,
                    )
                    + name
                    + middle
                    + length
                )
                return [head, records, _END_OF_SINGLE] if size else [head + _END_OF_SINGLE]
        segments = _Segments(_HEAD_12.pack(0, correlation_id, 0, throttle_ms, error_code, session_id, 0)[:-1])
        _add_flexible(segments, results)
        return segments.finish()
    if version >= 7:
        head = _HEAD_7.pack(0, correlation_id, throttle_ms, error_code, session_id, 0)[:-4]
    else:
        head = _HEAD_4.pack(0, correlation_id, throttle_ms, 0)[:-4]
    segments = _Segments(head)
    _add_plain(version, segments, results)
    return segments.finish()


class _Segments:
    """Bytes and payloads in order, bytes that follow each other as one segment."""

    def __init__(self, head: bytes) -> None:
        self.parts = [head]  # of the segment under construction; the head has room for the frame's size
        self._finished: list[bytes | Payload] = []
        self._total = 0

    def add_payload(self, payload: Payload) -> None:
        if payload.size:
            self._close()
            self._finished.append(payload)
            self._total += payload.size

    def finish(self) -> list[bytes | Payload]:
        self._close()
        first = self._finished[0]
        assert isinstance(first, bytes)
        self._finished[0] = _INT32.pack(self._total - 4) + first[4:]
        return self._finished

    def _close(self) -> None:
        if self.parts:
            segment = b"".join(self.parts)
            self._finished.append(segment)
            self._total += len(segment)
            self.parts = []


def _runs(results: Sequence[FetchResult]) -> list[tuple[str, list[FetchResult]]]:
    """Results by topic, as long as those of one topic follow each other."""
    runs: list[tuple[str, list[FetchResult]]] = []
    topic = None
    for result in results:
        if result[0] != topic:
            topic = result[0]
            runs.append((topic, run := []))
        run.append(result)
    return runs


def _add_flexible(segments: _Segments, results: Sequence[FetchResult]) -> None:
    runs = _runs(results)
    segments.parts.append(unsigned(len(runs) + 1))
    for name, run in runs:
        segments.parts += (compact_string(name), unsigned(len(run) + 1))
        for _, index, error, high, stable, log_start, aborted, preferred, records, leader in run:
            parts = segments.parts
            parts.append(_RESULT_12.pack(index, error, high, stable, log_start))
            if aborted is None:
                parts.append(b"\x00")
            else:
                parts.append(unsigned(len(aborted) + 1))
                for transaction in aborted:
                    parts += (_ABORTED.pack(*transaction), b"\x00")
            parts += (_INT32.pack(preferred), unsigned(records.size + 1))
            segments.add_payload(records)
            segments.parts.append(b"\x00" if leader is None else _LEADER.pack(1, 1, 9, *leader, 0))
        segments.parts.append(b"\x00")
    segments.parts.append(b"\x00")


def _add_plain(version: int, segments: _Segments, results: Sequence[FetchResult]) -> None:
    runs = _runs(results)
    segments.parts.append(_INT32.pack(len(runs)))
    for name, run in runs:
        segments.parts += (plain_string(name), _INT32.pack(len(run)))
        for _, index, error, high, stable, log_start, aborted, preferred, records, _ in run:
            parts = segments.parts
            if version >= 5:
                parts.append(_RESULT_5.pack(index, error, high, stable, log_start))
            else:
                parts.append(_RESULT_4.pack(index, error, high, stable))
            if aborted is None:
                parts.append(b"\xff\xff\xff\xff")
            else:
                parts.append(_INT32.pack(len(aborted)))
                parts.extend(_ABORTED.pack(*transaction) for transaction in aborted)
            if version >= 11:
                parts.append(_INT32.pack(preferred))
            parts.append(_INT32.pack(records.size))
            segments.add_payload(records)
