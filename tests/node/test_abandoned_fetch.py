"""A fetch may ask to wait for weeks; if its client goes away, nothing of it is left."""

from __future__ import annotations

import asyncio
import gc
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from kafkawire.fetch import FetchPartition, FetchRequest
from kafkawire.fetch_client import encode_fetch_request
from kraft.client.admin import Admin
from kraft.client.cluster import Cluster
from replication.partition import Partition

TOPIC = "waited-for"


async def test_the_partition_forgets_who_waited(start_nodes: Callable[[int, int], Awaitable[Any]]) -> None:
    nodes = await start_nodes(1, 1)
    async with Cluster(nodes.plan.bootstrap) as client:
        await Admin(client).create_topic(TOPIC, partitions=1, replication_factor=1)
        (partition,) = (
            each for each in gc.get_objects() if isinstance(each, Partition) and each.topic == TOPIC
        )
        wanted = [FetchPartition(TOPIC, 0, -1, 0, -1, -1, 1000)]
        request = FetchRequest(-1, 2**31 - 1, 1, 1000, 0, 0, -1, wanted, [], "")
        _, writer = await asyncio.open_connection("127.0.0.1", nodes.plan.nodes[0].kafka_port)
        writer.write(encode_fetch_request(12, 1, request))
        # A fetch that is not to wait at all is answered at once, and so is one with a negative time.
        for wait in (-1, -(2**31)):
            reader, hasty = await asyncio.open_connection("127.0.0.1", nodes.plan.nodes[0].kafka_port)
            hasty.write(encode_fetch_request(12, 7, request._replace(max_wait_ms=wait)))
            async with asyncio.timeout(10):
                assert struct.unpack(">ii", await reader.readexactly(8))[1] == 7
            hasty.close()
        async with asyncio.timeout(10):
            while len(partition.watchers) != 1:  # noqa: ASYNC110 - it is the loop that has to go round
                await asyncio.sleep(0)
            writer.close()
            while partition.watchers:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
