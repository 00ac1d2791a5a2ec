"""Sends transaction markers to the brokers that lead the partitions, in batches, until all are told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.transaction.commands import Decided
from kraft.coordinator.transaction.marker_queue import LeaderOf, Marker, MarkerQueue, Parcel

RETRY_PAUSE: Final = 0.05
"""Seconds before a partition is told again that did not acknowledge, or had no leader."""

MAX_CALLS: Final = 8
"""Calls to one broker at a time. More than one, so that a partition that waits for its replicas does not hold
back the others; what is decided while all are under way goes into the next ones together."""

SendMarkers = Callable[[int, Sequence[Marker]], Awaitable[Sequence[Sequence[ErrorCode]]]]
"""(broker, markers) -> for each marker one code per partition. Raises KafkaError if there is no answer."""

OnTold = Callable[[int, Decided], None]
"""(partition of `__transaction_state`, transaction): every partition of it knows."""


class MarkerSender:
    """Keep `run` running. `deliver` may be called again for what is under way."""

    def __init__(self, leader_of: LeaderOf, send: SendMarkers, on_told: OnTold) -> None:
        self._leader_of = leader_of
        self._send = send
        self._on_told = on_told
        self._queue = MarkerQueue()
        self._calls: Counter[int] = Counter()
        self._wake = asyncio.Event()
        self._retry: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Transactions that are not told everywhere yet."""
        return len(self._queue)

    def deliver(self, index: int, decided: Decided) -> None:
        """Tell every partition of a transaction whose fate is committed."""
        self._queue.add(index, decided)
        self._wake.set()

    def forget(self, index: int) -> None:
        """This broker coordinates partition `index` no more."""
        self._queue.forget(index)

    async def run(self) -> None:
        """Send, until cancelled. A mistake of ours ends it with that exception."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    for broker, parcels in self._queue.take(self._leader_of, self._may_send):
                        self._calls[broker] += 1
                        group.create_task(self._call(broker, parcels))
                    self._report()
                    if self._queue.waiting:
                        self._look_again()
        finally:
            if self._retry is not None:
                self._retry.cancel()

    def _may_send(self, broker: int) -> bool:
        return self._calls[broker] < MAX_CALLS

    async def _call(self, broker: int, parcels: list[Parcel]) -> None:
        try:
            answers = await self._send(broker, [parcel.marker for parcel in parcels])
        except KafkaError:
            for parcel in parcels:
                self._queue.lost(parcel)
        else:
            for parcel, codes in zip(parcels, answers, strict=True):
                self._queue.answered(parcel, codes)
        finally:
            was_full = self._calls[broker] == MAX_CALLS
            self._calls[broker] -= 1
        self._report()
        if was_full:
            self._wake.set()
        elif self._queue.waiting:
            self._look_again()

    def _report(self) -> None:
        for delivery in self._queue.take_told():
            self._on_told(delivery.index, delivery.decided)

    def _look_again(self) -> None:
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_PAUSE, self._retry_now)

    def _retry_now(self) -> None:
        self._retry = None
        self._wake.set()
