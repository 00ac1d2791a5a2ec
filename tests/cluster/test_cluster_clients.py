"""Every client produces and reads back while nodes are killed and restarted; all values and offsets are
checked.

`CLIENT_RECORDS=100000` makes it as many records for each client.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer
from confluent_kafka import TopicPartition as ConfluentPartition

from interop.clients import FetchError, every_client, prepare
from interop.targets import Unavailable

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.asyncio(loop_scope="session"),
]

RECORDS = int(os.environ.get("CLIENT_RECORDS", "20000"))
ROUNDS = 4
"""Nodes are killed so many times, each while every client sends its share of the records."""
TIMEOUT = 60.0
KCAT = shutil.which("kcat")

Share = Iterator[int]
Read = list[tuple[int, bytes]]
"""Offset and value of each record that was read."""


def value_of(number: int) -> bytes:
    return b"%d %s" % (number, b"v" * (number % 80))


class Rounds:
    """Lets the clients send one share after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._begun = [asyncio.Event() for _ in range(ROUNDS)]
        self.sent = [0] * ROUNDS

    def begin(self, index: int) -> None:
        self._begun[index].set()

    async def shares(self, sender: Callable[[range], Any]) -> None:
        """Call `sender` with the numbers of each share as its time comes."""
        size = RECORDS // ROUNDS
        for index, begun in enumerate(self._begun):
            await begun.wait()
            await sender(range(index * size, (index + 1) * size))
            self.sent[index] += 1


async def with_confluent(bootstrap: str, topic: str, rounds: Rounds, **settings: Any) -> Read:
    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "message.timeout.ms": 60_000} | settings
    )
    failures: list[Any] = []

    def delivered(error: Any, _message: Any) -> None:
        if error is not None:
            failures.append(error)

    def send(numbers: range) -> None:
        for number in numbers:
            producer.produce(topic, value_of(number), partition=0, on_delivery=delivered)
        assert producer.flush(TIMEOUT) == 0

    def read() -> Read:
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "-", "enable.auto.commit": False})
        consumer.assign([ConfluentPartition(topic, 0, OFFSET_BEGINNING)])
        found: Read = []
        with contextlib.closing(consumer):
            while len(found) < RECORDS:
                messages = consumer.consume(1000, timeout=TIMEOUT / 60)
                found += [(each.offset(), each.value()) for each in messages if each.error() is None]
        return found

    reading = asyncio.create_task(asyncio.to_thread(read))
    await rounds.shares(lambda numbers: asyncio.to_thread(send, numbers))
    assert failures == []
    return await reading


async def with_lz4(bootstrap: str, topic: str, rounds: Rounds) -> Read:
    return await with_confluent(bootstrap, topic, rounds, **{"compression.type": "lz4"})


async def with_zstd(bootstrap: str, topic: str, rounds: Rounds) -> Read:
    return await with_confluent(bootstrap, topic, rounds, **{"compression.type": "zstd"})


async def with_aiokafka(bootstrap: str, topic: str, rounds: Rounds) -> Read:
    partition = TopicPartition(topic, 0)

    async def send(numbers: range) -> None:
        sent = [await producer.send(topic, value_of(number), partition=0) for number in numbers]
        await asyncio.gather(*sent)

    async def read() -> Read:
        found: Read = []
        async with AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False) as consumer:
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            while len(found) < RECORDS:
                for message in (await consumer.getmany(timeout_ms=500)).get(partition, []):
                    found.append((message.offset, message.value))
        return found

    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, request_timeout_ms=5000
    ) as producer:
        reading = asyncio.create_task(read())
        await rounds.shares(send)
        return await reading


async def with_children(writer_command: list[str], reader_command: list[str], rounds: Rounds) -> Read:
    """Two programs: one writes the lines that it is given, one prints offset and value of each record."""
    pipe = asyncio.subprocess.PIPE
    writer = await asyncio.create_subprocess_exec(*writer_command, stdin=pipe, stdout=pipe, stderr=pipe)
    reader = await asyncio.create_subprocess_exec(*reader_command, stdout=pipe, stderr=pipe)
    try:
        reading = asyncio.create_task(reader.communicate())
        stdin = writer.stdin
        assert stdin is not None

        async def send(numbers: range) -> None:
            stdin.write(b"".join(value_of(number) + b"\n" for number in numbers))
            await stdin.drain()

        with contextlib.suppress(ConnectionError):  # it has ended, and says why
            await rounds.shares(send)
        _, complaints = await writer.communicate(b"")
        assert writer.returncode == 0, complaints
        lines, complaints = await reading
        assert reader.returncode == 0, complaints
    finally:
        for process in (writer, reader):
            if process.returncode is None:
                process.kill()
                await process.wait()
    pairs = [line.split(b"\t") for line in lines.splitlines()]
    return [(int(offset), value) for offset, value in pairs]


async def with_kcat(bootstrap: str, topic: str, rounds: Rounds) -> Read:
    # Without -E it gives up once every broker has been away, though never all at once.
    common = ["kcat", "-q", "-E", "-b", bootstrap, "-t", topic, "-p0"]
    writer = [*common, "-P", "-X", "enable.idempotence=true"]
    reader = [*common, "-C", "-o", "beginning", "-c", str(RECORDS), "-f", "%o\t%s\n"]
    return await with_children(writer, reader, rounds)


KAFKA_PYTHON_WRITER = """
import sys
from kafka import KafkaProducer
bootstrap, topic = sys.argv[1:]
producer = KafkaProducer(bootstrap_servers=bootstrap.split(","), enable_idempotence=True)
sent = [producer.send(topic, line[:-1], partition=0) for line in sys.stdin.buffer]
for each in sent:
    each.get(60)
"""

KAFKA_PYTHON_READER = """
import sys
from kafka import KafkaConsumer, TopicPartition
bootstrap, topic, count = sys.argv[1:]
consumer = KafkaConsumer(bootstrap_servers=bootstrap.split(","), enable_auto_commit=False)
consumer.assign([TopicPartition(topic, 0)])
consumer.seek_to_beginning()
for _, message in zip(range(int(count)), consumer):
    sys.stdout.buffer.write(b"%d\\t%s\\n" % (message.offset, message.value))
"""


async def with_kafka_python(bootstrap: str, topic: str, rounds: Rounds) -> Read:
    """In processes of its own: it leaves sockets open."""
    writer = [sys.executable, "-c", KAFKA_PYTHON_WRITER, bootstrap, topic]
    reader = [sys.executable, "-c", KAFKA_PYTHON_READER, bootstrap, topic, str(RECORDS)]
    return await with_children(writer, reader, rounds)


JAVA = every_client()["java"]


@functools.cache
def why_not_java() -> str:
    """What keeps the Java client from being built and run here; empty if nothing does.

    That may be the machine or a registry. InstallError if it is what we ask to be built.
    """
    try:
        prepare(JAVA)
    except (Unavailable, FetchError) as reason:
        return str(reason)
    return ""


async def with_java(bootstrap: str, topic: str, rounds: Rounds) -> Read:
    built = JAVA.home / "target"
    lines = ["java", "-Xmx192m", "-XX:+UseSerialGC", "-cp", f"{built}/classes:{built}/jars/*", "Lines"]
    writer = [*lines, "write", bootstrap, topic]
    return await with_children(writer, [*lines, "read", bootstrap, topic, str(RECORDS)], rounds)


CLIENTS = [with_lz4, with_zstd, with_aiokafka, with_kafka_python, *([with_kcat] if KCAT else [])]


async def test_every_client_reads_back_what_it_wrote(world: Any) -> None:
    why_not = await asyncio.to_thread(why_not_java)
    clients = [*CLIENTS, *([] if why_not else [with_java])]
    topics = [await world.create_topic(1) for _ in clients]
    rounds = Rounds()
    working = [
        asyncio.create_task(client(world.bootstrap, topic, rounds))
        for client, topic in zip(clients, topics, strict=True)
    ]
    try:
        for index in range(ROUNDS):
            rounds.begin(index)
            victims = [await world.leader(topics[index % len(topics)])]
            if index == ROUNDS - 1:
                victims.append(await world.active_controller())
            for victim in victims:
                await world.faults.kill(victim)
            for victim in victims:
                await world.faults.restart(victim)
            await world.until_in_sync()
        async with asyncio.timeout(2 * TIMEOUT):
            results = await asyncio.gather(*working)
    finally:
        for task in working:
            task.cancel()
        await asyncio.wait(working)
    wanted = [(number, value_of(number)) for number in range(RECORDS)]
    for client, found in zip(clients, results, strict=True):
        assert found == wanted, client.__name__


@pytest.mark.skipif(KCAT is None, reason="kcat is not installed")
async def test_kcat_is_among_them() -> None:
    assert with_kcat in CLIENTS


async def test_the_java_client_is_among_them() -> None:
    if why_not := await asyncio.to_thread(why_not_java):
        pytest.skip(why_not)
