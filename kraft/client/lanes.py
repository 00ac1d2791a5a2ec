"""One partition's way out of a producer: what waits, what is on its way, and what a failure does to both.

Up to `MAX_IN_FLIGHT` batches are on their way at a time, and replies are taken in order. When anything goes
wrong that a retry may heal, the lane finds the leader again and sends all that is not acknowledged once more,
in the same order and with the same sequence numbers: the leader drops what it has (KIP-98, KIP-360). Five in
flight are as many as a leader remembers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.compression import Compression
from kafkawire.errors import ErrorCode, KafkaError
from kraft.client.batches import Delivery, PendingBatch, Producer, record_size
from kraft.client.cluster import Backoff, Cluster, Leader
from kraft.client.connections import CONNECTION_FAILURES, Connection

MAX_IN_FLIGHT = 5


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One batch is stored: its records have the offsets `base_offset` … `base_offset + count - 1`.

    `base_offset` is -1 if a leader remembered the batch and no longer its place.
    """

    topic: str
    partition: int
    base_offset: int
    count: int


@dataclass(frozen=True, slots=True)
class ProducerOptions:
    """Sizes are bytes, times seconds.

    `stall_check` is how long a reply may be due before the producer looks whether the partition has a new
    leader: a paused broker keeps its connections.
    """

    batch_size: int = 256 * 1024
    linger: float = 0.005
    buffer_size: int = 32 * 1024 * 1024
    compression: Compression = Compression.NONE
    delivery_timeout: float = 120.0
    stall_check: float = 1.0


@dataclass(frozen=True, slots=True)
class LaneContext:
    """What all lanes of a producer share. `released` is told of every batch that left, stored or not."""

    cluster: Cluster
    options: ProducerOptions
    identity: Callable[[], Awaitable[Producer]]
    acknowledged: Callable[[Acknowledged], None]
    released: Callable[[PendingBatch], None]


class _RetryError(Exception):
    """The attempt failed in a way that another one, perhaps with another leader, may heal."""


class Lane:
    """All batches of one partition that are not acknowledged, oldest first."""

    def __init__(self, context: LaneContext, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self._context = context
        self._waiting: deque[PendingBatch] = deque()
        self._unacknowledged: deque[PendingBatch] = deque()
        self._next_sequence = 0
        self._failure: KafkaError | None = None
        self._due = asyncio.Event()
        self._empty = asyncio.Event()
        self._linger: asyncio.TimerHandle | None = None
        self._last_progress = 0.0
        self.task = asyncio.create_task(self._run())

    @property
    def batch_is_full(self) -> bool:
        """True if at least one whole batch waits."""
        return len(self._waiting) > 1

    def add(self, timestamp_ms: int, key: bytes | None, value: bytes | None) -> Delivery:
        """Append a record to the newest batch, or start another; raises what ended the lane."""
        if self._failure is not None:
            raise self._failure
        options = self._context.options
        waiting = self._waiting
        if not waiting or not waiting[-1].fits(record_size(key, value), options.batch_size):
            waiting.append(PendingBatch())
            if len(waiting) > 1:
                self._due.set()
            elif self._linger is None:
                self._linger = asyncio.get_running_loop().call_later(options.linger, self._ripe)
        return waiting[-1].add(timestamp_ms, key, value)

    def _ripe(self) -> None:
        self._linger = None
        self._due.set()

    async def drained(self) -> None:
        """Wait until nothing is left; raises what ended the lane."""
        while self._waiting or self._unacknowledged:
            self._due.set()
            self._empty.clear()
            await self._empty.wait()
        if self._failure is not None:
            raise self._failure

    async def _run(self) -> None:
        try:
            identity = await self._context.identity()
            while True:
                await self._work()
                await self._send_all(identity)
        except KafkaError as error:
            self._fail(error)

    async def _send_all(self, identity: Producer) -> None:
        """Send what there is, over as many leaders as it takes; raises KafkaError when time is over."""
        limit = self._context.options.delivery_timeout
        loop = asyncio.get_running_loop()
        backoff = Backoff()
        failed: Leader | None = None
        self._last_progress = loop.time()
        while True:
            try:
                async with asyncio.timeout_at(self._last_progress + limit):
                    leader = await self._context.cluster.leader(self.topic, self.partition, not_before=failed)
            except TimeoutError:
                raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, f"no success within {limit} s") from None
            try:
                return await self._send_to(leader, identity)
            except (_RetryError, *CONNECTION_FAILURES):
                failed = leader
                await backoff.pause()

    async def _work(self) -> None:
        while not self._unacknowledged and not self._waiting:
            self._due.clear()
            self._empty.set()
            await self._due.wait()
        if not self._unacknowledged and len(self._waiting) == 1:
            await self._due.wait()

    async def _send_to(self, leader: Leader, identity: Producer) -> None:
        """Send everything to one leader and take its replies, until nothing is left to send."""
        connection = await self._context.cluster.connection(leader.node_id)
        replies: deque[asyncio.Future[Any]] = deque(
            self._send(connection, batch) for batch in self._unacknowledged
        )
        while True:
            # A batch that is not full leaves when nothing else is on its way: a busy lane makes full ones.
            while len(self._waiting) > bool(replies) and len(replies) < MAX_IN_FLIGHT:
                batch = self._waiting.popleft()
                self._next_sequence = batch.encode(
                    identity, self._next_sequence, self._context.options.compression
                )
                self._unacknowledged.append(batch)
                replies.append(self._send(connection, batch))
            if not replies:
                return
            response = await self._reply(replies.popleft(), leader)
            self._take(response)

    def _send(self, connection: Connection, batch: PendingBatch) -> asyncio.Future[Any]:
        request_class = messages.request_class(ApiKey.PRODUCE)
        topic_class = request_class.TopicProduceData
        data = topic_class.PartitionProduceData(index=self.partition, records=batch.encoded)
        request = request_class(
            transactional_id=None,
            acks=-1,
            timeout_ms=int(self._context.cluster.options.request_timeout * 1000),
            topic_data=[topic_class(name=self.topic, partition_data=[data])],
        )
        return connection.send(ApiKey.PRODUCE, request)

    async def _reply(self, reply: asyncio.Future[Any], leader: Leader) -> Any:
        """The reply; gives up on it when the partition has another leader or the time is over."""
        cluster = self._context.cluster
        loop = asyncio.get_running_loop()
        deadline = loop.time() + cluster.options.request_timeout
        while not reply.done():
            await asyncio.wait([reply], timeout=self._context.options.stall_check)
            if reply.done():
                break
            await _refresh_if_possible(cluster, self.topic)
            if cluster.known_leader(self.topic, self.partition) != leader or loop.time() > deadline:
                raise _RetryError
        return reply.result()

    def _take(self, response: Any) -> None:
        """Account for the reply to the oldest batch; raises _RetryError, or KafkaError if nothing helps."""
        result = response.responses[0].partition_responses[0]
        code = ErrorCode(result.error_code)
        if code not in (ErrorCode.NONE, ErrorCode.DUPLICATE_SEQUENCE_NUMBER):
            if code.retriable:
                raise _RetryError
            raise KafkaError(code, f"{self.topic}-{self.partition}: {result.error_message or code.name}")
        base_offset = result.base_offset if code is ErrorCode.NONE else -1
        batch = self._unacknowledged.popleft()
        self._last_progress = asyncio.get_running_loop().time()
        if not batch.acknowledged.done():
            batch.acknowledged.set_result(base_offset)
        self._context.released(batch)
        self._context.acknowledged(Acknowledged(self.topic, self.partition, base_offset, len(batch.records)))

    def _fail(self, error: KafkaError) -> None:
        self._failure = error
        for batch in (*self._unacknowledged, *self._waiting):
            if not batch.acknowledged.done():
                batch.acknowledged.set_exception(error)
                batch.acknowledged.exception()  # who does not wait for it is told by `flush` and `send`
            self._context.released(batch)
        self._unacknowledged.clear()
        self._waiting.clear()
        self._empty.set()


async def _refresh_if_possible(cluster: Cluster, topic: str) -> None:
    try:
        await cluster.refresh([topic])
    except CONNECTION_FAILURES:
        return
