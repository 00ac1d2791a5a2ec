"""The configuration keys of groups: those of nodes, and those that single groups can be given (KIP-848)."""

from __future__ import annotations

from typing import Final

from metadata.config_node_keys import broker_setting
from metadata.config_types import (
    INT_MAX,
    LONG_MAX,
    Between,
    ConfigKey,
    ConfigType,
    OneOf,
    Scope,
    SomeOf,
    Synonym,
    Update,
)

_SHORT, _INT, _LONG = ConfigType.SHORT, ConfigType.INT, ConfigType.LONG
_NATURAL: Final = Between(0, LONG_MAX)
_POSITIVE: Final = Between(1, LONG_MAX)

GROUPS: Final = (
    broker_setting(
        "offsets.topic.num.partitions", _INT, 50, "Partitions of `__consumer_offsets`.", _POSITIVE
    ),
    broker_setting(
        "offsets.topic.replication.factor",
        _SHORT,
        3,
        "Replicas of `__consumer_offsets`; fewer while there are fewer brokers.",
        _POSITIVE,
    ),
    broker_setting(
        "offsets.topic.segment.bytes",
        _INT,
        104_857_600,
        "`segment.bytes` of `__consumer_offsets`.",
        _POSITIVE,
    ),
    broker_setting(
        "offsets.retention.minutes", _INT, 10_080, "How long offsets of an empty group are kept.", _POSITIVE
    ),
    broker_setting(
        "offsets.retention.check.interval.ms", _LONG, 600_000, "How often that is looked at.", _POSITIVE
    ),
    broker_setting("offset.metadata.max.bytes", _INT, 4096, "The longest metadata of a committed offset."),
    broker_setting(
        "group.initial.rebalance.delay.ms",
        _INT,
        3000,
        "How long an empty group waits for more members.",
        _NATURAL,
    ),
    broker_setting(
        "group.min.session.timeout.ms", _INT, 6000, "The shortest session timeout that is granted.", _NATURAL
    ),
    broker_setting(
        "group.max.session.timeout.ms",
        _INT,
        1_800_000,
        "The longest session timeout that is granted.",
        _NATURAL,
    ),
    broker_setting("group.max.size", _INT, INT_MAX, "Members of a group, at most.", _POSITIVE),
    broker_setting(
        "group.consumer.session.timeout.ms", _INT, 45_000, "Session timeout of KIP-848 groups.", _POSITIVE
    ),
    broker_setting(
        "group.consumer.heartbeat.interval.ms", _INT, 5000, "Heartbeat interval of KIP-848 groups.", _POSITIVE
    ),
    broker_setting(
        "group.consumer.max.size", _INT, INT_MAX, "Members of a KIP-848 group, at most.", _POSITIVE
    ),
    broker_setting(
        "group.consumer.assignors",
        ConfigType.LIST,
        ("uniform", "range"),
        "Assignors of KIP-848 groups; the first is the default.",
        SomeOf(("uniform", "range")),
    ),
    broker_setting(
        "group.consumer.migration.policy",
        ConfigType.STRING,
        "bidirectional",
        "Which way groups with members may change between the classic protocol and KIP-848's.",
        OneOf(("disabled", "upgrade", "downgrade", "bidirectional")),
    ),
    *(
        broker_setting(
            f"group.consumer.{end}.{name}.ms",
            _INT,
            default,
            f"The {word} `consumer.{name}.ms` that a group may be given.",
            _POSITIVE,
            scope=Scope.NODE,
        )
        for end, word, name, default in (
            ("min", "smallest", "session.timeout", 45_000),
            ("max", "largest", "session.timeout", 60_000),
            ("min", "smallest", "heartbeat.interval", 5000),
            ("max", "largest", "heartbeat.interval", 15_000),
        )
    ),
)
"""What nodes say to groups."""

CONSUMER: Final = (
    ConfigKey(
        "consumer.session.timeout.ms",
        _INT,
        45_000,
        "After how long without a heartbeat a member of the KIP-848 group is out.",
        _POSITIVE,
        Scope.GROUP,
        Update.PER_GROUP,
        (Synonym("group.consumer.session.timeout.ms"),),
    ),
    ConfigKey(
        "consumer.heartbeat.interval.ms",
        _INT,
        5000,
        "How often members of the KIP-848 group are told to send heartbeats.",
        _POSITIVE,
        Scope.GROUP,
        Update.PER_GROUP,
        (Synonym("group.consumer.heartbeat.interval.ms"),),
    ),
)
"""What a group can be given (Kafka's `GroupConfig`)."""
