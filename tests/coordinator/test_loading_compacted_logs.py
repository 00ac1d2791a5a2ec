"""A coordinator that loads its partition after a compaction knows what it knew before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from kafkawire.records import ControlType
from kraft.coordinator.decision import Producer, TransactionMarker
from kraft.coordinator.group.commands import CommitOffsets, FetchOffsets, NewOffset
from kraft.coordinator.group.config import GroupConfig
from kraft.coordinator.group.shard import GroupShard
from kraft.coordinator.runtime import CoordinatorRuntime, RuntimeWorld
from kraft.coordinator.transaction.commands import (
    AddPartitions,
    EndTransaction,
    InitProducer,
    TransactionSettings,
)
from kraft.coordinator.transaction.shard import TransactionShard
from logstore.config import LogConfig

CONFIG = LogConfig(cleanup_policy="compact", segment_bytes=1000)
TIMEOUT = 5.0


class Loaded:
    """Tells when a shard was loaded; see `Following`."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def loaded(self, index: int, shard: Any) -> None:
        self.event.set()

    def unloaded(self, index: int) -> None:
        self.event.clear()

    def committed(self, index: int, reply: Any) -> None:
        """Nobody asks."""


class Coordinator:
    """A runtime on one compacted partition that is this broker's alone."""

    def __init__(self, replica: Any, clock: Any, make_shard: Callable[[int, int], Any]) -> None:
        self.replica = replica
        self.clock = clock
        self.leads = True
        self.loaded = Loaded()
        self.failures: list[BaseException] = []
        world = RuntimeWorld(clock, self._led, self.failures.append, commit_timeout=TIMEOUT)
        self.runtime: CoordinatorRuntime[Any] = CoordinatorRuntime("test", make_shard, world, self.loaded)

    def _led(self) -> list[Any]:
        return [self.replica.partition] if self.leads else []

    async def lead(self) -> None:
        self.leads = True
        self.replica.lead()
        self.runtime.reconcile()
        async with asyncio.timeout(TIMEOUT):
            await self.loaded.event.wait()

    async def submit(self, decide: Callable[[Any, float, int], Any]) -> Any:
        async with asyncio.timeout(TIMEOUT):
            return await self.runtime.submit(0, decide)

    async def observe(self, read: Callable[[Any, float, int], Any]) -> Any:
        async with asyncio.timeout(TIMEOUT):
            return await self.runtime.observe(0, read)

    async def end_transaction(self, kind: ControlType, producer: Producer) -> None:
        async with asyncio.timeout(TIMEOUT):
            await self.runtime.complete(
                0, TransactionMarker(kind, producer.producer_id, producer.producer_epoch, 0)
            )

    def compact(self) -> int:
        """Clean all that may be; returns how many bytes that saved."""
        log = self.replica.partition.log
        before = log.size
        for part in log.files_to_sync():
            part.sync()
        log.synced_to(log.end_offset)
        stable = log.last_stable_offset(self.replica.partition.high_watermark)
        for step in log.compaction.clean(stable, self.clock.wall_ms(), memory=1_000_000):
            if step is not None:
                step()
        return int(before - log.size)

    async def move(self) -> None:
        """Give the partition away and take it back, so that it is loaded from its log."""
        self.leads = False
        self.replica.lose()
        self.runtime.reconcile()
        await self.lead()


@contextlib.contextmanager
def running(coordinator: Coordinator) -> Iterator[None]:
    task = asyncio.create_task(coordinator.runtime.run())
    try:
        yield
    finally:
        task.cancel()


@pytest.fixture
async def groups(make_replica: Any, clock: Any) -> Coordinator:
    replica = make_replica("__consumer_offsets", config=CONFIG)
    return Coordinator(replica, clock, lambda index, epoch: GroupShard(GroupConfig(), lambda: "id"))


@pytest.fixture
async def transactions(make_replica: Any, clock: Any) -> Coordinator:
    replica = make_replica("__transaction_state", config=CONFIG)
    return Coordinator(replica, clock, lambda index, epoch: TransactionShard(TransactionSettings(), epoch))


async def commit(groups: Coordinator, group: str, offset: int, producer: Producer | None = None) -> None:
    command = CommitOffsets(group, (NewOffset("t", 0, offset, 0, ""),), producer=producer)
    await groups.submit(lambda shard, now, now_ms: shard.commit(command, now, now_ms))


async def committed(groups: Coordinator, group: str) -> int:
    command = FetchOffsets(group, (("t", (0,)),))
    ((_, (found,)),) = await groups.observe(lambda shard, now, now_ms: shard.fetch(command, now, now_ms))
    return int(found.offset)


async def test_offsets_of_groups_and_of_their_transactions(groups: Coordinator) -> None:
    producers = [Producer(70 + number, 0) for number in range(3)]
    with running(groups):
        await groups.lead()
        for number in range(30):
            await commit(groups, "plain", number)
            await commit(groups, "in transactions", number, producers[0])
            await groups.end_transaction(ControlType.COMMIT, producers[0])
            await commit(groups, "plain", 1_000, producers[1])
            await commit(groups, "never", number, producers[1])
            await groups.end_transaction(ControlType.ABORT, producers[1])
        await commit(groups, "deleted", 5)
        await groups.submit(lambda shard, now, now_ms: shard.delete("deleted", now, now_ms))
        for number in range(10):
            await commit(groups, "later", number)
        await commit(groups, "undecided", 77, producers[2])
        assert groups.compact() > 10_000
        for _round in range(2):
            await groups.move()
            assert await committed(groups, "plain") == 29
            assert await committed(groups, "in transactions") == 29
            assert await committed(groups, "never") == -1
            assert await committed(groups, "deleted") == -1
            assert await committed(groups, "later") == 9
            assert await committed(groups, "undecided") == -1
            groups.clock.advance(2 * 86_400)
            for _ in range(20):
                await commit(groups, "later", 9)
            groups.compact()
        await groups.end_transaction(ControlType.COMMIT, producers[2])
        await groups.move()
        assert await committed(groups, "undecided") == 77
    assert groups.failures == []


async def test_states_of_transactions(transactions: Coordinator) -> None:
    names = [f"pay-{number}" for number in range(3)]
    with running(transactions):
        await transactions.lead()
        for number in range(10):
            for index, name in enumerate(names):
                init = InitProducer(name, 60_000, None, 100 + index)
                producer = await transactions.submit(
                    lambda shard, _, now_ms, init=init: shard.init_producer(init, now_ms)
                )
                add = AddPartitions(name, producer, frozenset({("orders", number)}))
                await transactions.submit(
                    lambda shard, now, now_ms, add=add: shard.add_partitions(add, now, now_ms)
                )
                if name == names[2] and number == 9:
                    continue
                end = EndTransaction(name, producer, ControlType.COMMIT)
                decided = await transactions.submit(lambda shard, _, now_ms, end=end: shard.end(end, now_ms))
                await transactions.submit(
                    lambda shard, _, now_ms, decided=decided: shard.complete(decided, now_ms)
                )
        before = [await transactions.observe(partial(describe, name)) for name in names]
        assert transactions.compact() > 3_000
        await transactions.move()
        assert [await transactions.observe(partial(describe, name)) for name in names] == before
    assert transactions.failures == []


def describe(name: str, shard: TransactionShard, now: float, now_ms: int) -> Any:
    return shard.describe(name)
