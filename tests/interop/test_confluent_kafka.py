"""confluent-kafka (librdkafka): produce, consume by assignment, administer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_CREATE_TIME, Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

TIMEOUT = 20.0


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


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_an_idempotent_producer_and_a_consumer(
    bootstrap: str, make_topic: Callable[[int], str], rows: list[Any], compression: str
) -> None:
    topic = make_topic(1)
    failures: list[Any] = []
    offsets: list[int] = []

    def delivered(error: Any, message: Any) -> None:
        if error is None:
            offsets.append(message.offset())
        else:
            failures.append(error)

    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": compression}
    )
    for key, value, timestamp, headers in rows:
        producer.produce(
            topic, value, key, partition=0, timestamp=timestamp, headers=headers, on_delivery=delivered
        )
    assert producer.flush(TIMEOUT) == 0
    assert (failures, offsets) == ([], list(range(len(rows))))
    messages = consume(bootstrap, [TopicPartition(topic, 0, OFFSET_BEGINNING)], len(rows))
    assert [message.offset() for message in messages] == offsets
    assert [
        (message.key(), message.value(), message.timestamp(), message.headers() or []) for message in messages
    ] == [(key, value, (TIMESTAMP_CREATE_TIME, when), headers) for key, value, when, headers in rows]


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


def test_administration(bootstrap: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    name = "by-confluent"

    def done(futures: dict[Any, Any]) -> Any:
        (future,) = futures.values()
        return future.result(TIMEOUT)

    done(admin.create_topics([NewTopic(name, 2, 1, config={"retention.ms": "100000"})]))
    done(admin.create_partitions([NewPartitions(name, 4)]))
    resource = ConfigResource(ResourceType.TOPIC, name)
    change = ConfigEntry("max.message.bytes", "2000", incremental_operation=AlterConfigOpType.SET)
    done(
        admin.incremental_alter_configs(
            [ConfigResource(ResourceType.TOPIC, name, incremental_configs=[change])]
        )
    )
    configs = done(admin.describe_configs([resource]))
    assert (configs["retention.ms"].value, configs["max.message.bytes"].value) == ("100000", "2000")
    offsets = done(admin.list_offsets({TopicPartition(name, 3): OffsetSpec.latest()}))
    assert offsets.offset == 0
    assert len(admin.list_topics(name, timeout=TIMEOUT).topics[name].partitions) == 4
    cluster = admin.describe_cluster().result(TIMEOUT)
    assert [node.id for node in cluster.nodes] == [1]
    done(admin.delete_topics([name]))
    assert name not in admin.list_topics(timeout=TIMEOUT).topics
