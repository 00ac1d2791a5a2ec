"""Time that jumps from one event to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Timer(Protocol):
    """An event to come, that can be taken back."""

    def cancel(self) -> None: ...


class Scheduler(Protocol):
    """What simulated networks and disks need of time; `EventQueue` and the cluster's `World` are one."""

    def time(self) -> float:
        """Seconds, virtual."""

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer: ...


class Randomness(Protocol):
    """The part of `random.Random` that simulated things draw from."""

    def random(self) -> float: ...
    def uniform(self, a: float, b: float) -> float: ...
    def randrange(self, start: int, stop: int | None = None) -> int: ...
    def expovariate(self, lambd: float) -> float: ...


class _QueuedEvent:
    """What is to be called back, unless it is cancelled."""

    __slots__ = ("args", "callback")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args

    def cancel(self) -> None:
        self.callback = None


EPOCH_MS = 1_750_000_000_000
"""The wall clock when the virtual one is at zero."""


@dataclass(slots=True)
class SimulatedClock:
    """`kraft.clock.Clock` in virtual time; people set the wall clock wrong by `skew_ms`."""

    scheduler: Scheduler
    skew_ms: int = 0

    def monotonic(self) -> float:
        return self.scheduler.time()

    def wall_ms(self) -> int:
        return EPOCH_MS + int(self.scheduler.time() * 1000) + self.skew_ms


class EventQueue:
    """A discrete event simulation's clock: `step` jumps to the next event and calls it."""

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._order = 0
        self._queue: list[tuple[float, int, _QueuedEvent]] = []
        """By time; of two at one time the one that was queued first comes first."""

    def time(self) -> float:
        """Seconds, virtual."""
        return self._now

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> _QueuedEvent:
        """Call back at `when`, or now if that has passed, after whatever was queued for that time before."""
        self._order += 1
        event = _QueuedEvent(callback, args)
        heapq.heappush(self._queue, (max(when, self._now), self._order, event))
        return event

    def step(self, until: float) -> bool:
        """Call the next event; False, with the time at `until`, if there is none before."""
        queue = self._queue
        while queue and queue[0][0] <= until:
            when, _, event = heapq.heappop(queue)
            if event.callback is not None:
                self._now = when
                event.callback(*event.args)
                return True
        self._now = max(self._now, until)
        return False


@dataclass(frozen=True, slots=True)
class Chances:
    """Lets things happen at random times, which are exponentially distributed. Times are seconds, virtual."""

    scheduler: Scheduler
    rng: Randomness

    def after(self, mean: float, action: Callable[..., object], *args: object) -> None:
        """Once, in `mean` on average."""
        self.scheduler.call_at(self._in(mean), action, *args)

    def repeat(self, mean: float | None, until: float, action: Callable[[], None]) -> None:
        """Again and again, `mean` apart on average; never if that is None."""
        if mean is None:
            return
        when = self._in(mean)
        if when < until:
            self.scheduler.call_at(when, self._again, mean, until, action)

    def _again(self, mean: float, until: float, action: Callable[[], None]) -> None:
        action()
        self.repeat(mean, until, action)

    def _in(self, mean: float) -> float:
        return self.scheduler.time() + self.rng.expovariate(1.0 / mean)
