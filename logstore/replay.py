"""Producer state from batches: the same steps for an append, a replay from the log and a recovery."""

from __future__ import annotations

from collections.abc import Sequence

from kafkawire.records import BatchHeader, ControlRecord, parse_control_record, records
from logstore.aborted import AbortedTransaction
from logstore.producers import ProducerStates
from logstore.segment import Segment
from logstore.snapshots import SnapshotFiles
from logstore.storage import Buffer

_EARLIER_ENTRIES = 8
_EARLIER_BYTES = 256 * 1024


def control_of(buffer: Buffer, position: int, header: BatchHeader) -> ControlRecord | None:
    """The marker in a producer's control batch, None for any other batch; raises KafkaError.

    A control batch that compaction has emptied says nothing any more.
    """
    if not (header.is_control and header.has_producer and header.record_count):
        return None
    return parse_control_record(next(records(buffer, position)))


def note_batch(
    states: ProducerStates, header: BatchHeader, control: ControlRecord | None, first_offset: int
) -> AbortedTransaction | None:
    """Count in a producer's batch that starts at `first_offset`; returns a transaction that it aborted."""
    if control is not None:
        return states.finish(header, control, first_offset)
    if not header.is_control:
        states.record(header, first_offset)
    return None


def note_stored_batch(
    states: ProducerStates, segment: Segment, position: int, header: BatchHeader
) -> AbortedTransaction | None:
    """The same for a batch in a segment file; reads it if it is a marker. Raises StorageError, KafkaError."""
    if not header.has_producer:
        return None
    control = None
    if header.is_control:
        control = control_of(segment.file.read_at(position, header.size), 0, header)
    return note_batch(states, header, control, header.base_offset)


def restore_producers(snapshots: SnapshotFiles, segments: Sequence[Segment], end: int) -> ProducerStates:
    """The producers of a log that ends at `end`: the latest snapshot, and the batches behind it.

    Raises StorageError, KafkaError.
    """
    start, states = snapshots.load(at_most=end)
    if start is None or not segments or start < segments[0].base_offset:
        start = segments[0].base_offset if segments else end
    elif len(states):
        _remember_earlier(states, segments, start)
    for segment in segments:
        if segment.next_offset <= start or segment.base_offset >= end:
            continue
        for position, header in segment.scan(segment.locate(start)):
            if header.base_offset >= end:
                break
            note_stored_batch(states, segment, position, header)
    return states


def _remember_earlier(states: ProducerStates, segments: Sequence[Segment], start: int) -> None:
    # A snapshot has one batch per producer where a retry may repeat any of the last five: the end of the
    # segment before the snapshot most likely holds them.
    segment = next((one for one in reversed(segments) if one.base_offset < start), None)
    if segment is None:
        return
    headers = segment.last_headers(_EARLIER_ENTRIES, _EARLIER_BYTES)
    states.remember_earlier(header for header in headers if header.next_offset <= start)
