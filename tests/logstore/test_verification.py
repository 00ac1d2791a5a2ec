"""No transaction begins in a partition that its coordinator has not vouched for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import ControlType, build_batch, build_control_batch
from logstore.log import Append, Log, Origin
from logstore.verification import Verifications

OpenLog = Callable[..., Log]
NOW_MS = 1_700_000_000_000


def send(log: Log, sequence: int, *, epoch: int = 0, transactional: bool = True) -> Append:
    data = build_batch(
        [(NOW_MS, None, b"x")],
        producer_id=7,
        producer_epoch=epoch,
        base_sequence=sequence,
        transactional=transactional,
    )
    return log.append_as_leader(data, 1, NOW_MS)


def mark(log: Log, *, epoch: int = 0) -> None:
    marker = build_control_batch(
        ControlType.ABORT, timestamp=NOW_MS, producer_id=7, producer_epoch=epoch, coordinator_epoch=0
    )
    log.append_as_leader(marker, 1, NOW_MS, origin=Origin.COORDINATOR)


def refused(log: Log, sequence: int, *, epoch: int = 0) -> None:
    end = log.end_offset
    with pytest.raises(KafkaError) as error:
        send(log, sequence, epoch=epoch)
    assert error.value.code is ErrorCode.INVALID_TXN_STATE
    assert log.end_offset == end


def allow(log: Log, *, epoch: int = 0) -> None:
    verifications = log.producers.verifications
    assert verifications.grant(verifications.ask(7, epoch))


def test_a_transaction_that_nobody_verified_does_not_begin(open_log: OpenLog) -> None:
    log = open_log()
    refused(log, 0)
    send(log, 0, transactional=False)
    refused(log, 1)
    assert log.first_undecided() is None


def test_one_leave_is_for_one_transaction(open_log: OpenLog) -> None:
    log = open_log()
    allow(log)
    send(log, 0)
    assert log.producers.has_open(7, 0)
    send(log, 1)
    mark(log)
    assert not log.producers.has_open(7, 0)
    refused(log, 2)
    allow(log)
    send(log, 2)


def test_a_repetition_needs_no_leave(open_log: OpenLog) -> None:
    log = open_log()
    allow(log)
    first = send(log, 0)
    mark(log)
    assert send(log, 0) == first._replace(duplicate=True)


def test_the_leave_of_one_epoch_is_not_that_of_another(open_log: OpenLog) -> None:
    log = open_log()
    allow(log, epoch=1)
    refused(log, 0, epoch=0)
    refused(log, 0, epoch=2)
    send(log, 0, epoch=1)
    refused(log, 0, epoch=2)


def test_a_marker_takes_back_a_question_that_is_on_its_way(open_log: OpenLog) -> None:
    log = open_log()
    verifications = log.producers.verifications
    question = verifications.ask(7, 0)
    mark(log)
    assert not verifications.grant(question), "the transaction that was asked about is over"
    refused(log, 0)
    assert len(verifications) == 0


def test_what_a_coordinator_writes_needs_no_leave(open_log: OpenLog) -> None:
    log = open_log()
    data = build_batch(
        [(NOW_MS, b"k", b"v")], producer_id=7, producer_epoch=0, base_sequence=0, transactional=True
    )
    log.append_as_leader(data, 1, NOW_MS, origin=Origin.COORDINATOR)
    assert log.producers.has_open(7, 0)


def test_questions_of_one_epoch_are_one() -> None:
    verifications = Verifications()
    question = verifications.ask(7, 1)
    assert verifications.ask(7, 1) is question
    late = verifications.ask(7, 0)
    assert not verifications.grant(late), "an older epoch does not push out a newer one"
    assert verifications.grant(question)
    newer = verifications.ask(7, 2)
    assert not verifications.grant(question)
    assert verifications.grant(newer)
    verifications.take_back(7)
    assert not verifications.is_granted(7, 2)
    assert len(verifications) == 0


def ask_in_vain(log: Log, sequence: int, *, epoch: int = 0) -> None:
    verifications = log.producers.verifications
    verifications.ask(7, epoch, sequence)
    verifications.take_back(7)


def out_of_order(log: Log, sequence: int, *, epoch: int = 0) -> None:
    with pytest.raises(KafkaError) as error:
        send(log, sequence, epoch=epoch)
    assert error.value.code is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert log.end_offset == 0


def test_a_batch_does_not_overtake_one_that_could_not_be_verified(open_log: OpenLog) -> None:
    log = open_log()
    ask_in_vain(log, 0)
    ask_in_vain(log, 1)
    allow(log)
    out_of_order(log, 1)
    assert [send(log, number).first_offset for number in range(3)] == [0, 1, 2]
    mark(log)
    assert len(log.producers.verifications) == 0


def test_another_incarnation_does_not_wait_for_what_the_one_before_could_not_verify(
    open_log: OpenLog,
) -> None:
    log = open_log()
    ask_in_vain(log, 0)
    ask_in_vain(log, 3, epoch=1)
    ask_in_vain(log, 0)
    allow(log, epoch=1)
    out_of_order(log, 4, epoch=1)
    send(log, 3, epoch=1)


def test_a_marker_ends_the_wait_for_what_could_not_be_verified(open_log: OpenLog) -> None:
    log = open_log()
    ask_in_vain(log, 0)
    mark(log)
    assert len(log.producers.verifications) == 0


def test_what_could_not_be_verified_is_forgotten_with_silent_producers(open_log: OpenLog) -> None:
    log = open_log(producer_id_expiration_ms=1000)
    ask_in_vain(log, 0)
    log.expire_producers(NOW_MS)
    log.expire_producers(NOW_MS + 999)
    assert len(log.producers.verifications) == 1
    log.expire_producers(NOW_MS + 1000)
    assert len(log.producers.verifications) == 0


def test_finished_transactions_are_forgotten_without_readers(open_log: OpenLog) -> None:
    log = open_log()
    for number in range(10):
        allow(log)
        send(log, number)
        mark(log)
    log.producers.forget_replicated(log.end_offset - 1)
    assert log.last_stable_offset(log.end_offset - 1) == log.end_offset - 2, (
        "the last marker is not replicated"
    )
    assert log.last_stable_offset(log.end_offset) == log.end_offset
