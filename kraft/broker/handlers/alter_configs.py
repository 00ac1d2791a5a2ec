"""AlterConfigs (key 33): all values of a resource at once, sent on to the controller. Versions 0-2.

What is not named goes back to its default, which is why KIP-339 made IncrementalAlterConfigs.
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.messages import response_class
from kraft.broker.config_changes import change_configs
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from metadata.controller.commands import AlterConfigOp, ConfigAlteration


class AlterConfigsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.ALTER_CONFIGS)

    async def __call__(self, request: Request, message: Any) -> Any:
        return await change_configs(
            self._context.controller,
            message,
            lambda config: ConfigAlteration(config.name, AlterConfigOp.SET, config.value),
            self._response,
            replace=True,
        )
