"""Which part of a log compaction may touch, whether that is worth it, and which segments become one.

Source: Kafka's `LogCleanerManager.cleanableOffsets` and `Cleaner.groupSegmentsBySize`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from logstore.config import LogConfig
from logstore.index import OFFSET_ENTRY, TIME_ENTRY
from logstore.scan import MAX_SPAN
from logstore.segment import Segment

_MOST_TOGETHER = 32
"""Most segments that are replaced at once: their files are renamed in one go."""


class Dirt(NamedTuple):
    """What a cleaning would look at: `clean` bytes before, `dirty` bytes of whole segments between
    `first_offset`, up to which the log is clean, and `end`. `overdue` if some of them are older than
    `max.compaction.lag.ms`.
    """

    first_offset: int
    end: int
    clean: int
    dirty: int
    overdue: bool

    @property
    def ratio(self) -> float:
        """Which share is dirty, from 0 to 1."""
        return self.dirty / (self.clean + self.dirty) if self.dirty else 0.0

    def is_due(self, config: LogConfig) -> bool:
        """Whether it should be cleaned by the topic's settings."""
        return self.dirty > 0 and (self.overdue or self.ratio > config.min_cleanable_dirty_ratio)


def find_dirt(
    segments: Sequence[Segment], config: LogConfig, *, first_dirty: int, up_to: int, now_ms: int
) -> Dirt:
    """Look at a log that is clean before `first_dirty`; nothing of a segment that reaches past `up_to` or is
    the last one may be cleaned. Raises StorageError, KafkaError."""
    clean = dirty = 0
    overdue = False
    end = segments[0].base_offset
    for segment in segments[:-1]:
        is_dirty = segment.next_offset > first_dirty
        if segment.next_offset > up_to or (is_dirty and _is_too_young(segment, config, now_ms)):
            break
        end = segment.next_offset
        if segment.base_offset < first_dirty:
            clean += segment.size
        if is_dirty:
            dirty += segment.size
            overdue = overdue or _is_overdue(segment, config, now_ms)
    return Dirt(first_dirty, max(end, first_dirty), clean, dirty, overdue)


def _is_too_young(segment: Segment, config: LogConfig, now_ms: int) -> bool:
    lag = config.min_compaction_lag_ms
    return lag > 0 and segment.largest_timestamp[0] > now_ms - lag


def _is_overdue(segment: Segment, config: LogConfig, now_ms: int) -> bool:
    oldest = now_ms - config.max_compaction_lag_ms
    return oldest > 0 and 0 < segment.find_first_timestamp() < oldest


def groups(segments: Sequence[Segment], config: LogConfig) -> list[list[Segment]]:
    """The segments in order, those together that make one which keeps the limits of a segment."""
    grouped: list[list[Segment]] = []
    size = 0
    for segment in segments:
        group = grouped[-1] if grouped else []
        size += segment.size
        if (
            group
            and len(group) < _MOST_TOGETHER
            and size <= config.segment_bytes
            and _index_bytes(size, config) <= config.segment_index_bytes
            and segment.next_offset - group[0].base_offset <= MAX_SPAN
        ):
            group.append(segment)
        else:
            grouped.append([segment])
            size = segment.size
    return grouped


def _index_bytes(size: int, config: LogConfig) -> int:
    """The most that an index of so many bytes of batches takes."""
    return max(OFFSET_ENTRY, TIME_ENTRY) * (size // max(config.index_interval_bytes, 61) + 2)
