"""The configuration keys of topics: Kafka's names, defaults and limits (`TopicConfig`, `LogConfig`)."""

from __future__ import annotations

from typing import Final

from metadata.config_types import (
    INT_MAX,
    LONG_MAX,
    Between,
    ConfigKey,
    ConfigType,
    OneOf,
    SomeOf,
    Synonym,
    ThrottledReplicas,
)

_BOOLEAN, _STRING, _INT, _LONG = ConfigType.BOOLEAN, ConfigType.STRING, ConfigType.INT, ConfigType.LONG
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS

COMPRESSION_TYPES: Final = ("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")
TIMESTAMP_TYPES: Final = ("CreateTime", "LogAppendTime")
CLEANUP_POLICIES: Final = ("compact", "delete")

RETENTION: Final = (
    ConfigKey(
        "cleanup.policy",
        ConfigType.LIST,
        ("delete",),
        "What happens to old segments: `delete` drops them by age and size, `compact` keeps the last "
        "record of every key. Both may be given; with neither, an empty list, everything is kept.",
        SomeOf(CLEANUP_POLICIES, may_be_empty=True),
        synonyms=(Synonym("log.cleanup.policy"),),
    ),
    ConfigKey(
        "retention.ms",
        _LONG,
        7 * _DAY_MS,
        "How long records are kept under the `delete` policy, in milliseconds; -1 keeps them for ever.",
        Between(-1, LONG_MAX),
        synonyms=(
            Synonym("log.retention.ms"),
            Synonym("log.retention.minutes", 60_000),
            Synonym("log.retention.hours", _HOUR_MS),
        ),
    ),
    ConfigKey(
        "retention.bytes",
        _LONG,
        -1,
        "How large a partition may grow under the `delete` policy before its oldest segments go; -1 is no "
        "limit.",
        synonyms=(Synonym("log.retention.bytes"),),
    ),
    ConfigKey(
        "file.delete.delay.ms",
        _LONG,
        60_000,
        "How long a deleted segment's files stay on disk, so that reads under way can end.",
        Between(0, LONG_MAX),
        synonyms=(Synonym("log.segment.delete.delay.ms"),),
    ),
    ConfigKey(
        "delete.retention.ms",
        _LONG,
        _DAY_MS,
        "How long tombstones of a compacted topic are kept.",
        Between(0, LONG_MAX),
        synonyms=(Synonym("log.cleaner.delete.retention.ms"),),
    ),
    ConfigKey(
        "min.compaction.lag.ms",
        _LONG,
        0,
        "For how long a record stays out of compaction.",
        Between(0, LONG_MAX),
        synonyms=(Synonym("log.cleaner.min.compaction.lag.ms"),),
    ),
    ConfigKey(
        "max.compaction.lag.ms",
        _LONG,
        LONG_MAX,
        "After how long a record is due for compaction.",
        Between(1, LONG_MAX),
        synonyms=(Synonym("log.cleaner.max.compaction.lag.ms"),),
    ),
    ConfigKey(
        "min.cleanable.dirty.ratio",
        ConfigType.DOUBLE,
        0.5,
        "Which share of a log must be uncompacted before it is compacted.",
        Between(0, 1),
        synonyms=(Synonym("log.cleaner.min.cleanable.ratio"),),
    ),
)

SEGMENTS: Final = (
    ConfigKey(
        "segment.bytes",
        _INT,
        1_073_741_824,
        "The size at which a segment is closed and the next one begins. Only closed segments are deleted.",
        Between(1_048_576, INT_MAX),
        synonyms=(Synonym("log.segment.bytes"),),
    ),
    ConfigKey(
        "segment.ms",
        _LONG,
        7 * _DAY_MS,
        "The age at which a segment is closed even if it is not full.",
        Between(1, LONG_MAX),
        synonyms=(Synonym("log.roll.ms"), Synonym("log.roll.hours", _HOUR_MS)),
    ),
    ConfigKey(
        "segment.jitter.ms",
        _LONG,
        0,
        "The most by which closing a segment is brought forward at random, so that not all are closed at "
        "once.",
        Between(0, LONG_MAX),
        synonyms=(Synonym("log.roll.jitter.ms"), Synonym("log.roll.jitter.hours", _HOUR_MS)),
    ),
    ConfigKey(
        "segment.index.bytes",
        _INT,
        10_485_760,
        "The largest size of a segment's offset index.",
        Between(4, INT_MAX),
        synonyms=(Synonym("log.index.size.max.bytes"),),
    ),
    ConfigKey(
        "index.interval.bytes",
        _INT,
        4096,
        "After how many bytes of log the index gets an entry.",
        Between(0, INT_MAX),
        synonyms=(Synonym("log.index.interval.bytes"),),
    ),
    ConfigKey(
        "preallocate",
        _BOOLEAN,
        False,
        "Whether a segment's file is given its full size when it is created. Accepted, without effect.",
        synonyms=(Synonym("log.preallocate"),),
    ),
    ConfigKey(
        "flush.messages",
        _LONG,
        LONG_MAX,
        "After how many records the log is synced to disk. 1 syncs before every acknowledgement, which "
        "survives a power cut of all replicas at once; the default leaves it to replication and the "
        "operating system.",
        Between(1, LONG_MAX),
        synonyms=(Synonym("log.flush.interval.messages"),),
    ),
    ConfigKey(
        "flush.ms",
        _LONG,
        LONG_MAX,
        "After how many milliseconds what was appended is synced to disk; looked at a few times a second.",
        Between(0, LONG_MAX),
        synonyms=(Synonym("log.flush.interval.ms"), Synonym("log.flush.scheduler.interval.ms")),
    ),
)

RECORDS: Final = (
    ConfigKey(
        "max.message.bytes",
        _INT,
        1_048_588,
        "The largest record batch that is accepted, as it is sent (compressed, if it is).",
        Between(0, INT_MAX),
        synonyms=(Synonym("message.max.bytes"),),
    ),
    ConfigKey(
        "compression.type",
        _STRING,
        "producer",
        "The compression on disk: a leader compresses anew what comes in another one. `producer` keeps what "
        "the producer chose.",
        OneOf(COMPRESSION_TYPES),
        synonyms=(Synonym("compression.type"),),
    ),
    ConfigKey(
        "message.timestamp.type",
        _STRING,
        "CreateTime",
        "Whether a record carries the producer's time or the time at which it was appended.",
        OneOf(TIMESTAMP_TYPES),
        synonyms=(Synonym("log.message.timestamp.type"),),
    ),
    ConfigKey(
        "message.timestamp.before.max.ms",
        _LONG,
        LONG_MAX,
        "How far a record's CreateTime may lie in the past.",
        Between(0, LONG_MAX),
        synonyms=(Synonym("log.message.timestamp.before.max.ms"),),
    ),
    ConfigKey(
        "message.timestamp.after.max.ms",
        _LONG,
        _HOUR_MS,
        "How far a record's CreateTime may lie in the future.",
        Between(0, LONG_MAX),
        synonyms=(Synonym("log.message.timestamp.after.max.ms"),),
    ),
)

REPLICATION: Final = (
    ConfigKey(
        "min.insync.replicas",
        _INT,
        1,
        "How many replicas must be in sync for a write with acks=all to be accepted; with fewer, the high "
        "watermark stands still too. Counts at most the replicas that the topic has.",
        Between(1, INT_MAX),
        synonyms=(Synonym("min.insync.replicas"),),
    ),
    ConfigKey(
        "unclean.leader.election.enable",
        _BOOLEAN,
        False,
        "Whether a replica that may miss acknowledged records can become leader when no other is left.",
        synonyms=(Synonym("unclean.leader.election.enable"),),
    ),
    ConfigKey(
        "leader.replication.throttled.replicas",
        ConfigType.LIST,
        (),
        "Replicas whose replication is throttled at the leader. Accepted, without effect.",
        ThrottledReplicas(),
    ),
    ConfigKey(
        "follower.replication.throttled.replicas",
        ConfigType.LIST,
        (),
        "Replicas whose replication is throttled at the follower. Accepted, without effect.",
        ThrottledReplicas(),
    ),
)
