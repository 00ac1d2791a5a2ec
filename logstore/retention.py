"""Which segments have had their time: by age, by size, and because the log was said to start later.

Only whole segments go, the oldest first and without a gap, and none that is not wholly below the high
watermark. Source: `org.apache.kafka.storage.internals.log.UnifiedLog.deleteOldSegments`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from kafkawire.errors import KafkaError
from logstore.config import LogConfig
from logstore.indexes import NO_TIMESTAMP
from logstore.segment import Segment


def expired_segments(
    segments: Sequence[Segment], config: LogConfig, *, now_ms: int, high_watermark: int, log_start: int
) -> int:
    """How many segments, from the first on, may be deleted; raises StorageError."""
    count = _while_deletable(
        segments, high_watermark, lambda segment: _ends_before(segment, segments, log_start)
    )
    if config.deletes:
        count = max(count, _by_age(segments, config, now_ms, high_watermark))
        count = max(count, _by_size(segments, config, high_watermark))
    return count


def _while_deletable(
    segments: Sequence[Segment], high_watermark: int, expired: Callable[[Segment], bool]
) -> int:
    count = 0
    for segment in segments:
        last_and_empty = segment is segments[-1] and not segment.size
        if segment.next_offset > high_watermark or last_and_empty or not expired(segment):
            break
        count += 1
    return count


def _ends_before(segment: Segment, segments: Sequence[Segment], log_start: int) -> bool:
    return segment is not segments[-1] and segment.next_offset <= log_start


def _by_age(segments: Sequence[Segment], config: LogConfig, now_ms: int, high_watermark: int) -> int:
    if config.retention_ms < 0:
        return 0

    def expired(segment: Segment) -> bool:
        youngest, _ = segment.largest_timestamp
        if youngest == NO_TIMESTAMP:
            return now_ms - segment.written_ms > config.retention_ms
        if now_ms - youngest <= config.retention_ms:
            return False
        with contextlib.suppress(KafkaError):  # what is damaged must not fill the disk for that
            youngest = segment.confirm_largest_timestamp()
        return now_ms - youngest > config.retention_ms

    return _while_deletable(segments, high_watermark, expired)


def _by_size(segments: Sequence[Segment], config: LogConfig, high_watermark: int) -> int:
    if config.retention_bytes < 0:
        return 0
    excess = sum(segment.size for segment in segments) - config.retention_bytes

    def expired(segment: Segment) -> bool:
        nonlocal excess
        if excess < segment.size:
            return False
        excess -= segment.size
        return True

    return _while_deletable(segments, high_watermark, expired)
