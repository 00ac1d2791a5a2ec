"""ConsumerGroupHeartbeat (key 68): a member of a KIP-848 group joins, lives, or leaves, and hears what it
has. Versions 0-1; from version 1 on the client brings its own member id, and may subscribe with an
expression."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable
from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_messages import names_itself
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.group.consumer.commands import ConsumerHeartbeat, ConsumerHeartbeatReply
from kraft.coordinator.group.consumer.members import Assignment, by_topic

_NO_TOPIC = bytes(16)


class ConsumerGroupHeartbeatHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._groups = context.groups
        self._response = response_class(ApiKey.CONSUMER_GROUP_HEARTBEAT)

    def __call__(self, request: Request, message: Any) -> Awaitable[Any]:
        request.connection.heartbeat()
        return self._beat(request, message)

    async def _beat(self, request: Request, message: Any) -> Any:
        topics = message.subscribed_topic_names
        command = ConsumerHeartbeat(
            message.group_id,
            message.member_id,
            message.member_epoch,
            message.instance_id,
            message.rack_id,
            message.rebalance_timeout_ms,
            None if topics is None else tuple(topics),
            message.subscribed_topic_regex,
            message.server_assignor,
            _owned(message.topic_partitions),
            request.header.client_id or "",
            # As Java prints an address without a name.
            f"/{request.connection.peer[0]}",
            names_itself(request.version),
        )
        try:
            reply = await self._groups.submit(
                command.group_id, lambda shard, *now: shard.consumer_heartbeat(command, *now)
            )
        except KafkaError as error:
            return self._response(
                throttle_time_ms=0, error_code=error.code, error_message=error.message or None
            )
        return self._answer(reply)

    def _answer(self, reply: ConsumerHeartbeatReply) -> Any:
        make = self._response.Assignment
        assignment = None
        if reply.assignment is not None:
            assignment = make(
                topic_partitions=[
                    make.TopicPartitions(topic_id=uuid.UUID(bytes=topic_id), partitions=partitions)
                    for topic_id, partitions in by_topic(reply.assignment).items()
                ]
            )
        return self._response(
            throttle_time_ms=0,
            error_code=ErrorCode.NONE,
            member_id=reply.member_id,
            member_epoch=reply.epoch,
            heartbeat_interval_ms=reply.interval_ms,
            assignment=assignment,
        )


def _owned(topics: Any) -> Assignment | None:
    if topics is None:
        return None
    return frozenset(
        (_NO_TOPIC if each.topic_id is None else each.topic_id.bytes, partition)
        for each in topics
        for partition in each.partitions
    )
