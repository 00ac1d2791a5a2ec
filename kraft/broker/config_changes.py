"""What AlterConfigs and IncrementalAlterConfigs have in common: one command, and one form of answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kafkawire.errors import KafkaError
from kraft.broker.controller_channel import ControllerChannel
from metadata.controller.commands import (
    AlterConfigsResource,
    AlterConfigsResult,
    ConfigAlteration,
    IncrementalAlterConfigs,
    IncrementalAlterConfigsReply,
)

TIMEOUT = 30.0
"""Seconds; the requests name none."""


async def change_configs(
    controller: ControllerChannel,
    message: Any,
    alteration: Callable[[Any], ConfigAlteration],
    response: Any,
    *,
    replace: bool,
) -> Any:
    """Have the controller change what `message` asks for, `alteration` of each of its configs; the answer
    is a message of the class `response`. With `replace` what is not named goes back to its default."""
    resources = tuple(
        AlterConfigsResource(
            resource.resource_type,
            resource.resource_name,
            tuple(alteration(config) for config in resource.configs),
        )
        for resource in message.resources
    )
    command = IncrementalAlterConfigs(resources, message.validate_only, replace)
    try:
        reply = await controller.call(command, TIMEOUT)
        assert isinstance(reply, IncrementalAlterConfigsReply)
        results = reply.resources
    except KafkaError as error:
        results = tuple(
            AlterConfigsResult(each.type, each.name, error.code, error.message) for each in command.resources
        )
    return response(
        throttle_time_ms=0,
        responses=[
            response.AlterConfigsResourceResponse(
                error_code=result.error_code,
                error_message=result.error_message,
                resource_type=result.type,
                resource_name=result.name,
            )
            for result in results
        ],
    )
