"""DescribeProducers (key 61): which idempotent producers a replica remembers. Version 0 (KIP-664).

Followers answer as well: who compares what they say with the leader's finds a replica that went astray.
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from metadata.controller.topic_names import check_name
from replication.partition import Partition


class DescribeProducersHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.DESCRIBE_PRODUCERS)

    def __call__(self, request: Request, message: Any) -> Any:
        topics = []
        for topic in message.topics:
            make = self._response.TopicResponse
            partitions = [self._answer(make, topic.name, index) for index in topic.partition_indexes]
            topics.append(make(name=topic.name, partitions=partitions))
        return self._response(throttle_time_ms=0, topics=topics)

    def _answer(self, make: Any, topic: str, index: int) -> Any:
        code, text = ErrorCode.NONE, None
        producers: list[Any] = []
        try:
            check_name(topic)
            partition = self._context.replicas.find(topic, index)
            producers = self._producers(make.PartitionResponse, partition)
        except KafkaError as error:
            code, text = error.code, error.message or None
        return make.PartitionResponse(
            partition_index=index, error_code=code, error_message=text, active_producers=producers
        )

    def _producers(self, make: Any, partition: Partition) -> list[Any]:
        return [
            make.ProducerState(
                producer_id=producer.producer_id,
                producer_epoch=producer.epoch,
                last_sequence=producer.last_sequence,
                last_timestamp=producer.last_timestamp,
                coordinator_epoch=producer.coordinator_epoch,
                current_txn_start_offset=-1
                if producer.transaction_start is None
                else producer.transaction_start,
            )
            for producer in partition.log.producers
        ]
