"""DescribeConfigs (key 32): configuration of topics, brokers and groups, and where each value comes from.
Versions 1-4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.handlers.topic_names import why_missing
from metadata.config_keys import (
    ConfigSource,
    ResolvedConfig,
    resolve_broker,
    resolve_cluster_defaults,
    resolve_group,
    resolve_topic,
)
from metadata.records import ConfigResourceType


class DescribeConfigsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.DESCRIBE_CONFIGS)

    def __call__(self, request: Request, message: Any) -> Any:
        results = [self._answer(resource, message) for resource in message.resources]
        return self._response(throttle_time_ms=0, results=results)

    def _answer(self, resource: Any, message: Any) -> Any:
        code, text = ErrorCode.NONE, None
        configs: list[Any] = []
        try:
            resolved = self._resolve(resource.resource_type, resource.resource_name)
            wanted = resource.configuration_keys  # none of them is all of them
            configs = [
                self._config(config, message)
                for name, config in resolved.items()
                if not wanted or name in wanted
            ]
        except KafkaError as error:
            code, text = error.code, error.message or None
        return self._response.DescribeConfigsResult(
            error_code=code,
            error_message=text,
            resource_type=resource.resource_type,
            resource_name=resource.resource_name,
            configs=configs,
        )

    def _resolve(self, kind: int, name: str) -> Mapping[str, ResolvedConfig]:
        context = self._context
        image = context.metadata.image
        if kind == ConfigResourceType.TOPIC:
            if name not in image.topics:
                raise KafkaError(why_missing(name))
            return resolve_topic(context.configuration.layers(image, name))
        if kind == ConfigResourceType.BROKER:
            if name == "":
                return resolve_cluster_defaults(image.configs.cluster_defaults)
            if name != str(context.node_id):
                raise KafkaError(
                    ErrorCode.INVALID_REQUEST,
                    f"Unexpected broker id, expected {context.node_id}, but received {name}",
                )
            return resolve_broker(context.configuration.layers(image))
        if kind == ConfigResourceType.GROUP:
            if not name:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Group name must not be empty")
            return resolve_group(context.configuration.group_layers(image, name))
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unsupported resource type {kind}")

    def _config(self, config: ResolvedConfig, message: Any) -> Any:
        make = self._response.DescribeConfigsResult.DescribeConfigsResourceResult
        hidden = config.key.sensitive
        synonyms = [
            make.DescribeConfigsSynonym(
                name=synonym.name, value=None if hidden else synonym.text, source=synonym.source
            )
            for synonym in (config.synonyms if message.include_synonyms else ())
        ]
        return make(
            name=config.name,
            value=None if hidden else config.text,
            read_only=config.key.read_only,
            config_source=config.source,
            is_default=config.source is ConfigSource.DEFAULT_CONFIG,
            is_sensitive=hidden,
            synonyms=synonyms,
            config_type=config.key.type,
            documentation=config.key.doc if message.include_documentation else None,
        )
