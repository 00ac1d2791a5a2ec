"""AddOffsetsToTxn (key 25): make a group's committed offsets part of a transaction. Versions 0-4."""

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
from kraft.coordinator.transaction.offsets import CONSUMER_OFFSETS


class AddOffsetsToTxnHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.ADD_OFFSETS_TO_TXN)

    async def __call__(self, request: Request, message: Any) -> Any:
        code = ErrorCode.NONE
        try:
            await self._add(message)
        except KafkaError as error:
            code = known_code(ApiKey.ADD_OFFSETS_TO_TXN, request.version, error.code)
        return self._response(throttle_time_ms=0, error_code=code)

    async def _add(self, message: Any) -> None:
        if not message.group_id:
            raise KafkaError(ErrorCode.INVALID_GROUP_ID)
        # The group's coordinator is asked for with the offsets, which may be after this.
        await self._context.internal_topics.ensure(CONSUMER_OFFSETS)
        index = self._context.groups.partition_of(message.group_id)
        if index < 0:
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        command = AddPartitions(
            message.transactional_id,
            Producer(message.producer_id, message.producer_epoch),
            frozenset({(CONSUMER_OFFSETS, index)}),
        )
        await self._context.transactions.coordinator.add_partitions(command)
