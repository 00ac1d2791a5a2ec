"""The client's half of Produce: the request written, the response read. Versions 3 to 13."""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import NamedTuple

from kafkawire.apis import APIS, ApiKey
from kafkawire.endpoints import NodeEndpoint, read_endpoints
from kafkawire.headers import encode_request_header
from kafkawire.primitives import (
    TopicRef,
    compact_nullable,
    compact_string,
    invalid,
    plain_nullable,
    plain_string,
)
from kafkawire.produce import ProduceRequest, ProduceResult
from kafkawire.reader import Reader
from kafkawire.varints import unsigned

_API = APIS[ApiKey.PRODUCE]
_INT32 = Struct(">i")
_ACKS_TIMEOUT = Struct(">hi")
_RESULT_3 = Struct(">ihqq")
_RESULT_5 = Struct(">ihqqq")


class ProduceResponse(NamedTuple):
    """`endpoints` tells where the leaders that the results name can be reached."""

    results: list[ProduceResult]
    throttle_ms: int
    endpoints: list[NodeEndpoint]


def encode_produce_request(
    version: int, correlation_id: int, request: ProduceRequest, client_id: str | None = None
) -> bytes:
    """The whole frame. Partitions of one topic that follow each other share its entry."""
    compact = _API.is_flexible(version)
    string = compact_string if compact else plain_string
    parts = [
        encode_request_header(ApiKey.PRODUCE, version, correlation_id, client_id),
        (compact_nullable if compact else plain_nullable)(request.transactional_id),
        _ACKS_TIMEOUT.pack(request.acks, request.timeout_ms),
    ]
    runs: list[tuple[TopicRef, list[bytes]]] = []
    for topic, partition, records in request.partitions:
        if not runs or runs[-1][0] != topic:
            runs.append((topic, []))
        length = -1 if records is None else len(records)
        encoded = _INT32.pack(partition) + _count(compact, length) + (records or b"")
        runs[-1][1].append(encoded + b"\x00" if compact else encoded)
    parts.append(_count(compact, len(runs)))
    for topic, partitions in runs:
        name = string(topic) if isinstance(topic, str) else topic
        parts += (name, _count(compact, len(partitions)), *partitions)
        if compact:
            parts.append(b"\x00")
    if compact:
        parts.append(b"\x00")
    payload = b"".join(parts)
    return _INT32.pack(len(payload)) + payload


def _count(compact: bool, count: int) -> bytes:
    return unsigned(count + 1) if compact else _INT32.pack(count)


def decode_produce_response(version: int, payload: memoryview) -> ProduceResponse:
    """The response in a frame's payload: correlation id (its first int32, not looked at), header, body.

    Raises KafkaError(INVALID_REQUEST) for malformed bytes. Errors of single records (KIP-467) are left out.
    """
    try:
        return _read_response(version, Reader(payload, compact=_API.is_flexible(version), position=4))
    except (IndexError, struct_error):
        raise invalid("the Produce response is cut off") from None
    except UnicodeDecodeError:
        raise invalid("a text in the Produce response is not UTF-8") from None


def _read_response(version: int, reader: Reader) -> ProduceResponse:
    reader.tags()
    results: list[ProduceResult] = []
    for _ in reader.items():
        topic = reader.uuid() if version >= 13 else reader.string()
        results.extend(_read_partition(version, topic, reader) for _ in reader.items())
        reader.tags()
    throttle_ms = reader.int32()
    tags = reader.tags()
    endpoints = read_endpoints(tags.get(0)) if version >= 10 else []
    return ProduceResponse(results, throttle_ms, endpoints)


def _read_partition(version: int, topic: TopicRef, reader: Reader) -> ProduceResult:
    log_start = -1
    if version >= 5:
        partition, error_code, base_offset, append_time, log_start = reader.fields(_RESULT_5)
    else:
        partition, error_code, base_offset, append_time = reader.fields(_RESULT_3)
    message = None
    if version >= 8:
        for _ in reader.items():
            reader.int32()
            reader.nullable_string()
            reader.tags()
        message = reader.nullable_string()
    leader = reader.tags().get(0)
    return ProduceResult(
        topic,
        partition,
        error_code,
        base_offset,
        append_time,
        log_start,
        message,
        None if leader is None or version < 10 else (leader.int32(), leader.int32()),
    )
