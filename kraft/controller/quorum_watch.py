"""One line for people when a controller is without a quorum, and one when it has found it again."""

from __future__ import annotations

from collections.abc import Collection

from kraft.events import Events

PATIENCE = 2.0
"""Seconds without a leader that are not worth a word: elections take less."""


class QuorumWatch:
    """What one of `voters` sees. Times are seconds of a monotonic clock; `now` is when it starts."""

    def __init__(self, node_id: int, voters: int, now: float) -> None:
        self._node_id = node_id
        self._voters = voters
        self._led_at = now
        self._told = False
        self._events = Events("quorum")

    def look(self, leader_id: int | None, connected: Collection[int], now: float) -> None:
        """Who led when this voter last heard of it, and which others it can talk to."""
        if leader_id == self._node_id or leader_id in connected:
            if self._told:
                self._events.info("quorum.found", leader=leader_id)
            self._told, self._led_at = False, now
        elif not self._told and now - self._led_at >= PATIENCE:
            self._told = True
            needed, reachable = self._voters // 2 + 1, 1 + len(connected)
            self._events.warning("quorum.missing", reachable=reachable, needed=needed, voters=self._voters)
