"""Groups of unchanged clients on a cluster of real processes, three brokers of which some are killed.

Each wait has a bound, and ends as soon as what it waits for is the case.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.messages import decode_response, encode_request, request_class
from kraft.local_cluster import LocalCluster, plan_cluster

pytestmark = pytest.mark.cluster

TIMEOUT = 30.0
PARTITIONS = 4
SETTINGS = {"group.initial.rebalance.delay.ms": "0", "group.min.session.timeout.ms": "1000"}
HEARTBEAT_MS = 100
SESSION_MS = 4000


@dataclass
class Running:
    """A cluster, and where it is reached."""

    cluster: LocalCluster
    ports: dict[int, int]

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.ports.values())

    def create_topic(self, name: str) -> None:
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([NewTopic(name, PARTITIONS, len(self.ports))])[name].result(TIMEOUT)

    def produce(self, topic: str, count: int) -> None:
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self.bootstrap})
        for number in range(count):
            producer.produce(topic, str(number), partition=number % PARTITIONS)
        assert producer.flush(TIMEOUT) == 0


@pytest.fixture
async def trio(tmp_path: Path) -> AsyncIterator[Running]:
    """Three brokers and a controller."""
    async with LocalCluster(plan_cluster(1, 3, tmp_path), SETTINGS) as cluster:
        started = await cluster.start()
        yield Running(cluster, {node: at.kafka[1] for node, at in started.items() if at.kafka is not None})


def wait_for(true: Callable[[], bool], timeout: float = TIMEOUT) -> float:
    """Ask until it is so; `true` takes its time (it polls). Returns how long it took, in seconds."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < timeout, "it did not become so in time"
    return time.monotonic() - started


class Confluent:
    """A member of a group by librdkafka."""

    def __init__(self, bootstrap: str, group: str, topic: str, **config: Any) -> None:
        from confluent_kafka import Consumer

        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "heartbeat.interval.ms": HEARTBEAT_MS,
                "session.timeout.ms": SESSION_MS,
                **config,
            }
        )
        self.seen: list[str] = []
        self.consumer.subscribe([topic])

    def poll(self) -> None:
        message = self.consumer.poll(0.02)
        if message is not None and message.error() is None:
            self.seen.append(message.value().decode())

    def owned(self) -> set[int]:
        self.poll()
        return {each.partition for each in self.consumer.assignment()}

    def commit(self) -> None:
        self.consumer.commit(asynchronous=False)

    def close(self) -> None:
        self.consumer.close()


class KafkaPython:
    """A member of a group by kafka-python."""

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        from kafka import KafkaConsumer

        from interop.kafka_python.consumer_thread import ConsumerThread

        consumer = KafkaConsumer(
            topic,
            bootstrap_servers=bootstrap.split(","),
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=HEARTBEAT_MS,
            session_timeout_ms=SESSION_MS,
        )
        self._thread = ConsumerThread(consumer)
        self.seen: list[str] = []

    def poll(self) -> None:
        self.seen += [record.value.decode() for record in self._thread.records(timeout=0.02)]

    def owned(self) -> set[int]:
        self.poll()
        return self._thread.partitions

    def commit(self) -> None:
        self._thread.do(lambda consumer: consumer.commit())

    def close(self) -> None:
        self._thread.close()


def share(members: list[Any]) -> bool:
    """Whether each partition belongs to one member, and each member has some."""
    owned = [member.owned() for member in members]
    whole = sorted(partition for each in owned for partition in each) == list(range(PARTITIONS))
    return whole and all(owned)


@pytest.fixture
def closing() -> Iterator[list[Any]]:
    """Members that are closed at the end."""
    opened: list[Any] = []
    yield opened
    for member in opened:
        member.close()


def walk(make: Callable[..., Any], running: Running, closing: list[Any], **config: Any) -> None:
    running.create_topic("t")
    running.produce("t", 100)
    first = make(running.bootstrap, "g", "t", **config)
    closing.append(first)
    wait_for(lambda: first.owned() == set(range(PARTITIONS)) and len(first.seen) == 100)
    first.commit()
    second = make(running.bootstrap, "g", "t", **config)
    closing.append(second)
    wait_for(lambda: share([first, second]))
    running.produce("t", 100)
    wait_for(lambda: bool(first.poll() or second.poll() or len(first.seen) + len(second.seen) == 200))
    first.commit()
    second.commit()
    second.close()
    closing.remove(second)
    wait_for(lambda: first.owned() == set(range(PARTITIONS)))
    first.close()
    closing.remove(first)
    third = make(running.bootstrap, "g", "t", **config)
    closing.append(third)
    running.produce("t", 7)
    wait_for(lambda: bool(third.poll() or len(third.seen) >= 7))
    assert sorted(third.seen) == sorted(map(str, range(7))), "what was committed is not seen again"


async def test_confluent_kafka(trio: Running, closing: list[Any]) -> None:
    await asyncio.to_thread(walk, Confluent, trio, closing)


async def test_confluent_kafka_cooperatively_with_static_members(trio: Running, closing: list[Any]) -> None:
    numbers = iter(range(100))

    def make(*arguments: Any) -> Confluent:
        return Confluent(
            *arguments,
            **{
                "partition.assignment.strategy": "cooperative-sticky",
                "group.instance.id": f"instance-{next(numbers)}",
            },
        )

    # A static member that closes does not leave: it is missed when its session is over.
    await asyncio.to_thread(walk, make, trio, closing)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_kafka_python(trio: Running, closing: list[Any]) -> None:
    await asyncio.to_thread(walk, KafkaPython, trio, closing)


async def test_aiokafka(trio: Running) -> None:
    from aiokafka import AIOKafkaConsumer

    async def member() -> Any:
        consumer = AIOKafkaConsumer(
            "t",
            bootstrap_servers=trio.bootstrap,
            group_id="g",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=HEARTBEAT_MS,
            session_timeout_ms=SESSION_MS,
            metadata_max_age_ms=1000,
        )
        await consumer.start()
        return consumer

    async def take(consumers: list[Any], count: int) -> list[bytes]:
        seen: list[bytes] = []
        async with asyncio.timeout(TIMEOUT):
            while len(seen) < count:
                for consumer in consumers:
                    for records in (await consumer.getmany(timeout_ms=20)).values():
                        seen += [record.value for record in records]
        return seen

    await asyncio.to_thread(trio.create_topic, "t")
    await asyncio.to_thread(trio.produce, "t", 100)
    first = await member()
    assert len(await take([first], 100)) == 100
    await first.commit()
    second = await member()
    async with asyncio.timeout(TIMEOUT):
        while not (len(first.assignment()) == len(second.assignment()) == PARTITIONS / 2):
            await first.getmany(timeout_ms=20)
    await asyncio.to_thread(trio.produce, "t", 60)
    assert len(await take([first, second], 60)) == 60
    await first.commit()
    await second.commit()
    await second.stop()
    await first.stop()
    third = await member()
    await asyncio.to_thread(trio.produce, "t", 3)
    assert sorted(await take([third], 3)) == [b"0", b"1", b"2"]
    await third.stop()


async def test_no_acknowledged_commit_is_lost_when_the_coordinator_is_killed(
    trio: Running, closing: list[Any]
) -> None:
    await asyncio.to_thread(trio.create_topic, "t")
    await asyncio.to_thread(trio.produce, "t", PARTITIONS)
    acknowledged: dict[int, int] = {}

    def commit(consumer: Any, offset: int) -> None:
        from confluent_kafka import KafkaException, TopicPartition

        offsets = [TopicPartition("t", partition, offset) for partition in range(PARTITIONS)]
        try:
            answer = consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException:
            return  # what was not acknowledged may be there or not
        acknowledged.update({each.partition: each.offset for each in answer if each.error is None})

    def committed(consumer: Any) -> dict[int, int]:
        from confluent_kafka import TopicPartition

        wanted = [TopicPartition("t", partition) for partition in range(PARTITIONS)]
        return {each.partition: each.offset for each in consumer.committed(wanted, timeout=TIMEOUT)}

    member = Confluent(trio.bootstrap, "g", "t")
    closing.append(member)
    await asyncio.to_thread(wait_for, lambda: len(member.owned()) == PARTITIONS)
    coordinator = await coordinator_of(trio, "g")
    commits = asyncio.get_running_loop().run_in_executor(
        None, lambda: [commit(member.consumer, offset) for offset in range(1, 400)]
    )
    await asyncio.to_thread(wait_for, lambda: max(acknowledged.values(), default=0) >= 100)
    await trio.cluster.processes[coordinator].kill()
    await commits
    assert min(acknowledged.values()) > 100, "commits went on under another coordinator"
    assert await coordinator_of(trio, "g", frozenset({coordinator})) != coordinator
    found = await asyncio.to_thread(committed, member.consumer)
    assert all(found[partition] >= offset for partition, offset in acknowledged.items())


async def coordinator_of(running: Running, group: str, dead: frozenset[int] = frozenset()) -> int:
    """Ask a broker that lives, until there is a coordinator."""
    port = next(port for node, port in running.ports.items() if node not in dead)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(TIMEOUT):
            while True:
                request = request_class(ApiKey.FIND_COORDINATOR)(key_type=0, coordinator_keys=[group])
                writer.write(encode_request(ApiKey.FIND_COORDINATOR, 4, 1, request))
                size = int.from_bytes(await reader.readexactly(4), "big")
                answer = decode_response(ApiKey.FIND_COORDINATOR, 4, await reader.readexactly(size))
                (found,) = answer.coordinators
                if found.error_code == ErrorCode.NONE:
                    return int(found.node_id)
    finally:
        writer.close()
