"""What producers and consumers of confluent-kafka are made with, and how their errors are read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from interop.shared.client import Where
from interop.shared.telling import PATIENCE, expect
from kafkawire.errors import ErrorCode

Setting = str | int | float | bool | Callable[..., None]


def settings(at: Where, **more: Setting) -> dict[str, Any]:
    """Underscores stand for dots."""
    shared = {"bootstrap.servers": at.bootstrap, "log_level": 0}
    return {**shared, **{name.replace("_", "."): value for name, value in more.items()}}


def code(error: BaseException) -> int | None:
    """Kafka's code of an exception; librdkafka's own for a fenced producer stands for Kafka's."""
    if not isinstance(error, KafkaException) or not isinstance(error.args[0], KafkaError):
        return None
    found = int(error.args[0].code())
    if found == KafkaError._FENCED:
        return ErrorCode.PRODUCER_FENCED
    return found if found >= ErrorCode.UNKNOWN_SERVER_ERROR else None


def checked(message: Message) -> Message:
    """The message; raises KafkaException for an error in its place."""
    error = message.error()
    if error is not None:
        raise KafkaException(error)
    return message


class Deliveries:
    """Sends, and notes where each record went."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._failures: list[KafkaError] = []
        self.placed: list[tuple[int, int]] = []

    def send(self, topic: str, value: bytes | None, key: bytes | None = None, **more: Any) -> None:
        """As Producer.produce."""
        self._producer.produce(topic, value, key, on_delivery=self._delivered, **more)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(error)
        else:
            self.placed.append((message.partition(), message.offset()))

    def flush(self) -> None:
        """Wait for all of them. Raises KafkaException for one that was refused."""
        left = self._producer.flush(PATIENCE)
        if self._failures:
            raise KafkaException(self._failures[0])
        expect("unacknowledged records", left, 0)


@contextlib.contextmanager
def consumer(at: Where, **more: Setting) -> Iterator[Consumer]:
    """In no group; closed at the end."""
    opened = Consumer(settings(at, group_id=at.name("none"), enable_auto_commit=False, **more))
    try:
        yield opened
    finally:
        opened.close()
