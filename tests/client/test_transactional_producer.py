"""Transactions of the SDK against a real node: all or nothing, once, and only by whoever owns the id."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kraft.client.cluster import Cluster
from kraft.client.connections import Connection, dial_tcp
from kraft.client.consumer import Consumer, ConsumerOptions
from kraft.client.errors import AbortableTransactionError, FatalTransactionError, OutcomeUnknownError
from kraft.client.fetcher import FetchOptions
from kraft.client.group_consumer import GroupConsumer
from kraft.client.lanes import ProducerOptions
from kraft.client.membership import GroupOptions
from kraft.client.offset_lookup import EARLIEST, LATEST, TopicPartition
from kraft.client.transactions import Dead, Ready, TransactionalProducer, TransactionOptions

SMALL = ProducerOptions(linger=0.0, batch_size=200)
LEVELS = pytest.mark.parametrize("level", [1, 2])


async def started(cluster: Cluster, name: str, level: int = 2) -> TransactionalProducer:
    """One that goes by this `transaction.version`."""
    options = TransactionOptions(step_timeout=10.0, version=level)
    producer = TransactionalProducer(cluster, f"{name}-{level}", SMALL, options)
    await producer.init()
    return producer


async def values(cluster: Cluster, topic: str, *, committed_only: bool = True) -> list[bytes]:
    """Everything in partition 0 that such a reader gets to see."""
    partition = TopicPartition(topic, 0)
    found: list[bytes] = []
    options = ConsumerOptions(max_wait=0.05, committed_only=committed_only)
    async with Consumer(cluster, options) as consumer:
        end = (await consumer.offsets([partition], LATEST))[partition]
        consumer.assign({partition: 0})
        while consumer.positions[partition] < end:
            found += [record.value or b"" for each in await consumer.poll() for record in each.records]
    return found


async def send(producer: TransactionalProducer, topic: str, numbers: Sequence[int]) -> None:
    for number in numbers:
        await producer.send(topic, b"%d" % number, partition=0)


@LEVELS
async def test_what_is_committed_is_seen_and_what_is_aborted_is_not(
    cluster: Cluster, make_topic: Any, level: int
) -> None:
    topic = await make_topic()
    async with await started(cluster, "some", level) as producer:
        for base, commit in ((0, True), (100, False), (200, True), (300, False), (400, True)):
            producer.begin()
            await send(producer, topic, range(base, base + 30))
            await (producer.commit() if commit else producer.abort())
        producer.begin()
        await producer.commit()  # nothing in it
        assert producer.state == Ready()
    wanted = [b"%d" % number for base in (0, 200, 400) for number in range(base, base + 30)]
    assert await values(cluster, topic) == wanted
    assert len(await values(cluster, topic, committed_only=False)) >= len(wanted)


@LEVELS
async def test_leaving_aborts_what_is_open(cluster: Cluster, make_topic: Any, level: int) -> None:
    topic = await make_topic()
    async with await started(cluster, "left", level) as producer:
        producer.begin()
        delivery = await producer.send(topic, b"stored", partition=0)
        assert await delivery == 0
    async with await started(cluster, "left", level) as producer:
        producer.begin()
        await producer.send(topic, b"next", partition=0)
        await producer.commit()
    assert await values(cluster, topic) == [b"next"]
    assert b"stored" in await values(cluster, topic, committed_only=False)


@LEVELS
async def test_a_zombie_is_fenced(cluster: Cluster, make_topic: Any, level: int) -> None:
    topic = await make_topic()
    zombie = await started(cluster, "fenced", level)
    zombie.begin()
    assert await (await zombie.send(topic, b"zombie", partition=0)) == 0
    async with await started(cluster, "fenced", level) as successor:
        successor.begin()
        with pytest.raises(KafkaError):
            await (await zombie.send(topic, b"late", partition=0))
        with pytest.raises((AbortableTransactionError, FatalTransactionError)):
            await zombie.commit()
        with pytest.raises(FatalTransactionError):
            await zombie.abort()
        assert isinstance(zombie.state, Dead)
        with pytest.raises(FatalTransactionError):
            zombie.begin()
        await successor.send(topic, b"successor", partition=0)
        await successor.commit()
    async with zombie:
        pass
    assert await values(cluster, topic) == [b"successor"]


@LEVELS
async def test_a_group_copies_exactly_once_over_aborts(cluster: Cluster, make_topic: Any, level: int) -> None:
    source, target = await make_topic(2), await make_topic()
    async with await started(cluster, "filled", level) as producer:
        producer.begin()
        for number in range(60):
            await producer.send(source, b"%d" % number, partition=number % 2)
        await producer.commit()
    everything = [TopicPartition(source, index) for index in range(2)]
    async with Consumer(cluster, ConsumerOptions(committed_only=True)) as consumer:
        ends = await consumer.offsets(everything, LATEST)
    group = GroupOptions(f"copy-{level}", heartbeat_interval=0.05, reset=EARLIEST)
    for attempt in range(3):
        async with (
            await started(cluster, "copy", level) as producer,
            GroupConsumer(
                cluster, [source], group, FetchOptions(max_wait=0.05, committed_only=True)
            ) as member,
        ):
            for step in itertools.count():
                fetched = await member.poll(0.5, 7)
                producer.begin()
                for each in fetched:
                    for record in each.records:
                        await producer.send(target, record.value, partition=0)
                await producer.send_offsets(member.positions, member.group_metadata)
                if (attempt, step) == (1, 3):
                    await producer.abort()
                    break
                await producer.commit()
                if (attempt, step) == (0, 2) or member.positions == ends:
                    break
    assert sorted(map(int, await values(cluster, target))) == list(range(60))


@LEVELS
async def test_offsets_of_a_member_that_lost_its_place_break_the_transaction(
    cluster: Cluster, make_topic: Any, level: int
) -> None:
    topic = await make_topic()
    group = GroupOptions(f"lost-{level}", reset=EARLIEST)
    async with (
        await started(cluster, "lost", level) as producer,
        GroupConsumer(cluster, [topic], group, FetchOptions(max_wait=0.05)) as consumer,
    ):
        while not consumer.assignment:
            await consumer.poll(0.1)
        stale = consumer.group_metadata._replace(generation=consumer.group_metadata.generation + 1)
        producer.begin()
        with pytest.raises(AbortableTransactionError) as refused:
            await producer.send_offsets({TopicPartition(topic, 0): 1}, stale)
        assert refused.value.code is ErrorCode.ILLEGAL_GENERATION
        with pytest.raises(AbortableTransactionError):
            await producer.commit()
        await producer.abort()
        producer.begin()
        await producer.send_offsets({TopicPartition(topic, 0): 1}, consumer.group_metadata)
        await producer.commit()
        committed = await consumer.committed([TopicPartition(topic, 0)])
        assert [found.offset for found in committed.values()] == [1]


@LEVELS
async def test_a_record_that_is_refused_breaks_one_transaction_alone(
    cluster: Cluster, make_topic: Any, level: int
) -> None:
    topic = await make_topic()
    async with await started(cluster, "refused", level) as producer:
        producer.begin()
        await send(producer, topic, range(5))
        too_large = await producer.send(topic, bytes(2_000_000), partition=0)
        with pytest.raises(KafkaError) as refused:
            await too_large
        assert refused.value.code is ErrorCode.MESSAGE_TOO_LARGE
        assert not isinstance(refused.value, OutcomeUnknownError)
        with pytest.raises(AbortableTransactionError):
            await producer.commit()
        await producer.abort()
        producer.begin()
        await send(producer, topic, range(5, 8))
        await producer.commit()
    assert await values(cluster, topic) == [b"5", b"6", b"7"]


async def test_a_commit_without_an_answer_is_neither_done_nor_undone(
    real_node: str, cluster: Cluster, make_topic: Any
) -> None:
    topic = await make_topic()
    reachable = True

    async def dial(make: Callable[[], Connection], host: str, port: int) -> None:
        if not reachable:
            raise ConnectionRefusedError
        await dial_tcp(make, host, port)

    async with Cluster(real_node, dial=dial) as fragile, await started(fragile, "unanswered") as producer:
        producer.begin()
        assert await (await producer.send(topic, b"perhaps", partition=0)) == 0
        producer.transactions = TransactionOptions(step_timeout=0.2)
        committing = asyncio.create_task(producer.commit())
        await asyncio.sleep(0)  # the request has left; no answer is read before the connections are gone
        reachable = False
        await fragile.close()
        with pytest.raises(OutcomeUnknownError):
            await committing
        with pytest.raises(ValueError, match="begin"):
            producer.begin()
        reachable = True
        producer.transactions = TransactionOptions(step_timeout=10.0)
        await producer.init()
        producer.begin()
        await producer.send(topic, b"surely", partition=0)
        await producer.commit()
    assert await values(cluster, topic) in ([b"surely"], [b"perhaps", b"surely"])


async def test_calls_out_of_turn_are_refused(cluster: Cluster, make_topic: Any) -> None:
    topic = await make_topic()
    async with await started(cluster, "turns") as producer:
        for call in (producer.commit(), producer.abort(), producer.send(topic, b"")):
            with pytest.raises(ValueError, match="state"):
                await call
        producer.begin()
        with pytest.raises(ValueError, match="begin"):
            producer.begin()
        with pytest.raises(ValueError, match="init"):
            await producer.init()
