"""What clients hear while the successor of a lost leader is being elected, by what they make of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID

import pytest

from kraft.broker.connection import Connection, ConnectionLimits
from kraft.broker.metadata_cache import MetadataCache
from kraft.broker.neighbours import PING, Neighbours
from kraft.broker.quiet_connections import QuietConnections
from kraft.broker.suspected_leaders import SuspectedLeaders
from kraft.transport import NodeServer, Peer
from kraft.transport.messages import Reply
from metadata.image import EMPTY_IMAGE, MetadataImage
from metadata.records import Endpoint, NodeEndpoint, RegisterBrokerRecord

CLUSTER, SECRET = "cluster", b"a secret of thirty-two bytes ...."
LIBRDKAFKA = ("confluent-kafka-python", "2.16.1-rdkafka-2.16.0")
JAVA = ("apache-kafka-java", "4.2.0")
PATIENCE = 10.0


def known_as(software: tuple[str, str]) -> Connection:
    """A client's connection, which need not be open to be told apart."""
    connection = Connection("PLAINTEXT", lambda _c, _f: None, ConnectionLimits(), {}, QuietConnections())
    connection.client_software = software
    return connection


class Cluster:
    """Broker 1, whose metadata say that broker 2 leads, and broker 2, as far as links need one."""

    def __init__(self) -> None:
        self.metadata = MetadataCache()
        self._links: asyncio.Queue[bool] = asyncio.Queue()
        self.neighbours = Neighbours(1, self._make_peer, 60.0, asyncio.get_running_loop().time)
        self.suspected = SuspectedLeaders(self.neighbours, self.metadata)
        self._leader = 2
        self._server: NodeServer | None = None
        self._port = 0

    def _make_peer(
        self, broker_id: int, address: tuple[str, int], up: Callable[[], None], down: Callable[[], None]
    ) -> Peer:
        def is_up() -> None:
            up()
            self._links.put_nowait(True)

        def is_down() -> None:
            down()
            self._links.put_nowait(False)

        return Peer(1, CLUSTER, SECRET, broker_id, address, on_up=is_up, on_down=is_down)

    async def until_link(self, is_up: bool) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self._links.get() != is_up:
                pass

    async def start(self) -> None:
        self._server = NodeServer(2, CLUSTER, SECRET, on_fatal=pytest.fail)
        self._server.handlers.handle(PING, lambda _link, _value: Reply(None))
        self._port = await self._server.start("127.0.0.1", self._port)
        node = NodeEndpoint("127.0.0.1", self._port)
        endpoints = (Endpoint("PLAINTEXT", "127.0.0.1", 9092),)
        epoch = EMPTY_IMAGE.next_offset
        record = RegisterBrokerRecord(2, UUID(int=1), epoch, endpoints, node, fenced=False)
        self.neighbours.meet(EMPTY_IMAGE.apply([record], epoch))
        await self.until_link(True)

    async def kill(self) -> None:
        assert self._server is not None
        await self._server.close()
        await self.until_link(False)

    def elect(self, leader: int) -> None:
        self._leader = leader
        self.metadata.publish(MetadataImage())

    def asks(self, client: Connection | None) -> asyncio.Task[None]:
        return asyncio.ensure_future(self.suspected.replaced(lambda: {self._leader}, client))

    async def close(self) -> None:
        await self.neighbours.close()
        if self._server is not None:
            await self._server.close()


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.close()


async def in_time(task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(PATIENCE):
        await task


async def undecided(task: asyncio.Task[None]) -> bool:
    for _ in range(50):
        await asyncio.sleep(0)
    return not task.done()


@pytest.mark.parametrize("client", [JAVA, ("unknown", "unknown"), None])
async def test_an_answer_waits_for_the_successor(cluster: Cluster, client: tuple[str, str] | None) -> None:
    connection = None if client is None else known_as(client)
    await in_time(cluster.asks(connection))
    await cluster.kill()
    asked = cluster.asks(connection)
    assert await undecided(asked)
    cluster.elect(3)
    await in_time(asked)


async def test_librdkafka_hears_of_the_loss_once_and_then_of_the_successor(cluster: Cluster) -> None:
    """Told of both at once, it may leave the partition with nobody until its timer comes."""
    connection, other = known_as(LIBRDKAFKA), known_as(LIBRDKAFKA)
    await in_time(cluster.asks(connection))
    await cluster.kill()
    assert cluster.suspected.suspects(2)
    await in_time(cluster.asks(connection))
    asked = cluster.asks(connection)
    assert await undecided(asked)
    await in_time(cluster.asks(other))
    cluster.elect(3)
    await in_time(asked)


async def test_librdkafka_hears_of_the_next_loss_too(cluster: Cluster) -> None:
    connection = known_as(LIBRDKAFKA)
    await cluster.kill()
    await in_time(cluster.asks(connection))
    await cluster.start()
    assert not cluster.suspected.suspects(2)
    await cluster.kill()
    await in_time(cluster.asks(connection))
    asked = cluster.asks(connection)
    assert await undecided(asked)
    cluster.elect(3)
    await in_time(asked)
