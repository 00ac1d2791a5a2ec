"""The configuration keys of brokers: Kafka's names and defaults."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from metadata.config_group_keys import GROUPS
from metadata.config_node_keys import FAILURE_DETECTION, PLACE, broker_setting, controller_setting
from metadata.config_topic_keys import RECORDS, REPLICATION, RETENTION, SEGMENTS
from metadata.config_types import (
    INT_MAX,
    LONG_MAX,
    Between,
    ConfigKey,
    ConfigType,
    PositiveOrUnlimited,
    Scope,
    Update,
)

_BOOLEAN = ConfigType.BOOLEAN
_SHORT, _INT, _LONG = ConfigType.SHORT, ConfigType.INT, ConfigType.LONG
_NATURAL: Final = Between(0, LONG_MAX)
_POSITIVE: Final = Between(1, LONG_MAX)
_RETENTION: Final = PositiveOrUnlimited()


TOPICS: Final = (
    broker_setting(
        "auto.create.topics.enable", _BOOLEAN, True, "Whether asking for an unknown topic creates it."
    ),
    broker_setting(
        "num.partitions",
        _INT,
        1,
        "Partitions of a topic whose creator does not say.",
        Between(1, INT_MAX),
        scope=Scope.NODE,
    ),
    broker_setting(
        "default.replication.factor",
        _INT,
        1,
        "Replicas of a topic whose creator does not say.",
        Between(1, 32767),
        scope=Scope.NODE,
    ),
    broker_setting("delete.topic.enable", _BOOLEAN, True, "Whether topics can be deleted.", scope=Scope.NODE),
    controller_setting(
        "auto.leader.rebalance.enable",
        _BOOLEAN,
        True,
        "Whether leadership returns to preferred leaders by itself.",
    ),
    controller_setting(
        "leader.imbalance.check.interval.seconds", _LONG, 300, "How often that is looked at.", _POSITIVE
    ),
)

REPLICA_FETCHING: Final = (
    broker_setting(
        "replica.lag.time.max.ms",
        _LONG,
        30_000,
        "After how long a follower that does not catch up leaves the ISR.",
        _POSITIVE,
    ),
    broker_setting(
        "replica.fetch.wait.max.ms", _INT, 500, "How long a follower's fetch waits for records.", _NATURAL
    ),
    broker_setting(
        "replica.fetch.min.bytes",
        _INT,
        1,
        "How many bytes a follower's fetch waits for. Accepted, without effect.",
        _NATURAL,
    ),
    broker_setting(
        "replica.fetch.max.bytes", _INT, 1_048_576, "Bytes of one partition in a follower's fetch.", _NATURAL
    ),
    broker_setting(
        "replica.fetch.response.max.bytes",
        _INT,
        10_485_760,
        "Bytes in a follower's fetch. Accepted, without effect.",
        _NATURAL,
    ),
    broker_setting(
        "replica.fetch.backoff.ms",
        _INT,
        1000,
        "How long a follower waits after a failed fetch. Accepted, without effect.",
        _NATURAL,
    ),
    broker_setting(
        "replica.high.watermark.checkpoint.interval.ms",
        _LONG,
        5000,
        "How often high watermarks are written to disk.",
        _POSITIVE,
    ),
    *(
        # kafka-reassign-partitions removes them from every broker when it verifies or gives up a move.
        broker_setting(
            name,
            _LONG,
            LONG_MAX,
            f"Bytes a second {what}. Accepted, without effect.",
            _NATURAL,
            update=Update.PER_BROKER,
        )
        for name, what in (
            ("leader.replication.throttled.rate", "that throttled replicas may take from their leaders here"),
            ("follower.replication.throttled.rate", "that throttled replicas here may take"),
            (
                "replica.alter.log.dirs.io.max.bytes.per.second",
                "that may be copied between log directories of a broker",
            ),
        )
    ),
)

NETWORK: Final = (
    broker_setting(
        "socket.request.max.bytes",
        _INT,
        104_857_600,
        "The longest request; a longer one closes the connection.",
        _POSITIVE,
    ),
    broker_setting(
        "queued.max.requests",
        _INT,
        500,
        "Requests that may wait for their reply before reading stops. Accepted, without effect.",
        _POSITIVE,
    ),
    broker_setting("connections.max.idle.ms", _LONG, 600_000, "After how long an idle connection is closed."),
    broker_setting(
        "max.connections",
        _INT,
        INT_MAX,
        "Client connections in all; further ones wait until one of them closes.",
        _NATURAL,
        update=Update.CLUSTER_WIDE,
    ),
    broker_setting(
        "max.connections.per.ip",
        _INT,
        INT_MAX,
        "Client connections from one address; one more is closed.",
        _NATURAL,
        update=Update.CLUSTER_WIDE,
    ),
    broker_setting(
        "max.incremental.fetch.session.cache.slots", _INT, 1000, "Fetch sessions that are kept.", _NATURAL
    ),
    broker_setting(
        "fetch.max.bytes",
        _INT,
        57_671_680,
        "Bytes in the reply to one fetch, at most.",
        Between(1024, INT_MAX),
    ),
    broker_setting(
        "request.timeout.ms",
        _INT,
        30_000,
        "How long a request to another node may take. Accepted, without effect.",
        _POSITIVE,
    ),
)

LOG_MANAGER: Final = (
    broker_setting(
        "log.retention.check.interval.ms",
        _LONG,
        300_000,
        "How often logs are looked through for what is to be deleted.",
        _POSITIVE,
    ),
    broker_setting(
        "log.flush.scheduler.interval.ms",
        _LONG,
        LONG_MAX,
        "As `log.flush.interval.ms`, where that is not given.",
        _NATURAL,
    ),
    broker_setting(
        "log.flush.offset.checkpoint.interval.ms",
        _INT,
        60_000,
        "How often recovery points are written to disk.",
        _NATURAL,
    ),
    broker_setting(
        "log.flush.start.offset.checkpoint.interval.ms",
        _INT,
        60_000,
        "How often log start offsets are written to disk. Accepted, without effect.",
        _NATURAL,
    ),
    broker_setting("log.retention.minutes", _INT, None, "As `log.retention.ms`, in minutes.", _RETENTION),
    broker_setting("log.retention.hours", _INT, 168, "As `log.retention.ms`, in hours.", _RETENTION),
    broker_setting("log.roll.hours", _INT, 168, "As `log.roll.ms`, in hours.", Between(1, INT_MAX)),
    broker_setting(
        "log.roll.jitter.hours", _INT, 0, "As `log.roll.jitter.ms`, in hours.", Between(0, INT_MAX)
    ),
    broker_setting("log.cleaner.enable", _BOOLEAN, True, "Whether compacted topics are compacted."),
    broker_setting(
        "log.cleaner.backoff.ms",
        _LONG,
        15_000,
        "How long compaction rests when no log is due.",
        _NATURAL,
        update=Update.CLUSTER_WIDE,
    ),
    broker_setting(
        "log.cleaner.dedupe.buffer.size",
        _LONG,
        134_217_728,
        "Memory for the keys of a log that is compacted. If they do not fit, the log is compacted in parts.",
        _POSITIVE,
        update=Update.CLUSTER_WIDE,
    ),
    broker_setting(
        "log.cleaner.io.buffer.size",
        _INT,
        524_288,
        "How much compaction reads and writes at once.",
        _POSITIVE,
        update=Update.CLUSTER_WIDE,
    ),
    broker_setting(
        "log.cleaner.io.max.bytes.per.second",
        ConfigType.DOUBLE,
        1.7976931348623157e308,
        "How much compaction reads and writes per second, in all.",
        Between(1, None),
        update=Update.CLUSTER_WIDE,
    ),
    broker_setting(
        "log.scrub.interval.ms",
        _LONG,
        604_800_000,
        "Ours. How often the checksums of all that is stored are verified. What was there when the node "
        "started is looked at right away.",
        _POSITIVE,
    ),
    broker_setting(
        "log.scrub.io.max.bytes.per.second",
        _LONG,
        4_194_304,
        "Ours. How much of what is stored is verified per second.",
        _POSITIVE,
    ),
    broker_setting(
        "log.cleaner.io.buffer.load.factor",
        ConfigType.DOUBLE,
        0.9,
        "How full the keys' memory may get. Accepted, without effect.",
        update=Update.CLUSTER_WIDE,
    ),
)

THREADS: Final = tuple(
    # A node is one event loop. They can be changed: one of them is the example in Kafka's documentation.
    broker_setting(
        name, _INT, default, f"Threads {what}. Accepted, without effect.", limits, update=Update.CLUSTER_WIDE
    )
    for name, default, what, limits in (
        ("background.threads", 10, "for work in the background", _POSITIVE),
        ("log.cleaner.threads", 1, "that compact", _NATURAL),
        ("num.io.threads", 8, "that work on requests", _POSITIVE),
        ("num.network.threads", 3, "that read requests and write answers", _POSITIVE),
        ("num.recovery.threads.per.data.dir", 2, "that recover logs after an unclean stop", _POSITIVE),
        ("num.replica.fetchers", 1, "that fetch from each other broker", _POSITIVE),
    )
)

PRODUCERS: Final = (
    broker_setting(
        "producer.id.expiration.ms",
        _INT,
        86_400_000,
        "How long an idle producer's sequences are remembered.",
        _POSITIVE,
        update=Update.CLUSTER_WIDE,
    ),
    broker_setting(
        "producer.id.expiration.check.interval.ms", _INT, 600_000, "Accepted, without effect.", _POSITIVE
    ),
    broker_setting(
        "transactional.id.expiration.ms",
        _INT,
        604_800_000,
        "How long an idle transactional id is remembered.",
        _POSITIVE,
    ),
    broker_setting(
        "transaction.max.timeout.ms",
        _INT,
        900_000,
        "The longest transaction timeout that is granted.",
        _POSITIVE,
    ),
    broker_setting(
        "transaction.state.log.num.partitions", _INT, 50, "Partitions of `__transaction_state`.", _POSITIVE
    ),
    broker_setting(
        "transaction.state.log.replication.factor",
        _SHORT,
        3,
        "Replicas of `__transaction_state`; fewer while there are fewer brokers.",
        _POSITIVE,
    ),
    broker_setting(
        "transaction.state.log.min.isr",
        _INT,
        2,
        "`min.insync.replicas` of `__transaction_state`, or as many as it has replicas.",
        _POSITIVE,
    ),
    broker_setting(
        "transaction.state.log.segment.bytes",
        _INT,
        104_857_600,
        "`segment.bytes` of `__transaction_state`.",
        _POSITIVE,
    ),
    broker_setting(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        _INT,
        10_000,
        "How often transactions are looked through for what timed out. Accepted, without effect.",
        _POSITIVE,
    ),
    broker_setting(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        _INT,
        3_600_000,
        "How often transactional ids are looked through for what expired.",
        _POSITIVE,
    ),
)

_MORE: Final = {
    "min.insync.replicas": " All nodes go by the value in the metadata (KIP-966), where the first active "
    "controller puts its file's. It can be changed for all brokers, not for one, and not be removed.",
}


def _behind_topic_keys(own: frozenset[str]) -> tuple[ConfigKey, ...]:
    """The broker keys that give topic keys their defaults, first synonyms only; others are in `own`."""
    keys = []
    for topic_key in (*RETENTION, *SEGMENTS, *RECORDS, *REPLICATION):
        for synonym in topic_key.synonyms[:1]:
            if synonym.name in own:
                continue
            only = len(topic_key.synonyms) == 1
            keys.append(
                replace(
                    topic_key,
                    name=synonym.name,
                    default=topic_key.default if only else None,
                    doc=f"Default of the topic key `{topic_key.name}`.{_MORE.get(synonym.name, '')}",
                    limits=_RETENTION if synonym.name == "log.retention.ms" else topic_key.limits,
                    scope=Scope.NODE,
                    update=Update.CLUSTER_WIDE,
                    synonyms=(),
                )
            )
    return tuple(keys)


_GROUPS: Final[tuple[tuple[str, tuple[ConfigKey, ...]], ...]] = (
    ("Placing a node", PLACE),
    ("Failure detection and quorum", FAILURE_DETECTION),
    ("Topics", TOPICS),
    ("Replication", REPLICA_FETCHING),
    ("Network", NETWORK),
    ("Logs", LOG_MANAGER),
    ("Threads", THREADS),
    ("Producers and transactions", PRODUCERS),
    ("Groups", GROUPS),
)

NODE_KEY_GROUPS: Final[tuple[tuple[str, tuple[ConfigKey, ...]], ...]] = (
    *_GROUPS,
    (
        "Defaults of topic keys",
        _behind_topic_keys(frozenset(key.name for _, keys in _GROUPS for key in keys)),
    ),
)
"""Every key of a node, under the headings of the documentation."""
