"""The history of one idempotent producer and of whoever reads its topic back, told to a checker at once.

Such a producer has the records of a partition acknowledged in the order of sending, batch by batch: who only
counts need not carry numbers about.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat

from chaos.anomalies import Checker, Judgement
from chaos.history import Polled, Read, ReadBack, Sent, Stored

READER = "reader"


class ProducerHistory:
    """Numbers records 0, 1, 2, … in the order of sending; `clock` gives seconds."""

    def __init__(self, client: str, topic: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._topic = topic
        self._clock = clock
        self._checker = Checker()
        self._waiting: dict[int, deque[int]] = {}
        self._count = 0

    def sent(self, partition: int) -> int:
        """The next record goes out to `partition`; returns its number."""
        number = self._count
        self._count += 1
        self._checker.observe(Sent(self._client, self._clock(), number, self._topic, partition, 0))
        waiting = self._waiting.get(partition)
        if waiting is None:
            waiting = self._waiting[partition] = deque()
        waiting.append(number)
        return number

    def acknowledged(self, partition: int, count: int, base_offset: int = -1) -> None:
        """The next `count` records of `partition` are stored, from `base_offset` on if that is known.

        Raises ValueError if there are not so many.
        """
        waiting = self._waiting.get(partition, deque())
        if len(waiting) < count:
            raise ValueError(
                f"{count} records acknowledged, {len(waiting)} were sent to partition {partition}"
            )
        records = tuple([waiting.popleft() for _ in range(count)])
        known = base_offset if base_offset >= 0 else None
        self._checker.observe(Stored(self._client, self._clock(), records, known))

    def polled(self, partition: int, offsets: Sequence[int], numbers: Sequence[int]) -> None:
        """What a poll of the reader returned from `partition`, in its order."""
        reads = tuple(map(Read, repeat(self._topic), repeat(partition), offsets, numbers))
        self._checker.observe(Polled(READER, self._clock(), 0, reads))

    def read_back(self, partition: int, end: int) -> None:
        """The reader has read `partition` from its start to `end`."""
        self._checker.observe(ReadBack(READER, self._clock(), self._topic, partition, end))

    def read_whole(self, partition: int, offsets: Sequence[int], numbers: Sequence[int]) -> None:
        """All that `partition` holds, read in one go."""
        self.polled(partition, offsets, numbers)
        self.read_back(partition, offsets[-1] + 1 if offsets else 0)

    def judgement(self) -> Judgement:
        """What is wrong so far."""
        return self._checker.judgement()
