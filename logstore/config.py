"""What a topic's configuration says to one log, under Kafka's names and with Kafka's defaults."""

from __future__ import annotations

import msgspec

UNLIMITED = -1
"""`retention_ms` and `retention_bytes` of a log that is never shortened."""

AS_PRODUCED = "producer"
"""`compression_type` where each batch stays as its producer has compressed it."""

LOG_APPEND_TIME = "LogAppendTime"
CREATE_TIME = "CreateTime"

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_INT64_MAX = 2**63 - 1


class LogConfig(msgspec.Struct, frozen=True):
    """Settings of one partition's log; sizes in bytes, times in milliseconds.

    Each field is the topic key of the same name with dots for underscores, except
    `producer_id_expiration_ms`, which only brokers have.
    """

    segment_bytes: int = 1_073_741_824
    segment_ms: int = 7 * _DAY_MS
    segment_jitter_ms: int = 0
    segment_index_bytes: int = 10_485_760
    index_interval_bytes: int = 4096
    preallocate: bool = False

    retention_ms: int = 7 * _DAY_MS
    retention_bytes: int = UNLIMITED
    cleanup_policy: str = "delete"
    delete_retention_ms: int = _DAY_MS
    min_compaction_lag_ms: int = 0
    max_compaction_lag_ms: int = _INT64_MAX
    min_cleanable_dirty_ratio: float = 0.5
    file_delete_delay_ms: int = 60_000

    max_message_bytes: int = 1_048_588
    compression_type: str = AS_PRODUCED
    message_timestamp_type: str = CREATE_TIME
    message_timestamp_before_max_ms: int = _INT64_MAX
    message_timestamp_after_max_ms: int = _HOUR_MS

    flush_messages: int = _INT64_MAX
    flush_ms: int = _INT64_MAX
    producer_id_expiration_ms: int = _DAY_MS

    @property
    def deletes(self) -> bool:
        """Whether old segments are deleted by age and size."""
        return "delete" in self.cleanup_policy

    @property
    def compacts(self) -> bool:
        """Whether offsets may be missing because older records of a key were removed."""
        return "compact" in self.cleanup_policy
