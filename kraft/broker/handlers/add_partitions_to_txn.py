"""AddPartitionsToTxn (key 24): make partitions part of a transaction before writing there. Versions 0-3; what
Kafka's brokers ask each other in later ones goes from node to node here.

All or none: if one partition does not exist, or is of an internal topic, the others are
OPERATION_NOT_ATTEMPTED.
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kafkawire.transaction_messages import known_code
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.decision import Producer
from kraft.coordinator.transaction.commands import AddPartitions
from kraft.coordinator.transaction.states import TopicPartition
from metadata.image import INTERNAL_TOPICS


class AddPartitionsToTxnHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.ADD_PARTITIONS_TO_TXN)

    async def __call__(self, request: Request, message: Any) -> Any:
        partitions = [
            (topic.name, index) for topic in message.v3_and_below_topics for index in topic.partitions
        ]
        return self._answer(message, await self._codes(request, message, partitions))

    async def _codes(
        self, request: Request, message: Any, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, ErrorCode]:
        reasons = {each: self._reason_against(each) for each in partitions}
        if any(reasons.values()):
            return {each: reason or ErrorCode.OPERATION_NOT_ATTEMPTED for each, reason in reasons.items()}
        command = AddPartitions(
            message.v3_and_below_transactional_id,
            Producer(message.v3_and_below_producer_id, message.v3_and_below_producer_epoch),
            frozenset(partitions),
        )
        try:
            await self._context.transactions.coordinator.add_partitions(command)
        except KafkaError as error:
            code = known_code(ApiKey.ADD_PARTITIONS_TO_TXN, request.version, error.code)
            return dict.fromkeys(partitions, code)
        return dict.fromkeys(partitions, ErrorCode.NONE)

    def _reason_against(self, partition: TopicPartition) -> ErrorCode:
        """NONE for a partition that a client may write to. A marker in an internal topic would be written
        behind its coordinator's back."""
        name, index = partition
        if name in INTERNAL_TOPICS:
            return ErrorCode.TOPIC_AUTHORIZATION_FAILED
        if self._context.metadata.image.topics.partition(name, index) is None:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return ErrorCode.NONE

    def _answer(self, message: Any, codes: dict[TopicPartition, ErrorCode]) -> Any:
        make = self._response.AddPartitionsToTxnTopicResult
        topics = [
            make(
                name=topic.name,
                results_by_partition=[
                    make.AddPartitionsToTxnPartitionResult(
                        partition_index=index, partition_error_code=codes[topic.name, index]
                    )
                    for index in topic.partitions
                ],
            )
            for topic in message.v3_and_below_topics
        ]
        return self._response(throttle_time_ms=0, results_by_topic_v3_and_below=topics)
