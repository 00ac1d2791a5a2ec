"""Our own client."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from chaos.harness.client_process import Stop
from chaos.harness.clients.kraft_groups import consume_in_group, copy
from chaos.harness.clients.kraft_reading import COMMITTED, connect, reads_of
from chaos.harness.journal import NONE, Journal, SentRun
from chaos.harness.tasks import Pace, Role, Task, payload, wire_key
from chaos.history import Outcome, encode_value
from kafkawire.errors import KafkaError
from kraft.client.connections import CONNECTION_FAILURES
from kraft.client.consumer import EARLIEST, LATEST, Consumer, TopicPartition
from kraft.client.lanes import Acknowledged
from kraft.client.producer import IdempotentProducer

FAILURES = (KafkaError, *CONNECTION_FAILURES)


def run(task: Task, journal: Journal, stop: Stop) -> None:
    """Raises one of FAILURES."""
    roles: dict[Role, Callable[[Task, Journal, Stop], Coroutine[Any, Any, None]]] = {
        Role.PRODUCE: produce,
        Role.READ: read,
        Role.GROUP: consume_in_group,
        Role.COPY: copy,
        Role.READ_BACK: read_back,
    }
    asyncio.run(roles[task.role](task, journal, stop))


async def produce(task: Task, journal: Journal, stop: Stop) -> None:
    """The idempotent producer."""
    pace = Pace(task, time.monotonic())
    pad = payload(task)
    lanes: dict[int, deque[tuple[int, int]]] = {index: deque() for index in range(task.partitions)}

    def acknowledged(news: Acknowledged) -> None:
        offset, left = news.base_offset, news.count
        pace.unsettled -= news.count
        lane = lanes[news.partition]
        while left:
            first, count = lane.popleft()
            taken = min(count, left)
            journal.settled(first, Outcome.ACKNOWLEDGED, offset, taken)
            offset = NONE if offset == NONE else offset + taken
            left -= taken
            if taken < count:
                lane.appendleft((first + taken, count - taken))
        journal.flush()

    async with (
        connect(task) as cluster,
        IdempotentProducer(cluster, on_acknowledged=acknowledged) as producer,
    ):
        while not (pace.finished or stop.asked):
            burst = pace.next_burst(time.monotonic())
            if burst is None:
                await asyncio.sleep(0.01)
                continue
            partition, key, first, count = burst
            journal.sent(SentRun(task.topic, partition, key, first, count))
            lanes[partition].append((first, count))
            on_wire = wire_key(key)
            for record in range(first, first + count):
                value = encode_value(record, task.name, on_wire, pad)
                await producer.send(task.topic, value, key=on_wire, partition=partition)
        await producer.flush()


async def read(task: Task, journal: Journal, stop: Stop) -> None:
    """A consumer of all partitions, without a group."""
    places = [TopicPartition(topic, index) for topic, count in task.topics for index in range(count)]
    async with connect(task) as cluster, Consumer(cluster, COMMITTED) as consumer:
        consumer.assign(await consumer.offsets(places, EARLIEST))
        journal.assigned(places)
        while not stop.asked:
            journal.polled(reads_of(await consumer.poll()), committed_only=True)


async def read_back(task: Task, journal: Journal, stop: Stop) -> None:
    """Everything from the start of every partition to the end that it has now."""
    places = [TopicPartition(topic, index) for topic, count in task.topics for index in range(count)]
    async with connect(task) as cluster, Consumer(cluster, COMMITTED) as consumer:
        consumer.assign(await consumer.offsets(places, EARLIEST))
        ends = await consumer.offsets(places, LATEST)
        journal.assigned(places)
        left = set(places)
        while left and not stop.asked:
            journal.polled(reads_of(await consumer.poll()), committed_only=True)
            for place in [each for each in left if consumer.positions[each] >= ends[each]]:
                journal.read_back(*place, consumer.positions[place])
                left.discard(place)
