"""A broker whose controllers are no quorum waits, says so to whoever asks, and serves once there is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kraft.client.cluster import Backoff
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

    await nodes.processes[102].start()
    addresses = await broker
    assert addresses.kafka == ("127.0.0.1", kafka)
    assert (await ask(ports[1], "/health"))[0] == 200
    active = [(await ask(ports[each], "/status"))[1]["controller"]["active"] for each in (101, 102)]
    assert sorted(active) == [False, True]
    for process in nodes.processes.values():
        if process.log_path.exists():
            assert "Traceback" not in process.log_path.read_text()


async def test_a_broker_that_waits_can_be_stopped(nodes: LocalCluster) -> None:
    ports = {node.node_id: node.node_port for node in nodes.plan.nodes}
    starting = asyncio.create_task(nodes.processes[1].start(TIMEOUT))
    await ask(ports[1], "/health")
    await nodes.processes[1].terminate()
    with pytest.raises(Exception, match="did not start"):
        await starting
    assert "Traceback" not in nodes.processes[1].log_path.read_text()
