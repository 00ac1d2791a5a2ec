"""Many deadlines of which most are moved before they come, as those of heartbeats are."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_SLACK = 64


class Timers(Generic[K]):
    """Deadlines (monotonic seconds) by key.

    To move one further away costs a dictionary entry; the heap learns of it when the old time has come. So
    `earliest` may be too early, never too late.
    """

    __slots__ = ("_count", "_deadlines", "_heap", "earliest")

    def __init__(self) -> None:
        self.earliest = inf
        """When to call `due`; infinity if there is nothing to wait for."""
        self._deadlines: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._deadlines)

    def __contains__(self, key: K) -> bool:
        return key in self._deadlines

    def put(self, key: K, deadline: float) -> None:
        """Set the deadline of `key`, or move it."""
        known = self._deadlines.get(key)
        self._deadlines[key] = deadline
        if known is None or deadline < known:
            self._push(key, deadline)

    def _push(self, key: K, deadline: float) -> None:
        if len(self._heap) > 2 * len(self._deadlines) + _SLACK:
            self._heap = [(at, n, each) for n, (each, at) in enumerate(self._deadlines.items())]
            heapify(self._heap)
            self._count = len(self._heap)
        else:
            self._count += 1
            heappush(self._heap, (deadline, self._count, key))
        self.earliest = self._heap[0][0]

    def drop(self, key: K) -> None:
        """Forget the deadline of `key`, if there is one."""
        self._deadlines.pop(key, None)

    def due(self, now: float) -> Iterator[K]:
        """The keys whose time has come, each removed as it is yielded."""
        while self._heap and self._heap[0][0] <= now:
            _, _, key = heappop(self._heap)
            self.earliest = self._heap[0][0] if self._heap else inf
            deadline = self._deadlines.get(key)
            if deadline is None:
                continue
            if deadline > now:
                self._push(key, deadline)
            else:
                del self._deadlines[key]
                yield key
