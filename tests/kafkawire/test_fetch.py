"""The hand-written Fetch against kio and kafka-python, in every version; and against hostile bytes."""

from __future__ import annotations

import dataclasses
import struct
import tracemalloc
from datetime import timedelta
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
from kafkawire.fetch import (
    MAX_PARTITIONS,
    FetchPartition,
    FetchRequest,
    FetchResult,
    Payload,
    decode_fetch_request,
    encode_fetch_response,
)
from kafkawire.fetch_client import FetchResponse, Received, decode_fetch_response, encode_fetch_request

VERSIONS = range(4, 19)
every_version = pytest.mark.parametrize("version", VERSIONS)

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
TOPICS = st.one_of(st.sampled_from(["a", "b", "ü" * 70]), st.text(max_size=6))

REQUESTS = st.builds(
    FetchRequest,
    replica_id=INT32,
    max_wait_ms=INT32,
    min_bytes=INT32,
    max_bytes=INT32,
    isolation_level=st.integers(-128, 127),
    session_id=INT32,
    session_epoch=INT32,
    partitions=st.lists(
        st.builds(FetchPartition, TOPICS, INT32, INT32, INT64, INT32, INT64, INT32), max_size=5
    ),
    forgotten=st.lists(st.tuples(TOPICS, INT32), max_size=4),
    rack_id=st.text(max_size=9),
)
RESULTS = st.builds(
    FetchResult,
    topic=TOPICS,
    partition=INT32,
    error_code=st.sampled_from([int(code) for code in KioErrorCode]),
    high_watermark=INT64,
    last_stable_offset=INT64,
    log_start_offset=INT64,
    aborted=st.one_of(st.none(), st.lists(st.tuples(INT64, INT64), max_size=3)),
    preferred_read_replica=INT32,
    records=st.one_of(st.just(b""), st.binary(max_size=300)).map(lambda data: Received(memoryview(data))),
    leader=st.one_of(st.none(), st.tuples(st.integers(0, 9), st.integers(0, 9))),
)
PLAIN_RESULT = RESULTS.map(lambda result: result._replace(aborted=None, leader=None))


ENDPOINTS = st.lists(
    st.builds(NodeEndpoint, INT32, st.text(max_size=9), INT32, st.one_of(st.none(), st.text(max_size=9))),
    max_size=2,
)


def ref_of(topic: Any) -> Any:
    """What kio has for a topic."""
    if hasattr(topic, "topic"):
        return topic.topic
    return bytes(16) if topic.topic_id is None else topic.topic_id.bytes


def replica_of(request: Any) -> int:
    return request.replica_id if hasattr(request, "replica_id") else request.replica_state.replica_id


@pytest.fixture(scope="session")
def by_ids(with_ids: Any) -> Any:
    """A request as a version refers to topics."""

    def replaced(version: int, request: FetchRequest) -> FetchRequest:
        return request._replace(
            partitions=with_ids(version >= 13, request.partitions),
            forgotten=with_ids(version >= 13, request.forgotten),
            topic_ids=version >= 13,
        )

    return replaced


def request_in_version(version: int, request: FetchRequest) -> FetchRequest:
    """What is left of a request on the way through an older version."""
    partitions = [
        partition._replace(
            current_leader_epoch=partition.current_leader_epoch if version >= 9 else -1,
            last_fetched_epoch=partition.last_fetched_epoch if version >= 12 else -1,
            log_start_offset=partition.log_start_offset if version >= 5 else -1,
        )
        for partition in request.partitions
    ]
    request = request._replace(partitions=partitions)
    if version < 11:
        request = request._replace(rack_id="")
    return request if version >= 7 else request._replace(session_id=0, session_epoch=-1, forgotten=[])


def result_in_version(version: int, result: FetchResult) -> FetchResult:
    return result._replace(
        leader=result.leader if version >= 12 else None,
        preferred_read_replica=result.preferred_read_replica if version >= 11 else -1,
        log_start_offset=result.log_start_offset if version >= 5 else -1,
    )


def joined(segments: list[bytes | Payload]) -> bytes:
    parts = []
    for segment in segments:
        assert isinstance(segment, bytes | Received)
        parts.append(segment if isinstance(segment, bytes) else bytes(segment.view))
    return b"".join(parts)


@every_version
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_request_reads_as_in_kio(kio_oracle: Any, version: int, data: st.DataObject) -> None:
    theirs = data.draw(kio_oracle.requests(ApiKey.FETCH, version))
    ours = decode_fetch_request(version, memoryview(kio_oracle.encode(theirs)))
    assert ours.replica_id == replica_of(theirs)
    assert ours.topic_ids == (version >= 13)
    assert timedelta(milliseconds=ours.max_wait_ms) == theirs.max_wait
    assert (ours.min_bytes, ours.max_bytes) == (theirs.min_bytes, theirs.max_bytes)
    assert ours.isolation_level == theirs.isolation_level
    assert ours.session_id == getattr(theirs, "session_id", 0)
    assert ours.session_epoch == getattr(theirs, "session_epoch", -1)
    assert ours.rack_id == getattr(theirs, "rack_id", "")
    assert ours.partitions == [
        (
            ref_of(topic),
            partition.partition,
            getattr(partition, "current_leader_epoch", -1),
            partition.fetch_offset,
            getattr(partition, "last_fetched_epoch", -1),
            getattr(partition, "log_start_offset", -1),
            partition.partition_max_bytes,
        )
        for topic in theirs.topics
        for partition in topic.partitions
    ]
    forgotten = getattr(theirs, "forgotten_topics_data", ())
    assert ours.forgotten == [(ref_of(topic), index) for topic in forgotten for index in topic.partitions]


@every_version
@settings(max_examples=30, deadline=None)
@given(request=REQUESTS)
def test_request_written_is_read_by_us_and_by_kafka_python(
    by_ids: Any, version: int, request: FetchRequest
) -> None:
    request = by_ids(version, request)
    frame = encode_fetch_request(version, 7, request, "me")
    (size,) = struct.unpack_from(">i", frame)
    assert size == len(frame) - 4
    body = memoryview(frame)[4 + 12 + APIS[ApiKey.FETCH].is_flexible(version) :]
    assert decode_fetch_request(version, body) == request_in_version(version, request)
    theirs = messages.decode_request(ApiKey.FETCH, version, body)
    assert messages.encode_request(ApiKey.FETCH, version, 7, theirs, "me") == frame


def to_kio(
    kio_oracle: Any,
    version: int,
    results: list[FetchResult],
    endpoints: list[NodeEndpoint],
    **values: Any,
) -> Any:
    """The response as kio's object."""
    response_class = kio_oracle.response_class(ApiKey.FETCH, version)
    module = __import__(response_class.__module__, fromlist=["*"])

    def aborted(result: FetchResult) -> Any:
        if result.aborted is None:
            return None
        return tuple(module.AbortedTransaction(producer_id=p, first_offset=o) for p, o in result.aborted)

    def partition(result: FetchResult) -> Any:
        assert isinstance(result.records, Received)
        fields: dict[str, Any] = {
            "partition_index": result.partition,
            "error_code": KioErrorCode(result.error_code),
            "high_watermark": result.high_watermark,
            "last_stable_offset": result.last_stable_offset,
            "log_start_offset": result.log_start_offset,
            "aborted_transactions": aborted(result),
            "preferred_read_replica": result.preferred_read_replica,
            "records": bytes(result.records.view),
        }
        if result.leader is not None and version >= 12:
            leader, epoch = result.leader
            fields["current_leader"] = module.LeaderIdAndEpoch(leader_id=leader, leader_epoch=epoch)
        return make(module.PartitionData, fields)

    topics = tuple(
        module.FetchableTopicResponse(
            **({"topic_id": UUID(bytes=ref)} if version >= 13 else {"topic": ref}),
            partitions=tuple(map(partition, group)),
        )
        for ref, group in groupby(results, key=lambda result: result.topic)
    )
    if version >= 16:
        values["node_endpoints"] = tuple(
            module.NodeEndpoint(node_id=node, host=host, port=port, rack=rack)
            for node, host, port, rack in endpoints
        )
    return make(response_class, {"responses": topics, **values})


def make(cls: Any, values: dict[str, Any]) -> Any:
    names = {field.name for field in dataclasses.fields(cls)}
    return cls(**{name: value for name, value in values.items() if name in names})


@every_version
@settings(max_examples=40, deadline=None)
@given(
    results=st.one_of(st.lists(PLAIN_RESULT, min_size=1, max_size=1), st.lists(RESULTS, max_size=5)),
    top=st.tuples(INT32, st.sampled_from([0, 70, 71]), INT32),
    endpoints=ENDPOINTS,
)
def test_response_is_byte_for_byte_that_of_kio(
    kio_oracle: Any,
    with_ids: Any,
    version: int,
    results: list[FetchResult],
    top: tuple[int, int, int],
    endpoints: list[NodeEndpoint],
) -> None:
    throttle_ms, error_code, session_id = top
    results = with_ids(version >= 13, results)
    theirs = to_kio(
        kio_oracle,
        version,
        results,
        endpoints,
        throttle_time=timedelta(milliseconds=throttle_ms),
        error_code=KioErrorCode(error_code),
        session_id=session_id,
    )
    body = kio_oracle.encode(theirs)
    header = struct.pack(">i", -9) + (b"\x00" if version >= 12 else b"")
    segments = encode_fetch_response(
        version,
        -9,
        results,
        throttle_ms=throttle_ms,
        error_code=error_code,
        session_id=session_id,
        endpoints=endpoints,
    )
    assert isinstance(segments[0], bytes)
    frame = joined(segments)
    assert frame == struct.pack(">i", len(header) + len(body)) + header + body
    payloads = [segment for segment in segments if not isinstance(segment, bytes)]
    assert payloads == [result.records for result in results if result.records.size]
    if version < 7:
        error_code, session_id = 0, 0
    expected = [result_in_version(version, result) for result in results]
    read = decode_fetch_response(version, memoryview(frame)[4:])
    told = endpoints if version >= 16 else []
    assert read == FetchResponse(throttle_ms, error_code, session_id, expected, told)


def test_payload_of_any_kind_is_passed_through() -> None:
    class Slice:
        size = 1 << 29

    payload = Slice()
    for version in VERSIONS:
        topic = "t" if version < 13 else b"t" * 16
        result = FetchResult(topic, 0, 0, 5, 5, 0, None, -1, payload, None)
        segments = encode_fetch_response(version, 1, [result, result])
        assert sum(segment is payload for segment in segments) == 2
        total = sum(len(segment) for segment in segments if isinstance(segment, bytes)) + 2 * Slice.size
        assert isinstance(segments[0], bytes)
        assert struct.unpack_from(">i", segments[0])[0] == total - 4


def refusal(version: int, body: bytes) -> ErrorCode | None:
    try:
        decode_fetch_request(version, memoryview(body))
    except KafkaError as error:
        return error.code
    return None


def body_of(version: int, request: FetchRequest) -> bytes:
    return encode_fetch_request(version, 7, request)[4 + 10 + (version >= 12) :]


@every_version
@settings(max_examples=40, deadline=None)
@given(request=REQUESTS, data=st.data())
def test_malformed_request_is_an_invalid_request(
    mutations: Any, by_ids: Any, version: int, request: FetchRequest, data: st.DataObject
) -> None:
    damaged = data.draw(mutations(body_of(version, by_ids(version, request))))
    assert refusal(version, damaged) in (None, ErrorCode.INVALID_REQUEST)


@every_version
@settings(max_examples=5, deadline=None)
@given(request=REQUESTS, results=st.lists(RESULTS, max_size=3))
def test_cut_off_anywhere_is_refused(
    by_ids: Any, with_ids: Any, version: int, request: FetchRequest, results: list[FetchResult]
) -> None:
    body = body_of(version, by_ids(version, request))
    results = with_ids(version >= 13, results)
    for end in range(len(body)):
        assert refusal(version, body[:end]) is ErrorCode.INVALID_REQUEST
    payload = memoryview(joined(encode_fetch_response(version, 7, results)))[4:]
    for end in range(4, len(payload)):
        with pytest.raises(KafkaError):
            decode_fetch_response(version, payload[:end])


HEAD_12 = struct.pack(">iiiibii", -1, 500, 1, 1 << 20, 0, 0, -1)
HEAD_4 = struct.pack(">iiiib", -1, 500, 1, 1 << 20, 0)
FOUR_BILLION = b"\xff\xff\xff\xff\x0f"
HOSTILE = [
    pytest.param(12, HEAD_12 + b"\x00", id="null topics"),
    pytest.param(12, HEAD_12 + FOUR_BILLION, id="four billion topics"),
    pytest.param(12, HEAD_12 + b"\x02" + FOUR_BILLION, id="name of 4 GB"),
    pytest.param(12, HEAD_12 + b"\x02\x02t" + FOUR_BILLION, id="four billion partitions"),
    pytest.param(12, HEAD_12 + b"\x02\x02t\x00", id="null partitions"),
    pytest.param(12, HEAD_12 + b"\x01\x00", id="null forgotten"),
    pytest.param(12, HEAD_12 + b"\x01" + FOUR_BILLION, id="four billion forgotten"),
    pytest.param(12, HEAD_12 + b"\x01\x02\x02t" + FOUR_BILLION, id="four billion forgotten partitions"),
    pytest.param(12, HEAD_12 + b"\x01\x01\x00\x00", id="null rack"),
    pytest.param(12, HEAD_12 + b"\x01\x01\x01" + FOUR_BILLION, id="four billion tags"),
    pytest.param(12, HEAD_12 + b"\x80" * 500_000, id="endless varint"),
    pytest.param(13, HEAD_12 + b"\x02" + b"i" * 16 + FOUR_BILLION, id="partitions of an id"),
    pytest.param(13, HEAD_12 + b"\x01\x02" + b"i" * 16 + FOUR_BILLION, id="forgotten of an id"),
    pytest.param(15, HEAD_12[4:] + b"\x01\x01\x01\x01\x01" + FOUR_BILLION, id="replica state of 4 GB"),
    pytest.param(15, HEAD_12[4:] + b"\x01\x01\x01\x01\x01\x01\x05", id="half a replica state"),
    pytest.param(4, HEAD_4 + b"\xff\xff\xff\xff", id="minus one topics"),
    pytest.param(4, HEAD_4 + b"\x7f\xff\xff\xff", id="two billion topics"),
    pytest.param(4, HEAD_4 + b"\0\0\0\1\xff\xff\0\0\0\0", id="null plain name"),
    pytest.param(4, HEAD_4 + b"\0\0\0\1\0\1t\xff\xff\xff\xff", id="minus one partitions"),
    pytest.param(4, HEAD_4 + b"\0\0\0\1\0\1t\x7f\xff\xff\xff", id="two billion partitions"),
    pytest.param(4, HEAD_4 + b"\0\0\0\1\0\2\xc3\x28\0\0\0\0", id="not UTF-8"),
    pytest.param(7, HEAD_12 + b"\0\0\0\0\x7f\xff\xff\xff", id="two billion forgotten"),
    pytest.param(11, HEAD_12 + b"\0\0\0\0\0\0\0\0\x7f\xff", id="rack of 32 kB"),
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


@pytest.mark.parametrize("version", [4, 7, 12])
def test_partitions_are_limited(version: int) -> None:
    partitions = [FetchPartition("t", 0, -1, 0, -1, -1, 1)] * MAX_PARTITIONS
    request = FetchRequest(-1, 500, 1, 1 << 20, 0, 0, -1, partitions, [], "")
    assert refusal(version, body_of(version, request)) is None
    request = request._replace(partitions=[*partitions, FetchPartition("u", 0, -1, 0, -1, -1, 1)])
    assert refusal(version, body_of(version, request)) is ErrorCode.INVALID_REQUEST
    if version >= 7:
        request = request._replace(partitions=[], forgotten=[("t", 0)] * (MAX_PARTITIONS + 1))
        assert refusal(version, body_of(version, request)) is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("version", [-1, 3, 19])
def test_other_versions_are_unsupported(version: int) -> None:
    assert refusal(version, b"\x00" * 50) is ErrorCode.UNSUPPORTED_VERSION
