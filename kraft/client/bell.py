"""One waiter, many who may wake it: what an event and a timeout come to, for a fraction of their price."""

from __future__ import annotations

import asyncio


class Bell:
    """`ring` ends the wait that is under way, or else the next one. One task waits at a time."""

    __slots__ = ("_rung", "_waiter")

    def __init__(self) -> None:
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake whoever waits."""
        self._rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, until: float) -> bool:
        """Wait for a ring, until the loop's time is `until` at most; False if there was none."""
        loop = asyncio.get_running_loop()
        if not self._rung and loop.time() < until:
            self._waiter = waiter = loop.create_future()
            timer = loop.call_at(until, _wake, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiter = None
        rung, self._rung = self._rung, False
        return rung


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
