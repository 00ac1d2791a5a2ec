"""Twenty SIGKILLs in random order of leaders, followers and controllers, under load from idempotent
producers; then everything is stopped and started again, and read."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer

from chaos.anomalies import Judgement
from chaos.history import encode_value, record_of
from chaos.producer_history import ProducerHistory

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.asyncio(loop_scope="session"),
]

KILLS = 20
PARTITIONS = 3
SEED = 20_240_607
MOST_DOWN = 2
"""Nodes that may be dead at the same time: with two brokers of three, nothing is acknowledged for a while."""


class ConfluentLoad:
    """A producer of librdkafka's in a thread of its own, with at most 1,000 records under way."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.acknowledged = 0
        self._topic = topic
        self._history = ProducerHistory("confluent", topic, time.monotonic)
        self._failures: list[KafkaError] = []
        self._stopping = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 5,
                "compression.type": "lz4",
                "message.timeout.ms": 120_000,
            }
        )

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._failures.append(error)
            return
        self._history.acknowledged(message.partition(), 1, message.offset())
        self.acknowledged += 1

    def run(self) -> None:
        """Send until `stop`, then wait for what is under way."""
        sent = 0
        while not self._stopping.is_set():
            if sent - self.acknowledged >= 1000 or sent % 50 == 0:
                self._producer.poll(0.01)
            if sent - self.acknowledged < 1000:
                partition, key = sent % PARTITIONS, b"%d" % (sent % 7)
                value = encode_value(self._history.sent(partition), "confluent", key, b"x" * 100)
                self._producer.produce(
                    self._topic, value, key, partition=partition, on_delivery=self._delivered
                )
                sent += 1
        assert self._producer.flush(60) == 0

    def stop(self) -> None:
        self._stopping.set()

    def verdict(self, records: list[tuple[Any, Any]]) -> Judgement:
        """Judge what was read."""
        assert self._failures == []
        for partition in range(PARTITIONS):
            here = [record for name, record in records if name.partition == partition]
            self._history.read_whole(
                partition,
                [record.offset for record in here],
                [record_of(record.value, record.key) for record in here],
            )
        return self._history.judgement()


async def choose(world: Any, topic: str, rng: random.Random, restarting: set[int]) -> int:
    """A node that serves: a leader, a follower, the active controller or another."""
    kind = rng.choice(["leader", "follower", "active", "controller"])
    partition = rng.randrange(PARTITIONS)
    up = [node_id for node_id in world.nodes.processes if node_id not in restarting]
    brokers = [node_id for node_id in up if node_id in world.brokers]
    controllers = [node_id for node_id in up if node_id in world.controllers]
    if kind == "active" and len(controllers) == len(world.controllers):
        return int(await world.active_controller())
    if kind in ("active", "controller") and controllers:
        return rng.choice(controllers)
    described = (await world.topic(topic)).partitions[partition]
    if kind == "leader" and described.leader in brokers:
        return int(described.leader)
    return rng.choice([node_id for node_id in brokers if node_id != described.leader] or brokers)


async def test_twenty_kills_lose_nothing(
    world: Any, start_load: Callable[..., Any], read_back: Callable[..., Any]
) -> None:
    rng = random.Random(SEED)
    ours, theirs = await world.create_topic(PARTITIONS), await world.create_topic(PARTITIONS)
    load = start_load(ours, PARTITIONS)
    confluent = ConfluentLoad(world.bootstrap, theirs)
    sending = asyncio.create_task(asyncio.to_thread(confluent.run))
    restarts: dict[asyncio.Task[Any], int] = {}
    try:
        for _ in range(KILLS):
            await load.more(rng.randrange(20, 200))
            node_id = await choose(world, ours, rng, set(restarts.values()))
            await world.faults.kill(node_id)
            restarts[asyncio.create_task(world.faults.restart(node_id))] = node_id
            while restarts and (len(restarts) >= MOST_DOWN or rng.random() < 0.5):
                done, _ = await asyncio.wait(restarts, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()
                    del restarts[each]
        await asyncio.gather(*restarts)
        before = confluent.acknowledged
        await load.more(100)
        await load.stop()
    finally:
        confluent.stop()
        await sending
    assert confluent.acknowledged >= before > 0
    await world.nodes.stop()
    assert not any(process.running for process in world.nodes.processes.values())
    await world.nodes.start()
    await world.until_in_sync(ours, theirs)
    verdict = await load.verdict()
    assert verdict.held, verdict
    assert verdict.totals.read == verdict.totals.sent == verdict.totals.acknowledged
    verdict = confluent.verdict(await read_back(world.bootstrap, theirs, PARTITIONS))
    assert verdict.held, verdict
    assert verdict.totals.read == verdict.totals.sent == verdict.totals.acknowledged
    killed = [fault.node_id for fault in world.faults.history if fault.what == "killed"]
    assert len(killed) >= KILLS
    assert world.tracebacks() == []
