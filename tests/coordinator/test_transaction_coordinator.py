"""The coordinator on its runtime: nothing is told before it is committed, and all of it is then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import ControlType
from kraft.coordinator.decision import Producer
from kraft.coordinator.runtime import RuntimeWorld
from kraft.coordinator.transaction.commands import (
    AddPartitions,
    EndTransaction,
    InitProducer,
    ListFilter,
    TransactionSettings,
)
from kraft.coordinator.transaction.coordinator import TOPIC, TransactionCoordinator
from kraft.coordinator.transaction.marker_queue import Marker
from kraft.coordinator.transaction.states import TransactionStatus

PLACE = ("orders", 0)


class Node:
    """A broker that coordinates one partition, on a log of two replicas, and hears of its markers."""

    def __init__(self, replica: Any, clock: Any) -> None:
        self.replica = replica
        self.sent: asyncio.Queue[tuple[Marker, asyncio.Future[ErrorCode]]] = asyncio.Queue()
        self.failures: list[BaseException] = []
        self.leads = True
        self._ids = iter(range(100, 200))
        world = RuntimeWorld(clock, self._led, self.failures.append, commit_timeout=5.0)
        self.coordinator = TransactionCoordinator(
            TransactionSettings(), world, lambda: 1, self._next_id, lambda _: 7, self._send
        )

    def _led(self) -> list[Any]:
        return [self.replica.partition] if self.leads else []

    async def _next_id(self) -> int:
        return next(self._ids)

    async def _send(self, broker: int, markers: Sequence[Marker]) -> Sequence[Sequence[ErrorCode]]:
        assert broker == 7
        answers = []
        for marker in markers:
            answer: asyncio.Future[ErrorCode] = asyncio.get_running_loop().create_future()
            self.sent.put_nowait((marker, answer))
            answers.append(answer)
        return [[await answer] for answer in answers]

    async def committed(self, future: asyncio.Task[Any]) -> Any:
        """What `future` comes to once the other replica has what it wrote."""
        while not future.done():
            await asyncio.sleep(0)
            self.replica.follow()
        return future.result()

    async def begin(self) -> Producer:
        """A producer with an open transaction."""
        init = InitProducer("pay", 60_000)
        producer = await self.committed(asyncio.ensure_future(self.coordinator.init_producer(init)))
        assert isinstance(producer, Producer)
        await self.committed(self.add(producer))
        return producer

    def add(self, producer: Producer) -> asyncio.Task[None]:
        command = AddPartitions("pay", producer, frozenset({PLACE}))
        return asyncio.ensure_future(self.coordinator.add_partitions(command))

    def end(self, producer: Producer, kind: ControlType = ControlType.COMMIT) -> asyncio.Task[None]:
        return asyncio.ensure_future(self.coordinator.end(EndTransaction("pay", producer, kind)))

    async def status(self) -> TransactionStatus:
        described = await self.committed(asyncio.ensure_future(self.coordinator.describe("pay")))
        status: TransactionStatus = described.status
        return status


@pytest.fixture
async def node(make_replica: Callable[..., Any], clock: Any) -> AsyncIterator[Node]:
    node = Node(make_replica(TOPIC, replicas=2), clock)
    node.replica.lead()
    node.coordinator.reconcile()
    task = asyncio.create_task(node.coordinator.run())
    yield node
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert node.failures == []


async def test_markers_leave_when_the_fate_is_committed_and_not_before(node: Node) -> None:
    producer = await node.begin()
    ending = node.end(producer)
    for _ in range(20):
        await asyncio.sleep(0)
    assert node.sent.empty()
    assert not ending.done()
    await node.committed(ending)
    marker, answer = await node.sent.get()
    assert marker == Marker(producer, ControlType.COMMIT, node.replica.epoch, (PLACE,))
    assert await node.status() is TransactionStatus.PREPARE_COMMIT
    answer.set_result(ErrorCode.NONE)
    while await node.status() is not TransactionStatus.COMPLETE_COMMIT:
        pass


async def test_markers_leave_though_the_client_has_gone(node: Node) -> None:
    producer = await node.begin()
    ending = node.end(producer)
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait([ending])
    node.replica.follow()
    marker, _ = await node.sent.get()
    assert marker.producer == producer


async def test_markers_leave_though_the_commit_took_too_long_for_the_client(node: Node, clock: Any) -> None:
    producer = await node.begin()
    ending = node.end(producer)
    for _ in range(3):
        await asyncio.sleep(0)
    clock.advance(6)
    node.replica.expire()
    with pytest.raises(KafkaError) as caught:
        await ending
    assert caught.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert node.sent.empty()
    node.replica.follow()
    marker, _ = await node.sent.get()
    assert marker.producer == producer


async def test_the_next_leader_tells_what_the_last_one_sealed(node: Node) -> None:
    producer = await node.begin()
    await node.committed(node.end(producer, ControlType.ABORT))
    first, late = await node.sent.get()
    node.replica.lose()
    node.leads = False
    node.coordinator.reconcile()
    with pytest.raises(KafkaError) as caught:
        await node.coordinator.describe("pay")
    assert caught.value.code is ErrorCode.NOT_COORDINATOR
    node.replica.lead()
    node.leads = True
    node.coordinator.reconcile()
    late.set_result(ErrorCode.NONE)
    while node.sent.empty():
        node.replica.follow()
        await asyncio.sleep(0)
    again, _ = await node.sent.get()
    assert again == first._replace(coordinator_epoch=node.replica.epoch)
    assert await node.status() is TransactionStatus.PREPARE_ABORT, "an answer to the deposed one counts not"


async def test_a_successor_is_asked_to_wait_and_the_abort_is_sent(node: Node) -> None:
    producer = await node.begin()
    init = asyncio.ensure_future(node.coordinator.init_producer(InitProducer("pay", 60_000)))
    with pytest.raises(KafkaError) as caught:
        await node.committed(init)
    assert caught.value.code is ErrorCode.CONCURRENT_TRANSACTIONS
    marker, answer = await node.sent.get()
    assert marker.kind is ControlType.ABORT
    assert marker.producer == Producer(producer.producer_id, producer.producer_epoch + 1)
    answer.set_result(ErrorCode.NONE)
    while await node.status() is not TransactionStatus.COMPLETE_ABORT:
        pass
    fresh = asyncio.ensure_future(node.coordinator.init_producer(InitProducer("pay", 60_000)))
    assert await node.committed(fresh) == Producer(producer.producer_id, producer.producer_epoch + 2)


async def test_a_transaction_that_is_over_is_not_told_again(node: Node) -> None:
    """Its marker would end the next one, which looks the same to the partition."""
    producer = await node.begin()
    await node.committed(node.end(producer))
    _, answer = await node.sent.get()
    (shard,) = node.coordinator._shards.values()
    (over,) = shard.undelivered()
    answer.set_result(ErrorCode.NONE)
    while await node.status() is not TransactionStatus.COMPLETE_COMMIT:
        pass
    await node.committed(node.add(producer))
    ending = node.end(producer)
    await asyncio.sleep(0)
    assert shard.undelivered(), "alike, and not committed yet"
    node.coordinator.committed(0, over)
    for _ in range(20):
        await asyncio.sleep(0)
    assert node.sent.empty()
    await node.committed(ending)
    await node.sent.get()


async def test_the_next_transaction_waits_for_the_end_of_the_one_before(node: Node) -> None:
    """Its producer was answered when the fate was sealed; sent away, it would ask again much later."""
    producer = await node.begin()
    await node.committed(node.end(producer))
    _, answer = await node.sent.get()
    adding = node.add(producer)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not adding.done()
    answer.set_result(ErrorCode.NONE)
    await node.committed(adding)
    assert await node.status() is TransactionStatus.ONGOING
    assert not node.coordinator._endings


async def test_a_transaction_whose_predecessor_does_not_end_is_sent_away(node: Node) -> None:
    producer = await node.begin()
    await node.committed(node.end(producer))
    adding = node.add(producer)
    with pytest.raises(KafkaError) as caught:
        await adding
    assert caught.value.code is ErrorCode.CONCURRENT_TRANSACTIONS
    assert await node.status() is TransactionStatus.PREPARE_COMMIT


async def test_who_waits_for_an_end_hears_that_another_broker_coordinates_now(node: Node) -> None:
    producer = await node.begin()
    await node.committed(node.end(producer))
    adding = node.add(producer)
    for _ in range(20):
        await asyncio.sleep(0)
    node.replica.lose()
    node.leads = False
    node.coordinator.reconcile()
    with pytest.raises(KafkaError) as caught:
        await adding
    assert caught.value.code is ErrorCode.NOT_COORDINATOR
    assert not node.coordinator._endings


async def test_a_partition_that_has_just_been_lost_is_left_out_of_the_list(node: Node) -> None:
    """Its next coordinator lists it; nothing is wrong with the others here."""
    await node.begin()
    node.replica.lose()
    assert await node.coordinator.listing(ListFilter()) == []


async def test_ids_are_listed_and_described(node: Node) -> None:
    producer = await node.begin()
    (listed,) = await node.coordinator.listing(ListFilter())
    assert (listed.producer_id, listed.status) == (producer.producer_id, TransactionStatus.ONGOING)
    with pytest.raises(KafkaError) as caught:
        await node.coordinator.describe("other")
    assert caught.value.code is ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
