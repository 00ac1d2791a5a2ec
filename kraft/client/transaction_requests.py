"""What a transactional producer asks coordinators, as requests and as the errors in the replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.transaction_client import (
    EndTxnRequest,
    TxnOffset,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
)
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
) -> TxnOffsetCommitRequest:
    """Commit a group's offsets when the transaction is committed."""
    return TxnOffsetCommitRequest(
        transactional_id,
        group.group_id,
        *producer,
        group.generation,
        group.member_id,
        group.instance_id,
        [TxnOffset(*partition, *found) for partition, found in sorted(offsets.items())],
    )


def offsets_error(response: TxnOffsetCommitResponse) -> ErrorCode:
    """The first error of any partition."""
    return ErrorCode(next((code for _, _, code in response.results if code), 0))


def end_request(transactional_id: str, producer: Producer, *, commit: bool) -> EndTxnRequest:
    """Commit or abort."""
    return EndTxnRequest(transactional_id, *producer, commit)
