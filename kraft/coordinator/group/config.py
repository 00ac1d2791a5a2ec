"""What the node's configuration says to the group coordinator."""

from __future__ import annotations

import msgspec

from kraft.coordinator.group.consumer.config import ConsumerGroupConfig

_DAY_MS = 86_400_000


class GroupConfig(msgspec.Struct, frozen=True):
    """Settings of groups and offsets. Each is Kafka's key of the same name but where it says so."""

    min_session_timeout_ms: int = 6000
    max_session_timeout_ms: int = 1_800_000
    initial_rebalance_delay_ms: int = 3000
    max_size: int = 2**31 - 1
    offset_metadata_max_bytes: int = 4096
    offsets_retention_ms: int = 7 * _DAY_MS
    """`offsets.retention.minutes`."""
    retention_check_interval_ms: int = 600_000
    """`offsets.retention.check.interval.ms`."""
    new_member_join_timeout_ms: int = 300_000
    """How long a new member may wait for its first rebalance to end (a constant in Kafka)."""
    consumer: ConsumerGroupConfig = msgspec.field(default_factory=ConsumerGroupConfig)
    """Settings of KIP-848 groups."""
