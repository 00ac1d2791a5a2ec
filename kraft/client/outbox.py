"""What all producers share: records find their partitions, lanes bring them there, a buffer has a limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from kafkawire.errors import KafkaError
from kraft.client.batches import BATCH_OVERHEAD, Delivery, PendingBatch, Producer, record_size
from kraft.client.cluster import Cluster
from kraft.client.lanes import Acknowledged, Lane, LaneContext, ProducerOptions, closed
from kraft.client.partitioning import partition_for_key

Headers = list[tuple[str, bytes | None]]
ClockMs = Callable[[], int]


def wall_clock_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def ignore(_: object) -> None:
    """Nobody listens."""


class Outbox:
    """`identity` gives the id and epoch to write under, `on_failed` hears of what ended a lane."""

    def __init__(
        self,
        cluster: Cluster,
        options: ProducerOptions,
        identity: Callable[[], Awaitable[Producer]],
        on_acknowledged: Callable[[Acknowledged], None],
        on_failed: Callable[[KafkaError], None],
        clock_ms: ClockMs,
    ) -> None:
        self._cluster = cluster
        self._options = options
        self._context = LaneContext(cluster, options, identity, on_acknowledged, self._released, on_failed)
        self._clock_ms = clock_ms
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._rotation: dict[str, int] = {}
        self._buffered = 0
        self._closed = False
        self._room = asyncio.Event()
        self._room.set()

    @property
    def is_empty(self) -> bool:
        """True if nothing waits and nothing is on its way."""
        return all(lane.is_empty for lane in self._lanes.values())

    def write_transactions(self, transactional_id: str, newest: int) -> None:
        """From now on records belong to transactions and are sent by Produce up to version `newest`."""
        self._context = replace(self._context, transactional_id=transactional_id, newest=newest)

    async def add(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> Delivery:
        """Put a record into its lane; waits while the buffer is full. Raises what ended the lane."""
        lane = self._lanes.get((topic, partition))
        if lane is None:
            if self._closed:
                raise closed()
            lane = self._lanes[topic, partition] = Lane(self._context, topic, partition)
        while self._buffered > self._options.buffer_size:
            self._room.clear()
            await self._room.wait()
        size = record_size(key, value)
        timestamp = self._clock_ms() if timestamp_ms is None else timestamp_ms
        if headers:
            size += sum(record_size(name.encode(), content) for name, content in headers)
            delivery = lane.add((timestamp, key, value, headers), size)
        else:
            delivery = lane.add((timestamp, key, value), size)
        self._buffered += size
        if delivery.begins_batch:
            await asyncio.sleep(0)  # the batch before it can leave, also from a loop that never waits
        return delivery

    async def partition_for(self, topic: str, key: bytes | None) -> int:
        """The key decides, as in Kafka's clients; without a key batches take turns."""
        known = self._cluster.topics.get(topic)
        count = len(known.partitions) if known is not None else await self._cluster.partition_count(topic)
        if key is not None:
            return partition_for_key(key, count)
        current = self._rotation.get(topic, 0) % count
        lane = self._lanes.get((topic, current))
        if lane is not None and lane.batch_is_full:
            current = (current + 1) % count
        self._rotation[topic] = current
        return current

    async def flush(self) -> None:
        """Wait until every record is stored; raises the KafkaError of the first lane that has ended."""
        lanes = list(self._lanes.values())
        for lane in lanes:
            lane.hurry()
        for lane in lanes:
            await lane.drained()

    async def abandon(self, error: KafkaError, patience: float) -> None:
        """Give up what is not stored, and all that is known of sequences; what is on its way has `patience`
        seconds together."""
        deadline = asyncio.get_running_loop().time() + patience
        lanes, self._lanes = self._lanes, {}
        for lane in lanes.values():
            await lane.abandon(error, max(0.0, deadline - asyncio.get_running_loop().time()))
        await asyncio.gather(*(lane.task for lane in lanes.values()), return_exceptions=True)

    async def close(self) -> None:
        """Stop at once; whoever waits hears that it is closed."""
        self._closed = True
        tasks = [lane.task for lane in self._lanes.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _released(self, batch: PendingBatch) -> None:
        """A batch has left its lane: what it took of the buffer is free."""
        self._buffered -= batch.size - BATCH_OVERHEAD
        self._room.set()
