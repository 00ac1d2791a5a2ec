"""librdkafka, by confluent-kafka: blocking calls, so every wait is short and looks at `stop`."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from chaos.harness.client_process import GAVE_UP, Stop
from chaos.harness.journal import Journal, SentRun
from chaos.harness.tasks import KEYS, Pace, Role, Task, payload, wire_key
from chaos.history import Outcome, Read, encode_value, record_of


class StuckError(Exception):
    """The library does nothing any more."""


FAILURES = (KafkaException, StuckError)

PATIENCE = 30.0
SHORT_PATIENCE = 10.0
POLL = 0.2
BATCH = 500
COMMIT_EVERY = 0.5
STUCK_AFTER = 12.0
"""librdkafka 2.16 may hang in `send_offsets_to_transaction` when the group's coordinator dies meanwhile."""

WITHOUT_PARTITIONS = 25.0
"""Seconds without an assignment after which a member is taken for stuck: there are enough for all."""

_FENCED = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_INSTANCE_ID,
}


def run(task: Task, journal: Journal, stop: Stop) -> None:
    """Raises one of FAILURES."""
    roles: dict[Role, Callable[[Task, Journal, Stop], None]] = {
        Role.PRODUCE: produce,
        Role.READ: read,
        Role.GROUP: consume_in_group,
        Role.COPY: copy,
    }
    roles[task.role](task, journal, stop)


def _quiet(task: Task) -> dict[str, Any]:
    return {"bootstrap.servers": task.bootstrap, "client.id": task.name, "log_level": 0}


def produce(task: Task, journal: Journal, stop: Stop) -> None:
    """The idempotent producer."""
    producer = Producer(
        {**_quiet(task), "enable.idempotence": True, "linger.ms": 5, "message.timeout.ms": 120_000}
    )
    pace = Pace(task, time.monotonic())
    pad = payload(task)

    def delivered(record: int, error: KafkaError | None, message: Any) -> None:
        pace.unsettled -= 1
        if error is None:
            journal.settled(record, Outcome.ACKNOWLEDGED, message.offset())
        else:
            journal.settled(record, Outcome.UNKNOWN)
            journal.note(f"record {record}: {error}")

    while not (pace.finished or stop.asked):
        burst = pace.next_burst(time.monotonic())
        if burst is None:
            producer.poll(0.01)
            journal.flush()
            continue
        partition, key, first, count = burst
        journal.sent(SentRun(task.topic, partition, key, first, count))
        on_wire = wire_key(key)
        for record in range(first, first + count):
            value = encode_value(record, task.name, on_wire, pad)
            callback = functools.partial(delivered, record)
            producer.produce(task.topic, value, on_wire, partition, on_delivery=callback)
        producer.poll(0)
        journal.flush()
    while pace.unsettled:
        producer.poll(0.1)
        journal.flush()


def _reads(messages: list[Any], journal: Journal) -> list[Read]:
    reads = []
    for message in messages:
        if message.error() is not None:
            journal.note(f"poll: {message.error()}")
            continue
        record = record_of(message.value(), message.key() or b"")
        reads.append(Read(message.topic(), message.partition(), message.offset(), record))
    return reads


def _next_offsets(reads: list[Read]) -> dict[int, int]:
    return {read.partition: read.offset + 1 for read in reads}


def read(task: Task, journal: Journal, stop: Stop) -> None:
    """A consumer of all partitions, without a group."""
    consumer = Consumer(
        {
            **_quiet(task),
            "group.id": task.name,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    places = [(topic, index) for topic, count in task.topics for index in range(count)]
    consumer.assign([TopicPartition(topic, index, OFFSET_BEGINNING) for topic, index in places])
    journal.assigned(places)
    while not stop.asked:
        journal.polled(_reads(consumer.consume(BATCH, POLL), journal), committed_only=True)
    consumer.close()


class _Member:
    """A consumer in a group that writes down what it is assigned."""

    def __init__(self, task: Task, journal: Journal) -> None:
        self._task = task
        self._journal = journal
        self.consumer = Consumer(
            {
                **_quiet(task),
                "group.id": task.group,
                "session.timeout.ms": 6000,
                "heartbeat.interval.ms": 500,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "socket.timeout.ms": 10_000,
            }
        )
        self.to_commit: dict[int, int] = {}
        self._without_partitions_since: float | None = time.monotonic()
        self.consumer.subscribe(
            [task.topic], on_assign=self._assigned, on_revoke=self._lost, on_lost=self._lost
        )

    def _assigned(self, _: Any, partitions: list[TopicPartition]) -> None:
        self._without_partitions_since = None
        self.to_commit.clear()
        self._journal.assigned((each.topic, each.partition) for each in partitions)

    def _lost(self, *_: Any) -> None:
        self._without_partitions_since = time.monotonic()
        self.to_commit.clear()
        self._journal.assigned(())

    def poll(self) -> list[Read]:
        """What came next. Raises StuckError if the member has been without partitions for too long.

        librdkafka 2.16 may never connect again after a Metadata response without brokers: the logical broker
        of the group's coordinator counts as a connection that is on its way.
        """
        since = self._without_partitions_since
        if since is not None and time.monotonic() > since + WITHOUT_PARTITIONS:
            raise StuckError(f"no partitions for {WITHOUT_PARTITIONS:.0f} s")
        return _reads(self.consumer.consume(BATCH, POLL), self._journal)

    def close(self) -> None:
        """Leave the group; who hangs in it is left behind."""
        leaving = threading.Thread(target=self.consumer.close, daemon=True)
        leaving.start()
        leaving.join(SHORT_PATIENCE)

    def rewind(self) -> None:
        """Go back to what is committed: what was read since was not dealt with."""
        self.to_commit.clear()
        places = self.consumer.assignment()
        self._journal.assigned((each.topic, each.partition) for each in places)
        for each in self.consumer.committed(places, PATIENCE):
            each.offset = each.offset if each.offset >= 0 else OFFSET_BEGINNING
            self.consumer.seek(each)

    def everything_is_committed(self) -> bool:
        """True if the group has committed the end of every partition."""
        group, topic = self._task.group, self._task.topic
        every = [TopicPartition(topic, index) for index in range(self._task.partitions)]
        began = time.monotonic()
        committed = self.consumer.committed(every, SHORT_PATIENCE)
        for each in committed:
            self._journal.fetched((group, topic, each.partition), max(each.offset, -1), began)
        ends = [self.consumer.get_watermark_offsets(each, SHORT_PATIENCE)[1] for each in every]
        return all(each.offset >= end or end == 0 for each, end in zip(committed, ends, strict=True))


def consume_in_group(task: Task, journal: Journal, stop: Stop) -> None:
    """A member that commits what it has read twice a second."""
    member = _Member(task, journal)
    last = time.monotonic()
    while True:
        reads = member.poll()
        journal.polled(reads, committed_only=True)
        member.to_commit |= _next_offsets(reads)
        if member.to_commit and time.monotonic() >= last + COMMIT_EVERY:
            _commit(task, member, journal)
            last = time.monotonic()
        if stop.asked and not reads and not member.to_commit:
            try:
                if member.everything_is_committed():
                    break
            except KafkaException as failure:
                journal.note(f"committed: {failure}")
    member.close()


def _commit(task: Task, member: _Member, journal: Journal) -> None:
    wanted, began = dict(member.to_commit), time.monotonic()
    member.to_commit.clear()
    outcome = Outcome.ACKNOWLEDGED
    try:
        answers = member.consumer.commit(
            offsets=[TopicPartition(task.topic, index, offset) for index, offset in wanted.items()],
            asynchronous=False,
        )
        refused = {each.partition for each in answers or () if each.error is not None}
    except KafkaException as failure:
        refused = set()
        fenced = failure.args[0].code() in _FENCED
        outcome = Outcome.REFUSED if fenced else Outcome.UNKNOWN
        journal.note(f"commit: {failure}")
        if not fenced:
            member.to_commit = {**wanted, **member.to_commit}
    for index, offset in wanted.items():
        told = Outcome.UNKNOWN if index in refused else outcome
        journal.committed((task.group, task.topic, index), offset, told, began)


def copy(task: Task, journal: Journal, stop: Stop) -> None:
    """Consume, produce and commit in transactions until all of the source is copied."""
    producer = Producer(
        {
            **_quiet(task),
            "transactional.id": task.name.partition("#")[0],
            "transaction.timeout.ms": 10_000,
            "linger.ms": 1,
        }
    )
    producer.init_transactions(PATIENCE)
    member = _Member(task, journal)
    copier = _Copier(task, journal, producer, member)
    while True:
        reads = member.poll()
        if reads:
            watchdog = threading.Timer(STUCK_AFTER, _give_up, [journal])
            watchdog.daemon = True
            watchdog.start()
            copier.copy(reads)
            watchdog.cancel()
        elif stop.asked and member.everything_is_committed():
            break
    member.close()


def _give_up(journal: Journal) -> None:
    journal.note("stuck in a transaction")
    os._exit(GAVE_UP)


class _Copier:
    def __init__(self, task: Task, journal: Journal, producer: Producer, member: _Member) -> None:
        self._task = task
        self._journal = journal
        self._producer = producer
        self._member = member
        self._transaction = task.first_record
        self._next_record = task.first_record
        self._pad = payload(task)

    def copy(self, reads: list[Read]) -> None:
        """One transaction; raises KafkaException for what only a new producer heals."""
        task, journal, number = self._task, self._journal, self._transaction
        self._transaction += 1
        journal.polled(reads, committed_only=True, transaction=number)
        self._producer.begin_transaction()
        try:
            self._send(reads, number)
            offsets, began = _next_offsets(reads), time.monotonic()
            self._producer.send_offsets_to_transaction(
                [TopicPartition(task.topic, index, offset) for index, offset in offsets.items()],
                self._member.consumer.consumer_group_metadata(),
                PATIENCE,
            )
            for index, offset in offsets.items():
                place = (task.group, task.topic, index)
                journal.committed(place, offset, Outcome.ACKNOWLEDGED, began, number)
            journal.committing(number, commit=True)
            self._producer.commit_transaction(PATIENCE)
            journal.ended(number, Outcome.ACKNOWLEDGED, commit=True)
        except KafkaException as failure:
            if not failure.args[0].txn_requires_abort():
                raise
            journal.note(f"aborting: {failure}")
            journal.committing(number, commit=False)
            self._producer.abort_transaction(PATIENCE)
            journal.ended(number, Outcome.ACKNOWLEDGED, commit=False)
            self._member.rewind()

    def _send(self, reads: list[Read], number: int) -> None:
        for read_ in reads:
            record, self._next_record = self._next_record, self._next_record + 1
            key = record % KEYS
            run_ = SentRun(self._task.target, read_.partition, key, record, 1, number, read_.record)
            self._journal.sent(run_)
            value = encode_value(record, self._task.name, wire_key(key), self._pad)
            settle = functools.partial(self._settle, record)
            self._producer.produce(
                self._task.target, value, wire_key(key), read_.partition, on_delivery=settle
            )

    def _settle(self, record: int, error: KafkaError | None, message: Any) -> None:
        if error is None:
            self._journal.settled(record, Outcome.ACKNOWLEDGED, message.offset())
        else:
            self._journal.settled(record, Outcome.UNKNOWN)
