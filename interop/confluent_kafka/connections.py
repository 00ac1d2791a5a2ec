"""Clients of confluent-kafka with the settings that all steps share."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from interop.shared.telling import PATIENCE, Deadline, Unexpected, Where, expect

Setting = str | int | float | bool | Callable[..., None]


def code(error: BaseException) -> int | None:
    """Kafka's code of an exception; librdkafka's own for a fenced producer stands for Kafka's."""
    if not isinstance(error, KafkaException) or not isinstance(error.args[0], KafkaError):
        return None
    found = int(error.args[0].code())
    if found == KafkaError._FENCED:
        return 90
    return found if found >= -1 else None


def settings(at: Where, **more: Setting) -> dict[str, Any]:
    """Underscores stand for dots."""
    return {
        "bootstrap.servers": at.bootstrap,
        "log_level": 0,
        **{name.replace("_", "."): value for name, value in more.items()},
    }


@functools.cache
def admin(at: Where) -> AdminClient:
    """One for all steps: it has to outlive what it is asked for."""
    return AdminClient(settings(at))


def result(futures: dict[Any, Any]) -> Any:
    """What the only future of an answer comes to. Raises KafkaException."""
    (future,) = futures.values()
    return future.result(PATIENCE)


def make_topic(at: Where, of: str, partitions: int = 1) -> str:
    """A topic that is ready: every partition has a leader."""
    name, client = at.name(of), admin(at)
    result(client.create_topics([NewTopic(name, partitions, at.replication_factor)]))
    deadline = Deadline()
    while deadline.left(f"leaders of {name}"):
        found = client.list_topics(name, timeout=PATIENCE).topics[name].partitions
        if len(found) == partitions and all(each.leader >= 0 for each in found.values()):
            break
    return name


class Deliveries:
    """Sends, and notes where each record went."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self.offsets: list[tuple[int, int]] = []
        self._failures: list[KafkaError] = []

    def send(self, topic: str, value: bytes | None, key: bytes | None = None, **more: Any) -> None:
        """As Producer.produce."""
        self.producer.produce(topic, value, key, on_delivery=self._delivered, **more)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(error)
        else:
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            self.offsets.append((partition, offset))

    def flush(self) -> None:
        """Wait for all of them. Raises KafkaException for one that was refused."""
        left = self.producer.flush(PATIENCE)
        if self._failures:
            raise KafkaException(self._failures[0])
        expect("unacknowledged records", left, 0)


def send_numbers(at: Where, topic: str, numbers: Iterable[int], partitions: int = 1) -> None:
    """Values 0, 1, … round and round the partitions."""
    deliveries = Deliveries(Producer(settings(at)))
    for number in numbers:
        deliveries.send(topic, b"%d" % number, partition=number % partitions)
    deliveries.flush()


def checked(message: Message) -> Message:
    """The message; raises KafkaException for an error in its place."""
    error = message.error()
    if error is not None:
        raise KafkaException(error)
    return message


@contextlib.contextmanager
def consumer(at: Where, **more: Setting) -> Iterator[Consumer]:
    """Closed at the end."""
    opened = Consumer(settings(at, **more))
    try:
        yield opened
    finally:
        opened.close()


def read(at: Where, partitions: list[TopicPartition], count: int, **more: Setting) -> list[Message]:
    """The next `count` messages of these positions. Raises Unexpected if so many do not come."""
    found: list[Message] = []
    with consumer(at, group_id=at.name("none"), enable_auto_commit=False, **more) as reader:
        reader.assign(partitions)
        deadline = Deadline()
        while len(found) < count and deadline.left(f"{count} messages of {partitions[0].topic}"):
            found += [checked(each) for each in reader.consume(count - len(found), timeout=1.0)]
        extra = reader.consume(1, timeout=0.2)
        if extra and extra[0].error() is None:
            raise Unexpected(f"more than {count} messages")
    return found
