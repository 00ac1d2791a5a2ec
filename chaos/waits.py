"""How long a producer waited: the time in which something was sent and nothing came back.

Pure; times are seconds of one clock, passed in.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Pause(NamedTuple):
    """A stretch in which a partition had unacknowledged records and heard nothing."""

    start: float
    end: float


@dataclass(slots=True)
class _Lane:
    unacknowledged: int = 0
    quiet_since: float = 0.0
    pauses: list[Pause] = field(default_factory=list)


class WaitMeter:
    """Told of every send and acknowledgement, partition by partition; any name of a partition will do."""

    def __init__(self) -> None:
        self._lanes: dict[Hashable, _Lane] = {}

    def sent(self, partition: Hashable, now: float, count: int = 1) -> None:
        """So many more records are on their way."""
        lane = self._lanes.setdefault(partition, _Lane())
        if lane.unacknowledged == 0:
            lane.quiet_since = now
        lane.unacknowledged += count

    def acknowledged(self, partition: Hashable, count: int, now: float) -> None:
        """Some records came back: a pause ends, and another begins if there are more to come."""
        lane = self._lanes[partition]
        lane.pauses.append(Pause(lane.quiet_since, now))
        lane.unacknowledged -= count
        lane.quiet_since = now

    def longest(self, partitions: Iterable[Hashable], since: float, until: float = math.inf) -> float:
        """The longest pause in one of `partitions` between `since` and `until`; 0.0 if there is none."""
        return max(
            (
                min(pause.end, until) - max(pause.start, since)
                for partition in partitions
                for pause in self._lanes.get(partition, _Lane()).pauses
                if pause.end > since and pause.start < until
            ),
            default=0.0,
        )

    def longer_than(self, seconds: float) -> Iterator[tuple[Hashable, Pause]]:
        """Every pause that took longer, by partition."""
        for partition, lane in self._lanes.items():
            for pause in lane.pauses:
                if pause.end - pause.start > seconds:
                    yield partition, pause

    def quiet_for(self, now: float) -> float:
        """How long the partition that has waited longest has been waiting now; 0.0 if none does."""
        return max(
            (now - each.quiet_since for each in self._lanes.values() if each.unacknowledged > 0), default=0.0
        )
