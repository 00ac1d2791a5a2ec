"""Time that jumps from one event to the next: a queue of events, and an asyncio loop."""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections.abc import Callable
from typing import Any, Protocol


class Timer(Protocol):
    """An event to come, that can be taken back."""

    def cancel(self) -> None: ...


class Scheduler(Protocol):
    """What simulated networks and disks need of time; `EventQueue` and every asyncio loop are one."""

    def time(self) -> float:
        """Seconds, virtual."""

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer: ...


class Randomness(Protocol):
    """The part of `random.Random` that simulated things draw from."""

    def random(self) -> float: ...
    def uniform(self, a: float, b: float) -> float: ...
    def randrange(self, start: int, stop: int | None = None) -> int: ...


class DeadlockError(Exception):
    """Everybody waits, and no timer will ever wake anybody."""


class _QueuedEvent:
    """An entry of an `EventQueue`; of two at one time the one that was queued first comes first."""

    __slots__ = ("args", "callback", "order", "when")

    def __init__(
        self, when: float, order: int, callback: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        self.when = when
        self.order = order
        self.callback: Callable[..., object] | None = callback
        self.args = args

    def __lt__(self, other: _QueuedEvent) -> bool:
        return self.when < other.when or (self.when == other.when and self.order < other.order)

    def cancel(self) -> None:
        self.callback = None


class EventQueue:
    """A discrete event simulation's clock: `step` jumps to the next event and calls it."""

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._order = 0
        self._queue: list[_QueuedEvent] = []

    def time(self) -> float:
        """Seconds, virtual."""
        return self._now

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> _QueuedEvent:
        """Call back at `when`, or now if that has passed, after whatever was queued for that time before."""
        self._order += 1
        event = _QueuedEvent(max(when, self._now), self._order, callback, args)
        heapq.heappush(self._queue, event)
        return event

    def step(self, until: float) -> bool:
        """Call the next event; False, with the time at `until`, if there is none before."""
        queue = self._queue
        while queue and queue[0].when <= until:
            event = heapq.heappop(queue)
            if event.callback is not None:
                self._now = event.when
                event.callback(*event.args)
                return True
        self._now = max(self._now, until)
        return False


class _JumpingSelector(selectors.SelectSelector):
    """Never sleeps; adds up what it would have slept."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise DeadlockError("every task waits, and no timer is set")
            self.skipped += max(timeout, 0.0)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on virtual time, which starts at `start` seconds. Raises DeadlockError instead of
    hanging.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self._jumping = _JumpingSelector()
        self._start = start
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._start + self._jumping.skipped
