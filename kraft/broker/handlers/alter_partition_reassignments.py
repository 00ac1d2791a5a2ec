"""AlterPartitionReassignments (key 45): move partitions to other brokers, sent on to the controller. Versions
0-1 (KIP-455, KIP-860).

The answer leaves when this broker's metadata shows what was begun, so that ListPartitionReassignments does.
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.timeouts import request_timeout
from metadata.controller.partition_commands import (
    AlterPartitionReassignments,
    AlterPartitionReassignmentsReply,
    Reassignment,
)


class AlterPartitionReassignmentsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.ALTER_PARTITION_REASSIGNMENTS)

    async def __call__(self, request: Request, message: Any) -> Any:
        context = self._context
        wanted = tuple(
            Reassignment(
                topic.name, each.partition_index, None if each.replicas is None else tuple(each.replicas)
            )
            for topic in message.topics
            for each in topic.partitions
        )
        command = AlterPartitionReassignments(wanted, message.allow_replication_factor_change)
        timeout = request_timeout(message.timeout_ms)
        try:
            reply = await context.controller.call(command, timeout)
            assert isinstance(reply, AlterPartitionReassignmentsReply)
        except KafkaError as error:
            return self._response(
                throttle_time_ms=0,
                allow_replication_factor_change=command.allow_replication_factor_change,
                error_code=error.code,
                error_message=error.message or None,
                responses=[],
            )
        offset = reply.offset
        await context.metadata.wait_until(lambda image: image.offset >= offset, timeout)
        return self._answer(command, reply)

    def _answer(self, command: AlterPartitionReassignments, reply: AlterPartitionReassignmentsReply) -> Any:
        make = self._response.ReassignableTopicResponse
        topics: dict[str, list[Any]] = {}
        for each in reply.partitions:
            topics.setdefault(each.topic, []).append(
                make.ReassignablePartitionResponse(
                    partition_index=each.partition,
                    error_code=each.error_code,
                    error_message=each.error_message,
                )
            )
        return self._response(
            throttle_time_ms=0,
            allow_replication_factor_change=command.allow_replication_factor_change,
            error_code=ErrorCode.NONE,
            error_message=None,
            responses=[make(name=name, partitions=partitions) for name, partitions in topics.items()],
        )
