"""Exactly once: a topic is copied in transactions while brokers (the coordinators among them) and the copiers
are killed with SIGKILL.

`COPY_RECORDS=100000 COPY_KILLS=20` is the whole of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from kafkawire import messages
from kafkawire.apis import ApiKey
from kraft.coordinator.placement import partition_of

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.asyncio(loop_scope="session"),
]

RECORDS = int(os.environ.get("COPY_RECORDS", "12000"))
KILLS = int(os.environ.get("COPY_KILLS", "6"))
PARTITIONS = 3
COPIERS = ("one", "two")
SEED = 20_261_122
TRANSACTION_TIMEOUT = 10.0
"""Seconds; the copiers'."""
TIMEOUT = 120.0
SCRIPT = Path(__file__).with_name("copying_process.py")


def tell(*what: object) -> None:
    """For whoever reads why the test failed."""
    print(f"{time.monotonic():.2f}", *what)


class Copying:
    """The copiers: started again whenever they end early, and allowed so many records at a time."""

    def __init__(self, bootstrap: str, source: str, target: str) -> None:
        self._arguments = (bootstrap, source, target)
        self.copied = 0
        self.failures: list[str] = []
        self.allowed = 0
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._waiting: set[str] = set()
        self._news = asyncio.Event()
        self._tasks = [asyncio.create_task(self._keep(name)) for name in COPIERS]

    async def _keep(self, name: str) -> None:
        while await self._run(name) != 0:
            pass

    async def _run(self, name: str) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(SCRIPT),
            *self._arguments,
            name,
            str(RECORDS),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._processes[name] = process
        assert process.stdout is not None
        async for line in process.stdout:
            tell(name, line.decode().strip())
            word, _, rest = line.decode().strip().partition(" ")
            if word == "ready":
                self._waiting.add(name)
                self._grant()
            elif word == "copied":
                self.copied += int(rest)
                self._news.set()
            else:
                self.failures.append(rest)
        self._waiting.discard(name)
        return await process.wait()

    def _grant(self) -> None:
        if self.copied < self.allowed:
            for name in self._waiting:
                stdin = self._processes[name].stdin
                assert stdin is not None
                stdin.write(b"\n")
            self._waiting.clear()

    async def until(self, copied: int) -> None:
        """Let them copy until so many records are."""
        self.allowed = copied
        self._grant()
        async with asyncio.timeout(TIMEOUT):
            while self.copied < min(copied, RECORDS):
                self._news.clear()
                await self._news.wait()

    def begin_another(self) -> None:
        """Let whoever is ready begin one transaction more."""
        self.allowed = self.copied + 1
        self._grant()

    def kill(self, name: str) -> None:
        """SIGKILL; another process comes in its place."""
        with contextlib.suppress(ProcessLookupError):
            self._processes[name].kill()

    async def finish(self) -> None:
        """Let them copy the rest, until they find that it is done."""
        self.allowed = RECORDS + 1
        self._grant()
        async with asyncio.timeout(2 * TIMEOUT):
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        for name in self._processes:
            self.kill(name)
        await asyncio.gather(*(process.wait() for process in self._processes.values()))


class StableOffsets:
    """Watches how long a last stable offset stays where it is while there is more behind it."""

    def __init__(self, world: Any, topic: str) -> None:
        self._world = world
        self._topic = topic
        self._since: dict[int, tuple[int, float]] = {}
        self.longest = 0.0
        self.looks = 0

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            for partition in range(PARTITIONS):
                stable, latest = await self._latest(partition, 1), await self._latest(partition, 0)
                now = time.monotonic()
                known, since = self._since.get(partition, (stable, now))
                if stable != known or stable == latest:
                    since = now
                self._since[partition] = (stable, since)
                self.longest = max(self.longest, now - since)
                self.looks += 1

    async def _latest(self, partition: int, isolation: int) -> int:
        request = messages.request_class(ApiKey.LIST_OFFSETS)
        part = request.ListOffsetsTopic.ListOffsetsPartition(
            partition_index=partition, current_leader_epoch=-1, timestamp=-1
        )
        topic = request.ListOffsetsTopic(name=self._topic, partitions=[part])
        asked = request(replica_id=-1, isolation_level=isolation, topics=[topic], timeout_ms=1000)

        async def answered() -> int | None:
            leader = await self._world.leader(self._topic, partition)
            response = await self._world.client.call(leader, ApiKey.LIST_OFFSETS, asked, 2.0)
            result = response.topics[0].partitions[0]
            return result.offset + 1 if result.error_code == 0 else None

        return int(await self._world.until(answered)) - 1


def fill(bootstrap: str, topic: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0})
    for number in range(RECORDS):
        producer.produce(topic, b"%d" % number, partition=number % PARTITIONS)
        if number % 1000 == 0:
            producer.poll(0)
    assert producer.flush(TIMEOUT) == 0


def committed_values(bootstrap: str, topic: str, seconds: float) -> list[list[int]]:
    """The values of each partition, in order, as a consumer of committed records sees them."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "judge",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
    found: list[list[int]] = [[] for _ in range(PARTITIONS)]
    ended: set[int] = set()
    deadline = time.monotonic() + seconds
    while len(ended) < PARTITIONS:
        assert time.monotonic() < deadline, "the copy cannot be read to its end"
        for message in consumer.consume(1000, 1.0):
            if message.error() is None:
                found[message.partition()].append(int(message.value()))
            else:
                ended.add(message.partition())
    consumer.close()
    return found


async def victim(world: Any, source: str, target: str, rng: random.Random) -> int | str:
    """A broker that leads what the copiers need, or a copier."""
    kind = rng.choice(["group", "transactions", "source", "target", "copier"])
    if kind == "copier":
        return rng.choice(COPIERS)
    topic, key = {
        "group": ("__consumer_offsets", f"{source}-copiers"),
        "transactions": ("__transaction_state", f"{source}-{rng.choice(COPIERS)}"),
        "source": (source, None),
        "target": (target, None),
    }[kind]
    partition = rng.randrange(PARTITIONS)
    if key is not None:
        partition = partition_of(key, len((await world.topic(topic)).partitions))
    return int(await world.leader(topic, partition))


@contextlib.asynccontextmanager
async def watched(stable: StableOffsets) -> AsyncIterator[None]:
    watching = asyncio.create_task(stable.watch())
    try:
        yield
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def test_a_copy_in_transactions_survives_kills_exactly_once(world: Any) -> None:
    rng = random.Random(SEED)
    source, target = await world.create_topic(PARTITIONS), await world.create_topic(PARTITIONS)
    await asyncio.to_thread(fill, world.bootstrap, source)
    copying = Copying(world.bootstrap, source, target)
    stable = StableOffsets(world, target)
    killed: list[int | str] = []
    try:
        async with watched(stable):
            for number in range(KILLS):
                await copying.until((number + 1) * RECORDS // (KILLS + 2))
                hurt = await victim(world, source, target, rng)
                copying.begin_another()
                killed.append(hurt)
                tell("kill", hurt)
                if isinstance(hurt, str):
                    copying.kill(hurt)
                else:
                    await world.faults.kill(hurt)
                    await world.faults.restart(hurt)
                    tell("restarted", hurt)
            await copying.finish()
    finally:
        await copying.close()
    values = await asyncio.to_thread(committed_values, world.bootstrap, target, TIMEOUT)
    for partition, copied in enumerate(values):
        assert copied == list(range(partition, RECORDS, PARTITIONS)), (killed, copying.failures)
    assert len(killed) == KILLS
    assert stable.looks > KILLS
    assert stable.longest < TRANSACTION_TIMEOUT + 5, (killed, copying.failures)
    print(f"killed {killed}; the last stable offset stood for {stable.longest:.2f} s at most")
    print("copiers that gave up:", *copying.failures, sep="\n  ")
