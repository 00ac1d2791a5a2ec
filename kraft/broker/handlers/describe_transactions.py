"""DescribeTransactions (key 65): what the coordinator knows of transactional ids. Version 0 (KIP-664)."""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.transaction.formats import by_topic
from kraft.coordinator.transaction.states import Transaction


class DescribeTransactionsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.DESCRIBE_TRANSACTIONS)

    async def __call__(self, request: Request, message: Any) -> Any:
        states = [await self._describe(each) for each in message.transactional_ids]
        return self._response(throttle_time_ms=0, transaction_states=states)

    async def _describe(self, transactional_id: str) -> Any:
        try:
            found = await self._context.transactions.coordinator.describe(transactional_id)
        except KafkaError as error:
            return self._unknown(transactional_id, error.code)
        return self._known(found)

    def _unknown(self, transactional_id: str, code: ErrorCode) -> Any:
        return self._response.TransactionState(
            error_code=code,
            transactional_id=transactional_id,
            transaction_state="",
            transaction_timeout_ms=0,
            transaction_start_time_ms=0,
            producer_id=0,
            producer_epoch=0,
            topics=[],
        )

    def _known(self, found: Transaction) -> Any:
        make = self._response.TransactionState
        return make(
            error_code=ErrorCode.NONE,
            transactional_id=found.transactional_id,
            transaction_state=found.status.title,
            transaction_timeout_ms=found.timeout_ms,
            transaction_start_time_ms=found.started_ms,
            producer_id=found.producer_id,
            producer_epoch=found.producer_epoch,
            topics=[
                make.TopicData(topic=topic, partitions=indexes)
                for topic, indexes in by_topic(found.partitions).items()
            ],
        )
