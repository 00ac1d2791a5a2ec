"""A sampling profiler that sleeps in a node until it is asked: Python imports `sitecustomize` from the path
at start, so the node itself knows nothing of it.

SIGUSR1 starts it; SIGUSR2 stops it and writes what it saw to `$BENCHMARK_PROFILES/<pid>`: a line for each
stack, `outermost;…;innermost count`, as flame graph tools read it. The kernel's timer of consumed CPU time
asks for the samples, so sleep does not count. What C code uses is charged to the Python line that called it,
and what the event loop's own C code uses to the next line of Python that it calls.
"""

from __future__ import annotations

import collections
import os
import signal
from types import FrameType

INTERVAL = 0.001
"""Seconds of CPU between samples; the kernel rounds it up to its tick."""

_stacks: collections.Counter[tuple[str, ...]] = collections.Counter()


def _sample(_number: int, frame: FrameType | None) -> None:
    stack = []
    while frame is not None:
        code = frame.f_code
        stack.append(f"{code.co_filename}:{code.co_qualname}:{frame.f_lineno}")
        frame = frame.f_back
    _stacks[tuple(reversed(stack))] += 1


def _start(_number: int, _frame: FrameType | None) -> None:
    _stacks.clear()
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)


def _stop(_number: int, _frame: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    path = os.path.join(os.environ["BENCHMARK_PROFILES"], str(os.getpid()))
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.writelines(f"{';'.join(stack)} {count}\n" for stack, count in _stacks.items())
    os.rename(f"{path}.new", path)


if "BENCHMARK_PROFILES" in os.environ:
    signal.signal(signal.SIGPROF, _sample)
    signal.signal(signal.SIGUSR1, _start)
    signal.signal(signal.SIGUSR2, _stop)
