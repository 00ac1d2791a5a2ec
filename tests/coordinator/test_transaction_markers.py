"""Markers find their way: to partitions that move, that wait, that are gone, past brokers that are silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import ControlType
from kraft.coordinator.decision import Producer
from kraft.coordinator.transaction.commands import Decided
from kraft.coordinator.transaction.marker_queue import MAX_PARTITIONS, NO_LEADER, Marker, MarkerQueue
from kraft.coordinator.transaction.markers import MAX_CALLS, MarkerSender
from kraft.coordinator.transaction.states import TopicPartition

INDEX = 4


def decided(*partitions: TopicPartition, producer: int = 9, epoch: int = 1) -> Decided:
    return Decided("pay", Producer(producer, 0), ControlType.COMMIT, frozenset(partitions), epoch, 5)


def always(_: int) -> bool:
    return True


class Map:
    """Who leads what, as the metadata say."""

    def __init__(self, leaders: dict[TopicPartition, int]) -> None:
        self.leaders = leaders

    def __call__(self, partition: TopicPartition) -> int | None:
        return self.leaders.get(partition)


A, B, C = ("t", 0), ("t", 1), ("u", 0)


@pytest.fixture
def queue() -> MarkerQueue:
    return MarkerQueue()


@pytest.fixture
def leaders() -> Map:
    return Map({A: 1, B: 2, C: 1})


def test_each_broker_gets_its_partitions_in_one_call(queue: MarkerQueue, leaders: Map) -> None:
    queue.add(INDEX, decided(A, B, C))
    queue.add(INDEX, decided(A, producer=10))
    calls = dict(queue.take(leaders, always))
    assert [parcel.marker.partitions for parcel in calls[1]] == [(A, C), (A,)]
    assert [parcel.marker for parcel in calls[2]] == [Marker(Producer(9, 0), ControlType.COMMIT, 1, (B,))]
    assert queue.take(leaders, always) == []


def test_a_transaction_is_told_when_its_last_partition_is(queue: MarkerQueue, leaders: Map) -> None:
    queue.add(INDEX, decided(A, B))
    (_, (first,)), (_, (second,)) = queue.take(leaders, always)
    queue.answered(first, [ErrorCode.NONE])
    assert queue.take_told() == []
    queue.answered(second, [ErrorCode.NONE])
    (told,) = queue.take_told()
    assert (told.index, told.decided) == (INDEX, decided(A, B))
    assert len(queue) == 0


def test_a_transaction_without_partitions_is_told_at_once(queue: MarkerQueue) -> None:
    queue.add(INDEX, decided())
    assert [each.decided for each in queue.take_told()] == [decided()]


def test_what_is_under_way_is_not_begun_again(queue: MarkerQueue, leaders: Map) -> None:
    queue.add(INDEX, decided(A))
    assert len(queue.take(leaders, always)) == 1
    queue.add(INDEX, decided(A))
    assert queue.take(leaders, always) == []


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.NOT_COORDINATOR,
    ],
)
def test_a_partition_that_moved_is_told_at_its_new_leader(
    queue: MarkerQueue, leaders: Map, code: ErrorCode
) -> None:
    queue.add(INDEX, decided(A, C))
    ((_, (parcel,)),) = queue.take(leaders, always)
    queue.answered(parcel, [code, ErrorCode.NONE])
    leaders.leaders[A] = 3
    ((broker, (again,)),) = queue.take(leaders, always)
    assert (broker, again.marker.partitions) == (3, (A,))
    queue.answered(again, [ErrorCode.NONE])
    assert len(queue.take_told()) == 1


def test_a_call_without_an_answer_is_made_again(queue: MarkerQueue, leaders: Map) -> None:
    queue.add(INDEX, decided(A))
    ((_, (parcel,)),) = queue.take(leaders, always)
    queue.lost(parcel)
    assert len(queue.take(leaders, always)) == 1


def test_a_topic_that_is_gone_needs_no_marker(queue: MarkerQueue, leaders: Map) -> None:
    queue.add(INDEX, decided(A, B))
    del leaders.leaders[B]
    ((_, (parcel,)),) = queue.take(leaders, always)
    assert queue.take_told() == []
    queue.answered(parcel, [ErrorCode.NONE])
    assert len(queue.take_told()) == 1


def test_a_partition_without_a_leader_waits_for_one(queue: MarkerQueue, leaders: Map) -> None:
    leaders.leaders[A] = NO_LEADER
    queue.add(INDEX, decided(A))
    assert queue.take(leaders, always) == []
    assert queue.waiting
    leaders.leaders[A] = 2
    assert len(queue.take(leaders, always)) == 1


def test_a_coordinator_that_was_deposed_stops(queue: MarkerQueue, leaders: Map) -> None:
    queue.add(INDEX, decided(A, B))
    (_, (first,)), (_, (second,)) = queue.take(leaders, always)
    queue.answered(first, [ErrorCode.TRANSACTION_COORDINATOR_FENCED])
    queue.lost(second)
    assert not queue.waiting
    assert queue.take_told() == []
    assert len(queue) == 0


def test_a_partition_where_a_later_epoch_wrote_is_through_with_this_one(
    queue: MarkerQueue, leaders: Map
) -> None:
    queue.add(INDEX, decided(A))
    ((_, (parcel,)),) = queue.take(leaders, always)
    queue.answered(parcel, [ErrorCode.INVALID_PRODUCER_EPOCH])
    assert len(queue.take_told()) == 1


def test_what_another_broker_coordinates_now_is_forgotten(queue: MarkerQueue, leaders: Map) -> None:
    queue.add(INDEX, decided(A))
    queue.add(5, decided(B))
    ((_, (parcel,)), _) = queue.take(leaders, always)
    queue.forget(INDEX)
    queue.answered(parcel, [ErrorCode.NONE])
    assert queue.take_told() == []
    assert len(queue) == 1


def test_a_late_answer_is_not_that_of_the_next_attempt(queue: MarkerQueue, leaders: Map) -> None:
    queue.add(INDEX, decided(A, B))
    (_, (old,)), _ = queue.take(leaders, always)
    queue.forget(INDEX)
    queue.add(INDEX, decided(A, B))
    queue.answered(old, [ErrorCode.NOT_LEADER_OR_FOLLOWER])
    (_, (new,)), (_, (other,)) = queue.take(leaders, always)
    queue.answered(other, [ErrorCode.NONE])
    queue.answered(old, [ErrorCode.NONE])
    assert queue.take_told() == []
    queue.answered(new, [ErrorCode.NONE])
    assert len(queue.take_told()) == 1


def test_a_call_is_bounded(queue: MarkerQueue) -> None:
    many = [("t", index) for index in range(MAX_PARTITIONS + 1)]
    leaders = Map(dict.fromkeys(many, 1))
    queue.add(INDEX, decided(*many))
    ((_, (parcel,)),) = queue.take(leaders, always)
    assert len(parcel.marker.partitions) == MAX_PARTITIONS
    ((_, (rest,)),) = queue.take(leaders, always)
    assert len(rest.marker.partitions) == 1


# -- the sender -----------------------------------------------------------------------------------


class Brokers:
    """Brokers that answer when they are told to."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[int, Sequence[Marker], asyncio.Future[ErrorCode]]] = asyncio.Queue()
        self.told: asyncio.Queue[Decided] = asyncio.Queue()

    async def send(self, broker: int, markers: Sequence[Marker]) -> Sequence[Sequence[ErrorCode]]:
        answer: asyncio.Future[ErrorCode] = asyncio.get_running_loop().create_future()
        self.calls.put_nowait((broker, markers, answer))
        code = await answer
        return [[code] * len(marker.partitions) for marker in markers]

    def on_told(self, _: int, which: Decided) -> None:
        self.told.put_nowait(which)


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
async def sender(brokers: Brokers, leaders: Map) -> AsyncIterator[MarkerSender]:
    sender = MarkerSender(leaders, brokers.send, brokers.on_told)
    task = asyncio.create_task(sender.run())
    yield sender
    task.cancel()
    await asyncio.wait([task])


async def test_the_sender_asks_until_everybody_has_answered(sender: MarkerSender, brokers: Brokers) -> None:
    sender.deliver(INDEX, decided(A))
    _, _, first = await brokers.calls.get()
    first.set_exception(KafkaError(ErrorCode.NETWORK_EXCEPTION))
    _, _, second = await brokers.calls.get()
    second.set_result(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    _, markers, third = await brokers.calls.get()
    assert [marker.partitions for marker in markers] == [(A,)]
    third.set_result(ErrorCode.NONE)
    assert await brokers.told.get() == decided(A)
    assert len(sender) == 0


async def test_a_partition_that_waits_does_not_hold_back_the_others(
    sender: MarkerSender, brokers: Brokers
) -> None:
    sender.deliver(INDEX, decided(A))
    await brokers.calls.get()
    sender.deliver(INDEX, decided(C, producer=10))
    _, _, second = await brokers.calls.get()
    second.set_result(ErrorCode.NONE)
    assert (await brokers.told.get()).producer == Producer(10, 0)


async def test_what_is_decided_while_a_broker_is_busy_goes_together(
    sender: MarkerSender, brokers: Brokers
) -> None:
    busy = []
    for number in range(MAX_CALLS):
        sender.deliver(INDEX, decided(A, producer=number))
        busy.append(await brokers.calls.get())
    for number in range(50):
        sender.deliver(INDEX, decided(A, producer=100 + number))
    sender.deliver(INDEX, decided(B, producer=200))
    broker, _, _ = await brokers.calls.get()
    assert broker == 2, "another broker is not held back"
    busy[0][2].set_result(ErrorCode.NONE)
    broker, markers, _ = await brokers.calls.get()
    assert (broker, len(markers)) == (1, 50)
