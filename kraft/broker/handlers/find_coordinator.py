"""FindCoordinator (key 10): which broker coordinates a group or a transactional id. Versions 0-6.

That is the leader of the partition of an internal topic that the key belongs to. The topic is created when
it is first asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.placement import partition_of
from metadata.records import NO_LEADER

TOPICS: Final = {0: "__consumer_offsets", 1: "__transaction_state"}
"""The internal topic of each type of key: 0 a group, 1 a transactional id."""


class FindCoordinatorHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.FIND_COORDINATOR)

    def __call__(self, request: Request, message: Any) -> Any | Awaitable[Any]:
        keys = message.coordinator_keys or []
        topic = TOPICS.get(message.key_type)
        if topic is None:
            return self._all(keys, ErrorCode.INVALID_REQUEST, f"key type {message.key_type} is not served")
        if not self._context.internal_topics.exists(topic):
            return self._create(request, topic, keys)
        if self._leaders_elsewhere(topic, keys):
            return self._look(request, topic, keys)
        return self._answer(request, topic, keys)

    async def _create(self, request: Request, topic: str, keys: list[str]) -> Any:
        try:
            await self._context.internal_topics.ensure(topic)
        except KafkaError as error:
            return self._all(keys, error.code, error.message)
        return self._answer(request, topic, keys)

    def _leaders_elsewhere(self, topic: str, keys: list[str]) -> set[int]:
        return {self._leader(topic, key) for key in keys} - {NO_LEADER, self._context.node_id}

    async def _look(self, request: Request, topic: str, keys: list[str]) -> Any:
        context = self._context
        await context.suspected_leaders.replaced(lambda: self._leaders_elsewhere(topic, keys))
        return self._answer(request, topic, keys)

    def _leader(self, topic: str, key: str) -> int:
        image = self._context.metadata.image.topics.get(topic)
        if image is None or not image.partitions:
            return NO_LEADER
        return image.partitions[partition_of(key, len(image.partitions))].leader

    def _answer(self, request: Request, topic: str, keys: list[str]) -> Any:
        return self._response(
            throttle_time_ms=0,
            coordinators=[self._coordinator(request, key, self._leader(topic, key)) for key in keys],
        )

    def _coordinator(self, request: Request, key: str, leader: int) -> Any:
        broker = self._context.metadata.image.brokers.get(leader)
        endpoint = None
        if broker is not None and not broker.fenced and not self._context.suspected_leaders.suspects(leader):
            endpoint = broker.endpoint(request.connection.listener)
        if endpoint is None:
            return self._none(key, ErrorCode.COORDINATOR_NOT_AVAILABLE, "the coordinator is not there now")
        return self._response.Coordinator(
            key=key,
            node_id=leader,
            host=endpoint.host,
            port=endpoint.port,
            error_code=ErrorCode.NONE,
            error_message=None,
        )

    def _none(self, key: str, code: ErrorCode, message: str) -> Any:
        return self._response.Coordinator(
            key=key, node_id=-1, host="", port=-1, error_code=code, error_message=message
        )

    def _all(self, keys: list[str], code: ErrorCode, message: str) -> Any:
        return self._response(
            throttle_time_ms=0, coordinators=[self._none(key, code, message) for key in keys]
        )
