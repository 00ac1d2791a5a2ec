"""Cutting a log: everything that was said of what is gone is taken back with it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import ControlType, build_batch, build_control_batch
from logstore.config import LogConfig
from logstore.log import Log, Origin
from logstore.memory import MemoryStorage
from logstore.storage import StorageError

OpenLog = Callable[..., Log]
NOW_MS = 1_700_000_000_000
DIRECTORY = "/data/t-0"


def append(log: Log, epoch: int, *, records: int = 1, timestamp: int = NOW_MS) -> None:
    log.append_as_leader(build_batch([(timestamp, None, b"x" * 30)] * records), epoch, NOW_MS)


def send(log: Log, producer: int, sequence: int, *, transactional: bool = False) -> None:
    data = build_batch(
        [(NOW_MS, None, b"x" * 30)],
        producer_id=producer,
        producer_epoch=0,
        base_sequence=sequence,
        transactional=transactional,
    )
    if transactional:
        log.producers.verifications.grant(log.producers.verifications.ask(producer, 0))
    log.append_as_leader(data, 1, NOW_MS)


def sync(log: Log) -> None:
    end = log.end_offset
    for file in log.files_to_sync():
        file.sync()
    log.synced_to(end)


@pytest.mark.parametrize("segment_bytes", [10_000, 300])
def test_offsets_inside_a_batch_cut_the_whole_batch(open_log: OpenLog, segment_bytes: int) -> None:
    log = open_log(segment_bytes=segment_bytes)
    for _ in range(6):
        append(log, 1, records=3)
    for offset, end in ((99, 18), (18, 18), (17, 15), (15, 15), (13, 12), (3, 3), (1, 0), (0, 0)):
        log.truncate_to(offset)
        assert log.end_offset == end
        assert log.read(0, 10_000, up_to=end).verify()
    append(log, 1)
    assert log.read(0, 10_000, up_to=1).next_offset == 1


def test_epochs_are_cut(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log()
    for epoch in (1, 1, 2, 2, 5):
        append(log, epoch, records=2)
    log.assign_epoch(9)
    log.truncate_to(10)
    assert log.latest_epoch == 5, "an epoch that wrote nothing is forgotten where it would have begun"
    log.truncate_to(7)
    assert (log.end_offset, log.latest_epoch) == (6, 2)
    log.truncate_to(5)
    assert (log.end_offset, log.latest_epoch) == (4, 1), "epoch 2 began inside of what is gone"
    assert memory.read_text(f"{DIRECTORY}/leader-epoch-checkpoint") == "0\n1\n1 0\n"
    assert log.end_offset_for_epoch(2) == (-1, -1)


def test_epochs_are_cut_durably(open_log: OpenLog, memory: MemoryStorage) -> None:
    """Or the recovery of a later segment would take old epochs for true."""
    log = open_log()
    append(log, 1)
    append(log, 5)
    sync(log)
    log.truncate_to(1)
    memory.crash()
    assert memory.read_text(f"{DIRECTORY}/leader-epoch-checkpoint") == "0\n1\n1 0\n"


@pytest.mark.parametrize("segment_bytes", [10_000, 250])
def test_timestamps_are_cut(open_log: OpenLog, segment_bytes: int) -> None:
    log = open_log(segment_bytes=segment_bytes, index_interval_bytes=1)
    for step in (1, 3, 2, 9, 4):
        append(log, 1, timestamp=NOW_MS + step)
    for end, youngest in ((5, (9, 3)), (3, (3, 1)), (1, (1, 0))):
        log.truncate_to(end)
        assert log.max_timestamp(end) == (NOW_MS + youngest[0], youngest[1], 1)
        assert log.offset_for_time(NOW_MS + youngest[0] + 1, up_to=end) is None
    append(log, 1, timestamp=NOW_MS + 2)
    append(log, 1, timestamp=NOW_MS)
    assert log.max_timestamp(3) == (NOW_MS + 2, 1, 1)


def test_aborted_transactions_are_cut(open_log: OpenLog) -> None:
    log = open_log()
    for number in range(3):
        send(log, 7, number, transactional=True)
    marker = build_control_batch(
        ControlType.ABORT, timestamp=NOW_MS, producer_id=7, producer_epoch=0, coordinator_epoch=0
    )
    log.append_as_leader(marker, 1, NOW_MS, origin=Origin.COORDINATOR)
    assert log.aborted_transactions(0, 4) == [(7, 0)]
    log.truncate_to(3)
    assert log.aborted_transactions(0, 3) == []
    assert log.first_undecided() == 0


def test_the_recovery_point_goes_back(open_log: OpenLog) -> None:
    log = open_log()
    for _ in range(4):
        append(log, 1, records=3)
    sync(log)
    log.truncate_to(7)
    assert (log.end_offset, log.recovery_point) == (6, 6)
    log.reset_to(2)
    assert log.recovery_point == 2


def test_the_recovery_point_goes_back_before_anything_is_cut(
    open_log: OpenLog, memory: MemoryStorage
) -> None:
    log = open_log()
    for _ in range(3):
        append(log, 1)
    sync(log)
    memory.fail_writes(1, path=".log")
    with pytest.raises(StorageError):
        log.truncate_to(1)
    assert log.recovery_point == 1


# A snapshot of producers that tells of what is gone must never be read again.


def test_snapshots_of_what_was_cut_are_gone(open_log: OpenLog) -> None:
    log = open_log()
    for number in range(12):
        send(log, 7, number)
    log.close()  # which leaves one at 12
    log = open_log(clean=True)
    log.truncate_to(3)
    for number in range(20):
        send(log, 8, number)
    log.truncate_to(15)
    state = log.producers.get(7)
    assert state is not None
    assert state.last_sequence == 2


def test_snapshots_of_what_was_dropped_are_gone(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log()
    for number in range(12):
        send(log, 7, number)
    log.close()
    log = open_log(clean=True)
    log.reset_to(0)
    assert not [name for name in memory.list(DIRECTORY) if name.endswith(".snapshot")]
    for number in range(20):
        send(log, 8, number)
    log.truncate_to(15)
    assert log.producers.get(7) is None


def test_snapshots_of_what_recovery_lost_are_gone(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log(segment_bytes=10_000)
    for number in range(12):
        send(log, 7, number)
    size = log.size // 12
    log.close()
    memory.open(f"{DIRECTORY}/{0:020d}.log").truncate(3 * size)
    log = open_log(segment_bytes=10_000)
    assert log.end_offset == 3
    for number in range(20):
        send(log, 8, number)
    log.truncate_to(15)
    state = log.producers.get(7)
    assert state is not None
    assert state.last_sequence == 2


# Starting elsewhere.


def test_before_the_first_segment_there_is_nothing(open_log: OpenLog) -> None:
    log = open_log(log_start=10)
    append(log, 1)
    log.truncate_to(4)
    assert (log.start_offset, log.end_offset, log.latest_epoch) == (4, 4, -1)


def test_below_the_start_takes_the_start_along(open_log: OpenLog) -> None:
    log = open_log()
    for _ in range(5):
        append(log, 1)
    log.advance_start(4)
    log.truncate_to(2)
    assert (log.start_offset, log.end_offset) == (2, 2)


def test_the_start_does_not_pass_the_end(open_log: OpenLog) -> None:
    log = open_log()
    append(log, 1)
    with pytest.raises(KafkaError) as refused:
        log.advance_start(2)
    assert refused.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
    log.advance_start(1)
    log.advance_start(0)
    assert log.start_offset == 1


def test_resetting_twice_to_the_same_offset(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log(file_delete_delay_ms=0)
    for epoch in (1, 2, 3):
        append(log, epoch)
        log.reset_to(0)
    append(log, 4)
    log.delete_expired_files(NOW_MS)
    log.delete_expired_files(NOW_MS)
    assert (log.end_offset, log.latest_epoch) == (1, 4)
    assert log.read(0, 999, up_to=1).verify()
    assert [name for name in memory.list(DIRECTORY) if ".log" in name] == [f"{0:020d}.log"]


# A crash around the end of a segment.


@pytest.mark.parametrize("seed", range(40))
def test_indexes_that_were_never_synced_are_not_believed(seed: int) -> None:
    storage = MemoryStorage(random.Random(seed))
    config = LogConfig(segment_bytes=400, index_interval_bytes=1)
    log = Log.open(storage, DIRECTORY, config, now_ms=NOW_MS)
    for step in range(4):
        append(log, 1, timestamp=NOW_MS + step)
    sync(log)
    append(log, 1, timestamp=NOW_MS + 4)
    assert log.segment_count == 2
    storage.crash()
    log = Log.open(storage, DIRECTORY, config, now_ms=NOW_MS, recovery_point=4)
    for step in range(4):
        assert log.offset_for_time(NOW_MS + step, up_to=4) == (NOW_MS + step, step, 1)
