"""Members of groups, and transactional producers, as blocking objects."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    OffsetAndMetadata,
    TopicPartition,
)
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.structs import ConsumerRecord

from interop.shared.client import Member, Membership, TransactionalProducer, Where
from interop.shared.telling import PATIENCE, Unsupported


class GroupMember(Member):
    """A consumer that has subscribed. It lives, as all others, when the runner's loop runs."""

    def __init__(self, runner: asyncio.Runner, at: Where, how: Membership) -> None:
        super().__init__()
        if how.next_gen:
            raise Unsupported("the library speaks the classic group protocol only")
        if how.cooperative:
            raise Unsupported("the library has eager assignors only")
        self._runner = runner
        self.told: set[int] = set()
        """What the listener was told that it has: the consumer itself knows a little earlier."""
        self._partition = TopicPartition(how.topic, 0)
        runner.run(self._start(at, how))

    async def _start(self, at: Where, how: Membership) -> None:
        self.consumer = AIOKafkaConsumer(
            bootstrap_servers=at.bootstrap,
            group_id=how.group,
            group_instance_id=how.instance,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
            partition_assignment_strategy=(RangePartitionAssignor,),
        )
        self.consumer.subscribe([how.topic], listener=_Listener(self))
        # This waits until it has partitions; the other members, who take part in that, live in the same loop.
        await self.consumer.start()

    @property
    def partitions(self) -> set[int]:
        return self.told

    def poll(self) -> None:
        for records in self._runner.run(self._polled()).values():
            self.values += [int(record.value) for record in records]

    async def _polled(self) -> dict[TopicPartition, list[ConsumerRecord]]:
        found: dict[TopicPartition, list[ConsumerRecord]] = await self.consumer.getmany(timeout_ms=50)
        return found

    def commit(self, offset: int) -> None:
        self._runner.run(self.consumer.commit({self._partition: OffsetAndMetadata(offset, "so far")}))

    def committed(self) -> int:
        found = self._runner.run(self.consumer.committed(self._partition))
        return -1 if found is None else int(found)

    def close(self) -> None:
        self._runner.run(self.consumer.stop())


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, member: GroupMember) -> None:
        self._member = member

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._member.rebalances += 1
        self._member.told = {each.partition for each in assigned}

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        gone = {each.partition for each in revoked}
        self._member.given_up |= gone
        self._member.told = self._member.told - gone


class Transactions(TransactionalProducer):
    """Initialised."""

    def __init__(self, runner: asyncio.Runner, at: Where, transactional_id: str) -> None:
        self._runner = runner
        runner.run(self._start(at, transactional_id))

    async def _start(self, at: Where, transactional_id: str) -> None:
        self._producer = AIOKafkaProducer(bootstrap_servers=at.bootstrap, transactional_id=transactional_id)
        await self._producer.start()

    def begin(self) -> None:
        self._runner.run(self._producer.begin_transaction())

    def send(self, topic: str, numbers: Sequence[int]) -> None:
        self._runner.run(self._sent(topic, numbers))

    async def _sent(self, topic: str, numbers: Sequence[int]) -> None:
        async with asyncio.timeout(PATIENCE):
            sent = [await self._producer.send(topic, b"%d" % number, partition=0) for number in numbers]
            await asyncio.gather(*sent)

    def send_offset(self, reader: Member, membership: Membership, offset: int) -> None:
        position = {TopicPartition(membership.topic, 0): OffsetAndMetadata(offset, "")}
        self._runner.run(self._producer.send_offsets_to_transaction(position, membership.group))

    def commit(self) -> None:
        self._runner.run(self._producer.commit_transaction())

    def abort(self) -> None:
        self._runner.run(self._producer.abort_transaction())

    def close(self) -> None:
        self._runner.run(self._producer.stop())
