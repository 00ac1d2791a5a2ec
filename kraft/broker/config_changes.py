"""What AlterConfigs and IncrementalAlterConfigs have in common: one command, and one form of answer."""

from __future__ import annotations

from typing import Any

from kafkawire.errors import KafkaError
from kraft.broker.controller_channel import ControllerChannel
from metadata.controller.commands import (
    AlterConfigsResult,
    IncrementalAlterConfigs,
    IncrementalAlterConfigsReply,
)

TIMEOUT = 30.0
"""Seconds; the requests name none."""


async def change_configs(
    controller: ControllerChannel, command: IncrementalAlterConfigs, response: Any
) -> Any:
    """The controller's answer as a message of the class `response`."""
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
