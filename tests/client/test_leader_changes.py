"""What a consumer makes of a new leader: nothing, or that what it has read was taken back (KIP-320)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kraft.client.cluster import Cluster, ClusterOptions
from kraft.client.consumer import EARLIEST, Consumer, ConsumerOptions, TopicPartition
from kraft.client.errors import TruncatedError
from kraft.client.lanes import ProducerOptions
from kraft.client.producer import IdempotentProducer

TOPIC = "t"
FIRST = TopicPartition(TOPIC, 0)
IMPATIENT = ClusterOptions(connect_timeout=0.5, metadata_timeout=0.1)


@pytest.fixture
async def cluster(fake: Any) -> AsyncIterator[Cluster]:
    async with Cluster(fake.bootstrap, IMPATIENT) as cluster, asyncio.timeout(10):
        yield cluster


async def produce(fake: Any, cluster: Cluster, *values: bytes) -> None:
    """Each in a batch of its own."""
    fake.partitions[0].forget_producers()
    async with IdempotentProducer(cluster, ProducerOptions(linger=0.0)) as producer:
        for value in values:
            await (await producer.send(TOPIC, value, partition=0))


async def read(consumer: Consumer, count: int) -> list[bytes]:
    values: list[bytes] = []
    while len(values) < count:
        values += [record.value or b"" for each in await consumer.poll(0.2) for record in each.records]
    return values


def questions(fake: Any) -> int:
    return sum(key is ApiKey.OFFSET_FOR_LEADER_EPOCH for _, key in fake.requests)


async def test_a_clean_change_is_checked_once_and_nothing_is_missed(fake: Any, cluster: Cluster) -> None:
    await produce(fake, cluster, b"0", b"1")
    async with Consumer(cluster, ConsumerOptions(max_wait=0.05)) as consumer:
        consumer.assign({FIRST: 0})
        assert await read(consumer, 2) == [b"0", b"1"]
        assert questions(fake) == 0
        fake.move(0, leader=2)
        await produce(fake, cluster, b"2", b"3")
        assert await read(consumer, 2) == [b"2", b"3"]
        assert questions(fake) == 1


async def test_what_was_taken_back_is_an_error(fake: Any, cluster: Cluster) -> None:
    await produce(fake, cluster, b"0", b"1", b"2")
    async with Consumer(cluster, ConsumerOptions(max_wait=0.05)) as consumer:
        consumer.assign({FIRST: 0})
        assert await read(consumer, 3) == [b"0", b"1", b"2"]
        fake.partitions[0].lose(1)
        fake.move(0, leader=2)
        await produce(fake, cluster, b"other 1", b"other 2", b"other 3")
        for _ in range(2):  # until it is told where to go on
            with pytest.raises(TruncatedError) as truncated:
                await read(consumer, 1)
        assert truncated.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
        assert truncated.value.diverging_offset == 1
        consumer.seek(FIRST, truncated.value.diverging_offset)
        assert await read(consumer, 3) == [b"other 1", b"other 2", b"other 3"]


async def test_whoever_resets_goes_on_where_the_logs_part(fake: Any, cluster: Cluster) -> None:
    await produce(fake, cluster, b"0", b"1", b"2")
    async with Consumer(cluster, ConsumerOptions(max_wait=0.05, reset=EARLIEST)) as consumer:
        consumer.assign({FIRST: 0})
        await read(consumer, 3)
        fake.partitions[0].lose(1)
        fake.move(0, leader=2)
        await produce(fake, cluster, b"other 1", b"other 2", b"other 3")
        assert await read(consumer, 3) == [b"other 1", b"other 2", b"other 3"]
        consumer.seek(FIRST, 1000)
        assert await read(consumer, 4) == [b"0", b"other 1", b"other 2", b"other 3"]


async def test_a_leader_that_lost_everything_is_read_from_its_beginning(fake: Any, cluster: Cluster) -> None:
    await produce(fake, cluster, b"0", b"1")
    async with Consumer(cluster, ConsumerOptions(max_wait=0.05, reset=EARLIEST)) as consumer:
        consumer.assign({FIRST: 0})
        await read(consumer, 2)
        fake.partitions[0].lose(0)
        fake.move(0, leader=2)
        await produce(fake, cluster, b"other 0", b"other 1", b"other 2")
        assert await read(consumer, 3) == [b"other 0", b"other 1", b"other 2"]


async def test_a_topic_that_was_made_again_has_other_leaders(fake: Any, cluster: Cluster) -> None:
    """Their epochs begin at 0, and are not older for that."""
    fake.move(0, leader=2)
    await produce(fake, cluster, b"of the first one")
    fake.make_again()
    await produce(fake, cluster, b"of the second one")
    async with Consumer(cluster, ConsumerOptions(max_wait=0.05)) as consumer:
        consumer.assign({FIRST: 0})
        assert await read(consumer, 1) == [b"of the second one"]
