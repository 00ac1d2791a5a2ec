"""When a log is synced whose acknowledgements do not wait for that: `flush.messages` above 1, and `flush.ms`.

Source: `UnifiedLog.maybeFlush…` and `LogManager.flushDirtyLogs`. Kafka looks at `flush.ms` only where
`log.flush.scheduler.interval.ms` says how often; here it is looked at a few times a second.
"""

from __future__ import annotations

from typing import Final

from logstore.log import Log

NEVER: Final = 2**63 - 1
"""The default of both keys: it is left to the operating system, and to closed segments."""


class SyncSchedule:
    """Of one log, by the log's own configuration."""

    __slots__ = ("_asked_for", "_due", "_log")

    def __init__(self, log: Log) -> None:
        self._log = log
        self._asked_for = log.recovery_point
        self._due: float | None = None

    def is_full(self) -> bool:
        """Whether `flush.messages` records were appended since a sync was asked for; the caller does so."""
        log = self._log
        most = log.config.flush_messages
        if most == NEVER:
            return False
        end = log.end_offset
        if end < self._asked_for:  # the log was cut since
            self._asked_for = 0
        if end - max(self._asked_for, log.recovery_point) < most:
            return False
        self._asked_for = end
        return True

    def is_due(self, now: float) -> bool:
        """Whether something has not been synced for `flush.ms`; the caller asks for it. `now` is monotonic
        seconds. To be called a few times a second."""
        log = self._log
        interval_ms = log.config.flush_ms
        if interval_ms == NEVER or log.recovery_point >= log.end_offset:
            self._due = None
            return False
        if self._due is None:
            self._due = now + interval_ms / 1000
        if now < self._due:
            return False
        self._due = None
        return True
