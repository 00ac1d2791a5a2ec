"""What a transactional producer asks coordinators, as requests and as the errors in the replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kraft.client.batches import Producer
from kraft.client.membership import GroupMetadata
from kraft.client.offset_lookup import Found, TopicPartition

NOBODY = Producer(-1, -1)


def init_request(transactional_id: str, timeout: float, producer: Producer = NOBODY) -> Any:
    """Take over a transactional id; with a `producer`, go on as it under the next epoch (KIP-360)."""
    return messages.request_class(ApiKey.INIT_PRODUCER_ID)(
        transactional_id=transactional_id,
        transaction_timeout_ms=int(timeout * 1000),
        producer_id=producer.producer_id,
        producer_epoch=producer.epoch,
    )


def add_partition_request(transactional_id: str, producer: Producer, partition: TopicPartition) -> Any:
    """Make a partition part of the transaction, where Produce does not."""
    request_class = messages.request_class(ApiKey.ADD_PARTITIONS_TO_TXN)
    topic = request_class.AddPartitionsToTxnTopic(name=partition.topic, partitions=[partition.partition])
    return request_class(
        v3_and_below_transactional_id=transactional_id,
        v3_and_below_producer_id=producer.producer_id,
        v3_and_below_producer_epoch=producer.epoch,
        v3_and_below_topics=[topic],
    )


def add_partition_error(response: Any) -> ErrorCode:
    """The error for the one partition."""
    return ErrorCode(response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code)


def add_offsets_request(transactional_id: str, producer: Producer, group_id: str) -> Any:
    """Make a group's offsets part of the transaction, where TxnOffsetCommit does not."""
    return messages.request_class(ApiKey.ADD_OFFSETS_TO_TXN)(
        transactional_id=transactional_id,
        producer_id=producer.producer_id,
        producer_epoch=producer.epoch,
        group_id=group_id,
    )


def offsets_request(
    transactional_id: str,
    producer: Producer,
    group: GroupMetadata,
    offsets: Mapping[TopicPartition, Found],
) -> Any:
    """Commit a group's offsets when the transaction is committed."""
    request_class = messages.request_class(ApiKey.TXN_OFFSET_COMMIT)
    topic_class = request_class.TxnOffsetCommitRequestTopic
    topics: dict[str, list[Any]] = {}
    for (topic, index), found in offsets.items():
        topics.setdefault(topic, []).append(
            topic_class.TxnOffsetCommitRequestPartition(
                partition_index=index,
                committed_offset=found.offset,
                committed_leader_epoch=found.epoch,
                committed_metadata="",
            )
        )
    return request_class(
        transactional_id=transactional_id,
        group_id=group.group_id,
        producer_id=producer.producer_id,
        producer_epoch=producer.epoch,
        generation_id=group.generation,
        member_id=group.member_id,
        group_instance_id=group.instance_id,
        topics=[topic_class(name=name, partitions=each) for name, each in topics.items()],
    )


def offsets_error(response: Any) -> ErrorCode:
    """The first error of any partition."""
    codes = (each.error_code for topic in response.topics for each in topic.partitions if each.error_code)
    return ErrorCode(next(codes, 0))


def end_request(transactional_id: str, producer: Producer, *, commit: bool) -> Any:
    """Commit or abort."""
    return messages.request_class(ApiKey.END_TXN)(
        transactional_id=transactional_id,
        producer_id=producer.producer_id,
        producer_epoch=producer.epoch,
        committed=commit,
    )
