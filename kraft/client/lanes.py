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
from typing import Any

import msgspec

from kafkawire.apis import ApiKey
from kafkawire.compression import Compression
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.produce import ProducePartition, ProduceRequest
from kafkawire.produce_client import ProduceResponse
from kafkawire.records import NewRecord
from kraft.client.batches import Delivery, PendingBatch, Producer
from kraft.client.cluster import Backoff, Cluster, Leader
from kraft.client.connections import CONNECTION_FAILURES, Connection, watched
from kraft.client.errors import OutcomeUnknownError

MAX_IN_FLIGHT = 5


class Acknowledged(msgspec.Struct, frozen=True):
    """One batch is stored: its records have the offsets `base_offset` … `base_offset + count - 1`.

    `base_offset` is -1 if a leader remembered the batch and no longer its place.
    """

    topic: str
    partition: int
    base_offset: int
    count: int


class ProducerOptions(msgspec.Struct, frozen=True):
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


class LaneContext(msgspec.Struct, frozen=True):
    """What all lanes of a producer share.

    `identity` gives the id and epoch to write under; where it has changed, sequences begin anew.
    `released` is told of every batch that left, stored or not, `failed` of what ended a lane. Batches belong
    to transactions of `transactional_id`, if there is one, and are sent by Produce up to `newest`.
    """

    cluster: Cluster
    options: ProducerOptions
    identity: Callable[[], Awaitable[Producer]]
    acknowledged: Callable[[Acknowledged], None]
    released: Callable[[PendingBatch], None]
    failed: Callable[[KafkaError], None]
    transactional_id: str | None = None
    newest: int | None = None


def closed() -> KafkaError:
    """What becomes of a record whose producer is closed before it is stored."""
    return KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, "the producer is closed")


class _RetryError(Exception):
    """The attempt failed in a way that another one may heal."""

    def __init__(self, *, same_leader: bool = False) -> None:
        super().__init__()
        self.same_leader = same_leader


class Lane:
    """All batches of one partition that are not acknowledged, oldest first."""

    def __init__(self, context: LaneContext, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self._context = context
        self._waiting: deque[PendingBatch] = deque()
        self._unacknowledged: deque[PendingBatch] = deque()
        self._identity: Producer | None = None
        self._next_sequence = 0
        self._failure: KafkaError | None = None
        self._due = asyncio.Event()
        self._empty = asyncio.Event()
        self._linger: asyncio.Handle | None = None
        self._last_progress = 0.0
        self.task = asyncio.create_task(self._run())
        self.task.add_done_callback(self._ended)

    @property
    def batch_is_full(self) -> bool:
        """True if at least one whole batch waits."""
        return len(self._waiting) > 1

    @property
    def is_empty(self) -> bool:
        """True if everything that was added is settled."""
        return not self._waiting and not self._unacknowledged

    def add(self, record: NewRecord, size: int) -> Delivery:
        """Append a record of `size` to the newest batch, or start another; raises what ended the lane."""
        if self._failure is not None:
            raise self._failure
        options = self._context.options
        waiting = self._waiting
        if not waiting or not waiting[-1].fits(size, options.batch_size):
            waiting.append(PendingBatch())
            if len(waiting) > 1:
                self._due.set()
            elif self._linger is None:
                loop, linger = asyncio.get_running_loop(), options.linger
                self._linger = loop.call_later(linger, self._ripe) if linger else loop.call_soon(self._ripe)
        return waiting[-1].add(record, size)

    def _ripe(self) -> None:
        self._linger = None
        self._due.set()

    def hurry(self) -> None:
        """Send what waits at once."""
        self._due.set()

    async def drained(self) -> None:
        """Wait until nothing is left; raises what ended the lane."""
        while not self.is_empty:
            self._due.set()
            self._empty.clear()
            await self._empty.wait()
        if self._failure is not None:
            raise self._failure

    async def abandon(self, error: KafkaError, patience: float) -> None:
        """End the lane: what was not sent fails with `error`; replies to the rest have `patience` seconds."""
        self._failure = error
        self._drop_waiting(error)
        try:
            async with asyncio.timeout(patience):
                while self._unacknowledged and patience > 0:
                    self._empty.clear()
                    await self._empty.wait()
        except TimeoutError:
            pass
        self.task.cancel()
        self._fail(error)

    async def _run(self) -> None:
        try:
            while True:
                await self._work()
                await self._send_all()
        except KafkaError as error:
            self._fail(error)
            self._context.failed(error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Whatever ended it, nobody is to wait for ever."""
        if self._failure is not None:
            return
        mistake = None if task.cancelled() else task.exception()
        error = closed() if mistake is None else KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, repr(mistake))
        error.__cause__ = mistake
        self._fail(error)
        if mistake is not None:
            self._context.failed(error)

    async def _send_all(self) -> None:
        """Send what there is, over as many leaders as it takes; raises KafkaError when time is over."""
        cluster = self._context.cluster
        identity = await self._context.identity()
        if identity != self._identity:
            self._identity, self._next_sequence = identity, 0
        self._last_progress = asyncio.get_running_loop().time()
        leader = cluster.known_leader(self.topic, self.partition)
        failed: Leader | None = None
        backoff = Backoff()
        while True:
            if leader is None:
                leader = await self._find_leader(failed)
            try:
                return await self._send_to(leader, identity)
            except (_RetryError, *CONNECTION_FAILURES) as failure:
                if isinstance(failure, _RetryError) and failure.same_leader and not self._is_late:
                    await backoff.pause()
                    continue
                failed, leader = leader, None
                await backoff.pause()

    @property
    def _is_late(self) -> bool:
        limit = self._last_progress + self._context.options.delivery_timeout
        return asyncio.get_running_loop().time() > limit

    async def _find_leader(self, failed: Leader | None) -> Leader:
        limit = self._context.options.delivery_timeout
        try:
            async with asyncio.timeout_at(self._last_progress + limit):
                return await self._context.cluster.leader(self.topic, self.partition, not_before=failed)
        except TimeoutError:
            raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, f"no success within {limit} s") from None

    async def _work(self) -> None:
        while self.is_empty:
            self._due.clear()
            self._empty.set()
            await self._due.wait()
        if not self._unacknowledged and len(self._waiting) == 1:
            await self._due.wait()

    async def _send_to(self, leader: Leader, identity: Producer) -> None:
        """Send everything to one leader and take its replies, until nothing is left to send."""
        cluster, context = self._context.cluster, self._context
        connection = cluster.connected(leader.node_id) or await cluster.connection(leader.node_id)
        replies: deque[asyncio.Future[Any]] = deque(
            self._send(connection, batch) for batch in self._unacknowledged
        )
        while True:
            # A batch that is not full leaves when nothing else is on its way: a busy lane makes full ones.
            while len(self._waiting) > bool(replies) and len(replies) < MAX_IN_FLIGHT:
                batch = self._waiting[0]
                self._next_sequence = batch.encode(
                    identity,
                    self._next_sequence,
                    context.options.compression,
                    transactional=context.transactional_id is not None,
                )
                self._unacknowledged.append(self._waiting.popleft())
                replies.append(self._send(connection, batch))
            if not replies:
                return
            response = await self._reply(replies.popleft(), leader)
            self._take(response)

    def _send(self, connection: Connection, batch: PendingBatch) -> asyncio.Future[Any]:
        context = self._context
        batch.attempts += 1
        request = ProduceRequest(
            context.transactional_id,
            -1,
            int(context.cluster.options.request_timeout * 1000),
            [ProducePartition(self.topic, self.partition, memoryview(batch.encoded))],
        )
        return connection.send(ApiKey.PRODUCE, request, context.newest)

    async def _reply(self, reply: asyncio.Future[Any], leader: Leader) -> ProduceResponse:
        """The reply; gives up on it when the partition has another leader or the time is over."""
        cluster = self._context.cluster
        loop = asyncio.get_running_loop()
        deadline = loop.time() + cluster.options.request_timeout

        async def look() -> _RetryError | None:
            await _refresh_if_possible(cluster, self.topic)
            is_moved = cluster.known_leader(self.topic, self.partition) != leader
            return _RetryError() if is_moved or loop.time() > deadline else None

        response: ProduceResponse = await watched(reply, self._context.options.stall_check, look)
        return response

    def _take(self, response: ProduceResponse) -> None:
        """Account for the reply to the oldest batch; raises _RetryError, or KafkaError if nothing helps."""
        (result,) = response.results
        batch = self._unacknowledged[0]
        if result.error_code not in (ErrorCode.NONE, ErrorCode.DUPLICATE_SEQUENCE_NUMBER):
            code = ErrorCode(result.error_code)
            if code.retriable:
                # The last transaction's markers are on their way: that says nothing about the leader.
                raise _RetryError(same_leader=code is ErrorCode.CONCURRENT_TRANSACTIONS)
            error = KafkaError(code, f"{self.topic}-{self.partition}: {result.error_message or code.name}")
            if batch.attempts == 1:  # or the refusal may be of a repetition of what is stored
                self._unacknowledged.popleft()
                batch.fail(error)
                self._context.released(batch)
            raise error
        self._unacknowledged.popleft()
        base_offset = -1 if result.error_code else result.base_offset
        self._last_progress = asyncio.get_running_loop().time()
        if not batch.acknowledged.done():
            batch.acknowledged.set_result(base_offset)
        self._context.released(batch)
        self._context.acknowledged(Acknowledged(self.topic, self.partition, base_offset, len(batch.records)))

    def _fail(self, error: KafkaError) -> None:
        self._failure = error
        for batch in self._unacknowledged:
            batch.fail(OutcomeUnknownError(error.code, error.message))
            self._context.released(batch)
        self._unacknowledged.clear()
        self._drop_waiting(error)
        self._empty.set()

    def _drop_waiting(self, error: KafkaError) -> None:
        for batch in self._waiting:
            batch.fail(error)
            self._context.released(batch)
        self._waiting.clear()


async def _refresh_if_possible(cluster: Cluster, topic: str) -> None:
    try:
        await cluster.refresh([topic])
    except CONNECTION_FAILURES:
        return
