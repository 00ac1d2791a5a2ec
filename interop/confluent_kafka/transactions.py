"""Transactions."""

from __future__ import annotations

from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import OffsetSpec

from interop.confluent_kafka.connections import (
    Deliveries,
    admin,
    checked,
    consumer,
    make_topic,
    read,
    result,
    send_numbers,
    settings,
)
from interop.shared.telling import PATIENCE, Deadline, Step, Where, expect, refused

COUNT, BATCH = 30, 10


def _transactional(at: Where, of: str) -> Producer:
    producer = Producer(settings(at, transactional_id=at.name(of)))
    producer.init_transactions(PATIENCE)
    return producer


def _values(at: Where, topic: str, count: int, isolation: str) -> list[int]:
    start = [TopicPartition(topic, 0, OFFSET_BEGINNING)]
    return [int(each.value() or b"") for each in read(at, start, count, isolation_level=isolation)]


def transactions_copy(at: Where) -> None:
    """Doubles what it reads; each batch and its offsets are one transaction, the second of them twice."""
    source, target, group = make_topic(at, "source"), make_topic(at, "target"), at.name("copy")
    send_numbers(at, source, range(COUNT))
    producer = _transactional(at, "copy")
    with consumer(
        at, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, session_timeout_ms=6000
    ) as reader:
        reader.subscribe([source])
        for attempt in range(COUNT // BATCH + 1):
            producer.begin_transaction()
            _copy_batch(reader, producer, target)
            position = reader.position([TopicPartition(source, 0)])
            producer.send_offsets_to_transaction(position, reader.consumer_group_metadata(), PATIENCE)
            if attempt == 1:
                producer.abort_transaction(PATIENCE)
                reader.seek(TopicPartition(source, 0, BATCH))
            else:
                producer.commit_transaction(PATIENCE)
        (committed,) = reader.committed([TopicPartition(source, 0)], PATIENCE)
        expect("committed", committed.offset, COUNT)
    expect("copy", _values(at, target, COUNT, "read_committed"), [2 * number for number in range(COUNT)])


def _copy_batch(reader: Consumer, producer: Producer, target: str) -> None:
    copied, deadline = 0, Deadline()
    while copied < BATCH and deadline.left("records to copy"):
        for message in reader.consume(BATCH - copied, timeout=1.0):
            producer.produce(target, b"%d" % (2 * int(checked(message).value() or b"")))
            copied += 1


def transaction_abort(at: Where) -> None:
    """Five aborted, five committed."""
    topic = make_topic(at, "abort")
    producer = _transactional(at, "abort")
    for first in (0, 5):
        producer.begin_transaction()
        deliveries = Deliveries(producer)
        for number in range(first, first + 5):
            deliveries.send(topic, b"%d" % number)
        deliveries.flush()
        (producer.commit_transaction if first else producer.abort_transaction)(PATIENCE)
    expect("read_committed", _values(at, topic, 5, "read_committed"), list(range(5, 10)))
    expect("read_uncommitted", _values(at, topic, 10, "read_uncommitted"), list(range(10)))


def read_committed(at: Where) -> None:
    """What stands behind an open transaction waits for its end."""
    topic = make_topic(at, "open")
    producer = _transactional(at, "open")
    producer.begin_transaction()
    deliveries = Deliveries(producer)
    for number in range(3):
        deliveries.send(topic, b"%d" % number)
    deliveries.flush()
    send_numbers(at, topic, range(3, 5))
    asked = {TopicPartition(topic, 0): OffsetSpec.latest()}
    stable = admin(at).list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED)
    expect("last stable offset", result(stable).offset, 0)
    expect("read while it is open", _values(at, topic, 0, "read_committed"), [])
    producer.commit_transaction(PATIENCE)
    expect("read afterwards", _values(at, topic, 5, "read_committed"), list(range(5)))


def fenced_producer(at: Where) -> None:
    """The first of two with the same id."""
    topic = make_topic(at, "fenced")
    first = _transactional(at, "fenced")
    first.begin_transaction()
    first.produce(topic, b"1")
    first.flush(PATIENCE)
    _transactional(at, "fenced")
    first.commit_transaction(PATIENCE)
    raise refused("the first producer's commit")


STEPS: dict[str, Step] = {
    step.__name__: step
    for step in (
        transactions_copy,
        transaction_abort,
        read_committed,
        fenced_producer,
    )
}
