"""What of a log's files was looked at since it was opened, and what of them turned out to be damaged.

A batch that was synced is believed at the start, and a disk may have changed it since. So whatever an
earlier process has written is doubted until its checksums were verified: by whoever reads it first, which
pays for what it reads, or by a look at everything in steps. What this process appends it has verified.

A batch's base offset and leader epoch are not under its checksum: they have to fit the batches around it, the
segment, and the leader epochs that are kept beside the log.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from contextlib import AbstractContextManager

import msgspec

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import BATCH_OVERHEAD, BatchHeader, check_crc, read_header
from logstore.aborted import AbortedTransaction
from logstore.cleaned_segment import BatchReader
from logstore.content import LogContent
from logstore.repair import Repair, repairing
from logstore.scan import scan_valid
from logstore.segment import Segment
from logstore.slices import LogSlice
from logstore.steps import Steps
from logstore.storage import File

MOST_AT_ONCE = 1 << 20
"""Bytes that a read verifies and returns at most, but for a first batch that is larger."""

_FORGOTTEN = -1
"""The epoch of what lies before the start of the log."""


class Doubt(msgspec.Struct):
    """Bytes of a segment that nobody has looked at, from a batch's start at `start` to `end`. The batch ahead
    of them goes from `previous` to `next_offset`. That was so when the log had been shortened `shortenings`
    times."""

    segment: Segment
    end: int
    previous: int
    next_offset: int
    shortenings: int
    start: int = 0

    def follow(self, shortenings: int) -> None:
        """Begin anew if the log was cut meanwhile: at `start` there may be the middle of another batch."""
        if self.shortenings != shortenings:
            self.shortenings, self.start = shortenings, 0
            self.previous = self.next_offset = self.segment.base_offset


class Integrity:
    """See the module. `doubts` are by the segment's file; `damaged` has the first offset that is not to be
    had of each damaged segment, by the segment's base offset."""

    def __init__(self, content: LogContent, inherited: Iterable[Segment]) -> None:
        """`inherited` are the segments that were not verified when the log was opened."""
        self._content = content
        self.doubts: dict[File, Doubt] = {}
        self.damaged: dict[int, int] = {}
        self._doubt(inherited)

    def _doubt(self, segments: Iterable[Segment]) -> None:
        for segment in segments:
            if segment.size:
                base = segment.base_offset
                self.doubts[segment.file] = Doubt(
                    segment, segment.size, base, base, self._content.shortenings
                )

    def doubt_all(self) -> None:
        """Everything is to be looked at anew."""
        self._doubt(self._content.segments.all)

    @property
    def is_doubted(self) -> bool:
        """Whether `look` would find something to do."""
        return any(doubt.segment.base_offset not in self.damaged for doubt in self.doubts.values())

    def repairing(self, high_watermark: int, chunk: int) -> AbstractContextManager[Repair]:
        """See `logstore.repair.repairing`."""
        return repairing(self._content, self, high_watermark, chunk)

    def forget(self, segments: Iterable[Segment]) -> None:
        """These segments are gone."""
        for segment in segments:
            self.doubts.pop(segment.file, None)
            self.damaged.pop(segment.base_offset, None)

    def fits(self, header: BatchHeader, segment: Segment) -> bool:
        """Whether a batch may lie in this segment, by what its checksum does not cover."""
        in_segment = segment.base_offset <= header.base_offset <= header.last_offset < segment.next_offset
        return in_segment and self.is_of_its_epoch(header)

    def is_of_its_epoch(self, header: BatchHeader) -> bool:
        """Whether a batch says the leader epoch in which its offset was written."""
        epoch = self._content.epochs.epoch_at(header.base_offset)
        return epoch in (header.partition_leader_epoch, _FORGOTTEN)

    # Reading.

    def confirm(self, found: LogSlice, offset: int) -> LogSlice:
        """The right batches that a read at `offset` has found, up to the first that is damaged.

        Raises KafkaError(CORRUPT_MESSAGE) if that is the first one, StorageError.
        """
        segments = self._content.segments
        doubt = self.doubts.get(found.file)
        if found.size and doubt is not None and _touches(doubt, found):
            size, next_offset, base_offset = self._right_part(found, doubt.segment)
            if not size:
                self._note(doubt.segment, offset)
                raise _damaged(offset)
            found = LogSlice(found.file, found.position, size, next_offset)
            if base_offset <= offset:
                return found
        elif (
            found.size
            and segments.all[segments.holding(offset)].file is found.file
            # Right behind what is doubted, that may hide the batch in question.
            and (doubt is None or found.position != doubt.end)
        ):
            return found
        self._confirm_gap(offset, found)
        return found

    def _right_part(self, found: LogSlice, segment: Segment) -> tuple[int, int, int]:
        """How many of its bytes are right batches, where those end, and the first one's base offset."""
        size = min(found.size, MOST_AT_ONCE)
        data = found.file.read_at(found.position, size + BATCH_OVERHEAD)
        try:
            first = read_header(data)
            if size < first.size <= found.size:
                size = first.size
                data = found.file.read_at(found.position, size + BATCH_OVERHEAD)
        except KafkaError:
            return 0, -1, -1
        before = end = (0, -1)
        while len(data) - end[0] >= BATCH_OVERHEAD:
            try:
                header = read_header(data, end[0])
            except KafkaError:
                break
            if header.base_offset < end[1]:
                end = before  # one of the two has a wrong offset
                break
            following = end[0] + header.size
            if following > size or not self.fits(header, segment) or not check_crc(data, end[0], header):
                break
            before, end = end, (following, header.next_offset)
        return (*end, first.base_offset)

    def _confirm_gap(self, offset: int, found: LogSlice) -> None:
        """There is no batch at `offset`: compaction may have removed it, or a header is none any more.

        Looks at the batches between the last one ahead of `offset` that an index knows, and what was found.
        """
        segments = self._content.segments
        for segment in segments.all[segments.holding(offset) :]:
            try:
                if self._is_behind(segment, offset, found):
                    return
            except KafkaError as error:
                self._note(segment, max(offset, segment.base_offset))
                raise _damaged(offset) from error

    def _is_behind(self, segment: Segment, offset: int, found: LogSlice) -> bool:
        """Whether what comes behind `offset` lies in this segment; raises KafkaError if it is damaged."""
        doubt = self.doubts.get(segment.file)
        here = segment.file is found.file
        end = found.position if here else segment.size if found.size else segment.locate(offset)
        if doubt is not None and end > doubt.start:
            self._confirm_before(segment, offset, end)
        if not found.size and end < segment.size:
            if doubt is not None and doubt.start <= end < doubt.end:
                self._confirm_unwanted(segment, offset, end)
            return True
        return here

    def _confirm_before(self, segment: Segment, offset: int, end: int) -> None:
        """No batch that lies ahead of the position `end` may be that of `offset`."""
        reached, after = segment.position_before(offset), segment.base_offset
        for position, header in scan_valid(segment.file, reached, end):
            if (
                not self.fits(header, segment)
                or not after <= header.base_offset <= header.last_offset < offset
            ):
                break
            reached, after = position + header.size, header.next_offset
        if reached < end:
            raise _damaged(offset)

    def _confirm_unwanted(self, segment: Segment, offset: int, position: int) -> None:
        """The batch at `position` goes too far for a read at `offset`, if it says the truth."""
        found = next(scan_valid(segment.file, position, segment.size), None)
        if found is None or not self.fits(found[1], segment):
            raise _damaged(offset)

    def _note(self, segment: Segment, offset: int) -> None:
        known = self.damaged.get(segment.base_offset, offset)
        self.damaged[segment.base_offset] = min(known, offset)

    def unreadable(self, offset: int) -> KafkaError:
        """What lies at `offset` could not even be looked up; returns what to raise."""
        segments = self._content.segments
        self._note(segments.all[segments.holding(offset)], offset)
        return _damaged(offset)

    # Looking at everything.

    def look(self, chunk: int) -> Steps[None]:
        """Look at the rest of one segment that is doubted, `chunk` bytes at a time; nothing if there is none.

        Raises StorageError.
        """
        files = {segment.file for segment in self._content.segments.all}
        self.doubts = {file: doubt for file, doubt in self.doubts.items() if file in files}
        for doubt in self.doubts.values():
            if doubt.segment.base_offset not in self.damaged:
                changes = self._changes
                with contextlib.closing(self._look_at(doubt, chunk)) as steps:
                    for step in steps:
                        yield step
                        if self._changes != changes:
                            return  # the file may be closed by now; another look will find what is left
                return

    @property
    def _changes(self) -> tuple[int, int, str | None]:
        """Another value says that segments may have gone, or were cut."""
        content = self._content
        return content.shortenings, content.replacements, content.failure

    def _look_at(self, doubt: Doubt, chunk: int) -> Steps[None]:
        segment = doubt.segment
        doubt.follow(self._content.shortenings)
        reader = BatchReader(segment, doubt.start, chunk)
        while reader.position < min(doubt.end, segment.size):
            try:
                header, _ = yield from reader.next()
            except KafkaError:
                header = None
            if header is None or not self.fits(header, segment):
                self._note(segment, doubt.next_offset)
                return
            if header.base_offset < doubt.next_offset:
                self._note(segment, doubt.previous)  # one of the two has a wrong offset
                return
            doubt.previous, doubt.next_offset, doubt.start = (
                doubt.next_offset,
                header.next_offset,
                reader.position,
            )
            yield None
        if self.doubts.get(segment.file) is doubt:  # or it is to be looked at anew
            del self.doubts[segment.file]

    # Helping others.

    def aborted(self, start: int, end: int) -> list[AbortedTransaction]:
        """The aborted transactions that a replica has to know which copies the batches in [start, end): those
        whose marker lies there."""
        return [each for each in self._content.segments.aborted_from(start) if each.last_offset < end]


def _touches(doubt: Doubt, found: LogSlice) -> bool:
    return found.position < doubt.end and found.position + found.size > doubt.start


def _damaged(offset: int) -> KafkaError:
    return KafkaError(ErrorCode.CORRUPT_MESSAGE, f"the batch at offset {offset} is damaged")
