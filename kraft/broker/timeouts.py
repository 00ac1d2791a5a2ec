"""How long a broker works on a request that a client gave a time for."""

from __future__ import annotations

SHORTEST = 0.1
LONGEST = 300.0


def request_timeout(timeout_ms: int) -> float:
    """Seconds for a client's `timeout_ms`, within bounds."""
    return min(max(timeout_ms / 1000, SHORTEST), LONGEST)
