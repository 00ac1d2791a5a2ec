"""Whole clusters of real processes, to be killed and paused.

Nothing here sleeps: a test waits until the cluster says what it is waiting for (`World.until`), or for
acknowledgements (`Load.more`).
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from chaos.anomalies import Judgement
from chaos.faults import Faults
from chaos.history import encode_value, record_of
from chaos.observer import Observer
from chaos.producer_history import ProducerHistory
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.messages import request_class
from kraft.client.cluster import Cluster
from kraft.client.consumer import EARLIEST, LATEST, Consumer, TopicPartition
from kraft.client.lanes import Acknowledged
from kraft.client.producer import IdempotentProducer
from kraft.local_cluster import LocalCluster, plan_cluster

TIMEOUT = 40.0
"""Seconds that anything may take before a test gives up on it."""

_names = itertools.count(1)


class World(Observer):
    """A running cluster, controllers 101, … and brokers 1, …, and a client that watches it."""

    def __init__(self, nodes: LocalCluster, client: Cluster) -> None:
        super().__init__(client, TIMEOUT)
        self.nodes = nodes
        self.faults = Faults(nodes, lambda _: None)
        self.controllers = [node.node_id for node in nodes.plan.nodes if node.votes]
        self.brokers = [node.node_id for node in nodes.plan.nodes if not node.votes]

    @property
    def bootstrap(self) -> str:
        return self.nodes.plan.bootstrap

    async def create_topic(self, partitions: int, **configs: str) -> str:
        """A topic with three replicas, two of them in sync at least."""
        name = f"cluster-{next(_names)}"
        await self.admin.create_topic(
            name, partitions=partitions, replication_factor=3, configs={"min.insync.replicas": "2"} | configs
        )
        await self.until_in_sync(name)
        return name

    async def elect(self, topic: str, kind: int) -> ErrorCode:
        """Ask for an election of partition 0's leader: the preferred one (0) or an unclean one (1)."""
        make = request_class(ApiKey.ELECT_LEADERS)
        wanted = make.TopicPartitions(topic=topic, partitions=[0])
        request = make(election_type=kind, topic_partitions=[wanted], timeout_ms=30_000)
        response = await self.client.call_any(ApiKey.ELECT_LEADERS, request)
        return ErrorCode(response.replica_election_results[0].partition_result[0].error_code)

    async def heal(self) -> None:
        """Everybody runs, and every replica is in sync."""
        for process in self.nodes.processes.values():
            if process.running:
                process.send_signal(signal.SIGCONT)
        down = [process for process in self.nodes.processes.values() if not process.running]
        await asyncio.gather(*(process.start() for process in down))
        await self.until_in_sync()

    def tracebacks(self) -> list[str]:
        """Names of nodes whose log shows a mistake of ours."""
        processes = self.nodes.processes.values()
        return [each.name for each in processes if "Traceback" in each.log_path.read_text()]


class Load:
    """An idempotent producer of ours that keeps sending, and the history of all that it sent."""

    def __init__(self, world: World, topic: str, partitions: int) -> None:
        self._world = world
        self._topic = topic
        self._partitions = partitions
        self._history = ProducerHistory("load", topic, asyncio.get_running_loop().time)
        self._acknowledged = 0
        self._news = asyncio.Event()
        self._stopping = False
        self._task = asyncio.create_task(self._run())

    def _on_acknowledged(self, acknowledged: Acknowledged) -> None:
        self._history.acknowledged(acknowledged.partition, acknowledged.count, acknowledged.base_offset)
        self._acknowledged += acknowledged.count
        self._news.set()

    async def _run(self) -> None:
        async with (
            Cluster(self._world.bootstrap) as client,
            IdempotentProducer(client, on_acknowledged=self._on_acknowledged) as producer,
        ):
            for burst in itertools.count():
                if self._stopping:
                    return
                deliveries = []
                for partition in range(self._partitions):
                    for _ in range(5):
                        key = b"%d" % (burst % 7)
                        value = encode_value(self._history.sent(partition), "load", key, b"x" * 100)
                        deliveries.append(
                            await producer.send(self._topic, value, key=key, partition=partition)
                        )
                await asyncio.gather(*deliveries)

    async def more(self, count: int) -> None:
        """Wait until so many more records are acknowledged."""
        wanted = self._acknowledged + count
        async with asyncio.timeout(TIMEOUT):
            while self._acknowledged < wanted:
                self._news.clear()
                waiting = asyncio.ensure_future(self._news.wait())
                await asyncio.wait([waiting, self._task], return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if self._task.done():
                    self._task.result()

    async def stop(self) -> None:
        """Send no more, and wait until all is acknowledged."""
        self._stopping = True
        async with asyncio.timeout(TIMEOUT):
            await self._task

    async def verdict(self) -> Judgement:
        """Read everything back and judge."""
        found = await read_all(self._world.bootstrap, self._topic, self._partitions)
        for partition in range(self._partitions):
            here = [record for name, record in found if name.partition == partition]
            self._history.read_whole(
                partition,
                [record.offset for record in here],
                [record_of(record.value, record.key) for record in here],
            )
        return self._history.judgement()


async def read_all(bootstrap: str, topic: str, partitions: int) -> list[tuple[TopicPartition, Any]]:
    """Every record of a topic, in the order of reading."""
    names = [TopicPartition(topic, index) for index in range(partitions)]
    found = []
    async with Cluster(bootstrap) as client, Consumer(client) as consumer, asyncio.timeout(TIMEOUT):
        consumer.assign(await consumer.offsets(names, EARLIEST))
        ends = await consumer.offsets(names, LATEST)
        while any(consumer.positions[name] < end for name, end in ends.items()):
            for fetched in await consumer.poll():
                found += [(fetched.partition, record) for record in fetched.records]
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One cluster for all tests here. What they kill is started again before the next one."""
    plan = plan_cluster(3, 3, tmp_path_factory.mktemp("cluster"))
    async with LocalCluster(plan) as nodes, Cluster(plan.bootstrap) as client:
        await nodes.start()
        world = World(nodes, client)
        yield world
        assert world.tracebacks() == []


@pytest_asyncio.fixture(loop_scope="session")
async def world(running: World) -> World:
    """The cluster, whole."""
    await running.heal()
    return running


@pytest_asyncio.fixture(loop_scope="session")
async def start_load(world: World) -> AsyncIterator[Callable[[str, int], Load]]:
    """Starts producers, and ends those that the test did not."""
    loads: list[Load] = []

    def start(topic: str, partitions: int) -> Load:
        loads.append(Load(world, topic, partitions))
        return loads[-1]

    yield start
    for load in loads:
        load._task.cancel()
        await asyncio.wait([load._task])


@pytest.fixture
def read_back() -> Callable[..., Any]:
    """Reads all of a topic: `read_all`."""
    return read_all
