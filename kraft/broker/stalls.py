"""Notices a disk that limps: slow enough to hurt everyone, alive enough to keep its heartbeats.

Nobody else can tell: the process answers, so no session expires (Huang et al., "Gray Failure", HotOS '17).
A broker whose write or sync takes longer than the bound asks to be fenced for a while, so that its
leaderships move.
"""

from __future__ import annotations

from collections.abc import Callable


class StallDetector:
    """`bound` and `rest` in seconds. `stalled` is called once for each stall."""

    def __init__(self, bound: float, rest: float, stalled: Callable[[float], None]) -> None:
        self._bound = bound
        self._rest = rest
        self._stalled = stalled
        self._until = float("-inf")

    def measured(self, began: float, ended: float) -> None:
        """A write or a sync took from `began` to `ended` (monotonic seconds)."""
        if ended - began > self._bound:
            fresh = ended >= self._until
            self._until = ended + self._rest
            if fresh:
                self._stalled(ended - began)

    def resting(self, now: float) -> bool:
        """Whether the broker should stay fenced for now."""
        return now < self._until
