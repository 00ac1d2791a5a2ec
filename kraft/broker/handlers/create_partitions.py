"""CreatePartitions (key 37): sent on to the controller. Versions 0-3."""

from __future__ import annotations

from collections import Counter
from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.timeouts import request_timeout
from metadata.controller.commands import (
    CreatePartitions,
    CreatePartitionsReply,
    CreatePartitionsResult,
    NewPartitions,
    ReplicaAssignment,
)
from metadata.image import MetadataImage


class CreatePartitionsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.CREATE_PARTITIONS)

    async def __call__(self, request: Request, message: Any) -> Any:
        counts = Counter(topic.name for topic in message.topics)
        topics = tuple(_new_partitions(topic) for topic in message.topics if counts[topic.name] == 1)
        repeated = [
            CreatePartitionsResult(name, ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
            for name, count in counts.items()
            if count > 1
        ]
        timeout = request_timeout(message.timeout_ms)
        try:
            reply = await self._context.controller.call(
                CreatePartitions(topics, message.validate_only), timeout
            )
            assert isinstance(reply, CreatePartitionsReply)
        except KafkaError as error:
            reply = CreatePartitionsReply(
                tuple(CreatePartitionsResult(topic.name, error.code, error.message) for topic in topics)
            )
        if not message.validate_only:
            grown = {result.name for result in reply.topics if result.error_code is ErrorCode.NONE}
            wanted = {topic.name: topic.count for topic in topics if topic.name in grown}
            await self._context.metadata.wait_until(lambda image: _has_all(image, wanted), timeout)
        results = [
            self._response.CreatePartitionsTopicResult(
                name=result.name, error_code=result.error_code, error_message=result.error_message
            )
            for result in (*repeated, *reply.topics)
        ]
        return self._response(throttle_time_ms=0, results=results)


def _new_partitions(topic: Any) -> NewPartitions:
    if topic.assignments is None:
        return NewPartitions(topic.name, topic.count)
    assignments = tuple(ReplicaAssignment(-1, tuple(each.broker_ids)) for each in topic.assignments)
    return NewPartitions(topic.name, topic.count, assignments)


def _has_all(image: MetadataImage, wanted: dict[str, int]) -> bool:
    return all(
        (topic := image.topics.get(name)) is None or len(topic.partitions) >= count
        for name, count in wanted.items()
    )
