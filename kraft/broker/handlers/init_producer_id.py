"""InitProducerId (key 22): an id under which a producer numbers its batches. Versions 0-4.

Ids come in blocks from the controller, so that most answers need nobody else. Transactional ids need a
transaction coordinator, which does not run yet: COORDINATOR_NOT_AVAILABLE.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.dispatch import Request
from kraft.broker.producer_ids import ProducerIds


class InitProducerIdHandler:
    """See the module."""

    def __init__(self, producer_ids: ProducerIds) -> None:
        self._producer_ids = producer_ids
        self._response = response_class(ApiKey.INIT_PRODUCER_ID)

    def __call__(self, request: Request, message: Any) -> Any | Awaitable[Any]:
        if message.transactional_id is not None:
            code = (
                ErrorCode.COORDINATOR_NOT_AVAILABLE if message.transactional_id else ErrorCode.INVALID_REQUEST
            )
            return self._answer(-1, code)
        producer_id = self._producer_ids.take()
        if producer_id is not None:
            return self._answer(producer_id, ErrorCode.NONE)
        return self._answer_later()

    async def _answer_later(self) -> Any:
        try:
            return self._answer(await self._producer_ids.next(), ErrorCode.NONE)
        except KafkaError as error:
            # The client's own retry is what Kafka relies on here as well.
            code = error.code if error.code.retriable else ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
            return self._answer(-1, code)

    def _answer(self, producer_id: int, code: ErrorCode) -> Any:
        return self._response(
            throttle_time_ms=0,
            error_code=code,
            producer_id=producer_id,
            producer_epoch=0 if producer_id >= 0 else -1,
        )
