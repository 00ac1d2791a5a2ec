"""Each rule of the transaction coordinator's core, and the error code for each breach."""

from __future__ import annotations

from typing import Any

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import ControlType
from kraft.coordinator.decision import FOREVER, Decision, LogRecord, Producer
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
from kraft.coordinator.transaction.deadlines import Deadlines
from kraft.coordinator.transaction.formats import decode_key, encode_key, encode_value
from kraft.coordinator.transaction.shard import TransactionShard
from kraft.coordinator.transaction.states import (
    MAX_EPOCH,
    TRANSACTION_V2,
    Empty,
    Transaction,
    TransactionStatus,
)

NOW_MS = 1_700_000_000_000
HOUR = 3_600_000
P0, P1 = ("orders", 0), ("orders", 1)
COMMIT, ABORT = ControlType.COMMIT, ControlType.ABORT


class Desk:
    """A shard whose records are kept, so that another one can be loaded from them."""

    def __init__(self) -> None:
        self.now, self.now_ms = 100.0, NOW_MS
        self.log: list[LogRecord] = []
        self.epoch = 0
        self.shard = TransactionShard(TransactionSettings(), 0)
        self.restart()

    def restart(self) -> list[Any]:
        """Another broker takes over; returns what it has to see to."""
        self.epoch += 1
        self.shard = TransactionShard(TransactionSettings(), self.epoch)
        for record in self.log:
            self.shard.replay(record)
        self.shard.loaded(self.now, self.now_ms)
        return self.advance(0)

    def take(self, decision: Decision[Any]) -> Any:
        for record in decision.records:
            self.log.append(record)
            self.shard.replay(record)
        return decision.reply

    def advance(self, seconds: float) -> list[Any]:
        self.now += seconds
        self.now_ms += round(seconds * 1000)
        if self.shard.next_deadline() > self.now:
            return []
        return [self.take(each) for each in self.shard.tick(self.now, self.now_ms)]

    def init(self, expected: Producer | None = None, *, spare: int = -1, timeout_ms: int = 60_000) -> Any:
        command = InitProducer("pay", timeout_ms, expected, spare)
        return self.take(self.shard.init_producer(command, self.now_ms))

    def add(self, producer: Producer, *partitions: tuple[str, int]) -> None:
        command = AddPartitions("pay", producer, frozenset(partitions))
        self.take(self.shard.add_partitions(command, self.now, self.now_ms))

    def end(self, producer: Producer, kind: ControlType) -> Decided | None:
        reply = self.take(self.shard.end(EndTransaction("pay", producer, kind), self.now_ms))
        assert isinstance(reply, Decided | Producer)
        return reply if isinstance(reply, Decided) else None

    def complete(self, decided: Decided) -> None:
        self.take(self.shard.complete(decided, self.now_ms))

    def verify(self, producer: Producer, *partitions: tuple[str, int]) -> tuple[ErrorCode, ...]:
        return self.shard.verify(VerifyPartitions("pay", producer, partitions))

    def status(self) -> TransactionStatus:
        return self.shard.describe("pay").status


@pytest.fixture
def desk() -> Desk:
    return Desk()


def refusal(code: ErrorCode) -> Any:
    return pytest.raises(KafkaError, check=lambda error: error.code is code)


# -- producers ------------------------------------------------------------------------------------


def test_the_first_epoch_needs_a_producer_id(desk: Desk) -> None:
    assert desk.init() == SpareWanted()
    assert not desk.log
    assert desk.init(spare=9) == Producer(9, 0)
    assert desk.status() is TransactionStatus.EMPTY


def test_every_start_bumps_the_epoch_and_fences_the_one_before(desk: Desk) -> None:
    first = desk.init(spare=9)
    second = desk.init()
    assert second == Producer(9, 1)
    with refusal(ErrorCode.PRODUCER_FENCED):
        desk.add(first, P0)
    with refusal(ErrorCode.PRODUCER_FENCED):
        desk.end(first, COMMIT)
    with refusal(ErrorCode.PRODUCER_FENCED):
        desk.verify(first, P0)
    with refusal(ErrorCode.PRODUCER_FENCED):
        desk.init(first)
    desk.add(second, P0)


def test_a_producer_may_ask_for_its_next_epoch_again(desk: Desk) -> None:
    producer = desk.init(spare=9)
    bumped = desk.init(producer)
    assert bumped == Producer(9, 1)
    assert desk.init(producer) == bumped, "the answer was lost"
    assert desk.init(bumped) == Producer(9, 2)
    with refusal(ErrorCode.PRODUCER_FENCED):
        desk.init(producer)


def test_a_repetition_does_not_outlive_another_start(desk: Desk) -> None:
    producer = desk.init(spare=9)
    desk.init(producer)
    desk.init()
    with refusal(ErrorCode.PRODUCER_FENCED):
        desk.init(producer)


def test_a_late_repetition_does_not_abort_what_its_successor_began(desk: Desk) -> None:
    producer = desk.init(spare=9)
    bumped = desk.init(producer)
    desk.add(bumped, P0)
    with refusal(ErrorCode.PRODUCER_FENCED):
        desk.init(producer)
    assert desk.status() is TransactionStatus.ONGOING


def test_epochs_used_up_lead_to_another_producer_id(desk: Desk) -> None:
    producer = desk.init(spare=9)
    while producer.producer_epoch < 32_766:
        producer = desk.init()
    assert desk.init(producer) == SpareWanted()
    rotated = desk.init(producer, spare=10)
    assert rotated == Producer(10, 0)
    assert desk.init(producer, spare=11) == rotated, "the answer was lost"
    with refusal(ErrorCode.INVALID_PRODUCER_ID_MAPPING):
        desk.add(producer, P0)
    desk.restart()
    assert desk.shard.describe("pay").previous_producer_id == 9


def test_the_last_epoch_can_still_be_fenced(desk: Desk) -> None:
    producer = desk.init(spare=9)
    while producer.producer_epoch < 32_766:
        producer = desk.init()
    desk.add(producer, P0)
    fencing = desk.init()
    assert fencing.producer == Producer(9, 32_767)
    desk.complete(fencing)
    with refusal(ErrorCode.PRODUCER_FENCED):
        desk.init(producer)
    assert desk.init(spare=10) == Producer(10, 0)


@pytest.mark.parametrize("timeout_ms", [0, -1, 900_001])
def test_timeouts_have_bounds(desk: Desk, timeout_ms: int) -> None:
    with refusal(ErrorCode.INVALID_TRANSACTION_TIMEOUT):
        desk.init(spare=9, timeout_ms=timeout_ms)
    assert desk.init(spare=9, timeout_ms=900_000) == Producer(9, 0)


@pytest.mark.parametrize("bad", ["", "x" * 32_768, "ü" * 16_384])
def test_an_id_is_neither_empty_nor_longer_than_its_record(desk: Desk, bad: str) -> None:
    with refusal(ErrorCode.INVALID_REQUEST):
        desk.shard.init_producer(InitProducer(bad, 1000, None, 9), desk.now_ms)
    with refusal(ErrorCode.INVALID_REQUEST):
        desk.shard.end(EndTransaction(bad, Producer(9, 0), COMMIT), desk.now_ms)
    with refusal(ErrorCode.INVALID_REQUEST):
        desk.shard.describe(bad)


def test_the_longest_id_fits(desk: Desk) -> None:
    longest = "ü" * 16_383 + "x"
    decision = desk.shard.init_producer(InitProducer(longest, 1000, None, 9), desk.now_ms)
    desk.take(decision)
    assert decode_key(desk.log[0].key) == longest


# -- transactions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "prepared", "complete"),
    [
        (COMMIT, TransactionStatus.PREPARE_COMMIT, TransactionStatus.COMPLETE_COMMIT),
        (ABORT, TransactionStatus.PREPARE_ABORT, TransactionStatus.COMPLETE_ABORT),
    ],
)
def test_a_transaction_from_begin_to_end(
    desk: Desk, kind: ControlType, prepared: TransactionStatus, complete: TransactionStatus
) -> None:
    producer = desk.init(spare=9)
    desk.add(producer, P0)
    desk.add(producer, P1)
    assert desk.status() is TransactionStatus.ONGOING
    decided = desk.end(producer, kind)
    assert decided == Decided("pay", producer, kind, frozenset({P0, P1}), desk.epoch, NOW_MS + 1)
    assert desk.status() is prepared
    desk.complete(decided)
    assert desk.status() is complete
    desk.add(producer, P1)
    assert desk.shard.describe("pay").partitions == {P1}


def test_a_partition_that_is_there_already_costs_no_record(desk: Desk) -> None:
    producer = desk.init(spare=9)
    desk.add(producer, P0, P1)
    before = len(desk.log)
    desk.add(producer, P1)
    assert len(desk.log) == before


def test_nothing_goes_on_while_partitions_are_being_told(desk: Desk) -> None:
    producer = desk.init(spare=9)
    desk.add(producer, P0)
    decided = desk.end(producer, COMMIT)
    assert decided is not None
    for attempt in (
        lambda: desk.add(producer, P1),
        lambda: desk.init(),
        lambda: desk.init(producer),
        lambda: desk.end(producer, COMMIT),
        lambda: desk.verify(producer, P0),
    ):
        with refusal(ErrorCode.CONCURRENT_TRANSACTIONS):
            attempt()


def test_a_second_end_has_no_effect_and_another_fate_is_refused(desk: Desk) -> None:
    producer = desk.init(spare=9)
    desk.add(producer, P0)
    decided = desk.end(producer, COMMIT)
    assert decided is not None
    with refusal(ErrorCode.INVALID_TXN_STATE):
        desk.end(producer, ABORT)
    desk.complete(decided)
    before = len(desk.log)
    assert desk.end(producer, COMMIT) is None
    with refusal(ErrorCode.INVALID_TXN_STATE):
        desk.end(producer, ABORT)
    assert len(desk.log) == before


def test_without_a_transaction_there_is_nothing_to_end(desk: Desk) -> None:
    producer = desk.init(spare=9)
    for kind in ControlType:
        with refusal(ErrorCode.INVALID_TXN_STATE):
            desk.end(producer, kind)


def test_an_id_or_producer_that_is_not_known(desk: Desk) -> None:
    with refusal(ErrorCode.INVALID_PRODUCER_ID_MAPPING):
        desk.add(Producer(9, 0), P0)
    desk.init(spare=9)
    with refusal(ErrorCode.INVALID_PRODUCER_ID_MAPPING):
        desk.end(Producer(8, 0), COMMIT)


def test_verification_tells_the_partitions_of_the_transaction(desk: Desk) -> None:
    producer = desk.init(spare=9)
    assert desk.verify(producer, P0) == (ErrorCode.TRANSACTION_ABORTABLE,)
    desk.add(producer, P0)
    assert desk.verify(producer, P1, P0) == (ErrorCode.TRANSACTION_ABORTABLE, ErrorCode.NONE)


def test_starting_anew_aborts_what_the_predecessor_left_open(desk: Desk) -> None:
    producer = desk.init(spare=9)
    desk.add(producer, P0)
    decided = desk.init()
    assert decided == Decided("pay", Producer(9, 1), ABORT, frozenset({P0}), desk.epoch, NOW_MS + 1)
    with refusal(ErrorCode.PRODUCER_FENCED):
        desk.end(producer, COMMIT)
    desk.complete(decided)
    assert desk.init() == Producer(9, 2), "the epoch that fenced goes to nobody"


def test_the_completion_of_one_transaction_is_not_that_of_the_next(desk: Desk) -> None:
    producer = desk.init(spare=9)
    desk.add(producer, P0)
    first = desk.end(producer, COMMIT)
    assert first is not None
    desk.complete(first)
    desk.add(producer, P0)
    desk.end(producer, COMMIT)
    assert not desk.shard.is_undelivered(first), "alike in all but the time"
    desk.complete(first)
    assert desk.status() is TransactionStatus.PREPARE_COMMIT


# -- time and takeover ----------------------------------------------------------------------------


def test_a_transaction_that_takes_too_long_is_aborted_under_another_epoch(desk: Desk) -> None:
    producer = desk.init(spare=9, timeout_ms=5_000)
    desk.add(producer, P0)
    assert desk.advance(4.9) == []
    assert desk.advance(0.2) == [
        Decided("pay", Producer(9, 1), ABORT, frozenset({P0}), desk.epoch, NOW_MS + 5_100)
    ]
    with refusal(ErrorCode.PRODUCER_FENCED):
        desk.end(producer, COMMIT)
    with refusal(ErrorCode.PRODUCER_FENCED):
        desk.init(producer)


def test_a_producer_of_version_2_that_took_too_long_can_abort_and_go_on(desk: Desk) -> None:
    producer = desk.init(spare=9, timeout_ms=5_000)

    def add(who: Producer) -> None:
        command = AddPartitions("pay", who, frozenset({P0}), TRANSACTION_V2)
        desk.take(desk.shard.add_partitions(command, desk.now, desk.now_ms))

    def end(kind: ControlType) -> Any:
        return desk.take(desk.shard.end(EndTransaction("pay", producer, kind, True), desk.now_ms))

    add(producer)
    (decided,) = desk.advance(5.1)
    assert (decided.kind, decided.producer, decided.bumped) == (ABORT, Producer(9, 1), True)
    with refusal(ErrorCode.CONCURRENT_TRANSACTIONS):
        end(ABORT)
    with refusal(ErrorCode.PRODUCER_FENCED):
        end(COMMIT)
    desk.complete(decided)
    with refusal(ErrorCode.PRODUCER_FENCED):
        end(COMMIT)
    assert end(ABORT) == Producer(9, 1)
    add(Producer(9, 1))
    with refusal(ErrorCode.PRODUCER_FENCED):
        end(ABORT)


def test_the_last_epoch_of_version_2_is_fenced_when_it_takes_too_long(desk: Desk) -> None:
    used = Transaction("pay", 9, MAX_EPOCH - 1, 5_000, Empty(), desk.now_ms)
    desk.shard.replay(LogRecord(encode_key("pay"), encode_value(used)))
    last = Producer(9, MAX_EPOCH - 1)
    command = AddPartitions("pay", last, frozenset({P0}), TRANSACTION_V2)
    desk.take(desk.shard.add_partitions(command, desk.now, desk.now_ms))
    (decided,) = desk.advance(5.1)
    assert (decided.producer, decided.bumped) == (Producer(9, MAX_EPOCH), False)
    desk.complete(decided)
    with refusal(ErrorCode.PRODUCER_FENCED):
        desk.shard.end(EndTransaction("pay", last, ABORT, True), desk.now_ms)
    assert desk.init(spare=10) == Producer(10, 0)


def test_the_timeout_counts_from_the_first_partition(desk: Desk) -> None:
    producer = desk.init(spare=9, timeout_ms=5_000)
    desk.add(producer, P0)
    desk.advance(4)
    desk.add(producer, P1)
    (decided,) = desk.advance(1.1)
    assert decided.partitions == {P0, P1}


def test_an_end_stops_the_clock(desk: Desk) -> None:
    producer = desk.init(spare=9, timeout_ms=5_000)
    desk.add(producer, P0)
    desk.end(producer, COMMIT)
    assert desk.advance(6) == []


def test_whoever_takes_over_tells_the_partitions_again(desk: Desk) -> None:
    producer = desk.init(spare=9)
    desk.add(producer, P0, P1)
    desk.end(producer, COMMIT)
    (decided,) = desk.restart()
    assert decided == Decided("pay", producer, COMMIT, frozenset({P0, P1}), 2, NOW_MS + 1)
    assert desk.shard.undelivered() == [decided]
    desk.complete(decided)
    assert desk.shard.undelivered() == []
    assert desk.restart() == []


def test_whoever_takes_over_goes_on_with_the_timeout(desk: Desk) -> None:
    producer = desk.init(spare=9, timeout_ms=5_000)
    desk.add(producer, P0)
    desk.advance(3)
    desk.restart()
    assert desk.advance(1.9) == []
    assert len(desk.advance(0.2)) == 1


def test_a_wall_clock_that_jumped_neither_aborts_early_nor_never(desk: Desk) -> None:
    producer = desk.init(spare=9, timeout_ms=5_000)
    desk.add(producer, P0)
    desk.now_ms -= HOUR
    desk.restart()
    assert desk.advance(4.9) == []
    assert len(desk.advance(0.2)) == 1


def test_ids_that_are_not_used_are_forgotten(desk: Desk) -> None:
    producer = desk.init(spare=9)
    week = 7 * 24 * 3600
    desk.advance(week - 3600)
    assert desk.status() is TransactionStatus.EMPTY
    desk.advance(3601)
    assert desk.log[-1] == LogRecord(encode_key("pay"), None)
    with refusal(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND):
        desk.status()
    assert desk.init(producer, spare=12) == Producer(12, 0), "who comes back begins anew"


def test_a_transaction_is_never_forgotten(desk: Desk) -> None:
    producer = desk.init(spare=9)
    desk.add(producer, P0)
    desk.end(producer, COMMIT)
    desk.advance(30 * 24 * 3600)
    assert desk.status() is TransactionStatus.PREPARE_COMMIT


def test_many_ids_are_forgotten_bit_by_bit(desk: Desk) -> None:
    for number in range(2500):
        command = InitProducer(f"id-{number}", 1000, None, number)
        desk.take(desk.shard.init_producer(command, desk.now_ms))
    ticks = [len(desk.advance(8 * 24 * 3600))]
    while desk.shard.next_deadline() <= desk.now:
        ticks.append(len(desk.advance(0)))
    assert ticks == [1000, 1000, 500]


# -- looking --------------------------------------------------------------------------------------


def test_lists_are_filtered(desk: Desk) -> None:
    producer = desk.init(spare=9)
    desk.take(desk.shard.init_producer(InitProducer("other", 1000, None, 10), desk.now_ms))
    desk.add(producer, P0)
    desk.now_ms += 500
    pay = Listed("pay", 9, TransactionStatus.ONGOING)
    other = Listed("other", 10, TransactionStatus.EMPTY)

    def listed(wanted: ListFilter) -> list[Listed]:
        return desk.shard.listing(wanted, desk.now_ms)

    assert listed(ListFilter()) == [pay, other]
    assert listed(ListFilter(states=frozenset({TransactionStatus.EMPTY}))) == [other]
    assert listed(ListFilter(producer_ids=frozenset({9}))) == [pay]
    assert listed(ListFilter(min_duration_ms=499)) == [pay]
    assert listed(ListFilter(min_duration_ms=500)) == []


def test_a_record_of_a_later_version_is_skipped(desk: Desk) -> None:
    desk.shard.replay(LogRecord(b"\x00\x07abc", b"whatever"))
    assert desk.shard.listing(ListFilter(), NOW_MS) == []


def test_a_broken_record_is_refused(desk: Desk) -> None:
    with refusal(ErrorCode.CORRUPT_MESSAGE):
        desk.shard.replay(LogRecord(encode_key("pay"), b"\x00\x01\x00"))


def test_deadlines_keep_no_more_than_twice_what_counts() -> None:
    deadlines = Deadlines()
    assert deadlines.next() == FOREVER
    for at in range(10_000):
        deadlines.set("a", float(at))
    deadlines.set("b", 5.0)
    assert len(deadlines._heap) < 100
    assert deadlines.pop_due(4.9) == []
    assert deadlines.pop_due(9_999.0) == ["b", "a"]
    assert (deadlines.next(), len(deadlines)) == (FOREVER, 0)
