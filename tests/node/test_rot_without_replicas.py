"""A batch that nobody else has: what a disk has made of it is not read, and everything around it is."""

from __future__ import annotations

import asyncio
import gc
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from kafkawire.errors import ErrorCode
from kafkawire.fetch import FetchPartition, FetchRequest
from kafkawire.fetch_client import decode_fetch_response, encode_fetch_request
from kafkawire.records import headers
from kraft.client.admin import Admin
from kraft.client.cluster import Cluster
from kraft.client.producer import IdempotentProducer
from replication.partition import Partition

TOPIC = "alone"
VERSION = 12


async def fetch(port: int, offset: int) -> tuple[int, list[int]]:
    """Error code and base offsets of what a fetch finds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    wanted = [FetchPartition(TOPIC, 0, -1, offset, -1, -1, 1_000_000)]
    writer.write(
        encode_fetch_request(VERSION, 1, FetchRequest(-1, 0, 1, 1_000_000, 0, 0, -1, wanted, [], ""))
    )
    async with asyncio.timeout(10):
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        answer = decode_fetch_response(VERSION, memoryview(await reader.readexactly(size)))
    writer.close()
    (result,) = answer.results
    return result.error_code, [header.base_offset for _, header in headers(result.records.view)]


async def test_the_batches_around_it_are_served(
    start_nodes: Callable[[int, int], Awaitable[Any]],
) -> None:
    nodes = await start_nodes(1, 1)
    port = nodes.plan.nodes[0].kafka_port
    async with Cluster(nodes.plan.bootstrap) as client:
        await Admin(client).create_topic(TOPIC, partitions=1, replication_factor=1)
        async with IdempotentProducer(client) as producer:
            for number in range(4):
                await (await producer.send(TOPIC, b"%d" % number, partition=0))
    (partition,) = (each for each in gc.get_objects() if isinstance(each, Partition) and each.topic == TOPIC)
    (path,) = Path(partition.log.directory).glob("*.log")
    content = bytearray(path.read_bytes())
    starts = [position for position, _ in headers(content)]
    content[starts[3] - 1] ^= 1
    path.write_bytes(content)
    partition.log.integrity.doubt_all()
    assert await fetch(port, 0) == (ErrorCode.NONE, [0, 1])
    assert await fetch(port, 2) == (ErrorCode.CORRUPT_MESSAGE, [])
    assert await fetch(port, 3) == (ErrorCode.NONE, [3])
