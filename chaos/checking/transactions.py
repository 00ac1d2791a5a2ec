"""How transactions ended, as far as anybody was told, and who read from whom."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from chaos.checking.cycles import strongly_connected
from chaos.checking.findings import Anomaly, Findings
from chaos.history import Committed, Ended, Ending, Outcome

NO_TRANSACTION = -1


class Fate(Enum):
    """What became of a transaction."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"
    UNDECIDED = "undecided"
    """Its commit was asked for and never answered: the answer was lost, or whoever asked died first."""


class Transaction:
    """One transaction: its end, the offsets that it commits, and reads that came before their time."""

    __slots__ = ("asked", "client", "commits", "early", "ending", "seen", "told")

    def __init__(self) -> None:
        self.client: str | None = None
        self.told = Fate.OPEN
        """What its client was told of its end."""
        self.ending: bool | None = None
        """The end that was last asked for, a commit or an abort; None if none was written down."""
        self.asked: float | None = None
        """When its commit was asked for, None if that was never written down."""
        self.seen = False
        """A consumer of committed records read one of its, and not too early."""
        self.commits: list[Committed] = []
        self.early: dict[int, str] = {}
        """Records that were read before its end was asked for, and by whom."""

    def end(self, event: Ended) -> None:
        """Take the end down. After a commit without an answer only an acknowledged one decides."""
        if event.commit and event.outcome is Outcome.ACKNOWLEDGED:
            self.told = Fate.COMMITTED
        elif self.told is Fate.OPEN:
            unknown = event.commit and event.outcome is Outcome.UNKNOWN
            self.told = Fate.UNDECIDED if unknown else Fate.ABORTED

    @property
    def fate(self) -> Fate:
        """What became of it: without an answer, what the end that its client asked for at last may do."""
        if self.told is not Fate.OPEN or self.ending is None:
            return self.told
        return Fate.UNDECIDED if self.ending else Fate.ABORTED

    @property
    def committed(self) -> bool:
        """Its commit was acknowledged, or shown by its effect."""
        return self.fate is Fate.COMMITTED or (self.fate is Fate.UNDECIDED and self.seen)


class Transactions:
    """All transactions of a history, by their number."""

    def __init__(self) -> None:
        self._all: dict[int, Transaction] = {}
        self._reads_from: set[tuple[int, int]] = set()

    def __iter__(self) -> Iterator[Transaction]:
        return iter(self._all.values())

    def get(self, number: int) -> Transaction:
        """The transaction `number`, a new one if nobody spoke of it yet."""
        found = self._all.get(number)
        if found is None:
            found = self._all[number] = Transaction()
        return found

    def began(self, number: int, client: str) -> None:
        """A record was sent in it."""
        self.get(number).client = client

    def ending(self, event: Ending) -> None:
        """Its end is asked for."""
        transaction = self.get(event.transaction)
        transaction.ending = event.commit
        if event.commit and transaction.asked is None:
            transaction.asked = event.at

    def ended(self, event: Ended) -> Transaction:
        """Its end was answered."""
        transaction = self.get(event.transaction)
        transaction.end(event)
        return transaction

    def read(self, number: int, record: int, reader: str, into: int | None) -> None:
        """Its `record` was read as committed by `reader`, as a part of the transaction `into` if any."""
        transaction = self.get(number)
        if transaction.fate is Fate.OPEN and transaction.asked is None:
            if reader == transaction.client or record not in transaction.early:
                transaction.early[record] = reader
        else:
            transaction.seen = True
        if into is not None and into != number:
            self._reads_from.add((number, into))

    def judge(self, findings: Findings) -> None:
        """Add what transactions did wrong among each other."""
        for number, transaction in self._all.items():
            if transaction.early and transaction.fate is not Fate.ABORTED:
                for record, reader in transaction.early.items():
                    self._early(findings, number, transaction, record, reader)
        edges: dict[int, list[int]] = {}
        for writer, reader_number in sorted(self._reads_from):
            if (
                self._all[writer].fate is not Fate.ABORTED
                and self.get(reader_number).fate is not Fate.ABORTED
            ):
                edges.setdefault(writer, []).append(reader_number)
        for circle in strongly_connected(edges):
            names = ", ".join(map(str, sorted(circle)[:5]))
            findings.note(Anomaly.READ_CYCLE, "{} transactions read from each other: {}", len(circle), names)

    def _early(
        self, findings: Findings, number: int, transaction: Transaction, record: int, reader: str
    ) -> None:
        own = reader == transaction.client
        if own or transaction.asked is not None:
            text = "{} read record {} of {} transaction {} before its commit was asked for"
            findings.note(Anomaly.UNCOMMITTED_READ, text, reader, record, "its own" if own else "the", number)
