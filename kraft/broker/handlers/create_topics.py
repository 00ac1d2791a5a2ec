"""CreateTopics (key 19): sent on to the controller. Versions 2-7.

The answer leaves when the topics are committed and known here, so that a client which asks this broker next
finds them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.timeouts import request_timeout
from metadata.controller.commands import (
    ConfigEntry,
    CreateTopicResult,
    CreateTopics,
    CreateTopicsReply,
    NewTopic,
    ReplicaAssignment,
)

_NO_ID = UUID(int=0)


class CreateTopicsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.CREATE_TOPICS)

    async def __call__(self, request: Request, message: Any) -> Any:
        counts = Counter(topic.name for topic in message.topics)
        once = [topic for topic in message.topics if counts[topic.name] == 1]
        results = [
            CreateTopicResult(name, ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
            for name, count in counts.items()
            if count > 1
        ]
        if once:
            results += await self._create(once, message.validate_only, request_timeout(message.timeout_ms))
        return self._response(throttle_time_ms=0, topics=[self._result(result) for result in results])

    async def _create(
        self, topics: list[Any], validate_only: bool, timeout: float
    ) -> list[CreateTopicResult]:
        command = CreateTopics(tuple(_new_topic(topic) for topic in topics), validate_only)
        try:
            reply = await self._context.controller.call(command, timeout)
        except KafkaError as error:
            return [CreateTopicResult(topic.name, error.code, error.message or None) for topic in topics]
        assert isinstance(reply, CreateTopicsReply)
        created = {result.topic_id for result in reply.topics if result.topic_id is not None}
        await self._context.metadata.wait_until(
            lambda image: all(topic_id in image.topics.by_id for topic_id in created), timeout
        )
        return list(reply.topics)

    def _result(self, result: CreateTopicResult) -> Any:
        make = self._response.CreatableTopicResult
        configs = [
            make.CreatableTopicConfigs(
                name=config.name,
                value=None if config.sensitive else config.value,
                read_only=config.read_only,
                config_source=config.source,
                is_sensitive=config.sensitive,
            )
            for config in result.configs
        ]
        return make(
            name=result.name,
            topic_id=result.topic_id or _NO_ID,
            error_code=result.error_code,
            error_message=result.error_message,
            topic_config_error_code=0,
            num_partitions=result.num_partitions,
            replication_factor=result.replication_factor,
            configs=configs,
        )


def _new_topic(topic: Any) -> NewTopic:
    return NewTopic(
        name=topic.name,
        num_partitions=topic.num_partitions,
        replication_factor=topic.replication_factor,
        assignments=tuple(
            ReplicaAssignment(each.partition_index, tuple(each.broker_ids)) for each in topic.assignments
        ),
        configs=tuple(ConfigEntry(config.name, config.value) for config in topic.configs),
    )
