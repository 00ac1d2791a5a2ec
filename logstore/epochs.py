"""Which leader epoch began at which offset: what replicas compare instead of high watermarks.

A follower asks the leader where the follower's epoch ended and cuts its log there (KIP-101); asked for an
epoch it does not know, the leader answers the largest known one before it, and the follower asks again
(KIP-279). Source: `org.apache.kafka.storage.internals.epoch.LeaderEpochFileCache`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

NO_EPOCH = -1


class EpochStart(NamedTuple):
    """The first offset that a leader of `epoch` wrote, or would have written."""

    epoch: int
    start_offset: int


class EpochEnd(NamedTuple):
    """The offset after the last one of `epoch`."""

    epoch: int
    end_offset: int


UNDEFINED_EPOCH_END = EpochEnd(NO_EPOCH, -1)


class EpochCache:
    """Epochs and their first offsets, both strictly ascending. `latest` is -1 while there are none."""

    __slots__ = ("_epochs", "_starts", "latest")

    def __init__(self, entries: Iterable[EpochStart] = ()) -> None:
        self._epochs: list[int] = []
        self._starts: list[int] = []
        self.latest = NO_EPOCH
        for epoch, start_offset in entries:
            self.assign(epoch, start_offset)

    @property
    def entries(self) -> list[EpochStart]:
        return list(map(EpochStart, self._epochs, self._starts))

    def assign(self, epoch: int, start_offset: int) -> bool:
        """Note that `epoch` began at `start_offset`; True if that changed anything.

        Entries that it contradicts, of later epochs or offsets, are dropped: a leader that wrote nothing
        leaves no trace once its successor begins at the same offset.
        """
        if epoch < 0 or start_offset < 0:
            raise ValueError(f"epoch {epoch} at offset {start_offset}")
        if epoch == self.latest and start_offset >= self._starts[-1]:
            return False
        while self._epochs and (self._epochs[-1] >= epoch or self._starts[-1] >= start_offset):
            self._epochs.pop()
            self._starts.pop()
        self._epochs.append(epoch)
        self._starts.append(start_offset)
        self.latest = epoch
        return True

    def end_offset_for(self, epoch: int, log_end: int) -> EpochEnd:
        """Where `epoch` ended, for a log that ends at `log_end`.

        The latest epoch ends there; an unknown one is answered by the largest before it; one older than all
        ends where the log begins; one younger than all is undefined, (-1, -1): this log cannot know.
        """
        if epoch == NO_EPOCH or epoch > self.latest:
            return UNDEFINED_EPOCH_END
        if epoch == self.latest:
            return EpochEnd(epoch, log_end)
        later = bisect_right(self._epochs, epoch)
        end = self._starts[later]
        return EpochEnd(self._epochs[later - 1] if later else epoch, end)

    def epoch_at(self, offset: int) -> int:
        """The epoch in which `offset` was, or will be, written; -1 before the first known one."""
        number = bisect_right(self._starts, offset)
        return self._epochs[number - 1] if number else NO_EPOCH

    def truncate_end(self, offset: int) -> bool:
        """Forget the epochs that began at or past `offset`; True if there were any."""
        keep = bisect_left(self._starts, offset)
        if keep == len(self._starts):
            return False
        del self._epochs[keep:]
        del self._starts[keep:]
        self.latest = self._epochs[-1] if self._epochs else NO_EPOCH
        return True

    def truncate_start(self, offset: int) -> bool:
        """Forget what lies before `offset`: the epoch in which it was written now begins there."""
        number = bisect_right(self._starts, offset) - 1
        if number < 0 or (number == 0 and self._starts[0] == offset):
            return False
        del self._epochs[:number]
        del self._starts[:number]
        self._starts[0] = offset
        return True
