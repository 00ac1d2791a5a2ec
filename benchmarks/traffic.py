"""A producer that never stops while the cluster is hurt, and how long it heard nothing.

An idempotent confluent-kafka producer sends a small record every two milliseconds. It
runs on a thread of its own; the acknowledgements' times are kept.
"""

from __future__ import annotations

import asyncio
import threading
import time
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, Message, Producer

from benchmarks.clients import ClientFailedError, Setting, quiet

PACE = 0.002
STEADY = 0.1
"""Seconds: traffic flows when the last acknowledgement is no older."""
PATIENCE = 60.0


class Traffic:
    """Sends from `with` until its end, which raises ClientFailedError if a record was refused or never
    acknowledged. Times are those of `time.perf_counter`."""

    def __init__(self, bootstrap: str, topic: str, settings: dict[str, Setting]) -> None:
        self._producer = Producer({**quiet(bootstrap), "enable.idempotence": True, **settings})
        self._topic = topic
        self._acknowledged: list[float] = []
        self._refused: list[KafkaError] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        left = self._producer.flush(10 if error is None else 0)
        if error is None and (left or self._refused):
            raise ClientFailedError(f"{left} records unacknowledged, refused: {self._refused[:3]}")

    @property
    def acknowledged(self) -> int:
        """How many records so far."""
        return len(self._acknowledged)

    def _send(self) -> None:
        number = 0
        while not self._stop.is_set():
            self._producer.produce(self._topic, b"%d" % number, on_delivery=self._reported)
            number += 1
            self._producer.poll(PACE)

    def _reported(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self._acknowledged.append(time.perf_counter())
        else:
            self._refused.append(error)

    async def flows(self, since: float) -> None:
        """Wait until records that were sent after `since` are acknowledged, steadily."""
        deadline = time.perf_counter() + PATIENCE
        steady_from = since
        while time.perf_counter() < deadline:
            await asyncio.sleep(0.02)
            now = time.perf_counter()
            if not self._acknowledged or now - self._acknowledged[-1] > STEADY:
                steady_from = now
            elif now - steady_from > 5 * STEADY:
                return
        raise ClientFailedError(f"nothing was acknowledged for {PATIENCE:.0f} s")

    def longest_silence(self, since: float) -> float:
        """The longest time without an acknowledgement that ended after `since`; it may have begun before."""
        times = self._acknowledged.copy()
        last = len(times) - 1
        longest = 0.0
        while last > 0 and times[last] > since:
            longest = max(longest, times[last] - times[last - 1])
            last -= 1
        return longest
