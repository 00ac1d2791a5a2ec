"""The hand-written Produce against kio and kafka-python, in every version; and against hostile bytes."""

from __future__ import annotations

import dataclasses
import struct
import tracemalloc
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode as KioErrorCode

from kafkawire import messages
from kafkawire.apis import APIS, ApiKey
from kafkawire.endpoints import NodeEndpoint
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.produce import (
    MAX_PARTITIONS,
    ProducePartition,
    ProduceRequest,
    ProduceResult,
    decode_produce_request,
    encode_produce_response,
)
from kafkawire.produce_client import ProduceResponse, decode_produce_response, encode_produce_request

VERSIONS = range(3, 14)
every_version = pytest.mark.parametrize("version", VERSIONS)

INT16 = st.integers(-(2**15), 2**15 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
TOPICS = st.one_of(st.sampled_from(["a", "b", "ü" * 70]), st.text(max_size=6))

PARTITIONS = st.builds(
    ProducePartition,
    topic=TOPICS,
    partition=INT32,
    records=st.one_of(st.none(), st.binary(max_size=300).map(memoryview)),
)
REQUESTS = st.builds(
    ProduceRequest,
    transactional_id=st.one_of(st.none(), st.text(max_size=200)),
    acks=INT16,
    timeout_ms=INT32,
    partitions=st.lists(PARTITIONS, max_size=5),
)
RESULTS = st.builds(
    ProduceResult,
    topic=TOPICS,
    partition=INT32,
    error_code=st.sampled_from([int(code) for code in KioErrorCode]),
    base_offset=INT64,
    log_append_time_ms=st.one_of(st.just(-1), st.integers(0, 2**32).map(lambda seconds: seconds * 1000)),
    log_start_offset=INT64,
    error_message=st.one_of(st.none(), st.text(max_size=200)),
    leader=st.one_of(st.none(), st.tuples(st.integers(0, 9), st.integers(0, 9))),
)
PLAIN_RESULT = RESULTS.map(lambda result: result._replace(error_message=None, leader=None))
ENDPOINTS = st.lists(
    st.builds(NodeEndpoint, INT32, st.text(max_size=9), INT32, st.one_of(st.none(), st.text(max_size=9))),
    max_size=3,
)


def in_version(version: int, result: ProduceResult) -> ProduceResult:
    """What is left of a result on the way through an older version."""
    if version < 10:
        result = result._replace(leader=None)
    if version < 8:
        result = result._replace(error_message=None)
    return result._replace(log_start_offset=-1) if version < 5 else result


def ref_of(topic: Any) -> Any:
    """What kio or kafka-python has for a topic."""
    if getattr(topic, "topic_id", None) is not None:
        return topic.topic_id.bytes
    name = getattr(topic, "name", None)
    return bytes(16) if name is None else name


def flattened(request: Any) -> list[tuple[str | bytes, int, bytes | None]]:
    return [
        (ref_of(topic), partition.index, partition.records)
        for topic in request.topic_data
        for partition in topic.partition_data
    ]


@every_version
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_request_reads_as_in_kio(kio_oracle: Any, version: int, data: st.DataObject) -> None:
    theirs = data.draw(kio_oracle.requests(ApiKey.PRODUCE, version))
    ours = decode_produce_request(version, memoryview(kio_oracle.encode(theirs)))
    assert ours.transactional_id == theirs.transactional_id
    assert ours.acks == theirs.acks
    assert timedelta(milliseconds=ours.timeout_ms) == theirs.timeout
    assert ours.partitions == flattened(theirs)


@every_version
@settings(max_examples=30, deadline=None)
@given(request=REQUESTS)
def test_request_written_is_read_by_us_and_by_kafka_python(
    with_ids: Any, version: int, request: ProduceRequest
) -> None:
    request = request._replace(partitions=with_ids(version >= 13, request.partitions))
    frame = encode_produce_request(version, 7, request, "me")
    (size,) = struct.unpack_from(">i", frame)
    assert size == len(frame) - 4
    body = memoryview(frame)[4 + 12 + APIS[ApiKey.PRODUCE].is_flexible(version) :]
    assert decode_produce_request(version, body) == request
    theirs = messages.decode_request(ApiKey.PRODUCE, version, body)
    assert flattened(theirs) == request.partitions
    assert messages.encode_request(ApiKey.PRODUCE, version, 7, theirs, "me") == frame


def to_kio(
    kio_oracle: Any,
    version: int,
    results: list[ProduceResult],
    throttle_ms: int,
    endpoints: list[NodeEndpoint],
) -> Any:
    """The response as kio's object, with defaults where kio wants a value."""
    response_class = kio_oracle.response_class(ApiKey.PRODUCE, version)
    module = __import__(response_class.__module__, fromlist=["*"])

    def partition(result: ProduceResult) -> Any:
        time = result.log_append_time_ms
        values: dict[str, Any] = {
            "index": result.partition,
            "error_code": KioErrorCode(result.error_code),
            "base_offset": result.base_offset,
            "log_append_time": None if time == -1 else datetime.fromtimestamp(time // 1000, tz=UTC),
            "log_start_offset": result.log_start_offset,
            "record_errors": (),
            "error_message": result.error_message,
        }
        if result.leader is not None and version >= 10:
            values["current_leader"] = module.LeaderIdAndEpoch(
                leader_id=result.leader[0], leader_epoch=result.leader[1]
            )
        return make(module.PartitionProduceResponse, values)

    topics = tuple(
        module.TopicProduceResponse(
            **({"topic_id": UUID(bytes=ref)} if version >= 13 else {"name": ref}),
            partition_responses=tuple(map(partition, group)),
        )
        for ref, group in groupby(results, key=lambda result: result.topic)
    )
    values = {"responses": topics, "throttle_time": timedelta(milliseconds=throttle_ms)}
    if version >= 10:
        values["node_endpoints"] = tuple(
            module.NodeEndpoint(node_id=node, host=host, port=port, rack=rack)
            for node, host, port, rack in endpoints
        )
    return make(response_class, values)


def make(cls: Any, values: dict[str, Any]) -> Any:
    names = {field.name for field in dataclasses.fields(cls)}
    return cls(**{name: value for name, value in values.items() if name in names})


@every_version
@settings(max_examples=40, deadline=None)
@given(
    results=st.one_of(st.lists(PLAIN_RESULT, min_size=1, max_size=1), st.lists(RESULTS, max_size=5)),
    throttle_ms=INT32,
    endpoints=ENDPOINTS,
)
def test_response_is_byte_for_byte_that_of_kio(
    kio_oracle: Any,
    with_ids: Any,
    version: int,
    results: list[ProduceResult],
    throttle_ms: int,
    endpoints: list[NodeEndpoint],
) -> None:
    results = with_ids(version >= 13, results)
    body = kio_oracle.encode(to_kio(kio_oracle, version, results, throttle_ms, endpoints))
    header = struct.pack(">i", -9) + (b"\x00" if version >= 9 else b"")
    expected = struct.pack(">i", len(header) + len(body)) + header + body
    frame = encode_produce_response(version, -9, results, throttle_ms, endpoints)
    assert frame == expected
    read = decode_produce_response(version, memoryview(frame)[4:])
    expected_results = [in_version(version, result) for result in results]
    assert read == ProduceResponse(expected_results, throttle_ms, endpoints if version >= 10 else [])


@every_version
@settings(max_examples=40, deadline=None)
@given(request=REQUESTS, data=st.data())
def test_malformed_request_is_an_invalid_request(
    mutations: Any, with_ids: Any, version: int, request: ProduceRequest, data: st.DataObject
) -> None:
    request = request._replace(partitions=with_ids(version >= 13, request.partitions))
    body = encode_produce_request(version, 7, request)[4 + 10 + (version >= 9) :]
    assert refusal(version, data.draw(mutations(body))) in (None, ErrorCode.INVALID_REQUEST)


def refusal(version: int, body: bytes) -> ErrorCode | None:
    try:
        decode_produce_request(version, memoryview(body))
    except KafkaError as error:
        return error.code
    return None


@every_version
@settings(max_examples=5, deadline=None)
@given(request=REQUESTS, results=st.lists(RESULTS, max_size=3))
def test_cut_off_anywhere_is_refused(
    with_ids: Any, version: int, request: ProduceRequest, results: list[ProduceResult]
) -> None:
    request = request._replace(partitions=with_ids(version >= 13, request.partitions))
    results = with_ids(version >= 13, results)
    body = encode_produce_request(version, 7, request)[4 + 10 + (version >= 9) :]
    for end in range(len(body)):
        assert refusal(version, body[:end]) is ErrorCode.INVALID_REQUEST
    payload = memoryview(encode_produce_response(version, 7, results))[4:]
    for end in range(4, len(payload)):
        with pytest.raises(KafkaError):
            decode_produce_response(version, payload[:end])


def test_bytes_after_the_request_are_ignored() -> None:
    for version in VERSIONS:
        topic = "t" if version < 13 else b"t" * 16
        request = ProduceRequest(None, 1, 100, [ProducePartition(topic, 0, memoryview(b"x"))])
        body = encode_produce_request(version, 7, request)[4 + 10 + (version >= 9) :] + b"\x00\x00\x00"
        assert decode_produce_request(version, memoryview(body)) == request


def test_unknown_tags_are_skipped() -> None:
    tags = b"\x02\x63\x03abc\x64\x00"
    body = (
        b"\x00\x00\x01\x00\x00\x00\x05"
        + (b"\x02" + b"\x02t")
        + (b"\x02" + b"\x00\x00\x00\x07" + b"\x02r" + tags)
        + (tags + tags)
    )
    expected = ProduceRequest(None, 1, 5, [ProducePartition("t", 7, memoryview(b"r"))])
    assert decode_produce_request(9, memoryview(body)) == expected


def test_records_are_views_and_no_copies() -> None:
    request = ProduceRequest(None, 1, 100, [ProducePartition("t", 0, memoryview(b"records"))])
    for version in (8, 9):
        body = bytearray(encode_produce_request(version, 7, request)[4 + 10 + (version >= 9) :])
        (partition,) = decode_produce_request(version, memoryview(body)).partitions
        assert partition.records is not None
        assert partition.records.obj is body
        assert not partition.records.readonly


HEAD_9 = b"\x00\x00\x01\x00\x00\x00\x05"
HEAD_3 = b"\xff\xff\x00\x01\x00\x00\x00\x05"
HOSTILE = [
    pytest.param(9, b"\xff\xff\xff\xff\x0f" + b"x" * 7, id="transactional id of 4 GB"),
    pytest.param(9, b"\x80" * 1_000_000, id="endless varint"),
    pytest.param(9, HEAD_9 + b"\x00", id="null topics"),
    pytest.param(9, HEAD_9 + b"\xff\xff\xff\xff\x0f", id="four billion topics"),
    pytest.param(9, HEAD_9 + b"\x02\x00\x01", id="null name"),
    pytest.param(9, HEAD_9 + b"\x02\xff\xff\xff\xff\x0f", id="name of 4 GB"),
    pytest.param(9, HEAD_9 + b"\x02\x02t\x00", id="null partitions"),
    pytest.param(9, HEAD_9 + b"\x02\x02t\xff\xff\xff\xff\x0f", id="four billion partitions"),
    pytest.param(9, HEAD_9 + b"\x02\x02t\x02\0\0\0\0\xff\xff\xff\xff\x0f", id="records of 4 GB"),
    pytest.param(9, HEAD_9 + b"\x02\x02t\x01\xff\xff\xff\xff\x0f", id="four billion tags"),
    pytest.param(9, HEAD_9 + b"\x02\x03\xc3\x28\x01\x00\x00", id="not UTF-8"),
    pytest.param(13, HEAD_9 + b"\x02" + b"i" * 16 + b"\xff\xff\xff\xff\x0f", id="partitions of an id"),
    pytest.param(13, HEAD_9 + b"\x02" + b"i" * 15, id="half an id"),
    pytest.param(3, b"\x7f\xff" + b"x" * 20, id="transactional id of 32 kB"),
    pytest.param(3, HEAD_3 + b"\xff\xff\xff\xff", id="minus one topics"),
    pytest.param(3, HEAD_3 + b"\x7f\xff\xff\xff", id="two billion topics"),
    pytest.param(3, HEAD_3 + b"\0\0\0\1\xff\xff", id="null plain name"),
    pytest.param(3, HEAD_3 + b"\0\0\0\1\0\1t\x80\0\0\0", id="minus two billion partitions"),
    pytest.param(3, HEAD_3 + b"\0\0\0\1\0\1t\x7f\xff\xff\xff", id="two billion partitions"),
    pytest.param(3, HEAD_3 + b"\0\0\0\1\0\1t\0\0\0\1\0\0\0\0\x7f\xff\xff\xff", id="records of 2 GB"),
    pytest.param(3, HEAD_3 + b"\0\0\0\1\0\2\xc3\x28\0\0\0\0", id="plain, not UTF-8"),
]


@pytest.mark.parametrize(("version", "body"), HOSTILE)
def test_hostile_body_costs_little(version: int, body: bytes) -> None:
    tracemalloc.start()
    try:
        assert refusal(version, body) is ErrorCode.INVALID_REQUEST
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize("version", [3, 9])
def test_partitions_are_limited(version: int) -> None:
    partitions = [ProducePartition("t", 0, None)] * MAX_PARTITIONS

    def body(request: ProduceRequest) -> bytes:
        return encode_produce_request(version, 7, request)[4 + 10 + (version >= 9) :]

    assert refusal(version, body(ProduceRequest(None, 1, 1, partitions))) is None
    partitions.append(ProducePartition("u", 0, None))
    assert refusal(version, body(ProduceRequest(None, 1, 1, partitions))) is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("version", [-1, 0, 2, 14])
def test_other_versions_are_unsupported(version: int) -> None:
    assert refusal(version, b"\x00" * 50) is ErrorCode.UNSUPPORTED_VERSION
