"""The transaction coordinator's core under any history: producers that restart, lag and repeat themselves,
brokers that take over, markers that get lost, time that passes.

The model knows nothing of states. It keeps what was promised: who was given which epoch, what was added, what
fate was told to whom, and which marker every partition got.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import ControlType
from kraft.coordinator.decision import Decision, LogRecord, Producer
from kraft.coordinator.transaction.commands import (
    AddPartitions,
    Decided,
    EndTransaction,
    InitProducer,
    ListFilter,
    SpareWanted,
    TransactionSettings,
    VerifyPartitions,
)
from kraft.coordinator.transaction.formats import encode_key, encode_value
from kraft.coordinator.transaction.shard import TransactionShard
from kraft.coordinator.transaction.states import (
    TRANSACTION_V2,
    Empty,
    TopicPartition,
    Transaction,
    TransactionStatus,
)

IDS = ("a", "b")
PARTITIONS = tuple(("t", index) for index in range(4))
TIMEOUT_MS = 10_000
IDLE = {TransactionStatus.EMPTY, TransactionStatus.COMPLETE_COMMIT, TransactionStatus.COMPLETE_ABORT}

ids = st.sampled_from(IDS)
kinds = st.sampled_from([ControlType.COMMIT, ControlType.ABORT])
some_partitions = st.frozensets(st.sampled_from(PARTITIONS), min_size=1)


@dataclass
class OpenTransaction:
    """What a producer was promised is in its transaction; `fate` once it was told one."""

    producer: Producer
    partitions: frozenset[TopicPartition]
    fate: ControlType | None = None
    marked: dict[TopicPartition, set[ControlType]] = field(default_factory=lambda: defaultdict(set))


class Transactions(RuleBasedStateMachine):
    """See the module."""

    producers = Bundle("producers")

    @initialize(epoch=st.sampled_from([None, 32_763]))
    def begin(self, epoch: int | None) -> None:
        self.now, self.now_ms = 50.0, 1_700_000_000_000
        self.log: list[LogRecord] = []
        self.epoch = 1
        self.spare = 100
        self.shard = TransactionShard(TransactionSettings(), self.epoch)
        if epoch is not None:
            # Nearly all epochs of these producers are used up.
            for number, transactional_id in enumerate(IDS):
                used = Transaction(transactional_id, number, epoch, TIMEOUT_MS, Empty(), self.now_ms)
                self.log.append(LogRecord(encode_key(transactional_id), encode_value(used)))
                self.shard.replay(self.log[-1])
        self.shard.loaded(self.now, self.now_ms)
        self.present: dict[str, Producer] = {}
        self.given: set[tuple[str, Producer]] = set()
        self.answers: dict[tuple[str, Producer], Any] = {}
        self.open: dict[str, OpenTransaction] = {}
        self.pending: list[Decided] = []
        self.ends: dict[tuple[str, Producer], tuple[ControlType, Producer]] = {}

    # -- what happens -----------------------------------------------------------------------------

    def _take(self, decision: Decision[Any]) -> Any:
        for record in decision.records:
            self.log.append(record)
            self.shard.replay(record)
        if isinstance(decision.reply, Decided):
            self._sealed(decision.reply)
        return decision.reply

    def _sealed(self, decided: Decided) -> None:
        """A fate was told: the only one of this transaction, and of all that was added to it."""
        transaction = self.open.get(decided.transactional_id)
        if not decided.partitions and (transaction is None or transaction.partitions):
            # Nothing was added to it, so that the partitions never heard of it.
            assert decided.bumped
            assert decided.kind is ControlType.ABORT
            assert transaction is None or self._is_over(transaction)
            transaction = self.open[decided.transactional_id] = OpenTransaction(decided.producer, frozenset())
        assert transaction is not None
        assert transaction.fate in (None, decided.kind), "one transaction, two fates"
        transaction.fate = decided.kind
        assert decided.partitions == transaction.partitions
        assert decided.coordinator_epoch == self.epoch
        if decided not in self.pending:
            self.pending.append(decided)

    def _init(self, transactional_id: str, expected: Producer | None) -> Any:
        self.spare += 1
        command = InitProducer(transactional_id, TIMEOUT_MS, expected, self.spare)
        reply = self._take(self.shard.init_producer(command, self.now_ms))
        if isinstance(reply, Producer):
            transaction = self.open.get(transactional_id)
            assert transaction is None or self._is_over(transaction), "an open transaction was forgotten"
            repeated = reply == self.present.get(transactional_id)
            assert repeated or (transactional_id, reply) not in self.given, "one epoch for two producers"
            assert not repeated or expected is not None
            self.present[transactional_id] = reply
            self.given.add((transactional_id, reply))
            self.open.pop(transactional_id, None)
        elif isinstance(reply, Decided):
            assert reply.kind is ControlType.ABORT
            self.present.pop(transactional_id)
        return reply

    @staticmethod
    def _is_over(transaction: OpenTransaction) -> bool:
        return transaction.fate is not None and set(transaction.marked) == transaction.partitions

    @rule(target=producers, transactional_id=ids)
    def start(self, transactional_id: str) -> Any:
        try:
            reply = self._init(transactional_id, None)
        except KafkaError as error:
            return self._not_now(error, ErrorCode.CONCURRENT_TRANSACTIONS)
        return (transactional_id, reply) if isinstance(reply, Producer) else multiple()

    @rule(target=producers, who=producers)
    def bump(self, who: tuple[str, Producer]) -> Any:
        transactional_id, producer = who
        before = len(self.log)
        present = self.present.get(transactional_id)
        try:
            reply = self._init(transactional_id, producer)
        except KafkaError as error:
            assert len(self.log) == before
            return self._not_now(error, ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.PRODUCER_FENCED)
        assert not isinstance(reply, SpareWanted)
        repeated = reply == present == self.answers.get(who)
        assert producer == present or repeated, "an epoch that was fenced succeeded"
        self.answers[who] = reply
        return (transactional_id, reply) if isinstance(reply, Producer) else multiple()

    @rule(who=producers, partitions=some_partitions, version=st.sampled_from([0, TRANSACTION_V2]))
    def add(self, who: tuple[str, Producer], partitions: frozenset[TopicPartition], version: int) -> None:
        transactional_id, producer = who
        before = len(self.log)
        try:
            self._take(
                self.shard.add_partitions(
                    AddPartitions(transactional_id, producer, partitions, version), self.now, self.now_ms
                )
            )
        except KafkaError as error:
            self._refused(who, error, before)
            return
        assert self.present.get(transactional_id) == producer, "an epoch that was fenced succeeded"
        transaction = self.open.get(transactional_id)
        if transaction is None or transaction.fate is not None:
            assert transaction is None or self._is_over(transaction)
            self.open[transactional_id] = OpenTransaction(producer, partitions)
        else:
            transaction.partitions |= partitions

    @rule(who=producers, kind=kinds)
    def end(self, who: tuple[str, Producer], kind: ControlType) -> None:
        transactional_id, producer = who
        before = len(self.log)
        try:
            reply = self._take(self.shard.end(EndTransaction(transactional_id, producer, kind), self.now_ms))
        except KafkaError as error:
            if error.code is ErrorCode.INVALID_TXN_STATE:
                transaction = self.open.get(transactional_id)
                assert transaction is None or transaction.fate not in (None, kind)
            self._refused(who, error, before)
            return
        assert self.present.get(transactional_id) == producer, "an epoch that was fenced succeeded"
        transaction = self.open[transactional_id]
        assert transaction.fate is kind
        assert isinstance(reply, Decided) or self._is_over(transaction)

    @rule(target=producers, who=producers, kind=kinds)
    def end_and_go_on(self, who: tuple[str, Producer], kind: ControlType) -> Any:
        """The end that gives its producer the next epoch; asked again, it gives the same one."""
        transactional_id, producer = who
        before = len(self.log)
        self.spare += 1
        command = EndTransaction(transactional_id, producer, kind, True, self.spare)
        try:
            reply = self._take(self.shard.end(command, self.now_ms))
        except KafkaError as error:
            if who in self.ends:
                assert len(self.log) == before
                return multiple()
            self._refused(who, error, before)
            return multiple()
        if isinstance(reply, Producer):
            assert self.ends[who] == (kind, reply), "another answer than the first"
            assert self.present.get(transactional_id) == reply
            return transactional_id, reply
        assert self.present.get(transactional_id) == producer, "an epoch that was fenced succeeded"
        following = reply.successor
        assert (transactional_id, following) not in self.given, "one epoch for two producers"
        self.present[transactional_id] = following
        self.given.add((transactional_id, following))
        self.ends[who] = (kind, following)
        return transactional_id, following

    @rule(who=producers)
    def verify(self, who: tuple[str, Producer]) -> None:
        transactional_id, producer = who
        try:
            codes = self.shard.verify(VerifyPartitions(transactional_id, producer, PARTITIONS))
        except KafkaError as error:
            self._refused(who, error, len(self.log))
            return
        assert self.present.get(transactional_id) == producer
        transaction = self.open.get(transactional_id)
        added = (
            transaction.partitions if transaction is not None and transaction.fate is None else frozenset()
        )
        assert {each for each, code in zip(PARTITIONS, codes, strict=True) if code is ErrorCode.NONE} == added

    @staticmethod
    def _not_now(error: KafkaError, *expected: ErrorCode) -> Any:
        assert error.code in expected
        return multiple()

    def _refused(self, who: tuple[str, Producer], error: KafkaError, before: int) -> None:
        transactional_id, producer = who
        assert len(self.log) == before
        if self.present.get(transactional_id) == producer:
            assert error.code in (ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.INVALID_TXN_STATE)
        else:
            assert error.code in (
                ErrorCode.PRODUCER_FENCED,
                ErrorCode.INVALID_PRODUCER_ID_MAPPING,
            )

    # -- markers, time and takeovers --------------------------------------------------------------

    @rule(chance=st.randoms(use_true_random=False))
    def tell_some_partitions(self, chance: random.Random) -> None:
        for decided in self.pending:
            self._tell(decided, [each for each in decided.partitions if chance.random() < 0.6])

    def _tell(self, decided: Decided, partitions: list[TopicPartition]) -> None:
        transaction = self.open.get(decided.transactional_id)
        for partition in partitions:
            assert transaction is not None
            transaction.marked[partition].add(decided.kind)
            assert len(transaction.marked[partition]) == 1, "committed and aborted"

    @rule()
    def complete_what_everybody_knows(self) -> None:
        for decided in tuple(self.pending):
            if set(self.open[decided.transactional_id].marked) == decided.partitions:
                self.pending.remove(decided)
                self._take(self.shard.complete(decided, self.now_ms))

    @rule(seconds=st.floats(0, 8))
    def time_passes(self, seconds: float) -> None:
        self._advance(seconds)

    def _advance(self, seconds: float) -> None:
        self.now += seconds
        self.now_ms += round(seconds * 1000)
        if self.shard.next_deadline() <= self.now:
            for decision in self.shard.tick(self.now, self.now_ms):
                reply = decision.reply
                timed_out = isinstance(reply, Decided) and self.open[reply.transactional_id].fate is None
                self._take(decision)
                if timed_out:
                    self._timed_out(reply)

    def _timed_out(self, decided: Decided) -> None:
        """Its producer is fenced, or, by version 2, told who it is now when it comes to abort."""
        assert decided.kind is ControlType.ABORT
        producer = self.present.pop(decided.transactional_id)
        if decided.bumped:
            assert (decided.transactional_id, decided.successor) not in self.given
            self.present[decided.transactional_id] = decided.successor
            self.given.add((decided.transactional_id, decided.successor))
            self.ends[decided.transactional_id, producer] = (ControlType.ABORT, decided.successor)

    @rule()
    def another_broker_takes_over(self) -> None:
        self.epoch += 1
        self.shard = TransactionShard(TransactionSettings(), self.epoch)
        for record in self.log:
            self.shard.replay(record)
        # What the deposed one was doing is lost; only the log says what has to be told.
        self.pending.clear()
        self.shard.loaded(self.now, self.now_ms)
        self._advance(0)

    @rule(who=consumes(producers))
    def a_producer_is_gone(self, who: tuple[str, Producer]) -> None:
        """It never comes back."""

    # -- what always holds ------------------------------------------------------------------------

    @invariant()
    def everything_sealed_is_on_its_way(self) -> None:
        assert set(self.shard.undelivered()) == set(self.pending)

    @invariant()
    def the_log_says_the_same(self) -> None:
        other = TransactionShard(TransactionSettings(), self.epoch)
        for record in self.log:
            other.replay(record)
        everything = ListFilter()
        assert sorted(other.listing(everything, self.now_ms)) == sorted(
            self.shard.listing(everything, self.now_ms)
        )
        for transactional_id in {
            each.transactional_id for each in self.shard.listing(everything, self.now_ms)
        }:
            assert other.describe(transactional_id) == self.shard.describe(transactional_id)

    def teardown(self) -> None:
        """Everything that began ends, without any producer's help."""
        self._advance(TIMEOUT_MS / 1000)
        for decided in self.pending:
            self._tell(decided, list(decided.partitions))
        self.complete_what_everybody_knows()
        assert {each.status for each in self.shard.listing(ListFilter(), self.now_ms)} <= IDLE
        for transaction in self.open.values():
            assert self._is_over(transaction)


TestTransactions = Transactions.TestCase
TestTransactions.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
