"""Producing and consuming by assignment."""

from __future__ import annotations

from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_CREATE_TIME, Message, Producer, TopicPartition

from interop.confluent_kafka.connections import (
    Deliveries,
    Setting,
    consumer,
    make_topic,
    read,
    settings,
)
from interop.shared.telling import PATIENCE, Row, Step, Where, expect, rows

CODECS = ("gzip", "snappy", "lz4", "zstd")
PARTITIONS = 3
ROWS = rows()


def _send(at: Where, topic: str, partitions: int, **more: Setting) -> Deliveries:
    deliveries = Deliveries(Producer(settings(at, acks="all", **more)))
    for number, (key, value, when, headers) in enumerate(ROWS):
        deliveries.send(topic, value, key, partition=number % partitions, timestamp=when, headers=headers)
    deliveries.flush()
    return deliveries


def _beginnings(topic: str, partitions: int) -> list[TopicPartition]:
    return [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)]


def _row(message: Message) -> Row:
    kind, when = message.timestamp()
    expect("kind of timestamp", kind, TIMESTAMP_CREATE_TIME)
    headers = [(name, value or b"") for name, value in message.headers() or []]
    return message.key(), message.value(), when, headers


def produce(at: Where) -> None:
    """Records of every kind to three partitions."""
    topic = make_topic(at, "data", PARTITIONS)
    deliveries = _send(at, topic, PARTITIONS)
    each = len(ROWS) // PARTITIONS
    wanted = [(partition, offset) for partition in range(PARTITIONS) for offset in range(each)]
    expect("offsets", sorted(deliveries.offsets), wanted)


def produce_compressed(at: Where) -> str:
    """One topic for each codec."""
    for codec in CODECS:
        topic = make_topic(at, codec)
        _send(at, topic, 1, compression_type=codec, linger_ms=50)
        messages = read(at, _beginnings(topic, 1), len(ROWS))
        expect(f"records with {codec}", [_row(message) for message in messages], ROWS)
    return ", ".join(CODECS)


def idempotent_produce(at: Where) -> None:
    """No gap in the offsets, and nothing twice."""
    topic = make_topic(at, "idempotent")
    deliveries = _send(at, topic, 1, enable_idempotence=True)
    expect("offsets", deliveries.offsets, [(0, offset) for offset in range(len(ROWS))])
    messages = read(at, _beginnings(topic, 1), len(ROWS))
    expect("records", [_row(message) for message in messages], ROWS)


def consume(at: Where) -> None:
    """What `produce` wrote."""
    messages = read(at, _beginnings(at.name("data"), PARTITIONS), len(ROWS))
    for partition in range(PARTITIONS):
        found = [message for message in messages if message.partition() == partition]
        expect("offsets", [message.offset() for message in found], list(range(len(found))))
        expect("records", [_row(message) for message in found], ROWS[partition::PARTITIONS])


def consume_from_timestamp(at: Where) -> None:
    """From the middle of partition 0."""
    wanted = ROWS[0::PARTITIONS]
    middle = len(wanted) // 2
    # Between two records: the later one is the first that is not older.
    asked = TopicPartition(at.name("data"), 0, wanted[middle][2] - 1)
    with consumer(at, group_id=at.name("none")) as reader:
        (found,) = reader.offsets_for_times([asked], timeout=PATIENCE)
    expect("offset", found.offset, middle)
    messages = read(at, [found], len(wanted) - middle)
    expect("records", [_row(message) for message in messages], wanted[middle:])


STEPS: dict[str, Step] = {
    step.__name__: step
    for step in (
        produce,
        produce_compressed,
        idempotent_produce,
        consume,
        consume_from_timestamp,
    )
}
