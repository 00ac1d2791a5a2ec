"""Who waits for a partition: produce requests for the high watermark, fetches for something to read."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from kafkawire.errors import ErrorCode

if TYPE_CHECKING:
    from replication.partition import Partition


class Acknowledgement(Protocol):
    """One produce request's stake in one partition. Called exactly once, with NONE or the reason."""

    def acknowledged(self, partition: Partition, error: ErrorCode) -> None: ...


class Watcher(Protocol):
    """Told when there may be more to read, or when the partition's role changed; it looks for itself."""

    def notify(self, partition: Partition) -> None: ...


class _Wait(NamedTuple):
    offset: int
    deadline: float
    waiter: Acknowledgement


class Acknowledgements:
    """Produce requests in the order of their appends, so that the high watermark releases them from the
    front."""

    __slots__ = ("_waits",)

    def __init__(self) -> None:
        self._waits: deque[_Wait] = deque()

    def __len__(self) -> int:
        return len(self._waits)

    def add(self, offset: int, deadline: float, waiter: Acknowledgement) -> None:
        """Wait until the high watermark is at least `offset`, or `deadline` (monotonic seconds) is over."""
        self._waits.append(_Wait(offset, deadline, waiter))

    def release(self, partition: Partition, high_watermark: int, error: ErrorCode) -> None:
        """Answer all that `high_watermark` covers."""
        waits = self._waits
        while waits and waits[0].offset <= high_watermark:
            waits.popleft().waiter.acknowledged(partition, error)

    def fail(self, partition: Partition, error: ErrorCode) -> None:
        """Answer all with `error`."""
        waits, self._waits = self._waits, deque()
        for wait in waits:
            wait.waiter.acknowledged(partition, error)

    def expire(self, partition: Partition, now: float) -> None:
        """Answer those whose time is over with REQUEST_TIMED_OUT; their records stay and may still commit."""
        if not self._waits:
            return
        expired = [wait for wait in self._waits if wait.deadline <= now]
        if not expired:
            return
        self._waits = deque(wait for wait in self._waits if wait.deadline > now)
        for wait in expired:
            wait.waiter.acknowledged(partition, ErrorCode.REQUEST_TIMED_OUT)
