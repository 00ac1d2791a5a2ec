"""Idempotent producers: which batches are new, which are repetitions, and which cannot be right."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import ControlType, build_batch, build_control_batch
from logstore.log import Append, Log, Origin
from logstore.memory import MemoryStorage

OpenLog = Callable[..., Log]
NOW_MS = 1_700_000_000_000
LAST = 2**31 - 1


def send(
    log: Log, sequence: int, *, count: int = 1, epoch: int = 0, producer: int = 7, transactional: bool = False
) -> Append:
    data = build_batch(
        [(NOW_MS, None, b"x" * 20)] * count,
        producer_id=producer,
        producer_epoch=epoch,
        base_sequence=sequence,
        transactional=transactional,
    )
    if transactional:
        log.producers.verifications.grant(log.producers.verifications.ask(producer, epoch))
    return log.append_as_leader(data, 1, NOW_MS)


def mark(log: Log, kind: ControlType, *, epoch: int = 0, producer: int = 7, coordinator: int = 0) -> Append:
    marker = build_control_batch(
        kind, timestamp=NOW_MS, producer_id=producer, producer_epoch=epoch, coordinator_epoch=coordinator
    )
    return log.append_as_leader(marker, 1, NOW_MS, origin=Origin.COORDINATOR)


def refused(code: ErrorCode, log: Log, sequence: int, **keywords: int) -> None:
    end = log.end_offset
    with pytest.raises(KafkaError) as error:
        send(log, sequence, **keywords)  # type: ignore[arg-type]
    assert error.value.code is code
    assert log.end_offset == end


def test_the_last_five_batches_are_recognised(open_log: OpenLog) -> None:
    log = open_log()
    done = [send(log, 2 * number, count=2) for number in range(7)]
    for number in range(2, 7):
        assert send(log, 2 * number, count=2) == done[number]._replace(duplicate=True)
    refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, log, 2, count=2)
    refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, log, 12, count=1)
    refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, log, 15)
    assert send(log, 14).first_offset == 14


def test_a_repetition_is_answered_with_its_log_append_time(open_log: OpenLog) -> None:
    log = open_log(message_timestamp_type="LogAppendTime")
    data = build_batch([(0, None, b"x")], producer_id=7, producer_epoch=0, base_sequence=0)
    log.append_as_leader(data, 1, NOW_MS)
    again = log.append_as_leader(data, 1, NOW_MS + 5)
    assert (again.log_append_time_ms, again.duplicate) == (NOW_MS, True)


def test_sequences_wrap(open_log: OpenLog) -> None:
    log = open_log()
    send(log, LAST - 1, count=1)
    across = send(log, LAST, count=3)
    assert send(log, LAST, count=3) == across._replace(duplicate=True)
    refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, log, 1)
    assert send(log, 2).first_offset == 4
    other = open_log(log_start=0)
    send(other, LAST, producer=8)
    assert send(other, 0, producer=8).duplicate is False


def test_a_new_epoch_begins_at_zero(open_log: OpenLog) -> None:
    log = open_log()
    send(log, 0)
    refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, log, 1, epoch=1)
    assert send(log, 0, epoch=1).duplicate is False
    refused(ErrorCode.INVALID_PRODUCER_EPOCH, log, 1, epoch=0)
    assert send(log, 1, epoch=1).first_offset == 2


def test_an_unknown_producer_begins_anywhere(open_log: OpenLog) -> None:
    log = open_log(producer_id_expiration_ms=1000)
    send(log, 41)
    refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, log, 99)
    assert log.expire_producers(NOW_MS + 999) == 0
    assert log.expire_producers(NOW_MS + 1000) == 1
    assert send(log, 99).first_offset == 1


def test_a_producer_in_a_transaction_does_not_expire(open_log: OpenLog) -> None:
    log = open_log(producer_id_expiration_ms=1000)
    send(log, 0, transactional=True)
    assert log.expire_producers(NOW_MS + 10**6) == 0
    mark(log, ControlType.COMMIT)
    assert log.expire_producers(NOW_MS + 10**6) == 1


def test_producers_are_kept_apart(open_log: OpenLog) -> None:
    log = open_log()
    for producer in (1, 2, 3):
        send(log, 0, producer=producer)
    send(log, 1, producer=2)
    states = {state.producer_id: (state.last_sequence, state.last_offset) for state in log.producers}
    assert states == {1: (0, 0), 2: (1, 3), 3: (0, 2)}


def test_no_plain_batch_inside_a_transaction(open_log: OpenLog) -> None:
    log = open_log()
    send(log, 0, transactional=True)
    refused(ErrorCode.INVALID_TXN_STATE, log, 1)
    mark(log, ControlType.COMMIT)
    assert send(log, 1).first_offset == 2


def test_markers_are_fenced(open_log: OpenLog) -> None:
    log = open_log()
    send(log, 0, epoch=3, transactional=True)
    with pytest.raises(KafkaError) as old_producer:
        mark(log, ControlType.ABORT, epoch=2)
    assert old_producer.value.code is ErrorCode.INVALID_PRODUCER_EPOCH
    mark(log, ControlType.ABORT, epoch=4, coordinator=5)
    with pytest.raises(KafkaError) as old_coordinator:
        mark(log, ControlType.ABORT, epoch=4, coordinator=4)
    assert old_coordinator.value.code is ErrorCode.TRANSACTION_COORDINATOR_FENCED
    refused(ErrorCode.INVALID_PRODUCER_EPOCH, log, 1, epoch=3)
    refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, log, 1, epoch=4)
    assert send(log, 0, epoch=4).first_offset == 2


def test_the_log_trusts_its_own_coordinator_with_sequences(open_log: OpenLog) -> None:
    log = open_log()
    data = build_batch([(NOW_MS, None, b"x")], producer_id=7, producer_epoch=0, base_sequence=50)
    send(log, 0)
    assert log.append_as_leader(data, 1, NOW_MS, origin=Origin.COORDINATOR).first_offset == 1


# Row 19: idempotence forgotten over a failover.


def restart_cleanly(log: Log, memory: MemoryStorage, open_log: OpenLog) -> Log:
    log.close()
    return open_log(clean=True)


def restart_killed(log: Log, memory: MemoryStorage, open_log: OpenLog) -> Log:
    memory.kill()
    return open_log()


@pytest.mark.parametrize("restart", [restart_cleanly, restart_killed])
@pytest.mark.parametrize("before", [0, 3, 300])
def test_all_five_batches_survive_a_restart(
    memory: MemoryStorage, open_log: OpenLog, restart: Callable[..., Log], before: int
) -> None:
    log = open_log()
    for number in range(before):
        send(log, number, producer=8)
    done = [send(log, number) for number in range(8)]
    log = restart(log, memory, open_log)
    for number in range(3, 8):
        assert send(log, number) == done[number]._replace(duplicate=True)
    refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, log, 9)
    assert send(log, 8).duplicate is False


def test_large_batches_survive_a_clean_restart_too(memory: MemoryStorage, open_log: OpenLog) -> None:
    log = open_log()
    batches = [
        build_batch([(NOW_MS, None, b"x" * 300_000)], producer_id=7, producer_epoch=0, base_sequence=number)
        for number in range(6)
    ]
    done = [log.append_as_leader(data, 1, NOW_MS) for data in batches]
    log = restart_cleanly(log, memory, open_log)
    for number in range(1, 6):
        assert log.append_as_leader(batches[number], 1, NOW_MS) == done[number]._replace(duplicate=True)


def test_a_follower_knows_what_its_leader_knew(open_log: OpenLog) -> None:
    leader = open_log()
    done = [send(leader, number) for number in range(6)]
    fetched = leader.read(0, 10_000, up_to=6).bytes()
    leader.reset_to(0)
    assert len(leader.producers) == 0
    follower = leader
    follower.append_as_follower(fetched)
    for number in range(1, 6):
        assert send(follower, number) == done[number]._replace(duplicate=True)


@pytest.mark.parametrize("keep", range(12))
def test_truncation_takes_sequences_back(open_log: OpenLog, keep: int) -> None:
    log = open_log(segment_bytes=300)
    for number in range(12):
        send(log, number)
    log.truncate_to(keep)
    if keep:
        assert send(log, keep - 1).duplicate is True
        refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, log, keep + 1)
    else:
        assert log.producers.get(7) is None
    assert send(log, keep).first_offset == keep


def test_a_truncated_epoch_is_forgotten(open_log: OpenLog) -> None:
    log = open_log()
    send(log, 0, epoch=1)
    send(log, 0, epoch=2)
    log.truncate_to(1)
    assert send(log, 1, epoch=1).first_offset == 1


def test_producers_survive_the_deletion_of_their_batches(memory: MemoryStorage, open_log: OpenLog) -> None:
    log = open_log(segment_bytes=300)
    send(log, 0, producer=9)
    for number in range(12):
        send(log, number)
    log.advance_start(10)
    assert log.apply_retention(NOW_MS, 13) > 1
    log = restart_cleanly(log, memory, open_log)
    assert log.start_offset > 1
    refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, log, 5, producer=9)
    assert send(log, 1, producer=9).duplicate is False


def test_a_damaged_snapshot_is_replaced_by_reading_the_log(memory: MemoryStorage, open_log: OpenLog) -> None:
    log = open_log(segment_bytes=300)
    for number in range(12):
        send(log, number)
    log.close()
    for name in memory.list("/data/t-0"):
        if name.endswith(".snapshot"):
            memory.flip_bit(f"/data/t-0/{name}", 40)
    log = open_log(clean=True)
    assert send(log, 11).duplicate is True
    assert send(log, 12).first_offset == 12
