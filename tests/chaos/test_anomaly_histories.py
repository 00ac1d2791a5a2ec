"""Histories drawn from a model of a log are judged clean, and with an anomaly planted to have just that."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from chaos.anomalies import Anomaly, check
from chaos.history import (
    ALTERED,
    Assigned,
    Committed,
    Ended,
    Ending,
    Event,
    OffsetFetched,
    Outcome,
    Polled,
    Read,
    ReadBack,
    Sent,
    Settled,
    Stored,
    Trimmed,
)

YES, NO, MAYBE = Outcome.ACKNOWLEDGED, Outcome.REFUSED, Outcome.UNKNOWN
Candidate = TypeVar("Candidate")
PLACES = [("t", 0), ("t", 1), ("copies", 0)]
MARKER = -1


class Log:
    """One partition: the record at each offset, MARKER at the end of a transaction, and whose it is."""

    def __init__(self) -> None:
        self.records: list[int] = []
        self.transactions: list[int | None] = []
        self.start = 0

    @property
    def end(self) -> int:
        return len(self.records)

    def append(self, record: int, transaction: int | None) -> int:
        self.records.append(record)
        self.transactions.append(transaction)
        return self.end - 1


class Consumer:
    """One that polls as it likes; `group` is the one whose offsets it commits."""

    def __init__(self, name: str, committed_only: bool) -> None:
        self.name = name
        self.committed_only = committed_only
        self.assignment = 0
        self.positions = dict.fromkeys(PLACES, 0)


class Model:
    """A log with transactions and groups that never goes wrong, and clients that write down what they see."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.events: list[Event] = []
        self.logs = {place: Log() for place in PLACES}
        self.decided: dict[int | None, bool | None] = {}
        """What became of each transaction in the log; None as long as it is open."""
        self.open: dict[str, int] = {}
        self.consumers = [Consumer("loose", False), Consumer("strict", True), Consumer("strict too", True)]
        self.copier = Consumer("copier", True)
        self.committed: int | None = None
        self.copied_to = 0
        self.numbers = iter(range(10**9))
        self.time = 0.0

    def at(self) -> float:
        self.time += 0.01
        return self.time

    def run(self, steps: int) -> Model:
        actions = [
            self.plain,
            self.plain,
            self.transactional,
            self.poll,
            self.poll,
            self.rebalance,
            self.trim,
        ]
        actions += [self.batch, self.commit_offset, self.fetch_offset, self.copy, self.end_transaction]
        for _ in range(steps):
            self.rng.choice(actions)()
        for client in list(self.open):
            self.end(client)
        for consumer in (Consumer("last", False), Consumer("last committed", True)):
            for place, log in self.logs.items():
                consumer.positions[place] = log.start
                while consumer.positions[place] < log.end:
                    self.poll_from(consumer, place, None)
                self.events.append(
                    ReadBack(consumer.name, self.at(), *place, log.end, consumer.committed_only)
                )
        return self

    def send(
        self, client: str, place: tuple[str, int], transaction: int | None, original: int | None = None
    ) -> int:
        record = next(self.numbers)
        key = self.rng.randrange(3)
        self.events.append(Sent(client, self.at(), record, *place, key, transaction, original))
        return record

    def plain(self) -> None:
        client, place = self.rng.choice(["a", "b"]), self.rng.choice(PLACES[:2])
        record = self.send(client, place, None)
        outcome, stored = self.rng.choice(
            [(YES, True), (YES, True), (MAYBE, True), (MAYBE, False), (NO, False)]
        )
        offset = self.logs[place].append(record, None) if stored else None
        told = offset if outcome is YES and self.rng.random() < 0.7 else None
        if self.rng.random() < 0.9 or outcome is YES:
            self.events.append(Settled(client, self.at(), record, outcome, told))

    def batch(self) -> None:
        place = self.rng.choice(PLACES[:2])
        records = tuple(self.send("batcher", place, None) for _ in range(self.rng.randrange(1, 5)))
        offsets = [self.logs[place].append(record, None) for record in records]
        self.events.append(Stored("batcher", self.at(), records, self.rng.choice([offsets[0], None])))

    def transactional(self) -> None:
        client, place = self.rng.choice(["x", "y"]), self.rng.choice(PLACES[:2])
        if client not in self.open:
            self.open[client] = len(self.decided)
            self.decided[self.open[client]] = None
        transaction = self.open[client]
        record = self.send(client, place, transaction)
        offset = self.logs[place].append(record, transaction)
        self.events.append(Settled(client, self.at(), record, YES, self.rng.choice([offset, None])))

    def end_transaction(self) -> None:
        if self.open:
            self.end(self.rng.choice(list(self.open)))

    def end(self, client: str, commit: bool | None = None) -> bool:
        """End a client's transaction; what it asked for may come true without an answer, or not."""
        transaction = self.open.pop(client)
        wanted = self.rng.random() < 0.6 if commit is None else commit
        outcome = self.rng.choice([YES, YES, MAYBE])
        done = wanted and (outcome is YES or self.rng.random() < 0.5)
        if self.rng.random() < 0.7:
            self.events.append(Ending(client, self.at(), transaction, wanted))
        self.decided[transaction] = done
        for log in self.logs.values():
            if transaction in log.transactions:
                log.append(MARKER, None)
        self.events.append(Ended(client, self.at(), transaction, wanted, outcome))
        return done

    def poll(self) -> None:
        consumer = self.rng.choice(self.consumers)
        into = None
        if self.open and consumer.name == "strict too" and self.rng.random() < 0.3:
            into = self.rng.choice(list(self.open.values()))
        self.poll_from(consumer, self.rng.choice(PLACES), into)

    def poll_from(self, consumer: Consumer, place: tuple[str, int], into: int | None) -> list[Read]:
        log = self.logs[place]
        end = log.end
        if consumer.committed_only:
            undecided = [
                offset
                for offset, transaction in enumerate(log.transactions)
                if transaction is not None and self.decided[transaction] is None
            ]
            end = min([end, *undecided])
        start = max(consumer.positions[place], log.start)
        stop = min(end, start + self.rng.randrange(1, 6))
        reads = [
            Read(*place, offset, log.records[offset]) for offset in self.shown(consumer, place, start, stop)
        ]
        consumer.positions[place] = max(stop, start)
        if reads:
            how = consumer.assignment, tuple(reads), consumer.committed_only, into
            self.events.append(Polled(consumer.name, self.at(), *how))
        return reads

    def shown(self, consumer: Consumer, place: tuple[str, int], start: int, stop: int) -> list[int]:
        """The offsets from `start` to `stop` of which a consumer gets the records."""
        log = self.logs[place]
        return [
            offset
            for offset in range(start, stop)
            if log.records[offset] != MARKER
            and not (consumer.committed_only and self.decided.get(log.transactions[offset]) is False)
        ]

    def rebalance(self) -> None:
        consumer = self.rng.choice(self.consumers)
        consumer.assignment += 1
        for place, log in self.logs.items():
            consumer.positions[place] = self.rng.randrange(log.start, log.end + 1)
        self.events.append(Assigned(consumer.name, self.at(), consumer.assignment, tuple(PLACES)))

    def trim(self) -> None:
        if self.rng.random() < 0.2:
            place = self.rng.choice(PLACES[:2])
            log = self.logs[place]
            log.start = self.rng.randrange(log.start, log.end + 1)
            self.events.append(Trimmed("admin", self.at(), *place, log.start))

    def commit_offset(self) -> None:
        offset, began = self.rng.randrange(100), self.at()
        outcome, done = self.rng.choice(
            [(YES, True), (YES, True), (MAYBE, True), (MAYBE, False), (NO, False)]
        )
        if done:
            self.committed = offset
        self.events.append(Committed("loose", self.at(), "group", "t", 0, offset, outcome, None, began))

    def fetch_offset(self) -> None:
        began = self.at()
        self.events.append(OffsetFetched("loose", self.at(), "group", "t", 0, self.committed, began))

    def copy(self) -> None:
        """One transaction of the copier: from t-0, which it reads from its start, to copies-0."""
        transaction = self.open["copier"] = len(self.decided)
        self.decided[transaction] = None
        self.copier.positions["t", 0] = self.copied_to
        self.copier.assignment += 1
        for read in self.poll_from(self.copier, ("t", 0), transaction):
            copy = self.send("copier", ("copies", 0), transaction, read.record)
            offset = self.logs["copies", 0].append(copy, transaction)
            self.events.append(Settled("copier", self.at(), copy, YES, offset))
        position = self.copier.positions["t", 0]
        self.events.append(Committed("copier", self.at(), "copiers", "t", 0, position, YES, transaction))
        if self.end("copier"):
            self.copied_to = position


class Plant:
    """Puts one anomaly into a history of `model`; each method is one kind. No candidate: another example."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.events = model.events
        self.rng = model.rng
        self.place = ("t", self.rng.randrange(2))
        self.log = model.logs[self.place]
        self.sent = {event.record: event for event in self.events if isinstance(event, Sent)}
        self.settled = {event.record: event for event in self.events if isinstance(event, Settled)}

    def one(self, candidates: list[Candidate]) -> Candidate:
        assume(candidates)
        return self.rng.choice(candidates)

    def late(self, *events: Event) -> None:
        self.events.extend(events)

    def fresh(self, client: str, transaction: int | None = None, original: int | None = None) -> int:
        """A record that is sent at the end, to `place`."""
        return self.model.send(client, self.place, transaction, original)

    def read(self, *found: tuple[int, int], transaction: int | None = None, **how: bool) -> None:
        """A poll at the end, of a consumer of its own."""
        records = tuple(Read(*self.place, offset, record) for offset, record in found)
        self.late(
            Polled("finder", self.model.at(), 0, records, how.get("committed_only", False), transaction)
        )

    def there(self) -> list[tuple[int, int]]:
        """(offset, record)s of the partition as they are now."""
        log = self.log
        return [
            (offset, log.records[offset]) for offset in range(log.start, log.end) if log.records[offset] >= 0
        ]

    def unread(self, told: bool) -> None:
        """Nobody reads a record of which an acknowledgement told an offset, or none."""
        _, record = self.one(
            [
                (offset, record)
                for offset, record in self.there()
                if self.sent[record].transaction is None
                and record in self.settled
                and self.settled[record].outcome is YES
                and (self.settled[record].offset is not None) == told
            ]
        )
        assume(self.place != ("t", 0) or record not in {event.copy_of for event in self.sent.values()})
        self.hide(record, [event.client for event in self.events if isinstance(event, Polled)])

    def hide(self, record: int, clients: list[str]) -> None:
        """These clients never get the record."""
        for index, event in enumerate(self.events):
            if isinstance(event, Polled) and event.client in clients:
                left = tuple(read for read in event.records if read.record != record)
                self.events[index] = event._replace(records=left)

    def gone(self) -> None:
        """Somebody reads the first record of a partition, or the last, and the final consumer does not."""
        readers: dict[int, list[str]] = {}
        for event in self.events:
            for read in event.records if isinstance(event, Polled) else ():
                if (read.topic, read.partition) == self.place:
                    readers.setdefault(read.record, []).append(event.client)
        at_last = sorted(record for record, clients in readers.items() if "last committed" in clients)
        record = self.one(at_last[:1] + at_last[-1:])
        assume(self.sent[record].transaction is None)
        assume(record in self.settled and self.settled[record].outcome is YES)
        assume({"loose", "strict", "strict too"} & {*readers[record]})
        self.hide(record, ["last committed"])

    def lost_write(self) -> None:
        if self.rng.random() < 0.5:
            self.unread(told=True)
        else:
            self.gone()

    def unseen(self) -> None:
        assume(self.log.start == 0)
        self.unread(told=False)

    def inconsistent_offset(self) -> None:
        offset, _ = self.one(self.there())
        self.read((offset, self.fresh("a")))

    def duplicate(self) -> None:
        _, record = self.one(self.there())
        self.read((self.log.end + 3, record))

    def altered(self) -> None:
        strays = [record for _, record in self.there()]
        self.place = ("copies", 0)
        self.read((self.model.logs[self.place].end + 3, self.one([ALTERED, 10**9 + 1, *strays])))

    def aborted_read(self) -> None:
        refused = [record for record, event in self.settled.items() if event.outcome is NO]
        aborted = [
            (offset, record)
            for offset, record in self.there()
            if any(
                isinstance(event, Ended)
                and event.transaction == self.sent[record].transaction
                and not event.commit
                for event in self.events
            )
        ]
        refused_here = [
            (self.log.end + 3, record) for record in refused if self.sent[record][3:5] == self.place
        ]
        self.read(self.one([*aborted, *refused_here]), committed_only=True)

    def uncommitted_read(self) -> None:
        endings = [event for event in self.events if isinstance(event, Ending) and event.commit]
        ending = self.one(endings)
        places = [
            Read(*place, offset, log.records[offset])
            for place, log in self.model.logs.items()
            for offset in range(log.start, log.end)
            if log.transactions[offset] == ending.transaction
        ]
        early = Polled("finder", 0.0, 0, (self.one(places),), True)
        self.events.insert(self.events.index(ending), early)

    def internal_poll_skip(self) -> None:
        there = self.there()
        assume(len(there) > 2)
        first = self.rng.randrange(len(there) - 2)
        self.read(there[first], there[first + 2])

    def external_poll_skip(self) -> None:
        there = self.there()
        assume(len(there) > 2)
        first = self.rng.randrange(len(there) - 2)
        self.read(there[first])
        self.read(there[first + 2])

    def internal_nonmonotonic_poll(self) -> None:
        earlier, later = sorted((self.one(self.there()), self.one(self.there())))
        self.read(later, earlier)

    def external_nonmonotonic_poll(self) -> None:
        earlier, later = sorted((self.one(self.there()), self.one(self.there())))
        self.read(later)
        self.read(earlier)

    def sends(self, transaction: int | None) -> None:
        first, second, end = self.fresh("z", transaction), self.fresh("z", transaction), self.log.end
        self.late(Settled("z", 0.0, first, YES, end + 1), Settled("z", 0.0, second, YES, end))
        self.read((end, second), (end + 1, first))

    def internal_nonmonotonic_send(self) -> None:
        self.sends(transaction=10**6)

    def external_nonmonotonic_send(self) -> None:
        self.sends(transaction=None)

    def read_cycle(self) -> None:
        length, end = self.rng.randrange(2, 5), self.log.end
        names = [f"round {number}" for number in range(length)]
        records = [self.fresh(name, 10**6 + number) for number, name in enumerate(names)]
        for number, name in enumerate(names):
            other = (number + 1) % length
            read = Read(*self.place, end + other, records[other])
            self.late(Polled(name, 0.0, 0, (read,), True, 10**6 + number))
        self.late(*(Ended(name, 0.0, 10**6 + number, True, YES) for number, name in enumerate(names)))

    def lost_commit(self) -> None:
        commit = Committed("loose", self.model.at(), "group", "t", 0, 1000, YES)
        self.late(commit)
        self.model.at()
        self.model.committed = self.one([999, None])
        self.model.fetch_offset()

    def copied_twice(self) -> None:
        copies = [
            event.copy_of
            for event in self.events
            if isinstance(event, Sent)
            and event.transaction is not None
            and self.model.decided[event.transaction]
        ]
        original = self.one([copy for copy in copies if copy is not None])
        self.place, self.log = ("copies", 0), self.model.logs["copies", 0]
        again = self.fresh("copier", 10**6, original)
        self.late(Ended("copier", 0.0, 10**6, True, YES))
        self.read((self.log.end + 3, again), committed_only=True)

    def not_copied(self) -> None:
        visible = set(self.model.logs["t", 0].records[self.model.logs["t", 0].start :])
        answered = {
            event.transaction for event in self.events if isinstance(event, Ended) and event.outcome is YES
        }
        copies = [event for event in self.sent.values() if event.copy_of in visible]
        by_transaction = [event for event in copies if event.transaction in answered]
        done = [event for event in by_transaction if self.model.decided[event.transaction]]
        several = [
            event for event in done if [each.transaction for each in done].count(event.transaction) > 1
        ]
        victim = self.one(several)
        self.events[self.events.index(victim)] = victim._replace(copy_of=None)


PLANTS: dict[Anomaly, Callable[[Plant], None]] = {kind: getattr(Plant, kind.name.lower()) for kind in Anomaly}
seeds = st.integers(0, 2**32)


@settings(max_examples=100, deadline=None)
@given(seeds, st.integers(1, 120))
def test_a_history_of_a_log_that_works_is_clean(seed: int, steps: int) -> None:
    judgement = check(Model(seed).run(steps).events)
    assert judgement.held, judgement.lines()


@pytest.mark.parametrize("kind", Anomaly, ids=lambda kind: kind.name)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(seeds, st.integers(60, 120))
def test_a_planted_anomaly_is_found_and_no_other(kind: Anomaly, seed: int, steps: int) -> None:
    model = Model(seed).run(steps)
    PLANTS[kind](Plant(model))
    judgement = check(model.events)
    assert judgement.counts == {kind: 1}, judgement.lines()
