"""confluent-kafka (librdkafka), where `interop` does not go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

TIMEOUT = 20.0

pytestmark = pytest.mark.xdist_group("interop")


def consume(bootstrap: str, partitions: list[TopicPartition], count: int) -> list[Any]:
    """The first `count` messages of these partitions; polls are bounded by TIMEOUT."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False})
    consumer.assign(partitions)
    messages: list[Any] = []
    try:
        while len(messages) < count:
            batch = consumer.consume(count - len(messages), timeout=TIMEOUT)
            assert batch, f"nothing came after {len(messages)} messages"
            assert not [message.error() for message in batch if message.error()]
            messages += batch
    finally:
        consumer.close()
    return messages


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_acks(bootstrap: str, make_topic: Callable[[int], str], acks: str) -> None:
    topic = make_topic(3)
    producer = Producer({"bootstrap.servers": bootstrap, "acks": acks, "linger.ms": 1})
    for number in range(300):
        producer.produce(topic, b"%d" % number, partition=number % 3)
    assert producer.flush(TIMEOUT) == 0
    assigned = [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(3)]
    messages = consume(bootstrap, assigned, 300)
    for partition in range(3):
        values = [int(message.value()) for message in messages if message.partition() == partition]
        assert values == list(range(partition, 300, 3))
