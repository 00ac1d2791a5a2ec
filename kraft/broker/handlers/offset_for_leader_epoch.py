"""OffsetForLeaderEpoch (key 23): where a leader epoch ended. Versions 2-4.

Consumers ask after a leader change, to notice that records which they have read were truncated (KIP-320).
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request


class OffsetForLeaderEpochHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.OFFSET_FOR_LEADER_EPOCH)

    def __call__(self, request: Request, message: Any) -> Any:
        topics = []
        for topic in message.topics:
            make = self._response.OffsetForLeaderTopicResult
            partitions = [self._answer(make, topic.topic, asked) for asked in topic.partitions]
            topics.append(make(topic=topic.topic, partitions=partitions))
        return self._response(throttle_time_ms=0, topics=topics)

    def _answer(self, make: Any, topic: str, asked: Any) -> Any:
        code = ErrorCode.NONE
        epoch, end_offset = -1, -1
        try:
            partition = self._context.replicas.find(topic, asked.partition)
            partition.check_epoch(asked.current_leader_epoch)
            partition.leads()
            epoch, end_offset = partition.log.end_offset_for_epoch(asked.leader_epoch)
        except KafkaError as error:
            code = error.code
        return make.EpochEndOffset(
            error_code=code, partition=asked.partition, leader_epoch=epoch, end_offset=end_offset
        )
