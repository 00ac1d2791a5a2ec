"""Consume, transform, produce: every record is copied once, in the transaction that commits past it."""

from __future__ import annotations

from chaos.checking.findings import Anomaly, Findings
from chaos.checking.ledger import NOWHERE, READ_AS_COMMITTED, REFUSED, Ledger, Places
from chaos.checking.promises import Promises
from chaos.checking.transactions import NO_TRANSACTION, Fate, Transactions


class Copies:
    """The copies of a history. Who copies, copies every record from the start of a partition on."""

    def __init__(self, ledger: Ledger, transactions: Transactions, promises: Promises) -> None:
        self._ledger = ledger
        self._transactions = transactions
        self._promises = promises

    def judge(self, findings: Findings, places: Places) -> None:
        """Add records of which there are two committed copies in one topic, or none where one is due."""
        ledger = self._ledger
        self._judge_twice(findings)
        copied = {original for slot, original in ledger.copies.items() if self._may_be_there(slot)}
        for (topic, index), end in self._ends().items():
            place = places.get(topic, index)
            for offset in self._promises.visible(place, True):
                record = ledger.numbers[place.slots[offset]]
                if offset < end and record not in copied:
                    text = "record {} at offset {} of {}, before the committed offset {}, has no copy"
                    findings.note(Anomaly.NOT_COPIED, text, record, offset, place, end)

    def _judge_twice(self, findings: Findings) -> None:
        ledger = self._ledger
        copied: dict[tuple[str, int], int] = {}
        for slot, original in ledger.copies.items():
            if self._promises.is_due(slot) or self._was_shown(slot):
                topic = ledger.streams[ledger.stream[slot]].place.topic
                first = copied.setdefault((topic, original), slot)
                if first != slot:
                    text = "record {} has two copies in {}: records {} and {}"
                    numbers = ledger.numbers[first], ledger.numbers[slot]
                    findings.note(Anomaly.COPIED_TWICE, text, original, topic, *numbers)

    def _ends(self) -> dict[tuple[str, int], int]:
        """How far transactions that made copies have committed, by partition of the originals."""
        ends: dict[tuple[str, int], int] = {}
        copying = {self._ledger.transaction[slot] for slot in self._ledger.copies}
        for number in copying - {NO_TRANSACTION}:
            transaction = self._transactions.get(number)
            if transaction.fate is Fate.COMMITTED:
                for commit in transaction.commits:
                    place = commit.topic, commit.partition
                    ends[place] = max(commit.offset, ends.get(place, 0))
        return ends

    def _is_aborted(self, slot: int) -> bool:
        number = self._ledger.transaction[slot]
        aborted = number != NO_TRANSACTION and self._transactions.get(number).fate is Fate.ABORTED
        return aborted or self._ledger.outcomes[slot] == REFUSED

    def _was_shown(self, slot: int) -> bool:
        """A consumer got the copy for good, whatever its producer was told."""
        number, seen = self._ledger.transaction[slot], self._ledger.seen[slot]
        if number == NO_TRANSACTION:
            return bool(seen) and not self._is_aborted(slot)
        return bool(seen & READ_AS_COMMITTED) and self._transactions.get(number).committed

    def _may_be_there(self, slot: int) -> bool:
        """True but for copies that were taken back, and those of an open fate that nobody found at last."""
        if self._is_aborted(slot):
            return False
        if self._promises.is_due(slot) or self._was_shown(slot):
            return True
        place = self._ledger.streams[self._ledger.stream[slot]].place
        looked = place.shown_whole or (place.read_back_to != NOWHERE and not self._ledger.seen[slot])
        return not looked
