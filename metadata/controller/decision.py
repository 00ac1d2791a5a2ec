"""What the parts of the controller share: what they are given, and what they return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from metadata.config_keys import BROKER_KEYS, TOPIC_KEYS, ConfigLayers, ConfigValue, value_of
from metadata.image import MetadataImage
from metadata.records import Record

R_co = TypeVar("R_co", covariant=True)

_MIN_ISR: Final = TOPIC_KEYS["min.insync.replicas"]
_UNCLEAN: Final = TOPIC_KEYS["unclean.leader.election.enable"]


class RandomSource(Protocol):
    """Where topic ids and the start of placements are drawn from; `random.Random` is one."""

    def getrandbits(self, k: int, /) -> int: ...


class Decision(msgspec.Struct, Generic[R_co], frozen=True):
    """Records to append, all or none, and what to answer once they are committed.

    A decision without records may still rest on records that are in flight, so its reply must wait for those.
    """

    records: Sequence[Record]
    reply: R_co


class ControllerConfig(msgspec.Struct, frozen=True):
    """What a controller needs of its node's configuration; times in seconds.

    `static` is the text of the node's own settings, which give topics their defaults.
    """

    cluster_id: str
    session_timeout: float = 3.0
    disconnect_grace: float = 0.2
    takeover_grace: float = 1.0
    num_partitions: int = 1
    default_replication_factor: int = 1
    delete_topic_enable: bool = True
    leader_balance_interval: float | None = 300.0
    """None leaves leaders where they are."""
    static: Mapping[str, str] = msgspec.field(default_factory=dict)

    @classmethod
    def from_settings(cls, cluster_id: str, static: Mapping[str, str]) -> ControllerConfig:
        """From the text of a node's settings by Kafka's keys. Raises KafkaError(INVALID_CONFIG)."""
        layers = ConfigLayers(static=static)

        def value(name: str) -> ConfigValue:
            return value_of(BROKER_KEYS[name], layers)

        def number(name: str) -> int:
            found = value(name)
            assert isinstance(found, int)
            return found

        interval = number("leader.imbalance.check.interval.seconds")
        return cls(
            cluster_id=cluster_id,
            session_timeout=number("broker.session.timeout.ms") / 1000,
            disconnect_grace=number("broker.disconnect.grace.ms") / 1000,
            takeover_grace=number("broker.takeover.grace.ms") / 1000,
            num_partitions=number("num.partitions"),
            default_replication_factor=number("default.replication.factor"),
            delete_topic_enable=bool(value("delete.topic.enable")),
            leader_balance_interval=interval if value("auto.leader.rebalance.enable") else None,
            static=static,
        )


class TopicRules(msgspec.Struct, frozen=True):
    """What a topic's configuration says about its replicas."""

    min_isr: int
    unclean: bool


class View:
    """One image under one configuration, as a decision looks at it."""

    def __init__(self, config: ControllerConfig, image: MetadataImage) -> None:
        self.config = config
        self.image = image
        self._defaults: TopicRules | None = None

    def rules(self, topic: str) -> TopicRules:
        """The rules of a topic. Values that one broker alone was given do not count here."""
        overrides = self.image.configs.topic(topic)
        if overrides:
            return self._resolve(overrides)
        if self._defaults is None:
            self._defaults = self._resolve({})
        return self._defaults

    def layers(self, overrides: Mapping[str, str]) -> ConfigLayers:
        """Where a topic with these overrides takes its values from."""
        return ConfigLayers(overrides, {}, self.image.configs.cluster_defaults, self.config.static)

    def _resolve(self, overrides: Mapping[str, str]) -> TopicRules:
        layers = self.layers(overrides)
        min_isr = value_of(_MIN_ISR, layers)
        assert isinstance(min_isr, int)
        return TopicRules(min_isr, bool(value_of(_UNCLEAN, layers)))
