"""The configuration keys that place a node in its cluster and find out whether it lives.

Kafka's names; those of our own say so, and where a default differs from Kafka's, the text tells Kafka's.
"""

from __future__ import annotations

from typing import Final

from metadata.config_types import (
    INT_MAX,
    LONG_MAX,
    Anything,
    Between,
    ConfigKey,
    ConfigType,
    ConfigValue,
    NotEmpty,
    Scope,
    SomeOf,
    Update,
    Validator,
)

_BOOLEAN, _STRING, _LIST = ConfigType.BOOLEAN, ConfigType.STRING, ConfigType.LIST
_INT, _LONG = ConfigType.INT, ConfigType.LONG
_NATURAL: Final = Between(0, LONG_MAX)
_ANY: Final = Anything()
_POSITIVE: Final = Between(1, LONG_MAX)


def broker_setting(
    name: str,
    kind: ConfigType,
    default: ConfigValue,
    doc: str,
    limits: Validator = _ANY,
    *,
    update: Update = Update.READ_ONLY,
    scope: Scope = Scope.BROKER,
) -> ConfigKey:
    """A key of brokers unless `scope` says otherwise."""
    return ConfigKey(name, kind, default, doc, limits, scope, update)


def node_setting(
    name: str,
    kind: ConfigType,
    default: ConfigValue,
    doc: str,
    limits: Validator = _ANY,
) -> ConfigKey:
    """A key of every node."""
    return broker_setting(name, kind, default, doc, limits, scope=Scope.NODE)


def controller_setting(
    name: str,
    kind: ConfigType,
    default: ConfigValue,
    doc: str,
    limits: Validator = _ANY,
) -> ConfigKey:
    """A key of controllers."""
    return broker_setting(name, kind, default, doc, limits, scope=Scope.CONTROLLER)


PLACE: Final = (
    node_setting(
        "node.id", _INT, None, "The number of this node, unique in the cluster.", Between(0, INT_MAX)
    ),
    node_setting(
        "process.roles",
        _LIST,
        ("broker", "controller"),
        "What this node does. Kafka has no default here.",
        SomeOf(("broker", "controller")),
    ),
    node_setting(
        "controller.quorum.voters",
        _LIST,
        (),
        "The controllers: `id@host:port` of each one's `node.listener`, the same on all nodes. A "
        "controller that is given none is a quorum by itself.",
    ),
    node_setting(
        "controller.quorum.bootstrap.servers",
        _LIST,
        (),
        "Where controllers are, in files of Kafka 4. Accepted for a single controller, which is a quorum by "
        "itself, or beside `controller.quorum.voters`, which counts.",
    ),
    node_setting(
        "controller.listener.names", _LIST, (), "Names among `listeners` that are read as `node.listener`."
    ),
    broker_setting(
        "listeners",
        _LIST,
        ("PLAINTEXT://:9092",),
        "Where Kafka clients connect: `NAME://host:port`, …",
        NotEmpty(),
    ),
    broker_setting(
        "advertised.listeners",
        _LIST,
        None,
        "What clients are told instead of `listeners`. Where no host is given they are told the name of "
        "the machine.",
    ),
    broker_setting(
        "listener.security.protocol.map",
        _STRING,
        "PLAINTEXT:PLAINTEXT",
        "Listener name to security protocol; only PLAINTEXT is served.",
    ),
    broker_setting("inter.broker.listener.name", _STRING, None, "Accepted; nodes talk over `node.listener`."),
    node_setting(
        "node.listener",
        _STRING,
        ":9093",
        "Ours. Host and port for the other nodes, and for `/health` and `/status`. Where it is not given a "
        "controller takes its port among the voters.",
    ),
    node_setting(
        "advertised.node.listener",
        _STRING,
        None,
        "Ours. What other nodes are told instead of `node.listener`. Where it is not given a controller "
        "takes its address among the voters.",
    ),
    node_setting(
        "cluster.id",
        _STRING,
        None,
        "Ours. The cluster that this node belongs to. Where it is not given the one counts that stands in "
        "the data directories; for new ones it is derived from the secret.",
    ),
    node_setting(
        "cluster.secret",
        ConfigType.PASSWORD,
        None,
        "Ours. What nodes prove their membership with: 16 characters at least, the same on all nodes. Only "
        "a node that is a cluster by itself can do without.",
    ),
    node_setting("cluster.secret.file", _STRING, None, "Ours. A file with the secret."),
    broker_setting("broker.rack", _STRING, None, "The rack of this broker; replicas are spread over racks."),
    node_setting("log.dir", _STRING, "/tmp/kafka-logs", "The data directory, unless `log.dirs` is given."),
    node_setting("log.dirs", _LIST, None, "The data directories."),
    node_setting(
        "metadata.log.dir",
        _STRING,
        None,
        "Where the metadata log lives; the first of `log.dirs` if not given.",
    ),
)

FAILURE_DETECTION: Final = (
    broker_setting(
        "broker.heartbeat.interval.ms",
        _INT,
        500,
        "How often a broker tells the controller that it lives. Kafka: 2000.",
        _POSITIVE,
    ),
    controller_setting(
        "broker.session.timeout.ms",
        _INT,
        3000,
        "After how long without a heartbeat a broker is fenced. Kafka: 9000.",
        _POSITIVE,
    ),
    controller_setting(
        "broker.disconnect.grace.ms",
        _INT,
        200,
        "Ours. How long a broker whose stream to the controller broke may take to reconnect before it is "
        "fenced. A killed process closes its connections at once, so this is what a failover waits for.",
        _NATURAL,
    ),
    controller_setting(
        "broker.takeover.grace.ms",
        _INT,
        1000,
        "Ours. How long after its own election a controller waits for a broker to connect before it is "
        "fenced; one whose connection it has seen break has the disconnect grace.",
        _NATURAL,
    ),
    broker_setting(
        "initial.broker.registration.timeout.ms",
        _INT,
        60_000,
        "How long a broker tries to register. Accepted, without effect.",
        _POSITIVE,
    ),
    broker_setting(
        "controlled.shutdown.enable", _BOOLEAN, True, "Whether leaderships move before a broker stops."
    ),
    controller_setting(
        "controller.quorum.election.timeout.ms",
        _INT,
        300,
        "How long a controller waits for the active one before it asks for votes, up to twice that. Kafka: "
        "1000.",
        _POSITIVE,
    ),
    controller_setting(
        "controller.quorum.fetch.timeout.ms",
        _INT,
        2000,
        "How long the active controller leads without a majority in touch, at most. It is never more than "
        "250, nor than `controller.quorum.election.timeout.ms`.",
        _POSITIVE,
    ),
    controller_setting(
        "controller.quorum.request.timeout.ms",
        _INT,
        2000,
        "How long a request between nodes may take. Accepted, without effect.",
        _POSITIVE,
    ),
    controller_setting(
        "metadata.log.max.record.bytes.between.snapshots",
        _LONG,
        20_971_520,
        "After how many bytes of metadata records a snapshot is taken, if not after 10,000 records.",
        _POSITIVE,
    ),
)
