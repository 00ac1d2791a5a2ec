"""Finding offsets by time. Only here are records decoded: a batch tells no more than its largest timestamp.

Source: `UnifiedLog.fetchOffsetByTimestamp`, `LogSegment.findOffsetByTimestamp`.
"""

from __future__ import annotations

from typing import NamedTuple

from kafkawire.records import records
from logstore.indexes import NO_TIMESTAMP
from logstore.segment import Segment
from logstore.segments import Segments


class TimestampOffset(NamedTuple):
    """A record's timestamp (ms), its offset and the leader epoch of its batch."""

    timestamp: int
    offset: int
    epoch: int


def first_at_or_after(
    segments: Segments, timestamp: int, *, start: int, up_to: int
) -> TimestampOffset | None:
    """The first record in [start, up_to) that is not older than `timestamp`; None if there is none.

    Raises StorageError, KafkaError.
    """
    for segment in segments.all:
        if segment.base_offset >= up_to:
            return None
        if segment.next_offset > start and segment.largest_timestamp[0] >= timestamp:
            found = _first_in(segment, timestamp, start)
            segments.keep_warm(segment)
            if found is not None:
                return found if found.offset < up_to else None
    return None


def _first_in(segment: Segment, timestamp: int, start: int) -> TimestampOffset | None:
    hint = max(start, segment.indexes.times.floor(timestamp), segment.base_offset)
    for position, header in segment.scan(segment.locate(hint)):
        if header.largest_timestamp >= timestamp:
            batch = segment.file.read_at(position, header.size)
            for record in records(batch):
                if record.timestamp >= timestamp and record.offset >= start:
                    return TimestampOffset(record.timestamp, record.offset, header.partition_leader_epoch)
    return None


def youngest(segments: Segments, *, start: int, up_to: int) -> TimestampOffset | None:
    """The first of the records with the largest timestamp in [start, up_to); None if there is none.

    Raises StorageError, KafkaError.
    """
    best = NO_TIMESTAMP
    for segment in segments.all:
        if segment.next_offset > start and segment.base_offset < up_to:
            best = max(best, _largest_between(segment, start, up_to))
            if segment.base_offset < start:
                segments.keep_warm(segment)
    if best == NO_TIMESTAMP:
        return None
    return first_at_or_after(segments, best, start=start, up_to=up_to)


def _largest_between(segment: Segment, start: int, up_to: int) -> int:
    timestamp, offset = segment.largest_timestamp
    if segment.base_offset >= start and offset < up_to:
        return timestamp
    largest = NO_TIMESTAMP
    for position, header in segment.scan(segment.locate(start) if segment.base_offset < start else 0):
        if header.next_offset > up_to:
            break
        if header.base_offset < start:
            batch = segment.file.read_at(position, header.size)
            here = (each.timestamp for each in records(batch) if each.offset >= start)
            largest = max(here, default=NO_TIMESTAMP)
        else:
            largest = max(largest, header.largest_timestamp)
    return largest
