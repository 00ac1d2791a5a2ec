"""EndTxn (key 26): commit or abort. Versions 0-5.

The answer leaves when the fate is sealed, which is when the coordinator's replicas have it; the partitions
are told afterwards. From version 5 on it says under which epoch the producer goes on (KIP-890).
"""

from __future__ import annotations

from typing import Any, Final

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kafkawire.records import ControlType
from kafkawire.transaction_messages import end_bumps_epoch, known_code
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.decision import NO_PRODUCER_ID, Producer
from kraft.coordinator.transaction.commands import EndTransaction

_NOBODY: Final = Producer(NO_PRODUCER_ID, -1)


class EndTxnHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.END_TXN)

    async def __call__(self, request: Request, message: Any) -> Any:
        code = ErrorCode.NONE
        producer = _NOBODY
        try:
            producer = await self._context.transactions.coordinator.end(
                EndTransaction(
                    message.transactional_id,
                    Producer(message.producer_id, message.producer_epoch),
                    ControlType.COMMIT if message.committed else ControlType.ABORT,
                    end_bumps_epoch(request.version),
                )
            )
        except KafkaError as error:
            code = known_code(ApiKey.END_TXN, request.version, error.code)
        return self._response(
            throttle_time_ms=0,
            error_code=code,
            producer_id=producer.producer_id,
            producer_epoch=producer.producer_epoch,
        )
