"""What clients encode and decode by hand, against the schemas' codec: in every version, with every value."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafkawire import messages
from kafkawire.apis import APIS, ApiKey
from kafkawire.client_messages import decode_client_response, encode_client_request
from kafkawire.client_versions import ApiVersionsRequest
from kafkawire.endpoints import NodeEndpoint
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_traffic import CommittedPartition, CommittedTopic, HeartbeatRequest, OffsetCommitRequest
from kafkawire.metadata_client import MetadataRequest
from kafkawire.transaction_client import EndTxnRequest, TxnOffset, TxnOffsetCommitRequest

INT16 = st.integers(-(2**15), 2**15 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.one_of(st.text(max_size=5), st.just("b" * 130))
NAMES = st.sampled_from(["a", "b" * 130, "ü"])
OPTIONAL = st.one_of(st.none(), TEXT)
IDS = st.one_of(st.none(), st.uuids().filter(bool))

BY_HAND = (
    ApiKey.METADATA,
    ApiKey.HEARTBEAT,
    ApiKey.OFFSET_COMMIT,
    ApiKey.API_VERSIONS,
    ApiKey.END_TXN,
    ApiKey.TXN_OFFSET_COMMIT,
)


def versions(*keys: ApiKey) -> Any:
    return pytest.mark.parametrize(
        ("key", "version"),
        [
            pytest.param(key, version, id=f"{key.name}-{version}")
            for key in keys
            for version in range(max(1, APIS[key].min_version), APIS[key].max_version + 1)
        ],
    )


def runs(offsets: list[TxnOffset]) -> list[tuple[str, list[TxnOffset]]]:
    """Offsets of one topic that follow each other."""
    found: list[tuple[str, list[TxnOffset]]] = []
    for offset in offsets:
        if not found or found[-1][0] != offset.topic:
            found.append((offset.topic, []))
        found[-1][1].append(offset)
    return found


MEMBERS = st.tuples(TEXT, INT32, TEXT, OPTIONAL)
REQUESTS: dict[ApiKey, st.SearchStrategy[Any]] = {
    ApiKey.METADATA: st.builds(
        MetadataRequest, st.one_of(st.none(), st.lists(NAMES, max_size=3).map(tuple)), st.booleans()
    ),
    ApiKey.HEARTBEAT: MEMBERS.map(lambda fields: HeartbeatRequest(*fields)),
    ApiKey.OFFSET_COMMIT: st.builds(
        lambda member, retention, topics: OffsetCommitRequest(*member, retention, topics),
        MEMBERS,
        INT64,
        st.lists(
            st.builds(
                CommittedTopic,
                NAMES,
                IDS,
                st.lists(st.builds(CommittedPartition, INT32, INT64, INT32, OPTIONAL), max_size=3),
            ),
            max_size=3,
        ),
    ),
    ApiKey.API_VERSIONS: st.builds(ApiVersionsRequest, TEXT, TEXT),
    ApiKey.END_TXN: st.builds(EndTxnRequest, TEXT, INT64, INT16, st.booleans()),
    ApiKey.TXN_OFFSET_COMMIT: st.builds(
        TxnOffsetCommitRequest,
        TEXT,
        TEXT,
        INT64,
        INT16,
        INT32,
        TEXT,
        OPTIONAL,
        st.lists(st.builds(TxnOffset, NAMES, INT32, INT64, INT32), max_size=4),
    ),
}


def as_message(key: ApiKey, version: int, request: Any) -> Any:
    """The same request as the schemas' class."""
    make = messages.request_class(key)
    match request:
        case MetadataRequest(topics, create):
            named = None if topics is None else [make.MetadataRequestTopic(name=name) for name in topics]
            return make(topics=named, allow_auto_topic_creation=create or version < 4)
        case HeartbeatRequest(group_id, generation, member_id, instance_id):
            return make(
                group_id=group_id,
                generation_id=generation,
                member_id=member_id,
                group_instance_id=instance_id,
            )
        case OffsetCommitRequest(group_id, generation, member_id, instance_id, retention, topics):
            return make(
                group_id=group_id,
                generation_id_or_member_epoch=generation,
                member_id=member_id,
                group_instance_id=instance_id,
                retention_time_ms=retention if version <= 4 else -1,
                topics=[committed_topic(make.OffsetCommitRequestTopic, topic) for topic in topics],
            )
        case ApiVersionsRequest(name, software):
            return make(client_software_name=name, client_software_version=software)
        case EndTxnRequest(transactional_id, producer_id, epoch, commit):
            return make(
                transactional_id=transactional_id,
                producer_id=producer_id,
                producer_epoch=epoch,
                committed=commit,
            )
    assert isinstance(request, TxnOffsetCommitRequest)
    topic_class = make.TxnOffsetCommitRequestTopic
    return make(
        transactional_id=request.transactional_id,
        group_id=request.group_id,
        producer_id=request.producer_id,
        producer_epoch=request.producer_epoch,
        generation_id=request.generation if version >= 3 else -1,
        member_id=request.member_id if version >= 3 else "",
        group_instance_id=request.instance_id if version >= 3 else None,
        topics=[
            topic_class(
                name=name,
                partitions=[
                    topic_class.TxnOffsetCommitRequestPartition(
                        partition_index=each.partition,
                        committed_offset=each.offset,
                        committed_leader_epoch=each.leader_epoch,
                        committed_metadata="",
                    )
                    for each in offsets
                ],
            )
            for name, offsets in runs(request.offsets)
        ],
    )


def committed_topic(make: Any, topic: CommittedTopic) -> Any:
    return make(
        name=topic.name,
        topic_id=topic.topic_id,
        partitions=[
            make.OffsetCommitRequestPartition(
                partition_index=each.partition,
                committed_offset=each.offset,
                committed_leader_epoch=each.leader_epoch,
                committed_metadata=each.metadata,
            )
            for each in topic.partitions
        ],
    )


@versions(*BY_HAND)
@settings(max_examples=10)
@given(data=st.data())
def test_requests_are_what_the_schemas_say(key: ApiKey, version: int, data: st.DataObject) -> None:
    request = data.draw(REQUESTS[key])
    mine = encode_client_request(key, version, 77, request, "me")
    assert mine == messages.encode_request(key, version, 77, as_message(key, version, request), "me")


# -- responses ------------------------------------------------------------------------------------

PARTITIONS = st.lists(
    st.tuples(INT16, INT32, INT32, INT32, *[st.lists(INT32, max_size=3).map(tuple)] * 3),
    max_size=3,
)


def payload(key: ApiKey, version: int, response: Any) -> memoryview:
    return memoryview(bytearray(messages.encode_response(key, version, 77, response)))[4:]


@versions(ApiKey.METADATA)
@settings(max_examples=10)
@given(
    brokers=st.lists(st.builds(NodeEndpoint, INT32, TEXT, INT32, OPTIONAL), max_size=3),
    cluster_id=OPTIONAL,
    controller_id=INT32,
    topics=st.lists(st.tuples(INT16, NAMES, st.uuids(), st.booleans(), PARTITIONS), max_size=3),
    error=INT16,
)
def test_metadata(
    key: ApiKey, version: int, brokers: Any, cluster_id: Any, controller_id: Any, topics: Any, error: Any
) -> None:
    make = messages.response_class(key)
    topic_class = make.MetadataResponseTopic
    response = make(
        throttle_time_ms=5,
        brokers=[make.MetadataResponseBroker(**broker._asdict()) for broker in brokers],
        cluster_id=cluster_id,
        controller_id=controller_id,
        topics=[
            topic_class(
                error_code=code,
                name=name,
                topic_id=topic_id,
                is_internal=internal,
                partitions=[
                    topic_class.MetadataResponsePartition(
                        error_code=each[0],
                        partition_index=each[1],
                        leader_id=each[2],
                        leader_epoch=each[3],
                        replica_nodes=list(each[4]),
                        isr_nodes=list(each[5]),
                        offline_replicas=list(each[6]),
                    )
                    for each in partitions
                ],
            )
            for code, name, topic_id, internal, partitions in topics
        ],
        error_code=error,
    )
    read = decode_client_response(key, version, payload(key, version, response))
    assert read.brokers == brokers
    assert read.cluster_id == (cluster_id if version >= 2 else None)
    assert (read.controller_id, read.error_code) == (controller_id, error if version >= 13 else 0)
    assert read.topics == [
        (
            code,
            name,
            topic_id.bytes if version >= 10 else bytes(16),
            internal,
            [
                (*each[:3], each[3] if version >= 7 else -1, *each[4:6], each[6] if version >= 5 else ())
                for each in partitions
            ],
        )
        for code, name, topic_id, internal, partitions in topics
    ]


@versions(ApiKey.OFFSET_COMMIT, ApiKey.TXN_OFFSET_COMMIT)
@settings(max_examples=10)
@given(topics=st.lists(st.tuples(NAMES, IDS, st.lists(st.tuples(INT32, INT16), max_size=3)), max_size=3))
def test_commits(key: ApiKey, version: int, topics: Any) -> None:
    make = messages.response_class(key)
    in_transaction = key is ApiKey.TXN_OFFSET_COMMIT
    topic_class = make.TxnOffsetCommitResponseTopic if in_transaction else make.OffsetCommitResponseTopic
    kind = "TxnOffsetCommitResponsePartition" if in_transaction else "OffsetCommitResponsePartition"
    partition_class = getattr(topic_class, kind)
    by_id = not in_transaction and version >= 10
    response = make(
        throttle_time_ms=5,
        topics=[
            topic_class(
                name=name,
                **({} if in_transaction else {"topic_id": topic_id}),
                partitions=[partition_class(partition_index=index, error_code=code) for index, code in each],
            )
            for name, topic_id, each in topics
        ],
    )
    read = decode_client_response(key, version, payload(key, version, response))
    assert read.results == [
        (name, index, code)
        if in_transaction
        else ("" if by_id else name, topic_id if by_id else None, index, code)
        for name, topic_id, each in topics
        for index, code in each
    ]


@versions(ApiKey.HEARTBEAT, ApiKey.END_TXN)
@settings(max_examples=10)
@given(code=INT16, producer_id=INT64, epoch=INT16)
def test_replies_of_one_error(key: ApiKey, version: int, code: int, producer_id: int, epoch: int) -> None:
    fields: dict[str, int] = {"throttle_time_ms": 5, "error_code": code}
    wanted: tuple[int, ...] = (code,)
    if key is ApiKey.END_TXN:
        fields |= {"producer_id": producer_id, "producer_epoch": epoch} if version >= 5 else {}
        wanted = (code, producer_id, epoch) if version >= 5 else (code, -1, -1)
    response = messages.response_class(key)(**fields)
    assert decode_client_response(key, version, payload(key, version, response)) == wanted


@pytest.mark.parametrize("version", range(5))
@settings(max_examples=10)
@given(
    keys=st.lists(st.tuples(INT16, INT16, INT16), max_size=3),
    features=st.lists(st.tuples(TEXT, INT16), max_size=3),
)
def test_versions(version: int, keys: Any, features: Any) -> None:
    make = messages.response_class(ApiKey.API_VERSIONS)
    response = make(
        error_code=0,
        throttle_time_ms=5,
        api_keys=[make.ApiVersion(api_key=k, min_version=low, max_version=high) for k, low, high in keys],
        supported_features=[],
        finalized_features_epoch=3,
        finalized_features=[
            make.FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=0)
            for name, level in features
        ],
    )
    read = decode_client_response(
        ApiKey.API_VERSIONS, version, payload(ApiKey.API_VERSIONS, version, response)
    )
    assert read == (0, tuple(keys), tuple(features) if version >= 3 else ())


def test_a_broker_that_knows_no_such_version_answers_in_version_0() -> None:
    make = messages.response_class(ApiKey.API_VERSIONS)
    response = make(
        error_code=ErrorCode.UNSUPPORTED_VERSION,
        api_keys=[make.ApiVersion(api_key=18, min_version=0, max_version=2)],
    )
    read = decode_client_response(ApiKey.API_VERSIONS, 4, payload(ApiKey.API_VERSIONS, 0, response))
    assert read == (ErrorCode.UNSUPPORTED_VERSION, ((18, 0, 2),), ())


@versions(*BY_HAND)
def test_what_is_cut_off_is_refused(key: ApiKey, version: int) -> None:
    full = payload(key, version, filled(key, version))
    decode_client_response(key, version, full)
    for end in range(4, len(full)):
        with pytest.raises(KafkaError) as refused:
            decode_client_response(key, version, full[:end])
        assert refused.value.code is ErrorCode.INVALID_REQUEST


def filled(key: ApiKey, version: int) -> Any:
    """A response with something in each place."""
    make = messages.response_class(key)
    match key:
        case ApiKey.METADATA:
            topic_class = make.MetadataResponseTopic
            partition = topic_class.MetadataResponsePartition(
                error_code=0,
                partition_index=0,
                leader_id=1,
                leader_epoch=1,
                replica_nodes=[1],
                isr_nodes=[1],
                offline_replicas=[],
            )
            topic = topic_class(
                error_code=0, name="t", topic_id=uuid.UUID(int=1), is_internal=False, partitions=[partition]
            )
            broker = make.MetadataResponseBroker(node_id=1, host="h", port=1, rack="r")
            return make(throttle_time_ms=0, brokers=[broker], cluster_id="c", controller_id=1, topics=[topic])
        case ApiKey.OFFSET_COMMIT:
            topic_class = make.OffsetCommitResponseTopic
            done = topic_class.OffsetCommitResponsePartition(partition_index=0, error_code=0)
            return make(throttle_time_ms=0, topics=[topic_class(name="t", topic_id=None, partitions=[done])])
        case ApiKey.TXN_OFFSET_COMMIT:
            topic_class = make.TxnOffsetCommitResponseTopic
            done = topic_class.TxnOffsetCommitResponsePartition(partition_index=0, error_code=0)
            return make(throttle_time_ms=0, topics=[topic_class(name="t", partitions=[done])])
        case ApiKey.API_VERSIONS:
            return make(error_code=0, api_keys=[make.ApiVersion(api_key=18, min_version=0, max_version=2)])
    return make(throttle_time_ms=0, error_code=0)
