"""The order in which consumers got records: never back, and past nothing that was there.

Offsets have gaps of their own: ends of transactions, records of aborted ones, records that compaction took.
So a poll that leaves offsets out is kept as a *gap*, and judged in the end, when it is known what others
read there.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable

from chaos.checking.findings import Anomaly, Findings
from chaos.checking.ledger import Place, Places, Run
from chaos.history import Polled

VisibleOffsets = Callable[[Place, bool], list[int]]
"""The sorted offsets of a partition that a consumer had to meet: of committed records only, or of all."""

_COMMITTED_ONLY = 1
_INTERNAL = 2


class _Position:
    """Where one client is, partition by partition, in its present assignment."""

    __slots__ = ("assignment", "met", "number", "offsets")

    def __init__(self, number: int, assignment: int) -> None:
        self.number = number
        self.assignment = assignment
        self.offsets: dict[int, int] = {}
        self.met: dict[int, range] = {}
        """The offsets from the lowest to the highest that it got."""


class _Gaps:
    """Offsets of one partition that were left out: after, before, by which client, and how."""

    __slots__ = ("after", "before", "clients", "modes")

    def __init__(self) -> None:
        self.after = array("q")
        self.before = array("q")
        self.clients = array("i")
        self.modes = bytearray()


class PollOrder:
    """Told of every poll, in order. A new assignment forgets where the client was."""

    def __init__(self, places: Places, findings: Findings) -> None:
        self._places = places
        self._findings = findings
        self._positions: dict[str, _Position] = {}
        self._clients: list[str] = []
        self._gaps: dict[int, _Gaps] = {}

    def assigned(self, client: str, assignment: int) -> None:
        """The client goes on wherever its new assignment starts."""
        position = self._positions.get(client)
        if position is None:
            self._positions[client] = _Position(len(self._clients), assignment)
            self._clients.append(client)
        elif position.assignment != assignment:
            self._positions[client] = _Position(position.number, assignment)

    def polled(self, poll: Polled, runs: list[Run]) -> None:
        """Look at where each run begins and how it goes on."""
        self.assigned(poll.client, poll.assignment)
        position = self._positions[poll.client]
        polled: set[int] = set()
        for run in runs:
            number, offsets = run.place.number, run.offsets
            before = position.offsets.get(number)
            internal = number in polled
            polled.add(number)
            if before is None:
                before, internal = offsets[0] - 1, True
            if list(offsets) != list(range(before + 1, before + 1 + len(offsets))):
                self._look(poll, run, before, internal)
            position.offsets[number] = offsets[-1]
            met = position.met.get(number) or offsets
            position.met[number] = range(min(met[0], *offsets), max(met[-1], *offsets) + 1)

    def _look(self, poll: Polled, run: Run, before: int, internal: bool) -> None:
        for offset in run.offsets:
            if offset <= before:
                kind = Anomaly.INTERNAL_NONMONOTONIC_POLL if internal else Anomaly.EXTERNAL_NONMONOTONIC_POLL
                text = "{} got offset {} of {} after offset {} (at {:.3f} s)"
                self._findings.note(kind, text, poll.client, offset, run.place, before, poll.at)
            elif offset != before + 1:
                self._keep(poll, run.place, before, offset, internal)
            before, internal = offset, True

    def _keep(self, poll: Polled, place: Place, after: int, before: int, internal: bool) -> None:
        gaps = self._gaps.get(place.number)
        if gaps is None:
            gaps = self._gaps[place.number] = _Gaps()
        gaps.after.append(after)
        gaps.before.append(before)
        gaps.clients.append(self._positions[poll.client].number)
        gaps.modes.append(_COMMITTED_ONLY * poll.committed_only + _INTERNAL * internal)

    def judge(self, findings: Findings, visible: VisibleOffsets) -> None:
        """Add the gaps in which there was a record to be had."""
        for place in self._places:
            gaps = self._gaps.get(place.number)
            if gaps is None:
                continue
            offsets = (visible(place, False), visible(place, True))
            for after, before, client, mode in zip(
                gaps.after, gaps.before, gaps.clients, gaps.modes, strict=True
            ):
                there = offsets[mode & _COMMITTED_ONLY]
                first = bisect_right(there, after)
                if first < len(there) and there[first] < before:
                    internal = mode & _INTERNAL
                    kind = Anomaly.INTERNAL_POLL_SKIP if internal else Anomaly.EXTERNAL_POLL_SKIP
                    text = "{} went from offset {} of {} to {}, past {}"
                    findings.note(kind, text, self._clients[client], after, place, before, there[first])

    def met(self, client: str, place: Place) -> range:
        """The offsets from the lowest to the highest that a client got in its present assignment."""
        position = self._positions.get(client)
        return range(0) if position is None else position.met.get(place.number, range(0))

    def passed(self, place: Place) -> list[tuple[int, int]]:
        """The stretches of offsets that some consumer went past, (after, before), sorted and merged."""
        gaps = self._gaps.get(place.number)
        merged: list[tuple[int, int]] = []
        if gaps is not None:
            for after, before in sorted(zip(gaps.after, gaps.before, strict=True)):
                if merged and after <= merged[-1][1]:
                    merged[-1] = (merged[-1][0], max(before, merged[-1][1]))
                else:
                    merged.append((after, before))
        return merged
