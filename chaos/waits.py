"""How long a producer waited: the time in which something was sent and nothing came back.

Pure; times are seconds of one clock, passed in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
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
    """Told of every send and acknowledgement, partition by partition."""

    def __init__(self) -> None:
        self._lanes: dict[int, _Lane] = {}

    def sent(self, partition: int, now: float) -> None:
        """One more record is on its way."""
        lane = self._lanes.setdefault(partition, _Lane())
        if lane.unacknowledged == 0:
            lane.quiet_since = now
        lane.unacknowledged += 1

    def acknowledged(self, partition: int, count: int, now: float) -> None:
        """Some records came back: a pause ends, and another begins if there are more to come."""
        lane = self._lanes[partition]
        lane.pauses.append(Pause(lane.quiet_since, now))
        lane.unacknowledged -= count
        lane.quiet_since = now

    def longest(self, partitions: Iterable[int], since: float, until: float = math.inf) -> float:
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
