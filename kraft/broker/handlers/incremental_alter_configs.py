"""IncrementalAlterConfigs (key 44): sent on to the controller. Versions 0-1 (KIP-339)."""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from metadata.controller.commands import (
    AlterConfigsResource,
    AlterConfigsResult,
    ConfigAlteration,
    IncrementalAlterConfigs,
    IncrementalAlterConfigsReply,
)

TIMEOUT = 30.0


class IncrementalAlterConfigsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.INCREMENTAL_ALTER_CONFIGS)

    async def __call__(self, request: Request, message: Any) -> Any:
        resources = tuple(
            AlterConfigsResource(
                resource.resource_type,
                resource.resource_name,
                tuple(
                    ConfigAlteration(config.name, config.config_operation, config.value)
                    for config in resource.configs
                ),
            )
            for resource in message.resources
        )
        try:
            command = IncrementalAlterConfigs(resources, message.validate_only)
            reply = await self._context.controller.call(command, TIMEOUT)
            assert isinstance(reply, IncrementalAlterConfigsReply)
        except KafkaError as error:
            reply = IncrementalAlterConfigsReply(
                tuple(
                    AlterConfigsResult(each.type, each.name, error.code, error.message) for each in resources
                )
            )
        results = [
            self._response.AlterConfigsResourceResponse(
                error_code=result.error_code,
                error_message=result.error_message,
                resource_type=result.type,
                resource_name=result.name,
            )
            for result in reply.resources
        ]
        return self._response(throttle_time_ms=0, responses=results)
