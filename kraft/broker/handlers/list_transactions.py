"""ListTransactions (key 66): the transactional ids that this broker coordinates. Versions 0-2, by duration
from version 1, by a pattern of the id from version 2 (KIP-664, KIP-994, KIP-1152)."""

from __future__ import annotations

from typing import Any, Final

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.patterns import compiled
from kraft.coordinator.transaction.commands import Listed, ListFilter
from kraft.coordinator.transaction.states import TransactionStatus

_BY_NAME: Final = {status.title: status for status in TransactionStatus}


class ListTransactionsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.LIST_TRANSACTIONS)

    async def __call__(self, request: Request, message: Any) -> Any:
        names = message.state_filters or ()
        unknown = [each for each in names if each not in _BY_NAME]
        wanted = ListFilter(
            frozenset(_BY_NAME[each] for each in names if each in _BY_NAME),
            frozenset(message.producer_id_filters or ()),
            message.duration_filter,
        )
        code, found = ErrorCode.NONE, list[Listed]()
        try:
            # Before it is asked whether anything is coordinated here: a bad pattern is bad everywhere.
            pattern = compiled(message.transactional_id_pattern) if message.transactional_id_pattern else None
            if wanted.states or not names:
                found = await self._context.transactions.coordinator.listing(wanted)
            if pattern is not None:
                found = [each for each in found if pattern.fullmatch(each.transactional_id)]
        except KafkaError as error:
            code = error.code
        return self._response(
            throttle_time_ms=0,
            error_code=code,
            unknown_state_filters=unknown,
            transaction_states=[
                self._response.TransactionState(
                    transactional_id=each.transactional_id,
                    producer_id=each.producer_id,
                    transaction_state=each.status.title,
                )
                for each in found
            ],
        )
