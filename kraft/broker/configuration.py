"""What the configuration says, in the parts' own terms: the node's file below, dynamic values from the
metadata above."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import fields

from logstore.config import LogConfig
from metadata.config_keys import (
    ConfigLayers,
    ConfigValue,
    broker_key,
    format_value,
    group_key,
    topic_config,
    value_of,
)
from metadata.image import MetadataImage
from replication.settings import ReplicationSettings

_BROKER_ONLY = {"producer_id_expiration_ms": "producer.id.expiration.ms"}
"""Fields of LogConfig that no topic key sets."""

_FEW = 64
"""So many topics that are gone are not worth an effort."""


class _Resolved(msgspec.Struct, frozen=True):
    """A topic's settings, and the mappings that they were resolved from."""

    sources: tuple[Mapping[str, str], ...]
    log: LogConfig
    replication: ReplicationSettings


class BrokerConfiguration:
    """`static` holds the text of every key that the node was given."""

    def __init__(self, node_id: int, static: Mapping[str, str]) -> None:
        self._node_id = node_id
        self._static = static
        self._topics: dict[str | None, _Resolved] = {}
        """By name; None stands for all that have no settings of their own."""
        self.auto_create_topics = bool(self.value("auto.create.topics.enable"))

    def value(self, name: str) -> ConfigValue:
        """A node key's value from the file, or its default."""
        return value_of(broker_key(name), ConfigLayers(static=self._static))

    def number(self, name: str) -> int:
        """As `value`, of a key that has a whole number."""
        value = self.value(name)
        assert isinstance(value, int), name
        return value

    def current(self, image: MetadataImage, name: str) -> int:
        """As `number`, of a key that may also be changed while the node runs."""
        value = self.current_value(image, name)
        assert isinstance(value, int), name
        return value

    def current_value(self, image: MetadataImage, name: str) -> ConfigValue:
        """As `value`, of a key that may also be changed while the node runs."""
        return value_of(broker_key(name), self.layers(image))

    def seconds(self, name: str) -> float:
        """As `number`, of a key in milliseconds."""
        return self.number(name) / 1000

    def layers(self, image: MetadataImage, topic: str | None = None) -> ConfigLayers:
        """Every place where a value may come from, for DescribeConfigs."""
        configs = image.configs
        return ConfigLayers(
            topic=configs.topic(topic) if topic is not None else {},
            broker=configs.broker(self._node_id),
            cluster=configs.cluster_defaults,
            static=self._static,
        )

    def group_layers(self, image: MetadataImage, group_id: str) -> ConfigLayers:
        """As `layers`, of a group."""
        return self.layers(image)._replace(topic=image.configs.group(group_id))

    def group_number(self, image: MetadataImage, group_id: str, name: str) -> int:
        """The value of a group's key that has a whole number."""
        value = value_of(group_key(name), self.group_layers(image, group_id))
        assert isinstance(value, int), name
        return value

    def log_config(self, image: MetadataImage, topic: str) -> LogConfig:
        """See `replication.replicas.TopicSettings`."""
        return self._resolve(image, topic).log

    def replication_settings(self, image: MetadataImage, topic: str) -> ReplicationSettings:
        """See `replication.replicas.TopicSettings`."""
        return self._resolve(image, topic).replication

    def _resolve(self, image: MetadataImage, topic: str) -> _Resolved:
        layers = self.layers(image, topic)
        whose = topic if layers.topic else None
        known = self._topics.get(whose)
        if known is not None and all(a is b for a, b in zip(known.sources, layers, strict=True)):
            return known
        values = topic_config(*layers)
        log = self._log_config(values, layers)
        min_isr = values["min.insync.replicas"]
        assert isinstance(min_isr, int)
        replication = ReplicationSettings(
            min_insync_replicas=min_isr,
            replica_lag_time_max=self.seconds("replica.lag.time.max.ms"),
            sync_before_acknowledging=log.flush_messages == 1,
        )
        resolved = _Resolved(tuple(layers), log, replication)
        if len(self._topics) > 2 * len(image.topics) + _FEW:
            present = {None, *image.topics}
            self._topics = {name: each for name, each in self._topics.items() if name in present}
        self._topics[whose] = resolved
        return resolved

    @staticmethod
    def _log_config(values: Mapping[str, ConfigValue], layers: ConfigLayers) -> LogConfig:
        settings: dict[str, object] = {}
        for field in fields(LogConfig):
            if field.name in _BROKER_ONLY:
                settings[field.name] = value_of(broker_key(_BROKER_ONLY[field.name]), layers)
                continue
            value = values[field.name.replace("_", ".")]
            settings[field.name] = format_value(value) if isinstance(value, tuple) else value
        return LogConfig(**settings)  # type: ignore[arg-type]
