"""One deadline per key, and which of them have come."""

from __future__ import annotations

import heapq
from typing import Final

from kraft.coordinator.decision import FOREVER

_FEW: Final = 64
"""So many stale entries are not worth an effort."""


class Deadlines:
    """A heap whose entries are left in it when they are overtaken, and dropped when they surface."""

    __slots__ = ("_at", "_heap")

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._at)

    def set(self, key: str, at: float) -> None:
        """The deadline of `key` is `at`, in place of any earlier one."""
        self._at[key] = at
        heapq.heappush(self._heap, (at, key))
        if len(self._heap) > 2 * len(self._at) + _FEW:
            self._heap = [(when, name) for name, when in self._at.items()]
            heapq.heapify(self._heap)

    def clear(self, key: str) -> None:
        """`key` has no deadline any more."""
        self._at.pop(key, None)

    def next(self) -> float:
        """The earliest deadline; FOREVER if there is none."""
        heap = self._heap
        while heap:
            at, key = heap[0]
            if self._at.get(key) == at:
                return at
            heapq.heappop(heap)
        return FOREVER

    def pop_due(self, now: float) -> list[str]:
        """The keys whose deadline has come, earliest first; they have none afterwards."""
        due = []
        while self.next() <= now:
            _, key = heapq.heappop(self._heap)
            del self._at[key]
            due.append(key)
        return due
