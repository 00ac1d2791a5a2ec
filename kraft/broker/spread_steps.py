"""Long work on logs in slices that leave the event loop to others.

What needs the interpreter runs on the loop, a slice at a time, since in a thread of its own it would hold up
everybody at each switch; what waits for the disk, and large batches' compression, runs in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from kraft.clock import Clock
from logstore.steps import Aside, Step

SLICE = 0.002
"""Seconds of the event loop that are taken at once."""
REST = 0.004
"""Seconds that are left to others after each slice."""


async def spread(
    steps: Iterable[Step], clock: Clock, bytes_per_second: float, check: Callable[[], object]
) -> None:
    """Take the steps over time, at most so many bytes of a disk a second. `check` is called each time that
    others had the loop, and raises what ends the work. Raises what the steps raise."""
    began = resumed = clock.monotonic()
    moved = 0
    for step in steps:
        if step is not None:
            await _aside(step)
            moved += step.size
            ahead = moved / bytes_per_second - (clock.monotonic() - began)
            if ahead > 0:
                await asyncio.sleep(ahead)
        elif clock.monotonic() - resumed < SLICE:
            continue
        else:
            await asyncio.sleep(REST)
        resumed = clock.monotonic()
        check()


async def _aside(step: Aside[object]) -> None:
    """Do it in a thread, and see it end even when we are cancelled: its file must not be closed before."""
    work = asyncio.ensure_future(asyncio.to_thread(step))
    try:
        await asyncio.shield(work)
    finally:
        if not work.done():
            await asyncio.wait((work,))
