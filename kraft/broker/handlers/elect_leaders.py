"""ElectLeaders (key 43): preferred leaders, or leaders at any price; sent on to the controller. Versions 0-2
(KIP-183, KIP-460).

Without partitions all that need an election have one. The answer leaves when the leaders are known here.
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
    ElectionType,
    ElectLeaderResult,
    ElectLeaders,
    ElectLeadersReply,
    TopicPartition,
)


class ElectLeadersHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.ELECT_LEADERS)

    async def __call__(self, request: Request, message: Any) -> Any:
        partitions = None
        if message.topic_partitions is not None:
            partitions = tuple(
                TopicPartition(topic.topic, index)
                for topic in message.topic_partitions
                for index in topic.partitions
            )
        code = ErrorCode.NONE
        try:
            results = await self._elect(
                message.election_type, partitions, request_timeout(message.timeout_ms)
            )
        except KafkaError as error:
            code = error.code
            results = tuple(
                ElectLeaderResult(*each, code, error.message or None) for each in partitions or ()
            )
        return self._answer(code, results)

    async def _elect(
        self, kind: int, partitions: tuple[TopicPartition, ...] | None, timeout: float
    ) -> tuple[ElectLeaderResult, ...]:
        if kind not in set(ElectionType):
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown election type {kind}")
        context = self._context
        reply = await context.controller.call(ElectLeaders(ElectionType(kind), partitions), timeout)
        assert isinstance(reply, ElectLeadersReply)
        await context.metadata.wait_until(lambda image: image.offset >= reply.offset, timeout)
        return reply.partitions

    def _answer(self, code: ErrorCode, results: tuple[ElectLeaderResult, ...]) -> Any:
        make = self._response.ReplicaElectionResult
        topics: dict[str, list[Any]] = {}
        for each in results:
            topics.setdefault(each.topic, []).append(
                make.PartitionResult(
                    partition_id=each.partition, error_code=each.error_code, error_message=each.error_message
                )
            )
        return self._response(
            throttle_time_ms=0,
            error_code=code,
            replica_election_results=[
                make(topic=topic, partition_result=partitions) for topic, partitions in topics.items()
            ],
        )
