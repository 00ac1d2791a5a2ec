"""ListConfigResources (key 74): what can have configs. Versions 0-1 (KIP-1142).

Version 0 asks for client metrics alone, of which there are none here. An empty list asks for every kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from metadata.image import MetadataImage
from metadata.records import ConfigResourceType

_KINDS: Final = (
    ConfigResourceType.TOPIC,
    ConfigResourceType.BROKER,
    ConfigResourceType.BROKER_LOGGER,
    ConfigResourceType.CLIENT_METRICS,
    ConfigResourceType.GROUP,
)


class ListConfigResourcesHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.LIST_CONFIG_RESOURCES)

    def __call__(self, request: Request, message: Any) -> Any:
        kinds = tuple(dict.fromkeys(message.resource_types)) or _KINDS
        if not set(kinds) <= set(_KINDS):
            return self._response(
                throttle_time_ms=0, error_code=ErrorCode.UNSUPPORTED_VERSION, config_resources=[]
            )
        image = self._context.metadata.image
        return self._response(
            throttle_time_ms=0,
            error_code=0,
            config_resources=[
                self._response.ConfigResource(resource_name=name, resource_type=kind)
                for kind in kinds
                for name in _names(image, ConfigResourceType(kind))
            ],
        )


def _names(image: MetadataImage, kind: ConfigResourceType) -> Iterable[str]:
    """Topics and brokers that there are; of the other kinds those that were given a config."""
    if kind is ConfigResourceType.TOPIC:
        return image.topics.by_name
    if kind in (ConfigResourceType.BROKER, ConfigResourceType.BROKER_LOGGER):
        return [str(broker.broker_id) for broker in image.active_brokers()]
    return [resource.name for resource in image.configs.by_resource if resource.type is kind]
