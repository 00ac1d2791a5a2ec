"""The table of configuration keys: parsing, validation, DescribeConfigs and the documentation derive from it.

A value of a topic key is looked for in layers: the topic's own, the dynamic config of this broker, that of
all brokers, the node's file, the default. The layers below the topic hold broker keys (`log.retention.ms`
behind `retention.ms`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from kafkawire.errors import ErrorCode, KafkaError
from metadata.config_broker_keys import NODE_KEY_GROUPS
from metadata.config_group_keys import CONSUMER
from metadata.config_topic_keys import RECORDS, REPLICATION, RETENTION, SEGMENTS
from metadata.config_types import (
    ConfigKey,
    ConfigSource,
    ConfigType,
    ConfigValue,
    Scope,
    Synonym,
    Update,
    format_value,
    invalid_value,
    parse_value,
)

__all__ = [
    "BROKER_KEYS",
    "GROUP_KEYS",
    "NODE_KEY_GROUPS",
    "TOPIC_KEYS",
    "TOPIC_KEY_GROUPS",
    "ConfigKey",
    "ConfigLayers",
    "ConfigSource",
    "ConfigSynonym",
    "ConfigType",
    "ConfigValue",
    "ResolvedConfig",
    "Scope",
    "Update",
    "broker_key",
    "format_value",
    "group_key",
    "parse_value",
    "resolve",
    "resolve_broker",
    "resolve_cluster_defaults",
    "resolve_group",
    "resolve_topic",
    "topic_config",
    "topic_key",
    "validate_group_configs",
    "validate_topic_config",
    "validate_topic_configs",
    "value_of",
]

TOPIC_KEY_GROUPS: Final[tuple[tuple[str, tuple[ConfigKey, ...]], ...]] = (
    ("Retention and compaction", RETENTION),
    ("Segments and files", SEGMENTS),
    ("Records", RECORDS),
    ("Replication", REPLICATION),
)

TOPIC_KEYS: Final[Mapping[str, ConfigKey]] = MappingProxyType(
    {key.name: key for _, keys in TOPIC_KEY_GROUPS for key in keys}
)
"""Every key that a topic can have, by name."""

GROUP_KEYS: Final[Mapping[str, ConfigKey]] = MappingProxyType({key.name: key for key in CONSUMER})
"""Every key that a group can have, by name."""

BROKER_KEYS: Final[Mapping[str, ConfigKey]] = MappingProxyType(
    {key.name: key for _, keys in NODE_KEY_GROUPS for key in keys}
)
"""Every key of a node, by name: those of its file, and the dynamic ones."""

_GROUP_LIMITS: Final = {
    "consumer.session.timeout.ms": (
        "group.consumer.min.session.timeout.ms",
        "group.consumer.max.session.timeout.ms",
    ),
    "consumer.heartbeat.interval.ms": (
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    ),
}
_COMPACTION_LAGS: Final = ("min.compaction.lag.ms", "max.compaction.lag.ms")
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class ConfigLayers(NamedTuple):
    """Where values may come from, the strongest first. All hold text, by key; `topic` the keys of the topic,
    or of the group, that is asked about, the others broker keys."""

    topic: Mapping[str, str] = _NOTHING
    broker: Mapping[str, str] = _NOTHING
    cluster: Mapping[str, str] = _NOTHING
    static: Mapping[str, str] = _NOTHING


class ConfigSynonym(NamedTuple):
    """One place where a key has a value, as DescribeConfigs lists them."""

    name: str
    text: str | None
    source: ConfigSource


class ResolvedConfig(msgspec.Struct, frozen=True):
    """The value that a key has, and why. `synonyms` lists every place that gives it one, the winner first."""

    key: ConfigKey
    value: ConfigValue
    source: ConfigSource
    synonyms: tuple[ConfigSynonym, ...]

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def text(self) -> str | None:
        """The value as text, in the key's own unit."""
        return format_value(self.value)


def topic_key(name: str) -> ConfigKey:
    """The topic key of that name. Raises KafkaError(INVALID_CONFIG)."""
    key = TOPIC_KEYS.get(name)
    if key is None:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"Unknown topic config name: {name}")
    return key


def group_key(name: str) -> ConfigKey:
    """The key of a group of that name. Raises KafkaError(INVALID_CONFIG)."""
    key = GROUP_KEYS.get(name)
    if key is None:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"Unknown group config name: {name}")
    return key


def broker_key(name: str) -> ConfigKey:
    """The key of a node of that name. Raises KafkaError(INVALID_CONFIG)."""
    key = BROKER_KEYS.get(name)
    if key is None:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"Unknown broker config name: {name}")
    return key


def validate_topic_config(name: str, value: str) -> ConfigValue:
    """The typed value of one topic key. Raises KafkaError(INVALID_CONFIG) for an unknown key or a bad
    value."""
    return parse_value(topic_key(name), value)


def validate_topic_configs(overrides: Mapping[str, str]) -> None:
    """Check the overrides of a topic, each and together. Raises KafkaError(INVALID_CONFIG)."""
    if not overrides:  # as of most of the topics that come by the thousand
        return
    for name, text in overrides.items():
        validate_topic_config(name, text)
    layers = ConfigLayers(overrides)
    low, high = (value_of(TOPIC_KEYS[name], layers) for name in _COMPACTION_LAGS)
    if isinstance(low, int) and isinstance(high, int) and low > high:
        problem = f"must not exceed max.compaction.lag.ms ({high})"
        raise invalid_value(TOPIC_KEYS["min.compaction.lag.ms"], str(low), problem)


def validate_group_configs(overrides: Mapping[str, str], static: Mapping[str, str]) -> None:
    """Check what a group is given, each and together, by the limits of the node (`GroupConfig.validate` in
    Kafka). Raises KafkaError(INVALID_CONFIG)."""
    values = {name: _number(key, ConfigLayers(overrides)) for name, key in GROUP_KEYS.items()}
    for name, (low, high) in _GROUP_LIMITS.items():
        if values[name] < _number(BROKER_KEYS[low], ConfigLayers(static=static)):
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"{name} must be greater than or equal to {low}")
        if values[name] > _number(BROKER_KEYS[high], ConfigLayers(static=static)):
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"{name} must be less than or equal to {high}")
    session, heartbeat = "consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"
    if values[session] <= values[heartbeat]:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"{session} must be greater than {heartbeat}")


def _number(key: ConfigKey, layers: ConfigLayers) -> int:
    value = resolve(key, layers).value
    assert isinstance(value, int), key.name
    return value


def resolve(key: ConfigKey, layers: ConfigLayers) -> ResolvedConfig:
    """The value of a key in its layers. The texts must have been validated; a bad one raises KafkaError."""
    places = list(_places(key, layers))
    found = [ConfigSynonym(name, text, source) for name, text, source, _ in places]
    if not places:
        return ResolvedConfig(key, key.default, ConfigSource.DEFAULT_CONFIG, _default_place(key))
    return ResolvedConfig(key, value_of(key, layers), places[0][2], (*found, *_default_place(key)))


def value_of(key: ConfigKey, layers: ConfigLayers) -> ConfigValue:
    """As `resolve`, the value alone."""
    for name, text, _, factor in _places(key, layers):
        owner = key if name == key.name else BROKER_KEYS[name]
        return _scaled(parse_value(owner, text), factor)
    return key.default


def resolve_topic(layers: ConfigLayers) -> dict[str, ResolvedConfig]:
    """Every topic key with its value, as DescribeConfigs shows it for a topic."""
    return {name: resolve(key, layers) for name, key in TOPIC_KEYS.items()}


def resolve_broker(layers: ConfigLayers) -> dict[str, ResolvedConfig]:
    """Every node key with its value, as DescribeConfigs shows it for a broker; `layers.topic` is not used."""
    return {name: resolve(key, layers) for name, key in BROKER_KEYS.items()}


def resolve_cluster_defaults(defaults: Mapping[str, str]) -> dict[str, ResolvedConfig]:
    """What all brokers were given while they run, as DescribeConfigs shows it for no broker in particular: by
    itself, whatever one broker has of its own or in its file."""
    resolved = resolve_broker(ConfigLayers(cluster=defaults))
    return {
        name: msgspec.structs.replace(config, synonyms=config.synonyms[:1])
        for name, config in resolved.items()
        if config.source is ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG
    }


def resolve_group(layers: ConfigLayers) -> dict[str, ResolvedConfig]:
    """Every key of a group with its value, as DescribeConfigs shows it."""
    return {name: resolve(key, layers) for name, key in GROUP_KEYS.items()}


def topic_config(
    overrides: Mapping[str, str],
    broker: Mapping[str, str] = _NOTHING,
    cluster: Mapping[str, str] = _NOTHING,
    static: Mapping[str, str] = _NOTHING,
) -> dict[str, ConfigValue]:
    """The typed value of every topic key, by name."""
    layers = ConfigLayers(overrides, broker, cluster, static)
    return {name: value_of(key, layers) for name, key in TOPIC_KEYS.items()}


def _places(key: ConfigKey, layers: ConfigLayers) -> Iterator[tuple[str, str, ConfigSource, int]]:
    """Where the key has a value: name there, text, source, and the factor to the key's unit."""
    if key.scope & (Scope.TOPIC | Scope.GROUP):
        if key.name in layers.topic:
            of_topic = Scope.TOPIC in key.scope
            source = ConfigSource.DYNAMIC_TOPIC_CONFIG if of_topic else ConfigSource.DYNAMIC_GROUP_CONFIG
            yield key.name, layers.topic[key.name], source, 1
        names: tuple[Synonym, ...] = key.synonyms
    else:
        names = (Synonym(key.name),)
    below = (
        (layers.broker, ConfigSource.DYNAMIC_BROKER_CONFIG),
        (layers.cluster, ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG),
        (layers.static, ConfigSource.STATIC_BROKER_CONFIG),
    )
    for name, factor in names:
        for values, source in below:
            if name in values:
                yield name, values[name], source, factor


def _default_place(key: ConfigKey) -> tuple[ConfigSynonym, ...]:
    """The default as a synonym: under the broker key that carries it. None that is no value, as in Kafka."""
    behind = (BROKER_KEYS[name] for name, _ in key.synonyms)
    carrier = next((each for each in behind if each.default is not None), key)
    if carrier.default is None:
        return ()
    return (ConfigSynonym(carrier.name, format_value(carrier.default), ConfigSource.DEFAULT_CONFIG),)


def _scaled(value: ConfigValue, factor: int) -> ConfigValue:
    if factor == 1 or not isinstance(value, int):
        return value
    return -1 if value < 0 else value * factor
