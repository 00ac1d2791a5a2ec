"""The client's half of Fetch: the request written, the response read. Versions 4 to 18."""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import NamedTuple

from kafkawire.apis import APIS, ApiKey
from kafkawire.endpoints import NodeEndpoint, read_endpoints
from kafkawire.fetch import FetchPartition, FetchRequest, FetchResult
from kafkawire.headers import encode_request_header
from kafkawire.primitives import TopicRef, compact_string, invalid, plain_string
from kafkawire.reader import Reader
from kafkawire.varints import unsigned

_API = APIS[ApiKey.FETCH]
_INT32 = Struct(">i")
_LIMITS = Struct(">iiib")
_SESSION = Struct(">ii")
_REPLICA_STATE = Struct(">BBBiqB")  # one tag, number 1, 13 bytes: replica id, broker epoch, no tags
_RESULT_4 = Struct(">ihqq")
_RESULT_5 = Struct(">ihqqq")
_PARTITION_4 = Struct(">iqi")
_PARTITION_5 = Struct(">iqqi")
_PARTITION_9 = Struct(">iiqqi")
_PARTITION_12 = Struct(">iiqiqiB")


class Received(NamedTuple):
    """Records as they came: a view into the frame, valid as long as the frame is."""

    view: memoryview

    @property
    def size(self) -> int:
        """Bytes of records."""
        return len(self.view)


class FetchResponse(NamedTuple):
    """The records of each result are `Received`; `endpoints` tells where the leaders are that it names."""

    throttle_ms: int
    error_code: int
    session_id: int
    results: list[FetchResult]
    endpoints: list[NodeEndpoint]


def encode_fetch_request(
    version: int, correlation_id: int, request: FetchRequest, client_id: str | None = None
) -> bytes:
    """The whole frame. Partitions of one topic that follow each other share its entry."""
    compact = _API.is_flexible(version)
    string = compact_string if compact else plain_string
    parts = [encode_request_header(ApiKey.FETCH, version, correlation_id, client_id)]
    if version < 15:
        parts.append(_INT32.pack(request.replica_id))
    parts.append(
        _LIMITS.pack(
            request.max_wait_ms,
            request.min_bytes,
            request.max_bytes,
            request.isolation_level,
        )
    )
    if version >= 7:
        parts.append(_SESSION.pack(request.session_id, request.session_epoch))
    wanted = [(partition.topic, _encode_partition(version, partition)) for partition in request.partitions]
    parts.append(_by_topic(compact, wanted))
    if version >= 7:
        forgotten = [(topic, _INT32.pack(partition)) for topic, partition in request.forgotten]
        parts.append(_by_topic(compact, forgotten))
    if version >= 11:
        parts.append(string(request.rack_id))
    if version >= 15 and request.replica_id != -1:
        parts.append(_REPLICA_STATE.pack(1, 1, 13, request.replica_id, -1, 0))
    elif compact:
        parts.append(b"\x00")
    payload = b"".join(parts)
    return _INT32.pack(len(payload)) + payload


def _encode_partition(version: int, partition: FetchPartition) -> bytes:
    _, index, epoch, offset, last_epoch, log_start, limit = partition
    if version >= 12:
        return _PARTITION_12.pack(index, epoch, offset, last_epoch, log_start, limit, 0)
    if version >= 9:
        return _PARTITION_9.pack(index, epoch, offset, log_start, limit)
    if version >= 5:
        return _PARTITION_5.pack(index, offset, log_start, limit)
    return _PARTITION_4.pack(index, offset, limit)


def _by_topic(compact: bool, items: list[tuple[TopicRef, bytes]]) -> bytes:
    """An array of topics, each with an array of those of its items that follow each other."""
    string = compact_string if compact else plain_string
    runs: list[tuple[TopicRef, list[bytes]]] = []
    for topic, item in items:
        if not runs or runs[-1][0] != topic:
            runs.append((topic, []))
        runs[-1][1].append(item)
    parts = [_count(compact, len(runs))]
    for topic, encoded in runs:
        name = string(topic) if isinstance(topic, str) else topic
        parts += (name, _count(compact, len(encoded)), *encoded)
        if compact:
            parts.append(b"\x00")
    return b"".join(parts)


def _count(compact: bool, count: int) -> bytes:
    return unsigned(count + 1) if compact else _INT32.pack(count)


def decode_fetch_response(version: int, payload: memoryview) -> FetchResponse:
    """The response in a frame's payload: correlation id (its first int32, not looked at), header, body.

    Raises KafkaError(INVALID_REQUEST) for malformed bytes.
    """
    try:
        return _read_response(version, Reader(payload, compact=_API.is_flexible(version), position=4))
    except (IndexError, struct_error):
        raise invalid("the Fetch response is cut off") from None
    except UnicodeDecodeError:
        raise invalid("a text in the Fetch response is not UTF-8") from None


def _read_response(version: int, reader: Reader) -> FetchResponse:
    reader.tags()
    throttle_ms = reader.int32()
    error_code, session_id = (reader.int16(), reader.int32()) if version >= 7 else (0, 0)
    results: list[FetchResult] = []
    for _ in reader.items():
        topic = reader.uuid() if version >= 13 else reader.string()
        results.extend(_read_partition(version, topic, reader) for _ in reader.items())
        reader.tags()
    tags = reader.tags()
    endpoints = read_endpoints(tags.get(0)) if version >= 16 else []
    return FetchResponse(throttle_ms, error_code, session_id, results, endpoints)


def _read_partition(version: int, topic: TopicRef, reader: Reader) -> FetchResult:
    log_start = -1
    if version >= 5:
        partition, error_code, high_watermark, stable, log_start = reader.fields(_RESULT_5)
    else:
        partition, error_code, high_watermark, stable = reader.fields(_RESULT_4)
    aborted = _read_aborted(reader)
    preferred = reader.int32() if version >= 11 else -1
    records = reader.nullable_bytes()
    leader = reader.tags().get(1)
    return FetchResult(
        topic,
        partition,
        error_code,
        high_watermark,
        stable,
        log_start,
        aborted,
        preferred,
        Received(memoryview(b"") if records is None else records),
        None if leader is None else (leader.int32(), leader.int32()),
    )


def _read_aborted(reader: Reader) -> list[tuple[int, int]] | None:
    items = reader.nullable_items()
    if items is None:
        return None
    aborted: list[tuple[int, int]] = []
    for _ in items:
        aborted.append((reader.int64(), reader.int64()))
        reader.tags()
    return aborted
