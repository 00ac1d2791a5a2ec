"""A real broker's disk that changes what it was given, while the broker is away."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kafkawire.errors import ErrorCode
from kraft.client.cluster import Cluster
from kraft.client.producer import IdempotentProducer

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.asyncio(loop_scope="session"),
]

SEGMENT_BYTES = 1 << 20
"""The least that a topic may have."""
PREFERRED = 0
RECORDS = 4000
AT_ONCE = 100


def segments(world: Any, broker: int, topic: str) -> list[Path]:
    """The files of partition 0, the oldest first."""
    (name,) = [node.name for node in world.nodes.plan.nodes if node.node_id == broker]
    return sorted((world.nodes.plan.directory / name).rglob(f"{topic}-0/*.log"))


def rot(path: Path, rng: random.Random) -> None:
    """Flip one bit somewhere in the middle of a file."""
    position = rng.randrange(1000, path.stat().st_size - 1000)
    with path.open("r+b") as file:
        (byte,) = os.pread(file.fileno(), 1, position)
        os.pwrite(file.fileno(), bytes([byte ^ 1 << rng.randrange(8)]), position)


async def lead_by_preference(world: Any, topic: str) -> None:
    """Let the first replica lead."""

    async def elected() -> bool:
        return await world.elect(topic, PREFERRED) in (ErrorCode.NONE, ErrorCode.ELECTION_NOT_NEEDED)

    await world.until(elected)


async def fill(world: Any, topic: str) -> list[bytes]:
    """Write some segments; returns the values in order."""
    values = [b"%09d" % number + bytes(1000) for number in range(RECORDS)]
    async with Cluster(world.bootstrap) as client, IdempotentProducer(client) as producer:
        for start in range(0, RECORDS, AT_ONCE):
            chunk = values[start : start + AT_ONCE]
            await asyncio.gather(*[await producer.send(topic, value, partition=0) for value in chunk])
    return values


async def test_a_leader_gets_what_its_disk_has_damaged_from_its_followers(
    world: Any, read_back: Callable[..., Any]
) -> None:
    topic = await world.create_topic(1, **{"segment.bytes": str(SEGMENT_BYTES)})
    values = await fill(world, topic)
    broker = (await world.topic(topic)).partitions[0].replicas[0]
    process = world.nodes.processes[broker]
    assert await process.terminate() == 0
    rotten = [path for path in segments(world, broker, topic) if path.stat().st_size > SEGMENT_BYTES // 2]
    assert len(rotten) > 2
    rng = random.Random(5)
    for path in rotten:
        rot(path, rng)
    seen = process.log_path.stat().st_size
    await process.start()
    await world.until_in_sync(topic)
    await lead_by_preference(world, topic)
    assert [record.value for _, record in await read_back(world.bootstrap, topic, 1)] == values

    async def repaired() -> bool:
        said = process.log_path.read_text()[seen:]
        return said.count(f"log.repaired topic={topic} partition=0") == len(rotten)

    await world.until(repaired)
    assert [record.value for _, record in await read_back(world.bootstrap, topic, 1)] == values
    assert await world.leader(topic) == broker
