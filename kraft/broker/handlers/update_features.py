"""UpdateFeatures (key 57): finalize features, sent on to the controller. Versions 0-2 (KIP-584, KIP-1022).

All features are updated or none, so that an error is that of the whole request.
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.timeouts import request_timeout
from metadata.controller.feature_commands import FeatureUpdate, UpdateFeatures


class UpdateFeaturesHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.UPDATE_FEATURES)

    async def __call__(self, request: Request, message: Any) -> Any:
        updates = tuple(
            FeatureUpdate(each.feature, each.max_version_level, each.upgrade_type)
            for each in message.feature_updates
        )
        command = UpdateFeatures(updates, bool(message.validate_only))
        try:
            await self._context.controller.call(command, request_timeout(message.timeout_ms))
        except KafkaError as error:
            return self._response(
                throttle_time_ms=0, error_code=error.code, error_message=error.message or None, results=[]
            )
        make = self._response.UpdatableFeatureResult
        results = [make(feature=update.name, error_code=0, error_message=None) for update in updates]
        return self._response(throttle_time_ms=0, error_code=0, error_message=None, results=results)
