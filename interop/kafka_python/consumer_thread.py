"""kafka-python's consumer in a thread of its own, as each consumer of a real program is."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from kafka import KafkaConsumer, TopicPartition

from interop.shared.telling import PATIENCE

_T = TypeVar("_T")
_SETTLED_MS, _JOINING_MS = 50, 1000


class ConsumerThread:
    """Polls, and does between the polls what is asked.

    The library forgets what comes of a join or a sync that ends between two polls. Members that one thread
    polls in turn find that in nearly every round, and on a slow machine never come to an end.
    """

    def __init__(self, consumer: KafkaConsumer) -> None:
        """`consumer` has subscribed, and is asked for nothing but through this from now on."""
        for topic in consumer.subscription():
            # A leader that learns of the partitions after its first join joins again for their sake.
            consumer.partitions_for_topic(topic)
        self._consumer = consumer
        self._asked: queue.SimpleQueue[Callable[[], bool]] = queue.SimpleQueue()
        self._arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._live, daemon=True).start()

    def _live(self) -> None:
        goes_on = True
        while goes_on:
            try:
                goes_on = self._asked.get_nowait()()
            except queue.Empty:
                self._poll()

    def _poll(self) -> None:
        # One without partitions is joining: nobody asks anything of it, and it is not to be broken off.
        timeout_ms = _SETTLED_MS if self.partitions else _JOINING_MS
        try:
            for records in self._consumer.poll(timeout_ms=timeout_ms).values():
                for record in records:
                    self._arrived.put(record)
        except Exception as error:  # noqa: BLE001 - whoever takes the records is to see it
            self._arrived.put(error)

    @property
    def partitions(self) -> set[int]:
        """Which ones of its topic it has."""
        assigned: set[TopicPartition] = self._consumer.assignment()
        return {each.partition for each in assigned}

    def records(self, timeout: float) -> list[Any]:
        """What has come, after waiting so many seconds for the first. Raises what a poll has raised."""
        try:
            found = [self._arrived.get(timeout=timeout)]
        except queue.Empty:
            return []
        while not self._arrived.empty():
            found.append(self._arrived.get())
        for each in found:
            if isinstance(each, Exception):
                raise each
        return found

    def do(self, ask: Callable[[KafkaConsumer], _T], goes_on: bool = True) -> _T:
        """What it comes to in the thread, between two polls or as its end. Raises what that raises."""
        answer: Future[_T] = Future()

        def answered() -> bool:
            try:
                answer.set_result(ask(self._consumer))
            except Exception as error:  # noqa: BLE001 - whoever asked is to see it
                answer.set_exception(error)
            return goes_on

        self._asked.put(answered)
        return answer.result(PATIENCE)

    def close(self) -> None:
        """Leave the group, and end the thread."""
        self.do(lambda consumer: consumer.close(), goes_on=False)
