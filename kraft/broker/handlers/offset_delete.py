"""OffsetDelete (key 47): forget offsets of topics that a group does not use any more. Version 0."""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.group.commands import DeleteOffsets


class OffsetDeleteHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.OFFSET_DELETE)

    async def __call__(self, request: Request, message: Any) -> Any:
        known = self._context.metadata.image.topics
        asked = [(topic.name, part.partition_index) for topic in message.topics for part in topic.partitions]
        there = tuple(each for each in asked if known.partition(*each) is not None)
        command = DeleteOffsets(message.group_id, there)
        if not command.group_id:
            return self._response(error_code=ErrorCode.INVALID_GROUP_ID, throttle_time_ms=0, topics=[])
        try:
            codes = await self._context.groups.submit(
                command.group_id, lambda shard, *now: shard.delete_offsets(command, *now)
            )
        except KafkaError as error:
            return self._response(error_code=error.code, throttle_time_ms=0, topics=[])
        results = dict(zip(command.partitions, codes, strict=True))
        make = self._response.OffsetDeleteResponseTopic
        topics = [
            make(
                name=topic.name,
                partitions=[
                    make.OffsetDeleteResponsePartition(
                        partition_index=part.partition_index,
                        error_code=results.get(
                            (topic.name, part.partition_index), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                        ),
                    )
                    for part in topic.partitions
                ],
            )
            for topic in message.topics
        ]
        return self._response(error_code=ErrorCode.NONE, throttle_time_ms=0, topics=topics)
