"""Heartbeat and OffsetCommit by hand against the schemas' codec, in every version; and against hostile
bytes."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafkawire import messages
from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_traffic import (
    MAX_COMMITTED_PARTITIONS,
    decode_heartbeat_request,
    decode_offset_commit_request,
    encode_heartbeat_response,
    encode_offset_commit_response,
)

DECODERS = {
    ApiKey.HEARTBEAT: decode_heartbeat_request,
    ApiKey.OFFSET_COMMIT: decode_offset_commit_request,
}


def versions(*keys: ApiKey) -> list[Any]:
    return [
        pytest.param(key, version, id=f"{key.name}-{version}")
        for key in keys
        for version in range(APIS[key].min_version, APIS[key].max_version + 1)
    ]


INT16 = st.integers(-(2**15), 2**15 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
TOPICS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b" * 130, "ü"]),
        st.one_of(st.none(), st.uuids()),
        st.lists(st.tuples(INT32, INT16), max_size=4),
    ),
    max_size=4,
)


def read_as_message(key: ApiKey, version: int, body: bytes) -> Any:
    """The same fields, read by the schema's codec."""
    message = messages.decode_request(key, version, memoryview(body))
    if key is ApiKey.HEARTBEAT:
        return (message.group_id, message.generation_id, message.member_id, message.group_instance_id)
    topics = [
        (
            "" if version >= 10 else topic.name,
            topic.topic_id if version >= 10 else None,
            [
                (
                    part.partition_index,
                    part.committed_offset,
                    part.committed_leader_epoch,
                    part.committed_metadata,
                )
                for part in topic.partitions
            ],
        )
        for topic in message.topics
    ]
    return (
        message.group_id,
        message.generation_id_or_member_epoch,
        message.member_id,
        message.group_instance_id,
        message.retention_time_ms if version <= 4 else -1,
        topics,
    )


@pytest.mark.parametrize(("key", "version"), versions(*DECODERS))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_request_reads_as_with_its_schema(
    kio_oracle: Any, key: ApiKey, version: int, data: st.DataObject
) -> None:
    body = kio_oracle.encode(data.draw(kio_oracle.requests(key, version)))
    assert DECODERS[key](version, memoryview(body)) == read_as_message(key, version, body)


@pytest.mark.parametrize(("key", "version"), versions(*DECODERS))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_hostile_bytes_are_refused_as_with_the_schema(
    kio_oracle: Any, mutations: Any, key: ApiKey, version: int, data: st.DataObject
) -> None:
    body = data.draw(mutations(kio_oracle.encode(data.draw(kio_oracle.requests(key, version)))))
    try:
        expected = read_as_message(key, version, body)
    except KafkaError:
        with pytest.raises(KafkaError) as refused:
            DECODERS[key](version, memoryview(body))
        assert refused.value.code is ErrorCode.INVALID_REQUEST
    else:
        assert DECODERS[key](version, memoryview(body)) == expected


@pytest.mark.parametrize(("key", "version"), versions(ApiKey.HEARTBEAT))
@given(code=INT16)
def test_a_heartbeat_is_answered_as_with_its_schema(key: ApiKey, version: int, code: int) -> None:
    response = messages.response_class(key)(throttle_time_ms=0, error_code=code)
    assert encode_heartbeat_response(version, 7, code) == messages.encode_response(key, version, 7, response)


@pytest.mark.parametrize(("key", "version"), versions(ApiKey.OFFSET_COMMIT))
@settings(max_examples=25, deadline=None)
@given(topics=TOPICS)
def test_a_commit_is_answered_as_with_its_schema(key: ApiKey, version: int, topics: Any) -> None:
    response = messages.response_class(key)
    make = response.OffsetCommitResponseTopic
    expected = response(
        throttle_time_ms=0,
        topics=[
            make(
                name=name,
                topic_id=topic_id,
                partitions=[
                    make.OffsetCommitResponsePartition(partition_index=index, error_code=code)
                    for index, code in partitions
                ],
            )
            for name, topic_id, partitions in topics
        ],
    )
    ours = encode_offset_commit_response(version, 7, topics)
    assert ours == messages.encode_response(key, version, 7, expected)


def test_a_commit_of_too_many_partitions_is_refused() -> None:
    def body(count: int) -> bytes:
        head = struct.pack(">h1sih", 1, b"g", -1, 0) + struct.pack(">qih1si", -1, 1, 1, b"t", count)
        return head + struct.pack(">iqh", 0, 0, -1) * count

    request = decode_offset_commit_request(2, memoryview(body(MAX_COMMITTED_PARTITIONS)))
    assert len(request.topics[0].partitions) == MAX_COMMITTED_PARTITIONS
    with pytest.raises(KafkaError, match="100001 items"):
        decode_offset_commit_request(2, memoryview(body(MAX_COMMITTED_PARTITIONS + 1)))


@pytest.mark.parametrize("key", DECODERS)
def test_a_version_that_is_not_served_is_refused(key: ApiKey) -> None:
    with pytest.raises(KafkaError) as refused:
        DECODERS[key](APIS[key].max_version + 1, memoryview(b""))
    assert refused.value.code is ErrorCode.UNSUPPORTED_VERSION
