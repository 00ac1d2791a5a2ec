"""Our own client in groups: a member that commits, and a transactional copier."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping

from chaos.harness.client_process import Stop
from chaos.harness.clients.kraft_reading import COMMITTED, connect, reads_of
from chaos.harness.journal import NONE, Journal, SentRun
from chaos.harness.tasks import KEYS, Task, payload, wire_key
from chaos.history import Outcome, Read, encode_value
from kafkawire.errors import KafkaError
from kraft.client.batches import Delivery
from kraft.client.cluster import Cluster
from kraft.client.connections import CONNECTION_FAILURES
from kraft.client.consumer import EARLIEST, LATEST, Consumer, TopicPartition
from kraft.client.errors import AbortableTransactionError, OutcomeUnknownError
from kraft.client.group_consumer import GroupConsumer, Partitions
from kraft.client.membership import GroupOptions
from kraft.client.transactions import Dead, TransactionalProducer, TransactionOptions

BATCH = 500
POLL = 0.2
COMMIT_EVERY = 0.5
COMMIT_TIMEOUT = 10.0


class _Member:
    """A consumer in a group that writes down what it is assigned and what it has still to commit."""

    def __init__(self, task: Task, journal: Journal, cluster: Cluster) -> None:
        self._task = task
        self._journal = journal
        self._places = [TopicPartition(task.topic, index) for index in range(task.partitions)]
        self._ends = Consumer(cluster, COMMITTED)
        self.to_commit: dict[TopicPartition, int] = {}
        self.consumer = GroupConsumer(
            cluster,
            [task.topic],
            GroupOptions(
                task.group,
                session_timeout=6.0,
                heartbeat_interval=0.5,
                commit_timeout=COMMIT_TIMEOUT,
                reset=EARLIEST,
            ),
            COMMITTED,
            on_assigned=self._assigned,
            on_revoked=self._revoked,
        )

    def _assigned(self, partitions: Partitions) -> None:
        self.to_commit.clear()
        self._journal.assigned(partitions)

    def _revoked(self, _: Partitions) -> None:
        self.to_commit.clear()
        self._journal.assigned(())

    async def poll(self) -> list[Read]:
        """What came next."""
        return reads_of(await self.consumer.poll(POLL, BATCH))

    async def rewind(self) -> None:
        """Go back to what is committed: what was read since was not dealt with."""
        places = self.consumer.assignment
        committed = await self.consumer.committed(places)
        starts = await self._ends.offsets([place for place in places if place not in committed], EARLIEST)
        self._journal.assigned(places)
        for place in places:
            self.consumer.seek(place, committed[place].offset if place in committed else starts[place])

    async def everything_is_committed(self) -> bool:
        """True if the group has committed the end of every partition; False as well if nobody can tell."""
        began = time.monotonic()
        try:
            committed = await self.consumer.committed(self._places)
            ends = await self._ends.offsets(self._places, LATEST)
        except (KafkaError, *CONNECTION_FAILURES) as failure:
            self._journal.note(f"committed: {failure!r}")
            return False
        for place in self._places:
            offset = committed[place].offset if place in committed else NONE
            self._journal.fetched((self._task.group, *place), offset, began)
        return all(
            ends[place] == 0 or (place in committed and committed[place].offset >= ends[place])
            for place in self._places
        )


async def consume_in_group(task: Task, journal: Journal, stop: Stop) -> None:
    """A member that commits what it has read twice a second."""
    async with connect(task) as cluster:
        member = _Member(task, journal, cluster)
        last = time.monotonic()
        async with member.consumer:
            while True:
                reads = await member.poll()
                journal.polled(reads, committed_only=True)
                member.to_commit.update(_next_offsets(reads))
                if member.to_commit and time.monotonic() >= last + COMMIT_EVERY:
                    await _commit(task, member, journal)
                    last = time.monotonic()
                idle = not reads and not member.to_commit
                if stop.asked and idle and await member.everything_is_committed():
                    break


def _next_offsets(reads: list[Read]) -> dict[TopicPartition, int]:
    return {TopicPartition(read.topic, read.partition): read.offset + 1 for read in reads}


async def _commit(task: Task, member: _Member, journal: Journal) -> None:
    wanted, began = dict(member.to_commit), time.monotonic()
    outcome = Outcome.ACKNOWLEDGED
    try:
        await member.consumer.commit(wanted)
        member.to_commit.clear()
    except OutcomeUnknownError as failure:
        outcome = Outcome.UNKNOWN
        journal.note(f"commit: {failure!r}")
    except KafkaError as failure:
        outcome = Outcome.REFUSED
        member.to_commit.clear()  # somebody else reads it again, or this member does
        journal.note(f"commit: {failure!r}")
    for place, offset in wanted.items():
        journal.committed((task.group, *place), offset, outcome, began)


async def copy(task: Task, journal: Journal, stop: Stop) -> None:
    """Consume, produce and commit in transactions until all of the source is copied."""
    async with connect(task) as cluster:
        member = _Member(task, journal, cluster)
        producer = TransactionalProducer(
            cluster,
            task.name.partition("#")[0],
            transactions=TransactionOptions(timeout=10.0, step_timeout=COMMIT_TIMEOUT),
        )
        async with member.consumer, producer:
            await producer.init()
            copier = _Copier(task, journal, producer, member)
            while True:
                reads = await member.poll()
                if reads:
                    await copier.copy(reads)
                elif stop.asked and await member.everything_is_committed():
                    break


class _Copier:
    def __init__(
        self, task: Task, journal: Journal, producer: TransactionalProducer, member: _Member
    ) -> None:
        self._task = task
        self._journal = journal
        self._producer = producer
        self._member = member
        self._transaction = task.first_record
        self._next_record = task.first_record
        self._pad = payload(task)

    async def copy(self, reads: list[Read]) -> None:
        """One transaction; raises KafkaError for what only a new producer heals."""
        journal, number = self._journal, self._transaction
        self._transaction += 1
        journal.polled(reads, committed_only=True, transaction=number)
        sent: dict[int, Delivery] = {}
        try:
            self._producer.begin()
            await self._send(reads, number, sent)
            began, offsets = time.monotonic(), _next_offsets(reads)
            await self._producer.send_offsets(offsets, self._member.consumer.group_metadata)
            self._write_offsets(offsets, began, number)
            journal.committing(number, commit=True)
            await self._producer.commit()
            await self._settle(sent)
            journal.ended(number, Outcome.ACKNOWLEDGED, commit=True)
        except AbortableTransactionError as failure:
            journal.note(f"aborting: {failure!r}")
            await self._settle(sent)
            await self._abort(number)
            await self._member.rewind()
        except OutcomeUnknownError as failure:
            journal.note(f"ended somehow: {failure!r}")
            await self._settle(sent)
            journal.ended(number, Outcome.UNKNOWN, commit=True)
            await self._begin_again()

    def _write_offsets(self, offsets: Mapping[TopicPartition, int], began: float, number: int) -> None:
        for place, offset in offsets.items():
            group_place = (self._task.group, *place)
            self._journal.committed(group_place, offset, Outcome.ACKNOWLEDGED, began, number)

    async def _send(self, reads: list[Read], number: int, sent: dict[int, Delivery]) -> None:
        for read in reads:
            record, self._next_record = self._next_record, self._next_record + 1
            key = record % KEYS
            self._journal.sent(
                SentRun(self._task.target, read.partition, key, record, 1, number, read.record)
            )
            value = encode_value(record, self._task.name, wire_key(key), self._pad)
            sent[record] = await self._producer.send(
                self._task.target, value, key=wire_key(key), partition=read.partition
            )

    async def _settle(self, sent: Mapping[int, Delivery]) -> None:
        for record, delivery in sent.items():
            offset, outcome = NONE, Outcome.UNKNOWN
            if delivery.done:
                with contextlib.suppress(KafkaError):
                    offset, outcome = await delivery, Outcome.ACKNOWLEDGED
            self._journal.settled(record, outcome, offset)
        self._journal.flush()

    async def _abort(self, number: int) -> None:
        self._journal.committing(number, commit=False)
        try:
            await self._producer.abort()
            self._journal.ended(number, Outcome.ACKNOWLEDGED, commit=False)
        except OutcomeUnknownError as failure:
            self._journal.note(f"aborted somehow: {failure!r}")
            self._journal.ended(number, Outcome.UNKNOWN, commit=False)
            await self._producer.init()

    async def _begin_again(self) -> None:
        """After an end that nobody answered: what it was is settled by `init`, and the offsets say it."""
        if isinstance(self._producer.state, Dead):
            raise self._producer.state.error
        await self._producer.init()
        await self._member.rewind()
