"""UnregisterBroker (key 64): forget a broker that is gone for good, sent on to the controller. Version 0
(KIP-631)."""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from metadata.controller.commands import UnregisterBroker

TIMEOUT = 30.0


class UnregisterBrokerHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.UNREGISTER_BROKER)

    async def __call__(self, request: Request, message: Any) -> Any:
        code, text = ErrorCode.NONE, None
        try:
            await self._context.controller.call(UnregisterBroker(message.broker_id), TIMEOUT)
        except KafkaError as error:
            code, text = error.code, error.message or None
        return self._response(throttle_time_ms=0, error_code=code, error_message=text)
