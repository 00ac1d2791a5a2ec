"""aiokafka: produce and consume by assignment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

TIMEOUT = 20


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_an_idempotent_producer_and_a_consumer(
    bootstrap: str, make_topic: Callable[[int], str], plain_rows: list[Any], compression: str | None
) -> None:
    topic = await asyncio.to_thread(make_topic, 1)
    async with (
        asyncio.timeout(TIMEOUT),
        AIOKafkaProducer(
            bootstrap_servers=bootstrap, enable_idempotence=True, compression_type=compression
        ) as producer,
    ):
        sent = [
            await producer.send(topic, value, key=key, partition=0, timestamp_ms=when, headers=headers)
            for key, value, when, headers in plain_rows
        ]
        stored = await asyncio.gather(*sent)
    assert [each.offset for each in stored] == list(range(len(plain_rows)))
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    async with asyncio.timeout(TIMEOUT), consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        messages: list[Any] = []
        while len(messages) < len(plain_rows):
            messages += (await consumer.getmany(partition, timeout_ms=1000)).get(partition, [])
        assert await consumer.end_offsets([partition]) == {partition: len(plain_rows)}
    assert [message.offset for message in messages] == list(range(len(plain_rows)))
    assert [
        (message.key, message.value, message.timestamp, list(message.headers)) for message in messages
    ] == plain_rows
