"""Members of groups: some read and commit, others copy what they read in transactions."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from chaos.cluster.clients import FETCH_WAIT, Client, Surroundings, reads
from chaos.history import (
    Assigned,
    Committed,
    Ended,
    Ending,
    OffsetFetched,
    Outcome,
    Polled,
    Read,
    Sent,
    Settled,
    encode_value,
)
from kafkawire.errors import ErrorCode, KafkaError
from kraft.client.cluster import Cluster
from kraft.client.consumer import EARLIEST, Fetched, TopicPartition
from kraft.client.errors import AbortableTransactionError, FatalTransactionError, OutcomeUnknownError
from kraft.client.fetcher import FetchOptions
from kraft.client.group_consumer import GroupConsumer
from kraft.client.lanes import Acknowledged, ProducerOptions
from kraft.client.membership import GroupOptions
from kraft.client.transactions import TransactionalProducer, TransactionOptions

READERS = "readers"
COPIERS = "copiers"
LEAVES = 0.02
"""How often a member gives up its place after a poll, with or without a word."""
ABORTS = 0.1
DAWDLES = 0.2
"""How often a transaction stays open for a while when everything is sent."""
RIVALRIES = 0.5
"""In how many histories all copiers go by one transactional id: each fences the one before."""


class GroupClient(Client):
    """Belongs to a group for as long as it works, with breaks."""

    group = READERS
    committed_only = False

    def __init__(self, surroundings: Surroundings, number: int) -> None:
        super().__init__(surroundings, number)
        self.assignment = -1

    async def work(self, cluster: Cluster) -> None:
        while not self.stopping.is_set():
            options = GroupOptions(
                self.group,
                session_timeout=2.0,
                rebalance_timeout=6.0,
                heartbeat_interval=0.9,
                commit_timeout=8.0,
                reset=EARLIEST,
            )
            consumer = GroupConsumer(
                cluster,
                [self.surroundings.topic],
                options,
                FetchOptions(committed_only=self.committed_only, max_wait=FETCH_WAIT),
                on_assigned=self._assigned,
            )
            try:
                await self.belong(cluster, consumer)
            except FatalTransactionError:
                await self.pause(2.5)
            except KafkaError:
                await self.pause(0.2)
            finally:
                await consumer.close(leave=self.rng.random() < 0.5)

    async def belong(self, cluster: Cluster, consumer: GroupConsumer) -> None:
        """What it does as a member, until it stops or takes a break. KafkaError sends it in again."""
        raise NotImplementedError

    def _assigned(self, partitions: Iterable[TopicPartition]) -> None:
        self.assignment += 1
        named = tuple((each.topic, each.partition) for each in partitions)
        self.note(Assigned(self.name, self.now, self.assignment, named))

    def goes_on(self) -> bool:
        """Whether it stays for another poll."""
        return not self.stopping.is_set() and self.rng.random() >= LEAVES

    def note_poll(self, fetched: list[Fetched], transaction: int | None = None) -> tuple[Read, ...]:
        """Write down what a poll returned, unless that was nothing."""
        records = reads(fetched)
        if records:
            self.note(Polled(self.name, self.now, self.assignment, records, self.committed_only, transaction))
        return records

    async def ask_for_offsets(self, consumer: GroupConsumer, partitions: Sequence[TopicPartition]) -> None:
        """What the group has committed, written down."""
        began = self.now
        found = await consumer.committed(partitions)
        for each in partitions:
            offset = found[each].offset if each in found else None
            self.note(OffsetFetched(self.name, self.now, consumer.options.group_id, *each, offset, began))


class Member(GroupClient):
    """Reads with others, and commits how far it came."""

    async def belong(self, cluster: Cluster, consumer: GroupConsumer) -> None:  # noqa: ARG002
        asked = self.assignment
        while self.goes_on():
            await self.pause(1.0)
            self.note_poll(await consumer.poll(0.5, max_records=self.rng.choice((5, 100))))
            if self.rng.random() < 0.3:
                await self._commit(consumer)
            if self.assignment != asked or self.rng.random() < 0.25:
                asked = self.assignment
                await self.ask_for_offsets(consumer, consumer.assignment)

    async def _commit(self, consumer: GroupConsumer) -> None:
        offsets, began = consumer.positions, self.now
        outcome = Outcome.UNKNOWN
        try:
            await consumer.commit(offsets)
            outcome = Outcome.ACKNOWLEDGED
        except OutcomeUnknownError:
            raise
        except KafkaError:
            outcome = Outcome.REFUSED
            raise
        finally:
            for each, offset in offsets.items():
                self.note(Committed(self.name, self.now, self.group, *each, offset, outcome, began=began))


class Copier(GroupClient):
    """Consumes, transforms and produces: each poll is a transaction, which commits the offsets as well."""

    group = COPIERS
    committed_only = True

    def __init__(self, surroundings: Surroundings, number: int) -> None:
        super().__init__(surroundings, number)
        self._unsettled: dict[int, deque[int]] = {index: deque() for index in range(surroundings.partitions)}
        rivals = surroundings.chance(COPIERS).random() < RIVALRIES
        self._transactional_id = COPIERS if rivals else self.name

    async def belong(self, cluster: Cluster, consumer: GroupConsumer) -> None:
        producer = TransactionalProducer(
            cluster,
            self._transactional_id,
            ProducerOptions(),
            TransactionOptions(timeout=5.0, step_timeout=8.0),
            on_acknowledged=self._acknowledged,
            clock_ms=self.now_ms,
        )
        async with producer:
            await producer.init()
            while self.goes_on():
                await self.pause(1.8)
                fetched = await consumer.poll(0.5, max_records=self.rng.choice((20, 400)))
                if fetched:
                    await self._copy(producer, consumer, fetched)

    async def _copy(
        self, producer: TransactionalProducer, consumer: GroupConsumer, fetched: list[Fetched]
    ) -> None:
        number = self.surroundings.notebook.new_transaction()
        self.note_poll(fetched, number)
        try:
            producer.begin()
            offsets = await self._send(producer, fetched, number)
            for each, offset in offsets.items():
                self.note(Committed(self.name, self.now, self.group, *each, offset, Outcome.UNKNOWN, number))
            await producer.send_offsets(offsets, consumer.group_metadata)
            if self.rng.random() < DAWDLES:
                await self.pause(0.5)
            await self._end(producer, number, commit=self.rng.random() >= ABORTS)
        except AbortableTransactionError:
            await self._end(producer, number, commit=False)
        finally:
            self._forget_unsettled()

    async def _send(
        self, producer: TransactionalProducer, fetched: list[Fetched], number: int
    ) -> dict[TopicPartition, int]:
        around = self.surroundings
        offsets = {}
        for each in fetched:
            partition = each.partition.partition % around.partitions
            for read, record in zip(reads([each]), each.records, strict=True):
                copy = around.notebook.new_record()
                key = record.key or b""
                sent = Sent(
                    self.name, self.now, copy, around.copies, partition, int(key), number, read.record
                )
                self.note(sent)
                self._unsettled[partition].append(copy)
                value = encode_value(copy, self.name, key)
                await producer.send(around.copies, value, key=key, partition=partition)
            if each.records:
                offsets[each.partition] = each.records[-1].offset + 1
        return offsets

    async def _end(self, producer: TransactionalProducer, number: int, *, commit: bool) -> None:
        """Raises what tells the member that it has to begin anew, an abort included."""
        self.note(Ending(self.name, self.now, number, commit))
        outcome = Outcome.UNKNOWN
        try:
            await (producer.commit() if commit else producer.abort())
            outcome = Outcome.ACKNOWLEDGED
        except (AbortableTransactionError, FatalTransactionError):
            outcome = Outcome.REFUSED if commit else Outcome.UNKNOWN
            raise
        finally:
            self.note(Ended(self.name, self.now, number, commit, outcome))
        if not commit:
            # What was read has to be read again, from where the group stands.
            raise KafkaError(ErrorCode.TRANSACTION_ABORTABLE, "the transaction was aborted")

    def _acknowledged(self, batch: Acknowledged) -> None:
        unsettled = self._unsettled[batch.partition]
        for index in range(min(batch.count, len(unsettled))):
            offset = batch.base_offset + index if batch.base_offset >= 0 else None
            self.note(Settled(self.name, self.now, unsettled.popleft(), Outcome.ACKNOWLEDGED, offset))

    def _forget_unsettled(self) -> None:
        for unsettled in self._unsettled.values():
            while unsettled:
                self.note(Settled(self.name, self.now, unsettled.popleft(), Outcome.UNKNOWN))


class Inquirer(GroupClient):
    """Asks how far the groups have come when everything is over."""

    async def work(self, cluster: Cluster) -> None:
        around = self.surroundings
        partitions = [TopicPartition(around.topic, index) for index in range(around.partitions)]
        for group in (READERS, COPIERS):
            consumer = GroupConsumer(cluster, [around.topic], GroupOptions(group, commit_timeout=20.0))
            await self.ask_for_offsets(consumer, partitions)
            await consumer.close(leave=False)
