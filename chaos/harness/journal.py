"""What a client process writes down: lines of text, several records on each, that become events again.

A line begins with its kind and the time (seconds of the machine's monotonic clock, which all processes
share). Consecutive numbers of records and offsets stand as a first one and a length, so that a run of
millions of records is tens of megabytes, and whoever follows the file while it grows need not look at each.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from chaos.history import (
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
)

NONE = -1
_OUTCOMES = {"a": Outcome.ACKNOWLEDGED, "r": Outcome.REFUSED, "u": Outcome.UNKNOWN}
_LETTERS = {outcome: letter for letter, outcome in _OUTCOMES.items()}


class SentRun(NamedTuple):
    """Records `first` … `first + length - 1` go to one partition; `copy_of` is the original of the first."""

    topic: str
    partition: int
    key: int
    first: int
    length: int
    transaction: int = NONE
    copy_of: int = NONE


class SettledRun(NamedTuple):
    """Records `first` … are settled; `offset` is that of the first, NONE if it is not known."""

    outcome: Outcome
    first: int
    length: int
    offset: int


class ReadRun(NamedTuple):
    """Consecutive offsets with consecutive records."""

    topic: str
    partition: int
    offset: int
    record: int
    length: int


class Journal:
    """Written by one client. Every line is with the system before the next thing happens."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = open(path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115 — closed by `close`
        self._clock = clock
        self._pending: SettledRun | None = None
        self._assignment = 0

    def close(self) -> None:
        """Nothing more will be written."""
        self.flush()
        self._file.close()

    def _write(self, kind: str, *fields: object) -> None:
        self._file.write(f"{kind} {self._clock():.4f} {' '.join(map(str, fields))}\n")

    def sent(self, run: SentRun) -> None:
        """About to be handed to the producer."""
        self.flush()
        self._write("S", *run)

    def settled(self, record: int, outcome: Outcome, offset: int = NONE, count: int = 1) -> None:
        """The producer's word on records; lines are put together until `flush`."""
        run = self._pending
        if run is not None and record == run.first + run.length and outcome is run.outcome:
            expected = NONE if run.offset == NONE else run.offset + run.length
            if offset == expected:
                self._pending = run._replace(length=run.length + count)
                return
        self.flush()
        self._pending = SettledRun(outcome, record, count, offset)

    def flush(self) -> None:
        """Write what `settled` has put together."""
        if self._pending is not None:
            outcome, first, count, offset = self._pending
            self._pending = None
            self._write("D", _LETTERS[outcome], first, count, offset)

    def assigned(self, partitions: Iterable[tuple[str, int]]) -> None:
        """The consumer has these from now on, or has moved to another place in them."""
        self._assignment += 1
        self._write("G", self._assignment, ",".join(f"{topic}:{index}" for topic, index in partitions))

    def polled(
        self, records: Iterable[Read], *, committed_only: bool = False, transaction: int = NONE
    ) -> None:
        """What one poll returned."""
        runs = ";".join(",".join(map(str, run)) for run in runs_of(records))
        if runs:
            self._write("P", self._assignment, int(committed_only), transaction, runs)

    def committing(self, transaction: int, *, commit: bool) -> None:
        """The end of a transaction will be asked for."""
        self.flush()
        self._write("N", transaction, int(commit))

    def ended(self, transaction: int, outcome: Outcome, *, commit: bool) -> None:
        """The answer to that."""
        self.flush()
        self._write("E", transaction, int(commit), _LETTERS[outcome])

    def committed(
        self,
        place: tuple[str, str, int],
        offset: int,
        outcome: Outcome,
        began: float,
        transaction: int = NONE,
    ) -> None:
        """`place` (group, topic, partition) has this offset, if `outcome` says so."""
        self._write("C", f"{began:.4f}", *place, offset, _LETTERS[outcome], transaction)

    def fetched(self, place: tuple[str, str, int], offset: int, began: float) -> None:
        """The committed offset of (group, topic, partition), as its coordinator told it, or NONE."""
        self._write("F", f"{began:.4f}", *place, offset)

    def read_back(self, topic: str, partition: int, end: int) -> None:
        """All of a partition, up to `end`, has been polled."""
        self._write("R", topic, partition, end)

    def note(self, text: str) -> None:
        """Something that people may want to know; no event."""
        self._write("B", text.replace("\n", " "))


def runs_of(records: Iterable[Read]) -> Iterator[ReadRun]:
    """Put consecutive records together."""
    run: ReadRun | None = None
    for topic, partition, offset, record in records:
        if run is not None:
            follows = offset == run.offset + run.length and record == run.record + run.length
            if follows and partition == run.partition and topic == run.topic:
                run = run._replace(length=run.length + 1)
                continue
            yield run
        run = ReadRun(topic, partition, offset, record, 1)
    if run is not None:
        yield run


class Line(NamedTuple):
    """A line of a journal; `fields` follow kind and time."""

    kind: str
    at: float
    fields: Sequence[str]

    def sent(self) -> SentRun:
        """The run of a line of kind S."""
        topic, *numbers = self.fields
        return SentRun(topic, *map(int, numbers))

    def settled(self) -> SettledRun:
        """The run of a line of kind D."""
        letter, *numbers = self.fields
        first, count, offset = map(int, numbers)
        return SettledRun(_OUTCOMES[letter], first, count, offset)

    def reads(self) -> list[ReadRun]:
        """The runs of a line of kind P."""
        runs = []
        for text in self.fields[3].split(";"):
            topic, *numbers = text.split(",")
            runs.append(ReadRun(topic, *map(int, numbers)))
        return runs


def parse_line(text: str) -> Line:
    """A line without its newline."""
    kind, at, rest = text.split(" ", 2)
    return Line(kind, float(at), (rest,) if kind == "B" else rest.split(" "))


def events(journals: Iterable[Path], start: float) -> Iterator[Event]:
    """The events of all journals in the order of time, `at` counted from `start`.

    A client is named as its file. A last line that is not whole, because its writer was killed, is left out.
    """
    merged = heapq.merge(*(_lines(path) for path in journals), key=lambda each: each[0].at)
    for line, client in merged:
        yield from _events(client, line._replace(at=line.at - start), start)


def _lines(path: Path) -> Iterator[tuple[Line, str]]:
    with open(path, encoding="utf-8") as file:
        for text in file:
            if text.endswith("\n"):
                yield parse_line(text[:-1]), path.stem


def _events(client: str, line: Line, start: float) -> Iterator[Event]:
    at, fields = line.at, line.fields
    match line.kind:
        case "S":
            yield from _sent(client, at, line.sent())
        case "D":
            outcome, first, count, offset = line.settled()
            for index in range(count):
                yield Settled(client, at, first + index, outcome, None if offset == NONE else offset + index)
        case "G":
            pairs = (text.rpartition(":") for text in fields[1].split(",") if text)
            partitions = tuple((topic, int(index)) for topic, _, index in pairs)
            yield Assigned(client, at, int(fields[0]), partitions)
        case "P":
            reads = tuple(
                Read(run.topic, run.partition, run.offset + index, run.record + index)
                for run in line.reads()
                for index in range(run.length)
            )
            yield Polled(client, at, int(fields[0]), reads, fields[1] == "1", _transaction(fields[2]))
        case "N":
            yield Ending(client, at, int(fields[0]), fields[1] == "1")
        case "E":
            yield Ended(client, at, int(fields[0]), fields[1] == "1", _OUTCOMES[fields[2]])
        case "C":
            began, group, topic, partition, offset_text, letter, transaction = fields
            yield Committed(
                client, at, group, topic, int(partition), int(offset_text), _OUTCOMES[letter],
                _transaction(transaction), float(began) - start,
            )  # fmt: skip
        case "F":
            began, group, topic, partition, offset_text = fields
            fetched = None if int(offset_text) < 0 else int(offset_text)
            yield OffsetFetched(client, at, group, topic, int(partition), fetched, float(began) - start)
        case "R":
            yield ReadBack(client, at, fields[0], int(fields[1]), int(fields[2]))
        case _:
            pass


def _sent(client: str, at: float, run: SentRun) -> Iterator[Event]:
    transaction = None if run.transaction == NONE else run.transaction
    for index in range(run.length):
        copy_of = None if run.copy_of == NONE else run.copy_of + index
        yield Sent(client, at, run.first + index, run.topic, run.partition, run.key, transaction, copy_of)


def _transaction(text: str) -> int | None:
    return None if text == "-1" else int(text)


__all__ = ["NONE", "Journal", "Line", "ReadRun", "SentRun", "SettledRun", "events", "parse_line"]
