"""Kafka's keys that mean nothing here: accepted, so that a file of Kafka's can be used as it is.

Only keys without which nobody could tell the difference stand here. What would be missed (encryption,
authorization, policies, quotas) stays an error while it is not there.
"""

from __future__ import annotations

from typing import Final

IGNORED_KEY_GROUPS: Final = (
    (
        "Thread pools; a node is one event loop",
        (
            "group.coordinator.threads",
            "num.replica.alter.log.dirs.threads",
        ),
    ),
    (
        "Buffers, which have the sizes that they need",
        (
            "offsets.load.buffer.size",
            "replica.socket.receive.buffer.bytes",
            "socket.listen.backlog.size",
            "socket.receive.buffer.bytes",
            "socket.send.buffer.bytes",
            "transaction.state.log.load.buffer.size",
        ),
    ),
    (
        "How Kafka's nodes talk to each other and wait for batches; these nodes talk another way",
        (
            "controller.quorum.append.linger.ms",
            "controller.quorum.election.backoff.max.ms",
            "controller.quorum.retry.backoff.ms",
            "delete.records.purgatory.purge.interval.requests",
            "fetch.purgatory.purge.interval.requests",
            "group.coordinator.append.linger.ms",
            "metadata.max.idle.interval.ms",
            "producer.purgatory.purge.interval.requests",
            "replica.socket.timeout.ms",
            "socket.connection.setup.timeout.max.ms",
            "socket.connection.setup.timeout.ms",
        ),
    ),
    (
        "Metrics of the JVM",
        (
            "auto.include.jmx.reporter",
            "metrics.num.samples",
            "metrics.recording.level",
            "metrics.sample.window.ms",
        ),
    ),
    (
        "Share groups, which clients are told are not supported",
        (
            "share.coordinator.state.topic.compression.codec",
            "share.coordinator.state.topic.min.isr",
            "share.coordinator.state.topic.num.partitions",
            "share.coordinator.state.topic.replication.factor",
            "share.coordinator.state.topic.segment.bytes",
        ),
    ),
)
"""Why they mean nothing, and their names."""

IGNORED_KEYS: Final = frozenset(name for _, names in IGNORED_KEY_GROUPS for name in names)
