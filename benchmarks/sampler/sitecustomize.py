"""A sampling profiler that sleeps in a node until it is asked: Python imports `sitecustomize` from the path
at start, so the node itself knows nothing of it.

SIGUSR1 starts it; SIGUSR2 stops it and writes what it saw to `$BENCHMARK_PROFILES/<pid>`: a line for each
stack, `outermost;…;innermost microseconds`, as flame graph tools read it. A sample weighs what the clock has
gained since the one before, since timers come late. `$BENCHMARK_CLOCK` is that clock: `cpu` (sleep does not
count) or `wall` (it does, and so do waits for a disk). What C code uses is charged to the Python line that
called it, and what the event loop's own C code uses to the next line of Python that it calls.
"""

from __future__ import annotations

import collections
import os
import signal
import time
from types import FrameType

INTERVAL = 0.002
"""Seconds between samples; the kernel rounds it up to its tick."""


class Sampler:
    """Counts microseconds by stack while it is switched on."""

    def __init__(self, clock: str) -> None:
        wall = clock == "wall"
        self._timer = signal.ITIMER_REAL if wall else signal.ITIMER_PROF
        self._clock = time.perf_counter_ns if wall else time.process_time_ns
        self._stacks: collections.Counter[tuple[str, ...]] = collections.Counter()
        self._last = 0
        signal.signal(signal.SIGALRM if wall else signal.SIGPROF, self._sample)
        signal.signal(signal.SIGUSR1, self._start)
        signal.signal(signal.SIGUSR2, self._stop)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        now = self._clock()
        stack = []
        while frame is not None:
            code = frame.f_code
            if code.co_filename == __file__:
                return  # the next sample came while this one was taken
            stack.append(f"{code.co_filename}:{code.co_qualname}:{frame.f_lineno}")
            frame = frame.f_back
        self._stacks[tuple(reversed(stack))] += (now - self._last) // 1000
        self._last = now

    def _start(self, _number: int, _frame: FrameType | None) -> None:
        self._stacks.clear()
        self._last = self._clock()
        signal.setitimer(self._timer, INTERVAL, INTERVAL)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        signal.setitimer(self._timer, 0)
        path = os.path.join(os.environ["BENCHMARK_PROFILES"], str(os.getpid()))
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.writelines(f"{';'.join(stack)} {spent}\n" for stack, spent in self._stacks.items())
        os.rename(f"{path}.new", path)


if "BENCHMARK_PROFILES" in os.environ:
    Sampler(os.environ["BENCHMARK_CLOCK"])
