"""Clients of a simulated cluster: the SDK as it ships, each in a process of its own, and what they write down
of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from chaos.cluster.loops import ProcessLoop, World
from chaos.cluster.nodes import KAFKA_PORT, host
from chaos.cluster.streams import Streams, StreamTransport
from chaos.history import (
    Assigned,
    Event,
    Outcome,
    Polled,
    Read,
    ReadBack,
    Sent,
    Settled,
    encode_value,
    record_of,
)
from chaos.virtual_time import EPOCH_MS
from kafkawire.errors import KafkaError
from kraft.client.cluster import Cluster, ClusterOptions
from kraft.client.connections import Connection
from kraft.client.consumer import LATEST, Consumer, ConsumerOptions, Fetched, TopicPartition
from kraft.client.lanes import Acknowledged, ProducerOptions
from kraft.client.producer import IdempotentProducer

FIRST_CLIENT = 1001
KEYS = 4
BATCH_SIZES = (256 * 1024, 450)
"""Bytes: the usual size, and one at which a burst is several batches on their way at a time."""
FETCH_WAIT = 1.5
"""Seconds that a fetch waits for records: each that comes back with none is work for nothing."""
SEEKS = 0.02
"""How often a reader goes back after a poll, by up to FARTHEST records."""
FARTHEST = 200


@dataclass(slots=True)
class Notebook:
    """The history as it is written down."""

    world: World
    events: list[Event] = field(default_factory=list)
    records: int = 0
    transactions: int = 0

    def new_transaction(self) -> int:
        """A number for one more transaction."""
        self.transactions += 1
        return self.transactions

    def new_record(self) -> int:
        """A number for one more record."""
        self.records += 1
        return self.records


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all clients share. `bootstrap` are brokers' ids; what is written to `topic` is copied to
    `copies`, which has as many partitions."""

    world: World
    streams: Streams
    notebook: Notebook
    chance: Callable[[str], random.Random]
    bootstrap: tuple[int, ...]
    topic: str
    copies: str
    partitions: int


class Client:
    """A client's process. `work` is done on its own loop until `stop`."""

    def __init__(self, surroundings: Surroundings, number: int) -> None:
        self.surroundings = surroundings
        self.machine = FIRST_CLIENT + number
        self.loop = ProcessLoop(surroundings.world, f"client-{self.machine}")
        self.name = f"{type(self).__name__.lower()}-{number}"
        self.rng = surroundings.chance(self.name)
        self.stopping = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; it happens on the client's own loop."""
        self.loop.call_soon(self._start)

    def stop(self) -> None:
        """Let it finish what it has begun."""
        self.loop.call_soon(self.stopping.set)

    def _start(self) -> None:
        self.task = self.loop.create_task(self._work())

    @property
    def done(self) -> bool:
        """Whether it has stopped of itself. Raises what its work raised."""
        if self.task is None or not self.task.done():
            return False
        self.task.result()
        return True

    async def _work(self) -> None:
        async with self.cluster() as cluster:
            await self.work(cluster)

    def cluster(self) -> Cluster:
        """The cluster as this client sees it."""
        return Cluster(self.addresses, ClusterOptions(client_id=self.name), self.dial)

    @property
    def addresses(self) -> str:
        """Where the brokers are."""
        return ",".join(f"{host(each)}:{KAFKA_PORT}" for each in self.surroundings.bootstrap)

    async def work(self, cluster: Cluster) -> None:
        """What the client does."""
        raise NotImplementedError

    async def dial(self, make: Callable[[], Connection], name: str, port: int) -> None:
        """Connect to a broker, see `Dial`."""
        end = await self.surroundings.streams.connect(self.machine, (name, port))
        StreamTransport(end, make(), (name, port))

    @property
    def now(self) -> float:
        return self.surroundings.world.now

    def now_ms(self) -> int:
        return EPOCH_MS + int(self.now * 1000)

    def note(self, event: Event) -> None:
        """Write an event down."""
        self.surroundings.notebook.events.append(event)

    async def pause(self, mean: float) -> None:
        """Wait for a random time."""
        await asyncio.sleep(self.rng.expovariate(1.0 / mean))

    async def sleep_until(self, when: float) -> None:
        """Wait until then, or until it is to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(when):
                await self.stopping.wait()


class Writer(Client):
    """Sends bursts of records with an idempotent producer, and another one when that cannot go on."""

    def __init__(self, surroundings: Surroundings, number: int) -> None:
        super().__init__(surroundings, number)
        self._waiting: dict[int, deque[int]] = {index: deque() for index in range(surroundings.partitions)}

    async def work(self, cluster: Cluster) -> None:
        while not self.stopping.is_set():
            options = ProducerOptions(batch_size=self.rng.choice(BATCH_SIZES))
            producer = IdempotentProducer(
                cluster, options, on_acknowledged=self._acknowledged, clock_ms=self.now_ms
            )
            try:
                async with producer:
                    while not self.stopping.is_set():
                        await self._burst(producer)
                        await self.pause(2.4)
            except KafkaError:
                self._give_up()

    async def _burst(self, producer: IdempotentProducer) -> None:
        partition = self.rng.randrange(self.surroundings.partitions)
        await self._send(producer, partition, self.rng.choice((1, 20, 50, 90)))

    async def _send(self, producer: IdempotentProducer, partition: int, count: int) -> None:
        topic = self.surroundings.topic
        for _ in range(count):
            key = self.rng.randrange(KEYS)
            key_bytes = b"%d" % key
            record = self.surroundings.notebook.new_record()
            value = encode_value(record, self.name, key_bytes)
            self.note(Sent(self.name, self.now, record, topic, partition, key))
            self._waiting[partition].append(record)
            await producer.send(topic, value, key=key_bytes, partition=partition)

    def _acknowledged(self, batch: Acknowledged) -> None:
        waiting = self._waiting[batch.partition]
        for index in range(batch.count):
            offset = batch.base_offset + index if batch.base_offset >= 0 else None
            self.note(Settled(self.name, self.now, waiting.popleft(), Outcome.ACKNOWLEDGED, offset))

    def _give_up(self) -> None:
        for waiting in self._waiting.values():
            while waiting:
                self.note(Settled(self.name, self.now, waiting.popleft(), Outcome.UNKNOWN))


class LastWriter(Writer):
    """Writes to every partition once more when all is mended: whoever refuses a record now, fails."""

    async def work(self, cluster: Cluster) -> None:
        async with IdempotentProducer(
            cluster, on_acknowledged=self._acknowledged, clock_ms=self.now_ms
        ) as producer:
            for partition in range(self.surroundings.partitions):
                await self._send(producer, partition, 1)
            await producer.flush()


class Reader(Client):
    """Reads every partition from its start, and goes back now and then."""

    committed_only = False

    def __init__(self, surroundings: Surroundings, number: int) -> None:
        super().__init__(surroundings, number)
        self.topic = surroundings.topic
        self._assignment = -1

    async def work(self, cluster: Cluster) -> None:
        partitions = [TopicPartition(self.topic, index) for index in range(self.surroundings.partitions)]
        options = ConsumerOptions(committed_only=self.committed_only, max_wait=FETCH_WAIT)
        async with Consumer(cluster, options) as consumer:
            self.assign(consumer, dict.fromkeys(partitions, 0))
            while not self.stopping.is_set():
                fetched = await consumer.poll(0.8)
                self.note_poll(fetched)
                if fetched and self.rng.random() < SEEKS:
                    back = self.rng.randrange(FARTHEST)
                    positions = consumer.positions
                    self.assign(consumer, {each: max(0, positions[each] - back) for each in partitions})

    def assign(self, consumer: Consumer, positions: dict[TopicPartition, int]) -> None:
        """Read from there on, and write it down."""
        self._assignment += 1
        named = tuple((each.topic, each.partition) for each in positions)
        self.note(Assigned(self.name, self.now, self._assignment, named))
        consumer.assign(positions)

    def note_poll(self, fetched: list[Fetched]) -> None:
        """Write down what a poll returned, unless that was nothing."""
        if fetched:
            self.note(Polled(self.name, self.now, self._assignment, reads(fetched), self.committed_only))


class Auditor(Reader):
    """Reads what is committed of the copies, while they are made."""

    committed_only = True

    def __init__(self, surroundings: Surroundings, number: int) -> None:
        super().__init__(surroundings, number)
        self.topic = surroundings.copies


class LastReader(Reader):
    """Reads all that there is, and is committed, when everything is over."""

    committed_only = True

    def __init__(self, surroundings: Surroundings, number: int) -> None:
        super().__init__(surroundings, number)
        self.topics: tuple[str, ...] = (surroundings.topic, surroundings.copies)

    async def work(self, cluster: Cluster) -> None:
        partitions = [
            TopicPartition(topic, index)
            for topic in self.topics
            for index in range(self.surroundings.partitions)
        ]
        async with Consumer(cluster, ConsumerOptions(committed_only=True)) as consumer:
            ends = await consumer.offsets(partitions, LATEST)
            self.assign(consumer, dict.fromkeys(partitions, 0))
            while any(consumer.positions[each] < ends[each] for each in partitions):
                self.note_poll(await consumer.poll())
        for each in partitions:
            self.note(ReadBack(self.name, self.now, *each, ends[each], committed_only=True))


def reads(fetched: list[Fetched]) -> tuple[Read, ...]:
    """What a poll returned, record by record."""
    return tuple(
        Read(
            each.partition.topic,
            each.partition.partition,
            record.offset,
            record_of(record.value, record.key or b""),
        )
        for each in fetched
        for record in each.records
    )
