"""What was promised of each record, and whether it was kept: looked through once, when a history is whole."""

from __future__ import annotations

from bisect import bisect_right

from chaos.checking.findings import Anomaly, Findings
from chaos.checking.ledger import (
    ACKNOWLEDGED,
    NOWHERE,
    READ,
    READ_AS_COMMITTED,
    REFUSED,
    Ledger,
    Place,
)
from chaos.checking.polls import PollOrder
from chaos.checking.transactions import NO_TRANSACTION, Fate, Transactions


class Promises:
    """The state of a history at one moment, and what is wrong with it then."""

    def __init__(self, ledger: Ledger, transactions: Transactions, polls: PollOrder) -> None:
        self._ledger = ledger
        self._transactions = transactions
        self._polls = polls
        self._newest: dict[int, dict[int, int]] = {}
        self._passed: dict[int, list[tuple[int, int]]] = {}
        self.unjudged = 0
        """Records that had to be there, unread, where nobody looked."""

    def judge(self, findings: Findings) -> None:
        """Add records that are gone, that should not have been shown, and sends in the wrong order."""
        ledger = self._ledger
        last: list[int] = [NOWHERE] * len(ledger.streams)
        columns = zip(ledger.seen, ledger.outcomes, ledger.offsets, ledger.stream, strict=True)
        for slot, (seen, outcome, offset, stream) in enumerate(columns):
            if seen:
                if outcome == REFUSED or seen & READ_AS_COMMITTED:
                    self._judge_shown(findings, slot)
                place = ledger.streams[stream].place
                if offset not in place.found and slot < place.found_after and self.is_due(slot):
                    self._judge_gone(findings, slot, place)
            elif self.is_due(slot):
                self._judge_missing(findings, slot)
            if outcome == ACKNOWLEDGED and offset != NOWHERE:
                if last[stream] != NOWHERE and ledger.offsets[last[stream]] > offset:
                    self._wrong_order(findings, last[stream], slot)
                last[stream] = slot

    def is_due(self, slot: int) -> bool:
        """Was it promised that the record is there, and shown to consumers of committed records?"""
        outcome, number = self._ledger.outcomes[slot], self._ledger.transaction[slot]
        if number == NO_TRANSACTION or outcome == REFUSED:
            return outcome == ACKNOWLEDGED
        transaction = self._transactions.get(number)
        return transaction.fate is Fate.COMMITTED or (transaction.committed and outcome == ACKNOWLEDGED)

    def visible(self, place: Place, committed_only: bool) -> list[int]:
        """The sorted offsets of records that somebody read, and that are not allowed to be gone since."""
        ledger = self._ledger
        offsets = [
            offset
            for offset, slot in place.slots.items()
            if ledger.seen[slot]
            and ledger.outcomes[slot] != REFUSED
            and not (committed_only and self._is_undecided(slot))
            and not self._may_be_gone(place, slot, offset)
        ]
        offsets.sort()
        return offsets

    def _is_undecided(self, slot: int) -> bool:
        number = self._ledger.transaction[slot]
        return number != NO_TRANSACTION and not self._transactions.get(number).committed

    def _judge_shown(self, findings: Findings, slot: int) -> None:
        ledger = self._ledger
        number, transaction = ledger.numbers[slot], ledger.transaction[slot]
        place = ledger.streams[ledger.stream[slot]].place
        if ledger.outcomes[slot] == REFUSED:
            text = "record {} was refused, and read from {} at offset {}"
            findings.note(Anomaly.ABORTED_READ, text, number, place, ledger.offsets[slot])
        elif transaction != NO_TRANSACTION and self._transactions.get(transaction).fate is Fate.ABORTED:
            text = "record {} of {}, offset {}, was read as committed; its transaction {} was aborted"
            details = number, place, ledger.offsets[slot], transaction
            findings.note(Anomaly.ABORTED_READ, text, *details)

    def _judge_missing(self, findings: Findings, slot: int) -> None:
        ledger = self._ledger
        stream, offset = ledger.streams[ledger.stream[slot]], ledger.offsets[slot]
        place = stream.place
        if self._may_be_gone(place, slot, offset):
            return
        if offset != NOWHERE and (offset < place.read_back_to or self._was_passed(place, offset)):
            text = "record {} of {} was acknowledged at offset {} of {}, and is not there"
            findings.note(Anomaly.LOST_WRITE, text, ledger.numbers[slot], stream.client, offset, place)
        elif place.read_back_to != NOWHERE:
            text = "record {} of {} was acknowledged{}; nobody found it in {}, which ends at {}"
            where = "" if offset == NOWHERE else f" at offset {offset}"
            details = ledger.numbers[slot], stream.client, where, place, place.read_back_to
            findings.note(Anomaly.UNSEEN, text, *details)
        else:
            self.unjudged += 1

    def _judge_gone(self, findings: Findings, slot: int, place: Place) -> None:
        """It was there once: a final consumer began after it, or ended before it."""
        ledger = self._ledger
        offset = ledger.offsets[slot]
        if not self._may_be_gone(place, slot, offset):
            text = "record {} of {} was acknowledged, read at offset {} of {}, and is not there any more"
            client = ledger.streams[ledger.stream[slot]].client
            findings.note(Anomaly.LOST_WRITE, text, ledger.numbers[slot], client, offset, place)

    def _was_passed(self, place: Place, offset: int) -> bool:
        passed = self._passed.get(place.number)
        if passed is None:
            passed = self._passed[place.number] = self._polls.passed(place)
        nearest = bisect_right(passed, (offset, -1)) - 1
        return nearest >= 0 and passed[nearest][0] < offset < passed[nearest][1]

    def _may_be_gone(self, place: Place, slot: int, offset: int) -> bool:
        """Retention or compaction may have taken it; where that is so, an unknown offset proves nothing."""
        if place.trimmed_to > max(offset, 0):
            return True
        if not place.compacted:
            return False
        newest = self._newest.get(place.number)
        if newest is None:
            newest = self._newest[place.number] = self._newest_of_keys(place)
        return offset < newest.get(self._ledger.keys[slot], NOWHERE)

    def _newest_of_keys(self, place: Place) -> dict[int, int]:
        ledger = self._ledger
        newest: dict[int, int] = {}
        for offset, slot in place.slots.items():
            stored = ledger.seen[slot] & READ or ledger.outcomes[slot] == ACKNOWLEDGED
            if stored and not self._is_undecided(slot):
                key = ledger.keys[slot]
                newest[key] = max(offset, newest.get(key, NOWHERE))
        return newest

    def _wrong_order(self, findings: Findings, before: int, slot: int) -> None:
        ledger = self._ledger
        transaction = ledger.transaction[slot]
        internal = transaction != NO_TRANSACTION and ledger.transaction[before] == transaction
        kind = Anomaly.INTERNAL_NONMONOTONIC_SEND if internal else Anomaly.EXTERNAL_NONMONOTONIC_SEND
        stream = ledger.streams[ledger.stream[slot]]
        text = "{} sent record {} after record {} to {}, and they lie at offsets {} and {}"
        numbers = ledger.numbers[slot], ledger.numbers[before]
        offsets = ledger.offsets[slot], ledger.offsets[before]
        findings.note(kind, text, stream.client, *numbers, stream.place, *offsets)
