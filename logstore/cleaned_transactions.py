"""Which transactions the batches of a log belong to, as a cleaning passes them from the start on.

Records of aborted transactions are no use to anybody. A marker has to stay as long as a batch of its
transaction is there: a reader would else take the records for another's, or for undecided. Source:
`CleanedTransactionMetadata` of Kafka's `LogCleaner`.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple

from kafkawire.records import BatchHeader, ControlRecord, ControlType
from logstore.aborted import AbortedTransaction

_FIRST_OFFSET = attrgetter("first_offset")


class Marker(NamedTuple):
    """What passing a marker showed: `stale` if no batch of its transaction is left; `aborted` is what the
    segment's index has to keep."""

    stale: bool
    aborted: AbortedTransaction | None = None


class CleanedTransactions:
    """Told of every batch in order; `aborted` are the aborted transactions of that part of the log."""

    __slots__ = ("_aborted", "_committed", "_open", "_passed", "_seen")

    def __init__(self, aborted: Iterable[AbortedTransaction]) -> None:
        self._aborted = sorted(aborted, key=_FIRST_OFFSET)
        self._passed = 0
        # By producer: the aborted transaction under way, whether a batch of it is there; the same of others.
        self._open: dict[int, AbortedTransaction] = {}
        self._seen: set[int] = set()
        self._committed: set[int] = set()

    def _advance(self, offset: int) -> None:
        while self._passed < len(self._aborted) and self._aborted[self._passed].first_offset <= offset:
            begun = self._aborted[self._passed]
            self._open[begun.producer_id] = begun
            self._passed += 1

    def pass_data(self, header: BatchHeader) -> bool:
        """Pass a batch of records; True if it belongs to an aborted transaction."""
        self._advance(header.last_offset)
        if not header.is_transactional:
            return False
        if header.producer_id in self._open:
            self._seen.add(header.producer_id)
            return True
        self._committed.add(header.producer_id)
        return False

    def pass_marker(self, header: BatchHeader, control: ControlRecord | None) -> Marker:
        """Pass a control batch, which `control` is None of if it is empty."""
        self._advance(header.last_offset)
        producer_id = header.producer_id
        if control is None:
            return Marker(stale=True)
        if control.kind is ControlType.COMMIT:
            stale = producer_id not in self._committed
            self._committed.discard(producer_id)
            return Marker(stale)
        aborted = self._open.pop(producer_id, None)
        stale = aborted is None or producer_id not in self._seen
        self._seen.discard(producer_id)
        return Marker(stale, None if stale else aborted)
