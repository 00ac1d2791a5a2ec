"""A producer that ends, in whatever way, leaves nobody waiting and nothing running."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kafkawire.errors import KafkaError
from kraft.client.cluster import Cluster, ClusterOptions
from kraft.client.errors import OutcomeUnknownError
from kraft.client.lanes import ProducerOptions
from kraft.client.producer import IdempotentProducer

TOPIC = "t"
IMPATIENT = ClusterOptions(connect_timeout=0.5, metadata_timeout=0.1)
AT_ONCE = ProducerOptions(linger=0.0)


async def test_whoever_waits_hears_that_the_producer_is_closed(fake: Any) -> None:
    asked = asyncio.Event()
    async with Cluster(fake.bootstrap, IMPATIENT) as cluster, asyncio.timeout(10):
        producer = IdempotentProducer(cluster, ProducerOptions(linger=0.0, buffer_size=10))
        await (await producer.send(TOPIC, b"0", partition=0))
        fake.before = lambda node_id, key: asked.set()
        fake.silent |= {1, 2}
        sent = await producer.send(TOPIC, b"1", partition=0)
        await asked.wait()
        late = asyncio.create_task(producer.send(TOPIC, b"2", partition=0))
        flushing = asyncio.create_task(producer.flush())
        await producer.__aexit__(ZeroDivisionError, ZeroDivisionError(), None)
        with pytest.raises(OutcomeUnknownError, match="closed"):
            await sent
        for waiting in (late, flushing):
            with pytest.raises(KafkaError, match="closed"):
                await waiting


@pytest.mark.parametrize("partition", [0, 1])
async def test_a_closed_producer_takes_nothing(fake: Any, partition: int) -> None:
    async with Cluster(fake.bootstrap, IMPATIENT) as cluster, asyncio.timeout(10):
        async with IdempotentProducer(cluster, AT_ONCE) as producer:
            await producer.send(TOPIC, b"0", partition=0)
        with pytest.raises(KafkaError, match="closed"):
            await producer.send(TOPIC, b"1", partition=partition)


async def test_a_record_that_cannot_be_written_fails_instead_of_waiting(fake: Any) -> None:
    async with Cluster(fake.bootstrap, IMPATIENT) as cluster, asyncio.timeout(10):
        producer = IdempotentProducer(cluster, AT_ONCE)
        sent = await producer.send(TOPIC, b"0", partition=0, timestamp_ms=1 << 80)
        with pytest.raises(KafkaError, match="UNKNOWN_SERVER_ERROR") as raised:
            await sent
        assert raised.value.__cause__ is not None
        with pytest.raises(KafkaError, match="UNKNOWN_SERVER_ERROR"):
            await producer.flush()
        await producer.__aexit__(KafkaError, raised.value, None)


@pytest.mark.parametrize("record", [{"value": "text"}, {"value": b"", "key": "text"}])
async def test_text_is_refused_at_once_and_spoils_nothing(fake: Any, record: Any) -> None:
    async with (
        Cluster(fake.bootstrap, IMPATIENT) as cluster,
        asyncio.timeout(10),
        IdempotentProducer(cluster, AT_ONCE) as producer,
    ):
        with pytest.raises(TypeError, match="bytes"):
            await producer.send(TOPIC, partition=0, **record)
        assert await (await producer.send(TOPIC, b"0", partition=0)) == 0


async def test_a_producer_without_a_producer_id_gives_up_in_time_and_asks_no_more(fake: Any) -> None:
    before = asyncio.all_tasks()
    fake.silent |= {1, 2}
    async with Cluster(fake.bootstrap, IMPATIENT) as cluster, asyncio.timeout(10):
        producer = IdempotentProducer(cluster, ProducerOptions(linger=0.0, delivery_timeout=0.1))
        sent = await producer.send(TOPIC, b"0", partition=0)
        with pytest.raises(KafkaError, match="REQUEST_TIMED_OUT: no producer id within"):
            await sent
        with pytest.raises(KafkaError, match="REQUEST_TIMED_OUT"):
            await producer.__aexit__(None, None, None)
    left = {str(task.get_coro()) for task in asyncio.all_tasks() - before}
    assert not [each for each in left if "IdempotentProducer" in each]
