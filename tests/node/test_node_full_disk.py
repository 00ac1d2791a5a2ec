"""A disk that takes no more: the client is told, the node stops with one line, and what it acknowledged is
there when it is started again.

The disk is "full" by the limit of the system on the size of the files of one process, which another process
may set while that one runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chaos.faults import limit_files
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.produce import ProducePartition, ProduceRequest
from kafkawire.records import build_batch
from kraft.client.admin import Admin
from kraft.client.cluster import Cluster
from kraft.client.connections import CONNECTION_FAILURES
from kraft.client.consumer import Consumer, TopicPartition
from kraft.local_cluster import LocalCluster, plan_cluster

TOPIC = "filling"


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with LocalCluster(plan_cluster(1, 1, tmp_path)) as cluster:
        await cluster.start()
        yield cluster


async def produce(client: Cluster, number: int) -> ErrorCode | None:
    """Produce one batch of 1,000 bytes; None if the connection was lost."""
    batch = build_batch([(0, b"%d" % number, bytes(1000))])
    request = ProduceRequest(None, -1, 5000, [ProducePartition(TOPIC, 0, memoryview(batch))])
    try:
        (result,) = (await client.call(1, ApiKey.PRODUCE, request, 5.0)).results
    except CONNECTION_FAILURES:
        return None
    return ErrorCode(result.error_code)


async def test_nothing_acknowledged_is_lost_when_the_disk_is_full(nodes: LocalCluster) -> None:
    process = nodes.processes[1]
    async with Cluster(nodes.plan.bootstrap) as client:
        await Admin(client).create_topic(TOPIC, partitions=1, replication_factor=1)
        await client.refresh([TOPIC])
        acknowledged = 0
        outcome: ErrorCode | None = ErrorCode.NONE
        while outcome is ErrorCode.NONE and acknowledged < 300:
            if acknowledged == 50:
                limit_files(process.pid, 100_000)
            outcome = await produce(client, acknowledged)
            acknowledged += outcome is ErrorCode.NONE
    assert 50 < acknowledged < 100
    assert outcome is ErrorCode.KAFKA_STORAGE_ERROR
    assert await process.wait() == 1
    said = process.log_path.read_text()
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("kraft-node: ")]
    assert f"{TOPIC}-0" in line
    assert "File too large" in line

    await process.start()
    async with Cluster(nodes.plan.bootstrap) as client, Consumer(client) as consumer:
        partition = TopicPartition(TOPIC, 0)
        consumer.assign({partition: 0})
        await client.refresh([TOPIC])
        keys: list[bytes | None] = []
        while len(keys) < acknowledged:
            for fetched in await consumer.poll():
                keys += [record.key for record in fetched.records]
        assert keys == [b"%d" % number for number in range(acknowledged)]
        assert await produce(client, acknowledged) is ErrorCode.NONE
