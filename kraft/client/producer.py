"""The idempotent producer: every record once, in order for each partition, acknowledged by all in sync."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kraft.client.batches import Delivery, Producer
from kraft.client.cluster import Backoff, Cluster
from kraft.client.connections import CONNECTION_FAILURES
from kraft.client.lanes import Acknowledged, ProducerOptions
from kraft.client.outbox import ClockMs, Headers, Outbox, ignore, wall_clock_ms


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
        clock_ms: ClockMs = wall_clock_ms,
    ) -> None:
        self.cluster = cluster
        self.options = options or ProducerOptions()
        self._outbox = Outbox(
            cluster, self.options, self.identity, on_acknowledged or ignore, ignore, clock_ms
        )
        self._identity: asyncio.Task[Producer] | None = None

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
            await self._outbox.close()
            if self._identity is not None:
                self._identity.cancel()
                await asyncio.gather(self._identity, return_exceptions=True)

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> Delivery:
        """Put a record into its partition's lane; waits while the buffer is full.

        Without `partition` the key decides, as in Kafka's clients; without a key batches take turns. Raises
        the KafkaError that ended the lane.
        """
        if partition is None:
            partition = await self._outbox.partition_for(topic, key)
        return await self._outbox.add(topic, partition, key, value, timestamp_ms, headers)

    async def flush(self) -> None:
        """Wait until every record that was sent is stored; raises the KafkaError of the first that is not."""
        await self._outbox.flush()

    async def identity(self) -> Producer:
        """The producer id, asked for once; raises KafkaError if it is not there within `delivery_timeout`."""
        if self._identity is None:
            self._identity = asyncio.create_task(self._init_producer_id())
        if self._identity.done():
            return self._identity.result()
        limit = self.options.delivery_timeout
        try:
            async with asyncio.timeout(limit):
                return await asyncio.shield(self._identity)
        except TimeoutError:
            raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, f"no producer id within {limit} s") from None

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
