"""The port to time. Whatever needs the time takes a `Clock`; nothing reads a global one."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks in one: one that never goes back, and one that people set."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back. For deadlines, leases and heartbeats."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; may jump either way. For record timestamps and retention."""


class SystemClock:
    """The clocks of this machine; see `Clock`."""

    # Asked for at every request, so not wrapped in a function of ours.
    monotonic = staticmethod(time.monotonic)

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000
