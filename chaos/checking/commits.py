"""Committed offsets: whoever asks is told of the last acknowledged commit, or of one that came later.

A group's offset of a partition is a register. Commits and fetches take time; two that overlap may have
happened in either order. A commit without an answer may come true at any time after it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import TypeAlias

from chaos.checking.findings import Anomaly, Findings
from chaos.checking.transactions import Fate, Transaction
from chaos.history import Committed, Ended, OffsetFetched, Outcome

_Register: TypeAlias = tuple[str, str, int]
"""Group, topic, partition."""


class _Commits:
    """All that may be in one register."""

    __slots__ = ("done", "fetched", "possible")

    def __init__(self) -> None:
        self.done: list[Committed] = []
        """Acknowledged ones, as they were answered."""
        self.possible: dict[int, float] = {}
        """Offsets of those without an answer, and when each was first asked for."""
        self.fetched: list[tuple[OffsetFetched, Committed]] = []
        """What was told, and the later commit that it contradicts: so far."""


class OffsetCommits:
    """Told of commits and fetches of offsets in the order of their answers."""

    def __init__(self) -> None:
        self._registers: dict[_Register, _Commits] = {}
        self.count = 0
        """Acknowledged commits."""

    def committed(self, event: Committed) -> None:
        """A commit outside of transactions."""
        register = self._of(event)
        if event.outcome is Outcome.ACKNOWLEDGED:
            self.count += 1
            register.done.append(event)
        elif event.outcome is Outcome.UNKNOWN:
            began = event.at if event.began is None else event.began
            register.possible[event.offset] = min(began, register.possible.get(event.offset, began))

    def ended(self, event: Ended, transaction: Transaction) -> None:
        """A transaction's commits hold, or may hold, from when its end was asked for."""
        outcomes = {Fate.COMMITTED: Outcome.ACKNOWLEDGED, Fate.UNDECIDED: Outcome.UNKNOWN}
        outcome = outcomes.get(transaction.fate, Outcome.REFUSED)
        for commit in transaction.commits:
            began = transaction.asked if transaction.asked is not None else commit.at
            self.committed(commit._replace(at=event.at, began=began, outcome=outcome))

    def fetched(self, event: OffsetFetched) -> None:
        """What a group was told; kept if no commit known by now explains it."""
        register = self._of(event)
        last = self._last_before(register, event.began)
        if last is not None and event.offset != last.offset:
            register.fetched.append((event, last))

    def judge(self, findings: Findings, transactions: Iterable[Transaction]) -> None:
        """Add what no commit explains, nor one of those of `transactions` whose end nobody was told."""
        unheard = self._unheard(transactions)
        for (group, topic, partition), register in self._registers.items():
            for event, last in register.fetched:
                if self._possible(register, event) or self._explained(register, event, last):
                    continue
                if unheard.get((group, topic, partition, event.offset), inf) <= event.at:
                    continue
                text = "{} was told of {} for {}-{} (at {:.3f} s) after its commit of {} was acknowledged"
                offset = "no offset" if event.offset is None else f"offset {event.offset}"
                details = group, offset, topic, partition, event.at, last.offset
                findings.note(Anomaly.LOST_COMMIT, text, *details)

    def _of(self, event: Committed | OffsetFetched) -> _Commits:
        return self._registers.setdefault((event.group, event.topic, event.partition), _Commits())

    @staticmethod
    def _unheard(transactions: Iterable[Transaction]) -> dict[tuple[str, str, int, int | None], float]:
        """When commits were asked for, by place and offset, of which the client died before the answer."""
        asked: dict[tuple[str, str, int, int | None], float] = {}
        for transaction in transactions:
            if transaction.told is Fate.OPEN and transaction.fate is Fate.UNDECIDED:
                for commit in transaction.commits:
                    began = commit.at if transaction.asked is None else transaction.asked
                    place = commit.group, commit.topic, commit.partition, commit.offset
                    asked[place] = min(began, asked.get(place, began))
        return asked

    @staticmethod
    def _last_before(register: _Commits, began: float) -> Committed | None:
        for commit in reversed(register.done):
            if commit.at <= began:
                return commit
        return None

    @staticmethod
    def _possible(register: _Commits, event: OffsetFetched) -> bool:
        """Did a commit of that offset begin before this was answered, and have no answer itself?"""
        return event.offset is not None and register.possible.get(event.offset, inf) <= event.at

    @staticmethod
    def _explained(register: _Commits, event: OffsetFetched, last: Committed) -> bool:
        """Did another commit of that offset end after `last` began, and begin before this was answered?"""
        since = last.at if last.began is None else last.began
        return any(
            commit.offset == event.offset
            and commit.at >= since
            and (commit.began is None or commit.began <= event.at)
            for commit in register.done
        )
