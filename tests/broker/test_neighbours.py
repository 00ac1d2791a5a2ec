"""A broker's links to the others: there for whoever is registered, and for nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

from kraft.broker.neighbours import Neighbours
from kraft.transport.client import Peer
from metadata.image import EMPTY_IMAGE, MetadataImage
from metadata.records import Endpoint, NodeEndpoint, RegisterBrokerRecord, UnregisterBrokerRecord


def registered(image: MetadataImage, broker_id: int, port: int) -> MetadataImage:
    epoch = image.offset + 1
    endpoints = (Endpoint("PLAINTEXT", "127.0.0.1", 9092),)
    node = NodeEndpoint("127.0.0.1", port)
    record = RegisterBrokerRecord(broker_id, UUID(int=epoch + 1), epoch, endpoints, node, fenced=False)
    return image.apply([record], epoch)


def unregistered(image: MetadataImage, broker_id: int) -> MetadataImage:
    record = UnregisterBrokerRecord(broker_id, image.brokers[broker_id].epoch)
    return image.apply([record], image.offset + 1)


async def test_nobody_dials_a_broker_that_was_unregistered() -> None:
    dialled = asyncio.Semaphore(0)

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialled.release()
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def make_peer(
        broker_id: int, address: tuple[str, int], up: Callable[[], None], down: Callable[[], None]
    ) -> Peer:
        return Peer(1, "cluster", b"secret", broker_id, address, on_up=up, on_down=down)

    neighbours = Neighbours(1, make_peer, 0.5, asyncio.get_running_loop().time)
    image = registered(registered(EMPTY_IMAGE, 1, port), 2, port)
    neighbours.meet(image)
    assert neighbours.peer(1) is None
    before = neighbours.peer(2)
    assert before is not None
    async with asyncio.timeout(10):
        await dialled.acquire()
    image = unregistered(image, 2)
    neighbours.meet(image)
    assert neighbours.peer(2) is None
    assert neighbours.lost_at(2) is None
    assert before._task is not None
    async with asyncio.timeout(10):
        await asyncio.wait((before._task,))
    neighbours.meet(registered(image, 2, port))
    assert neighbours.peer(2) not in (None, before)
    await neighbours.close()
    server.close()
    await server.wait_closed()
