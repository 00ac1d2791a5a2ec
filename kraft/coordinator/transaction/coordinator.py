"""The transaction coordinator of one broker: shards on the runtime, and markers on their way.

The fate of a transaction is sealed when its Prepare record is committed; from then on its markers are sent,
and sent again, by this broker or by the next one that coordinates its partition, until every partition has
one. That the sending begins does not hang on anybody waiting for it: a client that is gone or a commit that
took too long leaves the transaction prepared in its shard, where `_watch` finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.decision import Producer
from kraft.coordinator.listing import listing
from kraft.coordinator.placement import partition_of
from kraft.coordinator.runtime import CoordinatorRuntime, RuntimeWorld
from kraft.coordinator.transaction.commands import (
    AddPartitions,
    Decided,
    EndTransaction,
    InitProducer,
    Listed,
    ListFilter,
    SpareWanted,
    TransactionSettings,
    VerifyPartitions,
)
from kraft.coordinator.transaction.marker_queue import LeaderOf
from kraft.coordinator.transaction.markers import MarkerSender, SendMarkers
from kraft.coordinator.transaction.shard import TransactionShard
from kraft.coordinator.transaction.states import Transaction

TOPIC: Final = "__transaction_state"

WATCH_INTERVAL: Final = 0.5
"""Seconds between two looks for transactions that are prepared and whose markers nobody sends."""

ENDING_PATIENCE: Final = 0.1
"""Seconds that a producer's next transaction waits for the end of the one before, before it is told to ask
again. A producer is answered when the fate is sealed and goes on at once, while the partitions are being
told: that takes a few milliseconds, and clients ask again after twenty or more."""

NextProducerId = Callable[[], Awaitable[int]]
"""A producer id that nobody has; raises KafkaError when no controller gives any."""

R = TypeVar("R")


class TransactionCoordinator:
    """See the module. Call `reconcile` after each change of roles, and keep `run` running.

    `partition_count` is that of `__transaction_state`, 0 while there is none. Every method for handlers
    raises KafkaError: what `TransactionShard` says, NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS,
    COORDINATOR_NOT_AVAILABLE.
    """

    def __init__(
        self,
        settings: TransactionSettings,
        world: RuntimeWorld,
        partition_count: Callable[[], int],
        next_producer_id: NextProducerId,
        leader_of: LeaderOf,
        send: SendMarkers,
    ) -> None:
        self._partition_count = partition_count
        self._next_producer_id = next_producer_id
        self._shards: dict[int, TransactionShard] = {}
        self._endings: dict[tuple[int, str], asyncio.Event] = {}
        self._markers = MarkerSender(leader_of, send, self._told)
        self.runtime: CoordinatorRuntime[TransactionShard] = CoordinatorRuntime(
            TOPIC, lambda _, epoch: TransactionShard(settings, epoch), world, self
        )

    # -- for handlers -----------------------------------------------------------------------------

    def partition_for(self, transactional_id: str) -> int:
        """The partition of `__transaction_state` that holds the id."""
        count = self._partition_count()
        if not count:
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        return partition_of(transactional_id, count)

    async def init_producer(self, command: InitProducer) -> Producer:
        """The producer id and epoch under which the client is alone. CONCURRENT_TRANSACTIONS while a
        transaction of its predecessor is being ended: ask again."""
        index = self.partition_for(command.transactional_id)
        reply = await self._begin(index, command)
        if isinstance(reply, SpareWanted):
            spare = await self._spare()
            reply = await self._begin(
                index, InitProducer(command.transactional_id, command.timeout_ms, command.expected, spare)
            )
        if isinstance(reply, Producer):
            return reply
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)

    async def _spare(self) -> int:
        try:
            return await self._next_producer_id()
        except KafkaError as error:
            if error.code.retriable:
                raise
            raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, error.message) from error

    def _begin(self, index: int, command: InitProducer) -> asyncio.Future[Producer | Decided | SpareWanted]:
        future = self.runtime.submit(index, lambda shard, _, now_ms: shard.init_producer(command, now_ms))
        return self._delivering(index, future)

    async def add_partitions(self, command: AddPartitions) -> None:
        """Make partitions part of the transaction. CONCURRENT_TRANSACTIONS if the one before was not over in
        every partition within ENDING_PATIENCE."""
        index = self.partition_for(command.transactional_id)
        until = asyncio.get_running_loop().time() + ENDING_PATIENCE
        while True:
            try:
                return await self.runtime.submit(
                    index, lambda shard, now, now_ms: shard.add_partitions(command, now, now_ms)
                )
            except KafkaError as error:
                if error.code is not ErrorCode.CONCURRENT_TRANSACTIONS:
                    raise
                if not await self._is_over(index, command.transactional_id, until):
                    raise

    async def _is_over(self, index: int, transactional_id: str, until: float) -> bool:
        """Whether it is worth asking the shard again, by then at the latest."""
        shard = self._shards.get(index)
        if shard is None or not shard.is_ending(transactional_id):
            return True
        ended = self._endings.setdefault((index, transactional_id), asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                return await ended.wait()
        return False

    async def verify(self, command: VerifyPartitions) -> tuple[ErrorCode, ...]:
        """Which partitions are part of the transaction (KIP-890)."""
        index = self.partition_for(command.transactional_id)
        return await self.runtime.observe(index, lambda shard, _, __: shard.verify(command))

    async def end(self, command: EndTransaction) -> Producer:
        """Commit or abort. Returns when the fate is sealed, with who the producer is from now on; the
        partitions are told afterwards."""
        index = self.partition_for(command.transactional_id)
        reply = await self._end(index, command)
        if isinstance(reply, SpareWanted):
            reply = await self._end(index, replace(command, spare_producer_id=await self._spare()))
        assert isinstance(reply, Decided | Producer), "a spare one was given"
        return reply.successor if isinstance(reply, Decided) else reply

    def _end(self, index: int, command: EndTransaction) -> asyncio.Future[Decided | Producer | SpareWanted]:
        future = self.runtime.submit(index, lambda shard, _, now_ms: shard.end(command, now_ms))
        return self._delivering(index, future)

    async def describe(self, transactional_id: str) -> Transaction:
        """What is known of one id."""
        index = self.partition_for(transactional_id)
        return await self.runtime.observe(index, lambda shard, _, __: shard.describe(transactional_id))

    async def listing(self, wanted: ListFilter) -> list[Listed]:
        """The ids of every partition that this broker coordinates."""
        return await listing(self.runtime, lambda shard, _, now_ms: list(shard.listing(wanted, now_ms)))

    # -- markers ----------------------------------------------------------------------------------

    def _delivering(self, index: int, future: asyncio.Future[R]) -> asyncio.Future[R]:
        """Send the markers of what `future` decides, whether or not anybody still waits for it."""
        outcome: asyncio.Future[R] = asyncio.get_running_loop().create_future()

        def settled(done: asyncio.Future[R]) -> None:
            error = done.exception()
            if error is None and isinstance(done.result(), Decided):
                self.committed(index, done.result())
            if outcome.done():
                return
            if error is None:
                outcome.set_result(done.result())
            else:
                outcome.set_exception(error)

        future.add_done_callback(settled)
        return outcome

    def _told(self, index: int, decided: Decided) -> None:
        """Every partition knows; if that cannot be written now, `_watch` sees to it."""
        self.runtime.submit(index, lambda shard, _, now_ms: shard.complete(decided, now_ms))
        if (ended := self._endings.pop((index, decided.transactional_id), None)) is not None:
            ended.set()

    def loaded(self, index: int, shard: TransactionShard) -> None:
        """See `Following`; what the shard has to tell comes by `committed`."""
        self._shards[index] = shard

    def unloaded(self, index: int) -> None:
        """See `Following`."""
        self._shards.pop(index, None)
        self._markers.forget(index)
        for place in [each for each in self._endings if each[0] == index]:
            self._endings.pop(place).set()

    def committed(self, index: int, reply: Any) -> None:
        """See `Following`: a fate is sealed. By now every partition may have been told, and the next
        transaction begun, which another marker would end: only what is not complete is sent."""
        assert isinstance(reply, Decided)
        shard = self._shards.get(index)
        if shard is not None and shard.is_undelivered(reply):
            self._markers.deliver(index, reply)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            for index, shard in tuple(self._shards.items()):
                if shard.undelivered():
                    future = self.runtime.observe(index, lambda each, _, __: each.undelivered())
                    future.add_done_callback(partial(self._deliver_again, index))

    def _deliver_again(self, index: int, future: asyncio.Future[list[Decided]]) -> None:
        if future.exception() is None:
            for decided in future.result():
                self.committed(index, decided)

    # -- life -------------------------------------------------------------------------------------

    def reconcile(self) -> None:
        """Roles have changed."""
        self.runtime.reconcile()

    async def run(self) -> None:
        """Coordinate, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.runtime.run())
            group.create_task(self._markers.run())
            group.create_task(self._watch())

    def close(self) -> None:
        """The broker stops."""
        self.runtime.close()
