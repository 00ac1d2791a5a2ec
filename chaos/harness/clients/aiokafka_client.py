"""aiokafka."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError as AiokafkaError

from chaos.harness.client_process import Stop
from chaos.harness.journal import Journal, SentRun
from chaos.harness.tasks import Pace, Role, Task, payload, wire_key
from chaos.history import Outcome, Read, encode_value, record_of

FAILURES = (AiokafkaError, TimeoutError, OSError)

POLL_MS = 200
BATCH = 500
COMMIT_EVERY = 0.5
REQUEST_TIMEOUT_MS = 30_000


def run(task: Task, journal: Journal, stop: Stop) -> None:
    """Raises one of FAILURES."""
    roles: dict[Role, Callable[[Task, Journal, Stop], Coroutine[Any, Any, None]]] = {
        Role.PRODUCE: produce,
        Role.READ: read,
        Role.GROUP: consume_in_group,
    }
    asyncio.run(roles[task.role](task, journal, stop))


async def produce(task: Task, journal: Journal, stop: Stop) -> None:
    """The idempotent producer."""
    producer = AIOKafkaProducer(
        bootstrap_servers=task.bootstrap,
        client_id=task.name,
        enable_idempotence=True,
        linger_ms=5,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    pad = payload(task)
    pace = Pace(task, time.monotonic())

    def delivered(record: int, future: asyncio.Future[Any]) -> None:
        pace.unsettled -= 1
        failure = future.exception()
        if failure is None:
            journal.settled(record, Outcome.ACKNOWLEDGED, future.result().offset)
        else:
            journal.settled(record, Outcome.UNKNOWN)
            journal.note(f"record {record}: {failure!r}")

    await producer.start()
    try:
        while not (pace.finished or stop.asked):
            burst = pace.next_burst(time.monotonic())
            if burst is None:
                await asyncio.sleep(0.01)
                journal.flush()
                continue
            partition, key, first, count = burst
            journal.sent(SentRun(task.topic, partition, key, first, count))
            on_wire = wire_key(key)
            for record in range(first, first + count):
                value = encode_value(record, task.name, on_wire, pad)
                future = await producer.send(task.topic, value, key=on_wire, partition=partition)
                future.add_done_callback(functools.partial(delivered, record))
        await producer.flush()
        await asyncio.sleep(0)  # what is delivered has its callbacks still to come
    finally:
        journal.flush()
        await producer.stop()


async def _poll(consumer: AIOKafkaConsumer) -> list[Read]:
    found = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH)
    return [
        Read(place.topic, place.partition, message.offset, record_of(message.value, message.key or b""))
        for place, messages in found.items()
        for message in messages
    ]


async def read(task: Task, journal: Journal, stop: Stop) -> None:
    """A consumer of all partitions, without a group."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=task.bootstrap,
        client_id=task.name,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        places = [(topic, index) for topic, count in task.topics for index in range(count)]
        consumer.assign([TopicPartition(*place) for place in places])
        await consumer.seek_to_beginning()
        journal.assigned(places)
        while not stop.asked:
            journal.polled(await _poll(consumer), committed_only=True)
    finally:
        await consumer.stop()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Writes down what the consumer is assigned, and forgets what it has not committed."""

    def __init__(self, journal: Journal, to_commit: dict[TopicPartition, int]) -> None:
        self._journal = journal
        self._to_commit = to_commit

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Called by aiokafka."""
        del revoked  # all of them: its rebalances are eager
        self._to_commit.clear()
        self._journal.assigned(())

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Called by aiokafka."""
        self._to_commit.clear()
        self._journal.assigned((each.topic, each.partition) for each in assigned)


async def consume_in_group(task: Task, journal: Journal, stop: Stop) -> None:
    """A member that commits what it has read twice a second."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=task.bootstrap,
        client_id=task.name,
        group_id=task.group,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
    )
    to_commit: dict[TopicPartition, int] = {}
    consumer.subscribe([task.topic], listener=_Listener(journal, to_commit))
    await consumer.start()
    last = time.monotonic()
    try:
        while True:
            reads = await _poll(consumer)
            journal.polled(reads, committed_only=True)
            to_commit.update({TopicPartition(r.topic, r.partition): r.offset + 1 for r in reads})
            if to_commit and time.monotonic() >= last + COMMIT_EVERY:
                await _commit(task, consumer, to_commit, journal)
                last = time.monotonic()
            if stop.asked and not reads and not to_commit and await _all_committed(task, consumer, journal):
                break
    finally:
        await consumer.stop()


async def _commit(
    task: Task, consumer: AIOKafkaConsumer, to_commit: dict[TopicPartition, int], journal: Journal
) -> None:
    wanted, began = dict(to_commit), time.monotonic()
    to_commit.clear()
    try:
        await consumer.commit(wanted)
        outcome = Outcome.ACKNOWLEDGED
    except (AiokafkaError, TimeoutError) as failure:
        outcome = Outcome.UNKNOWN
        journal.note(f"commit: {failure!r}")
        assigned = consumer.assignment()
        to_commit.update({place: offset for place, offset in wanted.items() if place in assigned})
    for place, offset in wanted.items():
        journal.committed((task.group, place.topic, place.partition), offset, outcome, began)


async def _all_committed(task: Task, consumer: AIOKafkaConsumer, journal: Journal) -> bool:
    places = [TopicPartition(task.topic, index) for index in range(task.partitions)]
    try:
        ends = await consumer.end_offsets(places)
        done = True
        for place in places:
            began = time.monotonic()
            offset = await consumer.committed(place)
            journal.fetched(
                (task.group, place.topic, place.partition), -1 if offset is None else offset, began
            )
            done &= (offset or 0) >= ends[place]
    except (AiokafkaError, TimeoutError) as failure:
        journal.note(f"committed: {failure!r}")
        return False
    return done
