"""The idempotent producer: every record once, in order for each partition, acknowledged by all in sync."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kraft.client.batches import Delivery, PendingBatch, Producer, record_size
from kraft.client.cluster import Backoff, Cluster
from kraft.client.connections import CONNECTION_FAILURES
from kraft.client.lanes import Acknowledged, Lane, LaneContext, ProducerOptions
from kraft.client.partitioning import partition_for_key


def _ignore(acknowledged: Acknowledged) -> None:
    """Nobody listens."""


class IdempotentProducer:
    """Use it as an async context manager; leaving it sends what is left.

    A record that can never be stored (a fatal error code, or no success within `delivery_timeout`) fails its
    own delivery and, since nothing may overtake it, every later one of its partition.
    """

    def __init__(
        self,
        cluster: Cluster,
        options: ProducerOptions | None = None,
        *,
        on_acknowledged: Callable[[Acknowledged], None] | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.cluster = cluster
        self.options = options or ProducerOptions()
        self._context = LaneContext(
            cluster, self.options, self.identity, on_acknowledged or _ignore, self._released
        )
        self._clock_ms = clock_ms
        self._identity: asyncio.Task[Producer] | None = None
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._rotation: dict[str, int] = {}
        self._buffered = 0
        self._room = asyncio.Event()
        self._room.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                await self.flush()
        finally:
            tasks = [lane.task for lane in self._lanes.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Delivery:
        """Put a record into its partition's lane; waits while the buffer is full.

        Without `partition` the key decides, as in Kafka's clients; without a key batches take turns. Raises
        the KafkaError that ended the lane.
        """
        if partition is None:
            partition = await self._partition(topic, key)
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = Lane(self._context, topic, partition)
        while self._buffered > self.options.buffer_size:
            self._room.clear()
            await self._room.wait()
        self._buffered += record_size(key, value)
        delivery = lane.add(self._clock_ms() if timestamp_ms is None else timestamp_ms, key, value)
        if delivery.begins_batch:
            await asyncio.sleep(0)  # the batch before it can leave, also from a loop that never waits
        return delivery

    async def flush(self) -> None:
        """Wait until every record that was sent is stored; raises the KafkaError of the first that is not."""
        await asyncio.gather(*(lane.drained() for lane in list(self._lanes.values())))

    async def _partition(self, topic: str, key: bytes | None) -> int:
        known = self.cluster.topics.get(topic)
        count = len(known.partitions) if known is not None else await self.cluster.partition_count(topic)
        if key is not None:
            return partition_for_key(key, count)
        current = self._rotation.get(topic, 0) % count
        lane = self._lanes.get((topic, current))
        if lane is not None and lane.batch_is_full:
            current = (current + 1) % count
        self._rotation[topic] = current
        return current

    async def identity(self) -> Producer:
        """The producer id, asked for once."""
        if self._identity is None:
            self._identity = asyncio.create_task(self._init_producer_id())
        return await asyncio.shield(self._identity)

    async def _init_producer_id(self) -> Producer:
        request_class = messages.request_class(ApiKey.INIT_PRODUCER_ID)
        backoff = Backoff()
        while True:
            request = request_class(
                transactional_id=None, transaction_timeout_ms=60_000, producer_id=-1, producer_epoch=-1
            )
            try:
                response = await self.cluster.call_any(ApiKey.INIT_PRODUCER_ID, request, timeout=3.0)
            except CONNECTION_FAILURES:
                await backoff.pause()
                continue
            code = ErrorCode(response.error_code)
            if code is ErrorCode.NONE:
                return Producer(response.producer_id, response.producer_epoch)
            if not code.retriable:
                raise KafkaError(code, "no producer id")
            await backoff.pause()

    def _released(self, batch: PendingBatch) -> None:
        """A batch has left its lane: what it took of the buffer is free."""
        self._buffered -= sum(record_size(key, value) for _, key, value, *_ in batch.records)
        self._room.set()
