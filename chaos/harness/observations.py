"""What is seen of a run while it goes on: counts, latencies and waits, out of the clients' journals."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chaos.harness.journal import NONE, Line, SentRun, parse_line
from chaos.history import Outcome
from chaos.waits import WaitMeter

MAX_TAIL_BYTES = 4 * 1024 * 1024
"""Read from one journal at a time, at most."""


READ_BACK = "read-back"
"""The client that reads everything in the end: what it reads is no part of what flows."""


@dataclass(slots=True)
class Second:
    """One second of a run; latencies are (seconds, how many records)."""

    acknowledged: int = 0
    read: int = 0
    latencies: list[tuple[float, int]] = field(default_factory=list)


@dataclass(slots=True)
class ClientCounts:
    """Of one client, all its processes together; `committed` and `aborted` count transactions."""

    sent: int = 0
    acknowledged: int = 0
    unknown: int = 0
    read: int = 0
    committed: int = 0
    aborted: int = 0
    last_note: str = ""


@dataclass(slots=True)
class _SentRuns:
    """What a client has sent, to be found by number."""

    firsts: list[int] = field(default_factory=list)
    runs: list[tuple[float, SentRun]] = field(default_factory=list)

    def add(self, at: float, run: SentRun) -> None:
        self.firsts.append(run.first)
        self.runs.append((at, run))

    def parts(self, first: int, count: int) -> Iterator[tuple[float, SentRun, int]]:
        """(when sent, run, how many of it) for the records `first` …"""
        index = bisect_right(self.firsts, first) - 1
        while count > 0 and 0 <= index < len(self.runs):
            at, run = self.runs[index]
            taken = min(count, run.first + run.length - first)
            if taken <= 0:
                return
            yield at, run, taken
            first, count, index = first + taken, count - taken, index + 1


class Observations:
    """Told of every line of every journal, in each journal's order. Pure; times are those of the lines.

    Waits are those of producers alone: what becomes of a transaction's records is decided when it ends.
    """

    def __init__(self) -> None:
        self.clients: dict[str, ClientCounts] = defaultdict(ClientCounts)
        self.seconds: dict[int, Second] = defaultdict(Second)
        self.waits = WaitMeter()
        self._sent: dict[str, _SentRuns] = defaultdict(_SentRuns)

    @property
    def acknowledged(self) -> int:
        """Records of producers and copiers together."""
        return sum(each.acknowledged for each in self.clients.values())

    @property
    def read(self) -> int:
        """Records that consumers got, as often as they got them."""
        return sum(each.read for each in self.clients.values())

    def take(self, client: str, line: Line) -> None:
        """One line of the journal `client`; `a#2` is the second process of `a`."""
        counts = self.clients[client.partition("#")[0]]
        match line.kind:
            case "S":
                run = line.sent()
                counts.sent += run.length
                self._sent[client].add(line.at, run)
                if run.transaction == NONE:
                    self.waits.sent(f"{run.topic}-{run.partition}", line.at, run.length)
            case "D":
                self._settled(client, counts, line)
            case "P":
                count = sum(run.length for run in line.reads())
                counts.read += count
                if client != READ_BACK:
                    self.seconds[int(line.at)].read += count
            case "E":
                counts.committed += line.fields[1] == "1"
                counts.aborted += line.fields[1] == "0"
            case "B":
                counts.last_note = line.fields[0]
            case _:
                pass

    def _settled(self, client: str, counts: ClientCounts, line: Line) -> None:
        settled = line.settled()
        second = self.seconds[int(line.at)]
        for sent_at, run, count in self._sent[client].parts(settled.first, settled.length):
            if run.transaction == NONE:
                self.waits.acknowledged(f"{run.topic}-{run.partition}", count, line.at)
            if settled.outcome is Outcome.ACKNOWLEDGED:
                second.latencies.append((line.at - sent_at, count))
        if settled.outcome is Outcome.ACKNOWLEDGED:
            counts.acknowledged += settled.length
            second.acknowledged += settled.length
        else:
            counts.unknown += settled.length


@dataclass(slots=True)
class Tail:
    """Follows a journal while it grows."""

    path: Path
    _position: int = 0

    def lines(self) -> Iterator[Line]:
        """Whole lines that are new since the last call."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as file:
            file.seek(self._position)
            data = file.read(MAX_TAIL_BYTES)
        end = data.rfind(b"\n") + 1
        self._position += end
        for text in data[:end].decode().splitlines():
            yield parse_line(text)
