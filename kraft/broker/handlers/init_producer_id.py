"""InitProducerId (key 22): an id under which a producer numbers its batches. Versions 0-5.

Ids come in blocks from the controller, so that most answers need nobody else. With a transactional id the
coordinator of that id answers, which keeps the id and raises its epoch each time (KIP-98, KIP-360).
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kafkawire.transaction_messages import known_code
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.producer_ids import ProducerIds
from kraft.coordinator.decision import NO_PRODUCER_ID, Producer
from kraft.coordinator.transaction.commands import InitProducer
from kraft.coordinator.transaction.states import NO_EPOCH

_NOBODY: Final = Producer(NO_PRODUCER_ID, NO_EPOCH)


class InitProducerIdHandler:
    """See the module."""

    def __init__(self, context: BrokerContext, producer_ids: ProducerIds) -> None:
        self._context = context
        self._producer_ids = producer_ids
        self._response = response_class(ApiKey.INIT_PRODUCER_ID)

    def __call__(self, request: Request, message: Any) -> Any | Awaitable[Any]:
        expected = Producer(message.producer_id, message.producer_epoch)
        if expected != _NOBODY and NO_PRODUCER_ID in (expected.producer_id, expected.producer_epoch):
            return self._answer(_NOBODY, ErrorCode.INVALID_REQUEST)
        if message.transactional_id is not None:
            return self._transactional(request, message, expected)
        producer_id = self._producer_ids.take()
        if producer_id is not None:
            return self._answer(Producer(producer_id, 0), ErrorCode.NONE)
        return self._answer_later()

    async def _answer_later(self) -> Any:
        try:
            return self._answer(Producer(await self._producer_ids.next(), 0), ErrorCode.NONE)
        except KafkaError as error:
            return self._answer(_NOBODY, _retriable(error.code))

    async def _transactional(self, request: Request, message: Any, expected: Producer) -> Any:
        command = InitProducer(
            message.transactional_id,
            message.transaction_timeout_ms,
            None if expected == _NOBODY else expected,
        )
        try:
            producer = await self._context.transactions.coordinator.init_producer(command)
        except KafkaError as error:
            code = known_code(ApiKey.INIT_PRODUCER_ID, request.version, error.code)
            return self._answer(_NOBODY, code)
        return self._answer(producer, ErrorCode.NONE)

    def _answer(self, producer: Producer, code: ErrorCode) -> Any:
        return self._response(
            throttle_time_ms=0,
            error_code=code,
            producer_id=producer.producer_id,
            producer_epoch=producer.producer_epoch,
        )


def _retriable(code: ErrorCode) -> ErrorCode:
    """No controller gave an id. The client's own retry is what Kafka relies on here as well."""
    return code if code.retriable else ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
