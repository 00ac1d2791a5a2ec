"""Replacing what is damaged in a log by what another replica has.

A damaged segment is written anew: the batches before the damage are copied, all that follow come from a
replica that is in sync. The new segment takes the old one's place as a compacted one does. Of a log that is
compacted everything before it is replaced as well: a replica that was compacted further has no tombstone any
more of keys that would come back with our earlier segments. So is what was compacted here behind it: another
may still have records whose tombstones or transaction markers we have no more.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import check_crc, headers, placeholder_at
from logstore.aborted import AbortedTransaction
from logstore.cleaned_segment import BatchReader, CleanedSegment
from logstore.content import LogContent
from logstore.scan import MAX_SPAN
from logstore.segment import Segment
from logstore.steps import Aside, Steps
from logstore.storage import Buffer

if TYPE_CHECKING:
    from logstore.integrity import Integrity


_BASE_OFFSET = attrgetter("base_offset")


class RepairAborted(Exception):  # noqa: N818 - nothing is wrong that was not before
    """It cannot be done now, or the log was cut, retained or closed meanwhile."""


class Repair:
    """One under way, by `repairing`. The batches from `next_offset` to before `up_to` are wanted next."""

    def __init__(
        self,
        content: LogContent,
        integrity: Integrity,
        old: list[Segment],
        cleaned: CleanedSegment,
        chunk: int,
        compacted: bool,
    ) -> None:
        self._content = content
        self._integrity = integrity
        self._old = old
        self._cleaned = cleaned
        self._chunk = chunk
        self._compacted = compacted
        self._shortenings = content.shortenings
        self._end = old[0].base_offset
        """Where the batches end that the new segment has."""
        self._aborted: list[AbortedTransaction] = []
        self.next_offset = self._end
        self.up_to = old[-1].next_offset

    def check(self) -> None:
        """Raise RepairAborted if the log is not what it was in the beginning."""
        if self._content.failure is not None or self._content.shortenings != self._shortenings:
            raise RepairAborted("the log has changed")

    def copy(self) -> Steps[None]:
        """Copy what is right before the damage, unless the log is compacted. Raises RepairAborted,
        StorageError."""
        if not self._compacted:
            yield from self._copy_from(self._old[0])
            for transaction in self._old[0].aborted:
                if transaction.last_offset < self._end:
                    self._aborted.append(transaction)
        self.next_offset = max(self._end, self._content.start_offset)

    def _copy_from(self, segment: Segment) -> Steps[None]:
        first_damaged = self._integrity.damaged.get(segment.base_offset, segment.base_offset)
        reader = BatchReader(segment, 0, self._chunk)
        while self._end < first_damaged and not reader.at_end:
            try:
                header, data = yield from reader.next()
            except KafkaError:
                break
            self.check()
            fits = self._integrity.fits(header, segment) and header.base_offset >= self._end
            if not fits or header.next_offset > first_damaged:
                break
            yield from self._cleaned.add(data)
            self._end = header.next_offset
            yield None
            self.check()

    def add(
        self, records: Buffer, next_offset: int, aborted: Iterable[AbortedTransaction] = ()
    ) -> Steps[None]:
        """Add what another replica has from `next_offset` on, up to the `next_offset` that is given here, and
        the aborted transactions whose markers lie there.

        Raises KafkaError(CORRUPT_MESSAGE) if that is no better, RepairAborted, StorageError.
        """
        for position, header in headers(records):
            if (
                header.base_offset < self._end
                or not self.next_offset < header.next_offset <= min(next_offset, self.up_to)
                or header.last_offset_delta < 0
                or not self._integrity.is_of_its_epoch(header)
                or not check_crc(records, position, header)
            ):
                raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"no right batch at {self.next_offset}")
            self._end = self.next_offset = header.next_offset
            yield from self._cleaned.add(bytes(records[position : position + header.size]))
            self.check()
        if next_offset <= self.next_offset and not records:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"nothing at {self.next_offset}")
        self._note_aborted(aborted)
        self.next_offset = max(self.next_offset, next_offset)

    def _note_aborted(self, transactions: Iterable[AbortedTransaction]) -> None:
        before = self._aborted[-1].last_offset if self._aborted else self._old[0].base_offset - 1
        for transaction in transactions:
            if (
                not before < transaction.last_offset < self.up_to
                or transaction.first_offset >= transaction.last_offset
            ):
                raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{transaction} behind {before}")
            self._aborted.append(transaction)
            before = transaction.last_offset

    def finish(self) -> Steps[None]:
        """Put it in the place of what was damaged. Raises RepairAborted, StorageError, FileNotFoundError."""
        if self._end < self.up_to:
            # Between segments there is no gap, else recovery would take it for what was not written.
            epoch = max(0, self._content.epochs.epoch_at(self.up_to - 1))
            yield from self._cleaned.add(placeholder_at(self.up_to - 1, epoch))
            self.check()
        for transaction in self._aborted:
            self._cleaned.note_aborted(transaction)
        yield from self._cleaned.finish()
        self.check()
        self._content.swap(self._old)
        self._integrity.forget(self._old)
        if self._compacted:
            self._content.cleaned_to = min(self._content.cleaned_to, self._old[0].base_offset)
        aside = Aside(self._content.sync_names)
        yield aside
        return aside.result


@contextlib.contextmanager
def repairing(content: LogContent, integrity: Integrity, high_watermark: int, chunk: int) -> Iterator[Repair]:
    """Begin with the first damaged segment; what comes of it is gone at the end if it was not finished.

    Only what is committed is the same everywhere. Raises RepairAborted, StorageError, FileNotFoundError.
    """
    content.check_usable()
    segments = content.segments
    base_offset, offset = min(integrity.damaged.items(), default=(-1, -1))
    found = [number for number, each in enumerate(segments.all) if each.base_offset == base_offset]
    if not found or offset >= segments.all[found[0]].next_offset:
        integrity.damaged.pop(base_offset, None)
        raise RepairAborted("what was damaged is gone")
    if content.rewriting:
        raise RepairAborted("it is being compacted")
    (number,) = found
    if segments.all[number] is segments.active:
        content.roll()
    compacted = content.config.compacts or content.cleaned_to > 0
    old = _replaced(content, number) if compacted else [segments.all[number]]
    if old[-1].next_offset > high_watermark:
        raise RepairAborted("not all of it is committed yet")
    if old[-1].next_offset - old[0].base_offset > MAX_SPAN:
        raise RepairAborted("it is too much for one segment")
    with content.cleaned_segment(old[0].base_offset, chunk) as cleaned:
        yield Repair(content, integrity, old, cleaned, chunk, compacted)


def _replaced(content: LogContent, number: int) -> list[Segment]:
    """What has to go of a log that is compacted where its segment of this number is damaged."""
    closed = content.segments.all[:-1]
    return closed[: max(number + 1, bisect_left(closed, content.cleaned_to, key=_BASE_OFFSET))]
