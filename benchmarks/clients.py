"""confluent-kafka clients as the benchmarks use them. Everything here blocks: call it in a thread."""

from __future__ import annotations

import time
from typing import NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

PATIENCE = 120.0
"""Seconds after which a client gives up and the benchmark fails."""


SESSION_TIMEOUT = 6.0
"""Seconds; that of members of groups."""

Setting = str | int | float | bool


class Load(NamedTuple):
    """So many records with values of so many bytes."""

    records: int
    size: int

    @property
    def gigabytes(self) -> float:
        """10⁹ bytes of values."""
        return self.records * self.size / 1e9


class ClientFailedError(Exception):
    """A client did not do what it was asked to; the figure would be of something else."""


def quiet(bootstrap: str) -> dict[str, Setting]:
    """Settings that all clients share: where the cluster is, and no chatter about lost connections."""
    return {"bootstrap.servers": bootstrap, "log_level": 0}


def member_settings(bootstrap: str) -> dict[str, Setting]:
    """A member of a group that reads from the beginning and commits nothing."""
    return {
        **quiet(bootstrap),
        "group.id": "members",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": round(SESSION_TIMEOUT * 1000),
        "heartbeat.interval.ms": 100,
    }


def create_topic(
    bootstrap: str, name: str, partitions: int = 1, replicas: int = 1, config: dict[str, str] | None = None
) -> None:
    """Create a topic and wait until clients are told of all its leaders."""
    admin = AdminClient(quiet(bootstrap))
    new = NewTopic(name, partitions, replicas, config=config or {})
    admin.create_topics([new])[name].result(timeout=PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = admin.list_topics(name, timeout=5).topics[name].partitions
        if len(found) == partitions and all(partition.leader >= 0 for partition in found.values()):
            return
        time.sleep(0.02)
    raise ClientFailedError(f"{name} has no leaders")


def produce(bootstrap: str, topic: str, load: Load, **settings: Setting) -> float:
    """Produce to partition 0 and return the seconds until the last acknowledgement."""
    producer = Producer(
        {
            **quiet(bootstrap),
            "acks": "all",
            "linger.ms": 5,
            "queue.buffering.max.messages": 500_000,
            "delivery.report.only.error": True,
            **{name.replace("_", "."): value for name, value in settings.items()},
        }
    )
    failures: list[KafkaError] = []

    def reported(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failures.append(error)

    value = bytes(range(256)) * (load.size // 256 + 1)
    value = value[: load.size]
    deadline = time.monotonic() + PATIENCE
    started = time.perf_counter()
    for _ in range(load.records):
        while True:
            try:
                producer.produce(topic, value, partition=0, on_delivery=reported)
                break
            except BufferError:
                producer.poll(0.01)
                if time.monotonic() > deadline:
                    raise ClientFailedError("producing took too long") from None
    left = producer.flush(max(1.0, deadline - time.monotonic()))
    seconds = time.perf_counter() - started
    if left or failures:
        raise ClientFailedError(f"{left} records unacknowledged, {len(failures)} refused {failures[:1]}")
    return seconds


def consume(bootstrap: str, topic: str, count: int) -> float:
    """Read `count` records of partition 0 from the beginning and return the seconds it took."""
    consumer = Consumer(
        {
            **quiet(bootstrap),
            "group.id": "benchmark",
            "enable.auto.commit": False,
            # With the defaults the client pauses between fetches and would be what is measured.
            "queued.min.messages": 1_000_000,
            "queued.max.messages.kbytes": 1_000_000,
            "fetch.message.max.bytes": 10_000_000,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        deadline = time.monotonic() + PATIENCE
        started = time.perf_counter()
        seen = 0
        while seen < count:
            for message in consumer.consume(10_000, timeout=1.0):
                error = message.error()
                if error is not None:
                    raise KafkaException(error)
                seen += 1
            if time.monotonic() > deadline:
                raise ClientFailedError(f"only {seen} of {count} records came")
        return time.perf_counter() - started
    finally:
        consumer.close()


def end_offset(bootstrap: str, topic: str) -> int:
    """The offset after the last record of partition 0."""
    consumer = Consumer({**quiet(bootstrap), "group.id": "benchmark"})
    try:
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
        return int(high)
    finally:
        consumer.close()
