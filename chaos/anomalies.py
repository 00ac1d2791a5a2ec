"""The judge of histories: of simulated clusters and of real processes alike.

Pure and incremental: `Checker` is told of one event after the other, keeps what it needs in columns of
numbers, and judges when it is asked. It does not guess: what may have happened without a fault of the
cluster (a commit that nobody answered, an offset that nobody looked at) is no anomaly. Allowed are also
what Kafka does not promise: records of others between those of a transaction (G0), and after a rebalance
polls that go back or skip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from chaos.checking.commits import OffsetCommits
from chaos.checking.copies import Copies
from chaos.checking.findings import Anomaly, Findings, Judgement, Totals
from chaos.checking.ledger import ACKNOWLEDGED, NOWHERE, REFUSED, Ledger, Places
from chaos.checking.polls import PollOrder
from chaos.checking.promises import Promises
from chaos.checking.transactions import Fate, Transactions
from chaos.history import (
    Assigned,
    Committed,
    Compacted,
    Ended,
    Ending,
    Event,
    OffsetFetched,
    Outcome,
    Polled,
    ReadBack,
    Sent,
    Settled,
    Stored,
    Trimmed,
)

__all__ = ["Anomaly", "Checker", "Judgement", "Totals", "check"]


class Checker:
    """Told of the events of a history in their order."""

    def __init__(self) -> None:
        self._findings = Findings()
        self._places = Places()
        self._transactions = Transactions()
        self._ledger = Ledger(self._places, self._transactions, self._findings)
        self._polls = PollOrder(self._places, self._findings)
        self._commits = OffsetCommits()
        self._polled = 0
        self._observers: dict[type[Event], Callable[[Any], None]] = {
            Sent: self._ledger.sent,
            Settled: self._ledger.settled,
            Stored: self._ledger.stored,
            Assigned: lambda event: self._polls.assigned(event.client, event.assignment),
            Polled: self._observe_poll,
            Ending: self._transactions.ending,
            Ended: self._observe_end,
            Committed: self._observe_commit,
            OffsetFetched: self._commits.fetched,
            ReadBack: self._observe_read_back,
            Trimmed: self._observe_trim,
            Compacted: lambda event: self._places.compact(event.topic),
        }

    def observe(self, event: Event) -> None:
        """The next event. Raises ValueError if it contradicts those before: it was written down wrong."""
        self._observers[type(event)](event)

    def judgement(self) -> Judgement:
        """What is wrong with the history as far as it goes; it may go on afterwards."""
        findings = self._findings.copy()
        promises = Promises(self._ledger, self._transactions, self._polls)
        self._ledger.judge_strangers(findings)
        promises.judge(findings)
        self._polls.judge(findings, promises.visible)
        self._transactions.judge(findings)
        self._commits.judge(findings, self._transactions)
        Copies(self._ledger, self._transactions, promises).judge(findings, self._places)
        return findings.judgement(self._totals(promises.unjudged))

    def _totals(self, unjudged: int) -> Totals:
        fates = [transaction.fate for transaction in self._transactions]
        return Totals(
            sent=len(self._ledger),
            acknowledged=self._ledger.outcomes.count(ACKNOWLEDGED),
            refused=self._ledger.outcomes.count(REFUSED),
            read=len(self._ledger) - self._ledger.seen.count(0),
            polled=self._polled,
            unjudged=unjudged,
            not_read_back=sum(place.read_back_to == NOWHERE for place in self._places),
            transactions=len(fates),
            committed=fates.count(Fate.COMMITTED),
            aborted=fates.count(Fate.ABORTED),
            offset_commits=self._commits.count,
        )

    def _observe_poll(self, event: Polled) -> None:
        runs = list(self._places.runs(event.records))
        self._polls.polled(event, runs)
        for run in runs:
            self._ledger.read(event, run.place, run.offsets, run.numbers)
        self._polled += len(event.records)

    def _observe_end(self, event: Ended) -> None:
        transaction = self._transactions.ended(event)
        self._commits.ended(event, transaction)

    def _observe_commit(self, event: Committed) -> None:
        if event.transaction is None:
            self._commits.committed(event)
        elif event.outcome is not Outcome.REFUSED:
            self._transactions.get(event.transaction).commits.append(event)

    def _observe_read_back(self, event: ReadBack) -> None:
        place = self._places.get(event.topic, event.partition)
        place.read_back_to = max(place.read_back_to, event.end)
        place.found = self._polls.met(event.client, place)
        place.found_after = len(self._ledger)
        place.shown_whole |= event.committed_only

    def _observe_trim(self, event: Trimmed) -> None:
        place = self._places.get(event.topic, event.partition)
        place.trimmed_to = max(place.trimmed_to, event.start)


def check(events: Iterable[Event]) -> Judgement:
    """Judge a whole history. Raises ValueError if it contradicts itself: it was written down wrong."""
    checker = Checker()
    for event in events:
        checker.observe(event)
    return checker.judgement()
