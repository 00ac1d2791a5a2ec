"""A marker that is sent again, because its acknowledgement was lost, may come when the next transaction of
its producer has begun. It must not end that one (KIP-890, second part)."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.produce import ProducePartition, ProduceRequest
from kafkawire.records import ControlType, build_batch
from kafkawire.transaction_client import EndTxnRequest
from kraft.broker.transaction_markers import MarkerWriter
from kraft.client.admin import Admin
from kraft.client.cluster import Cluster
from kraft.coordinator.decision import Producer
from kraft.coordinator.transaction.marker_queue import Marker

ID = "who-repeats"


class Client:
    """A transactional producer of version 2 on a cluster of one node."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self.cluster = cluster
        self.topic = topic
        self.producer = Producer(-1, -1)

    async def call(self, key: ApiKey, **values: Any) -> Any:
        return await self.cluster.call(1, key, messages.request_class(key)(**values), 10.0)

    async def start(self) -> None:
        """Ask until the coordinator is there, and be its producer."""
        async with asyncio.timeout(15):
            while True:
                await self.call(ApiKey.FIND_COORDINATOR, key_type=1, coordinator_keys=[ID])
                reply = await self.call(
                    ApiKey.INIT_PRODUCER_ID,
                    transactional_id=ID,
                    transaction_timeout_ms=60_000,
                    producer_id=-1,
                    producer_epoch=-1,
                )
                if not reply.error_code:
                    self.producer = Producer(reply.producer_id, reply.producer_epoch)
                    return

    async def produce(self, value: bytes) -> None:
        batch = build_batch(
            [(0, None, value)],
            producer_id=self.producer.producer_id,
            producer_epoch=self.producer.producer_epoch,
            base_sequence=0,
            transactional=True,
        )
        request = ProduceRequest(ID, -1, 5000, [ProducePartition(self.topic, 0, memoryview(batch))])
        async with asyncio.timeout(15):
            for _ in itertools.count():
                (result,) = (await self.cluster.call(1, ApiKey.PRODUCE, request, 10.0)).results
                if result.error_code != ErrorCode.NOT_ENOUGH_REPLICAS:
                    assert result.error_code == ErrorCode.NONE
                    return

    async def commit(self) -> None:
        producer = self.producer
        request = EndTxnRequest(ID, producer.producer_id, producer.producer_epoch, commit=True)
        reply = await self.cluster.call(1, ApiKey.END_TXN, request, 10.0)
        assert reply.error_code == ErrorCode.NONE
        self.producer = Producer(reply.producer_id, reply.producer_epoch)


@pytest.mark.parametrize("kind", list(ControlType)[:2])
async def test_it_does_not_end_the_next_transaction(
    start_nodes: Callable[[int, int], Awaitable[Any]], kind: ControlType
) -> None:
    topic = f"marked-{kind.name}"
    nodes = await start_nodes(1, 1)
    async with Cluster(nodes.plan.bootstrap) as cluster:
        await Admin(cluster).create_topic(topic, partitions=1, replication_factor=1)
        await cluster.refresh([topic])
        client = Client(cluster, topic)
        await client.start()
        await client.produce(b"first")
        await client.commit()
        await client.produce(b"second")
        # Of other tests some may be left.
        writers = (each for each in gc.get_objects() if isinstance(each, MarkerWriter))
        (writer,) = (each for each in writers if each._replicas.get(topic, 0) is not None)
        partition = writer._replicas.find(topic, 0)
        assert (partition.log.first_undecided(), partition.log.end_offset) == (2, 3)
        again = Marker(client.producer, kind, 1000, ((topic, 0),), bumped=True)
        assert await writer.write([again]) == [[ErrorCode.NONE]]
        assert (partition.log.first_undecided(), partition.log.end_offset) == (2, 3)
        await client.commit()
        async with asyncio.timeout(10):
            while partition.log.first_undecided() is not None:  # noqa: ASYNC110 - the loop has to go round
                await asyncio.sleep(0)
        assert partition.log.end_offset == 4
