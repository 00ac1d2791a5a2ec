"""kafka-python: produce, consume by assignment, administer."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

TIMEOUT = 20

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def kafka() -> Iterator[Any]:
    """Imported here, where the warnings of its import and of sockets that it leaves open are no errors."""
    yield importlib.import_module("kafka")
    gc.collect()


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
def test_an_idempotent_producer_and_a_consumer(
    kafka: Any,
    bootstrap: str,
    make_topic: Callable[[int], str],
    plain_rows: list[Any],
    compression: str | None,
) -> None:
    topic = make_topic(1)
    producer = kafka.KafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, compression_type=compression
    )
    sent = [
        producer.send(topic, value, key=key, partition=0, timestamp_ms=when, headers=headers)
        for key, value, when, headers in plain_rows
    ]
    assert [each.get(TIMEOUT).offset for each in sent] == list(range(len(plain_rows)))
    producer.close()
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, consumer_timeout_ms=TIMEOUT * 1000
    )
    partition = kafka.TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    messages = [message for _, message in zip(plain_rows, consumer, strict=False)]
    assert consumer.end_offsets([partition]) == {partition: len(plain_rows)}
    found = consumer.offsets_for_times({partition: plain_rows[10][2]})[partition]
    assert (found.offset, found.timestamp) == (10, plain_rows[10][2])
    consumer.close()
    assert [message.offset for message in messages] == list(range(len(plain_rows)))
    assert [
        (message.key, message.value, message.timestamp, list(message.headers)) for message in messages
    ] == plain_rows


def test_administration(kafka: Any, bootstrap: str, make_topic: Callable[[int], str]) -> None:
    topic = make_topic(2)
    admin = kafka.KafkaAdminClient(bootstrap_servers=bootstrap)
    assert topic in admin.list_topics()
    (described,) = admin.describe_topics([topic])
    assert len(described["partitions"]) == 2
    assert [broker["broker_id"] for broker in admin.describe_cluster()["brokers"]] == [1]
    admin.delete_topics([topic])
    assert topic not in admin.list_topics()
    admin.close()


def test_what_only_administrators_ask(kafka: Any, bootstrap: str, make_topic: Callable[[int], str]) -> None:
    partition = kafka.TopicPartition(make_topic(1), 0)
    producer = kafka.KafkaProducer(bootstrap_servers=bootstrap)
    for number in range(4):
        producer.send(partition.topic, b"%d" % number, partition=0).get(TIMEOUT)
    producer.close()
    admin = kafka.KafkaAdminClient(bootstrap_servers=bootstrap)
    assert admin.delete_records({partition: 3})[partition]["low_watermark"] == 3
    admin.alter_partition_reassignments({partition: [1]})
    assert not admin.list_partition_reassignments()
    refused = admin.alter_partition_reassignments({partition: [1, 7]})
    assert refused == {partition: kafka.errors.InvalidReplicationAssignmentError}
    assert partition.topic in str(admin.list_config_resources())
    found = admin.list_transactions(transactional_id_pattern="no-such-id-.*")
    assert "no-such-id" not in str(found)
    admin.close()
