"""A disk that stalls hurts everyone who waits for its broker, which goes on answering heartbeats: the broker
itself has to give its leaderships away, where another one can have them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.produce import ProducePartition, ProduceRequest
from kafkawire.records import build_batch
from kraft.broker.broker import STALL_BOUND, STALL_REST
from kraft.client.admin import Admin
from kraft.client.cluster import Cluster

TOPIC = "limping"

Start = Callable[[int, int], Awaitable[Any]]


async def produce(client: Cluster, broker: int) -> ErrorCode:
    batch = build_batch([(0, None, b"value")])
    request = ProduceRequest(None, -1, 5000, [ProducePartition(TOPIC, 0, memoryview(batch))])
    (result,) = (await client.call(broker, ApiKey.PRODUCE, request, 10.0)).results
    return ErrorCode(result.error_code)


async def until_led_by_another(admin: Admin, leader: int) -> int:
    """Who leads the topic once it is not `leader`."""
    async with asyncio.timeout(15):
        while True:
            (partition,) = (await admin.topic(TOPIC)).partitions
            if partition.leader not in (leader, -1):
                return partition.leader


async def test_the_leader_on_it_gives_way_and_comes_back(start_nodes: Start) -> None:
    nodes = await start_nodes(1, 2)
    async with Cluster(nodes.plan.bootstrap) as client:
        admin = Admin(client)
        await admin.create_topic(TOPIC, partitions=1, replication_factor=2)
        await client.refresh([TOPIC])
        first = (await client.leader(TOPIC, 0)).node_id
        assert await produce(client, first) is ErrorCode.NONE

        nodes.disks[first].stall = STALL_BOUND + 0.1
        # The stalled write is acknowledged or not, as the leadership goes; either is right.
        assert await produce(client, first) in (ErrorCode.NONE, ErrorCode.NOT_LEADER_OR_FOLLOWER)
        nodes.disks[first].stall = 0.0
        second = await until_led_by_another(admin, first)
        assert await produce(client, second) is ErrorCode.NONE

        nodes.disks[first].clock.ahead += STALL_REST
        nodes.disks[second].stall = STALL_BOUND + 0.1
        async with asyncio.timeout(15):
            while first not in client.brokers:
                await client.metadata([TOPIC])
        await produce(client, second)
        nodes.disks[second].stall = 0.0
        assert await until_led_by_another(admin, second) == first
        assert await produce(client, first) is ErrorCode.NONE


async def test_a_broker_that_is_alone_goes_on(start_nodes: Start) -> None:
    nodes = await start_nodes(1, 1)
    async with Cluster(nodes.plan.bootstrap) as client:
        admin = Admin(client)
        await admin.create_topic(TOPIC, partitions=1, replication_factor=1)
        await client.refresh([TOPIC])
        nodes.disks[1].stall = STALL_BOUND + 0.1
        assert await produce(client, 1) is ErrorCode.NONE
        nodes.disks[1].stall = 0.0
        # The controller hears a broker's requests in their order: the heartbeat comes before this one.
        await admin.create_topic("later", partitions=1, replication_factor=1)
        (partition,) = (await admin.topic(TOPIC)).partitions
        assert partition.leader == 1
        assert await produce(client, 1) is ErrorCode.NONE
