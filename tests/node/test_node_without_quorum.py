"""A broker whose controllers are no quorum waits, says so to whoever asks, and serves once there is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.produce import ProducePartition, ProduceRequest
from kafkawire.records import build_batch
from kraft.client.admin import Admin
from kraft.client.cluster import Backoff, Cluster
from kraft.local_cluster import LocalCluster, plan_cluster

TIMEOUT = 30.0


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    """Three controllers and a broker, none of them started."""
    async with LocalCluster(plan_cluster(3, 1, tmp_path)) as cluster:
        yield cluster


async def ask(port: int, path: str) -> tuple[int, Any]:
    """What a node shows people; asks again until it listens."""
    backoff = Backoff()
    async with asyncio.timeout(TIMEOUT), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                    return answer.status, await answer.json()
            except aiohttp.ClientConnectionError:
                await backoff.pause()


async def until_said(nodes: LocalCluster, node_id: int, event: str) -> str:
    """Wait for a line in a node's log; there is one of the kind."""
    path = nodes.processes[node_id].log_path
    backoff = Backoff()
    async with asyncio.timeout(TIMEOUT):
        while event not in path.read_text():
            await backoff.pause()
    (line,) = [line for line in path.read_text().splitlines() if event in line]
    return line


async def test_a_broker_waits_for_a_quorum(nodes: LocalCluster) -> None:
    ports = {node.node_id: node.node_port for node in nodes.plan.nodes}
    await nodes.processes[101].start()
    broker = asyncio.create_task(nodes.processes[1].start(TIMEOUT))
    assert await ask(ports[1], "/health") == (503, {"serving": False})
    _, status = await ask(ports[1], "/status")
    assert (status["node_id"], status["broker"]["serving"]) == (1, False)
    assert (await ask(ports[101], "/health"))[0] == 200
    _, status = await ask(ports[101], "/status")
    assert status["controller"]["active"] is False
    kafka = next(node.kafka_port for node in nodes.plan.nodes if node.node_id == 1)
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", kafka)
    assert not broker.done()
    assert "broker.waits_for_controller reason=" in await until_said(nodes, 1, "broker.waits_for_controller")
    missing = await until_said(nodes, 101, "quorum.missing")
    assert "reachable=1 needed=2 voters=3" in missing

    await nodes.processes[102].start()
    addresses = await broker
    assert addresses.kafka == ("127.0.0.1", kafka)
    assert (await ask(ports[1], "/health"))[0] == 200
    active = [(await ask(ports[each], "/status"))[1]["controller"]["active"] for each in (101, 102)]
    assert sorted(active) == [False, True]
    await until_said(nodes, 101, "quorum.found leader=")
    for process in nodes.processes.values():
        if process.log_path.exists():
            assert "Traceback" not in process.log_path.read_text()


async def test_a_quorum_that_is_lost_changes_nothing_and_serves_what_there_is(nodes: LocalCluster) -> None:
    broker, first, second = (nodes.processes[each] for each in (1, 101, 102))
    await asyncio.gather(broker.start(), first.start(), second.start())
    async with Cluster(nodes.plan.bootstrap) as client:
        admin = Admin(client)
        await admin.create_topic("there", partitions=1, replication_factor=1)
        await client.refresh(["there"])
        assert await produce(client, b"before") == 0
        await second.kill()
        await until_said(nodes, 101, "quorum.missing")
        impatient = Admin(client, timeout=0.5)
        for change in (
            impatient.create_topic("in-vain", partitions=1, replication_factor=1),
            impatient.delete_topic("there"),
        ):
            with pytest.raises(KafkaError) as refused:
                await change
            assert refused.value.code is ErrorCode.REQUEST_TIMED_OUT
        assert await produce(client, b"meanwhile") == 1
        await second.start()
        await admin.create_topic("afterwards", partitions=1, replication_factor=1)
        assert {topic.name for topic in await admin.topics()} - {"in-vain"} == {"there", "afterwards"}
        assert await produce(client, b"after") == 2
    for process in (broker, first, second):
        assert "Traceback" not in process.log_path.read_text()


async def produce(client: Cluster, value: bytes) -> int:
    """The offset of a record that was written to the topic that is there."""
    batch = memoryview(build_batch([(0, None, value)]))
    request = ProduceRequest(None, -1, 5000, [ProducePartition("there", 0, batch)])
    (result,) = (await client.call(1, ApiKey.PRODUCE, request, 6.0)).results
    assert result.error_code == ErrorCode.NONE
    return int(result.base_offset)


async def test_a_broker_that_waits_can_be_stopped(nodes: LocalCluster) -> None:
    ports = {node.node_id: node.node_port for node in nodes.plan.nodes}
    starting = asyncio.create_task(nodes.processes[1].start(TIMEOUT))
    await ask(ports[1], "/health")
    await nodes.processes[1].terminate()
    with pytest.raises(Exception, match="did not start"):
        await starting
    assert "Traceback" not in nodes.processes[1].log_path.read_text()
