"""IncrementalAlterConfigs (key 44): sent on to the controller. Versions 0-1 (KIP-339)."""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.messages import response_class
from kraft.broker.config_changes import change_configs
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from metadata.controller.commands import ConfigAlteration


class IncrementalAlterConfigsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.INCREMENTAL_ALTER_CONFIGS)

    async def __call__(self, request: Request, message: Any) -> Any:
        return await change_configs(
            self._context.controller,
            message,
            lambda config: ConfigAlteration(config.name, config.config_operation, config.value),
            self._response,
            replace=False,
        )
