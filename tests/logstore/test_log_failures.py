"""A disk that is full, fails, or does not sync: what is acknowledged stays, what is not leaves no trace."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafkawire.errors import KafkaError
from kafkawire.records import build_batch
from logstore.config import LogConfig
from logstore.log import Log
from logstore.memory import MemoryFile, MemoryStorage
from logstore.storage import StorageError, StorageFullError

OpenLog = Callable[..., Log]
NOW_MS = 1_700_000_000_000
DIRECTORY = "/data/t-0"


def batch(size: int = 40) -> bytes:
    return build_batch([(NOW_MS, None, b"x" * size)])


def sync(log: Log) -> None:
    end = log.end_offset
    for file in log.files_to_sync():
        file.sync()
    log.synced_to(end)


# Row 15: disk full, EIO.


def test_an_append_to_a_full_disk_leaves_no_trace(memory: MemoryStorage, open_log: OpenLog) -> None:
    log = open_log()
    log.append_as_leader(batch(), 1, NOW_MS)
    before = log.size
    memory.capacity = memory.used + 50
    with pytest.raises(StorageFullError):
        log.append_as_leader(batch(), 1, NOW_MS)
    assert (log.end_offset, log.size, log.failed) == (1, before, None)
    assert memory.open(f"{DIRECTORY}/{0:020d}.log").size() == before
    memory.capacity = None
    assert log.append_as_leader(batch(), 1, NOW_MS).first_offset == 1
    assert log.read(0, 10_000, up_to=2).verify()


def test_an_append_that_cannot_be_taken_back_is_the_last(memory: MemoryStorage, open_log: OpenLog) -> None:
    log = open_log()
    log.append_as_leader(batch(), 1, NOW_MS)
    memory.fail_writes(2, path=".log")
    with pytest.raises(StorageError):
        log.append_as_leader(batch(), 1, NOW_MS)
    assert log.failed is not None
    for change in (
        lambda: log.append_as_leader(batch(), 1, NOW_MS),
        lambda: log.append_as_follower(build_batch([(1, None, b"x")], base_offset=1)),
        lambda: log.truncate_to(0),
        lambda: log.reset_to(5),
        lambda: log.assign_epoch(9),
        lambda: log.apply_retention(NOW_MS, 1),
        lambda: log.advance_start(1),
    ):
        with pytest.raises(StorageError):
            change()
    assert log.end_offset == 1
    assert log.read(0, 10_000, up_to=1).verify(), "what is there can still be read"
    log.close()
    assert open_log().end_offset == 1


@pytest.mark.parametrize("suffix", [".snapshot", ".index", ".timeindex"])
def test_a_segment_that_cannot_be_closed_goes_on(
    memory: MemoryStorage, open_log: OpenLog, suffix: str
) -> None:
    log = open_log(segment_bytes=250)
    for _ in range(2):
        log.append_as_leader(batch(), 1, NOW_MS)
    memory.fail_writes(1, path=suffix)
    with pytest.raises(StorageError):
        log.append_as_leader(batch(), 1, NOW_MS)
    assert (log.end_offset, log.segment_count, log.failed) == (2, 1, None)
    assert log.append_as_leader(batch(), 1, NOW_MS).first_offset == 2
    assert log.segment_count == 2
    assert [log.read(offset, 1, up_to=3).next_offset for offset in range(3)] == [1, 2, 3]


def test_an_epoch_that_cannot_be_stored_stops_the_append(memory: MemoryStorage, open_log: OpenLog) -> None:
    log = open_log()
    memory.fail_writes(1, path="leader-epoch")
    with pytest.raises(StorageError):
        log.append_as_leader(batch(), 3, NOW_MS)
    assert log.end_offset == 0
    assert log.append_as_leader(batch(), 3, NOW_MS).first_offset == 0


def test_an_epoch_that_could_not_be_stored_is_stored_with_the_next_append(
    memory: MemoryStorage, open_log: OpenLog
) -> None:
    log = open_log()
    log.append_as_leader(batch(), 1, NOW_MS)
    memory.fail_writes(1, path="leader-epoch")
    with pytest.raises(StorageError):
        log.append_as_leader(batch(), 3, NOW_MS)
    assert log.latest_epoch == 1
    log.append_as_leader(batch(), 3, NOW_MS)
    sync(log)
    log.close()
    log = open_log(clean=True, recovery_point=2)
    assert log.latest_epoch == 3
    assert log.end_offset_for_epoch(1) == (1, 1)


def test_a_follower_keeps_whole_batches_when_the_disk_is_full(
    memory: MemoryStorage, open_log: OpenLog
) -> None:
    log = open_log(segment_bytes=250)
    data = b"".join(build_batch([(NOW_MS, None, b"x" * 40)], base_offset=n, leader_epoch=1) for n in range(6))
    memory.capacity = memory.used + 500
    with pytest.raises(StorageFullError):
        log.append_as_follower(data)
    kept = log.end_offset
    assert 0 < kept < 6
    memory.capacity = None
    log.append_as_follower(data[kept * len(data) // 6 :])
    assert log.end_offset == 6
    assert all(log.read(offset, 1, up_to=6).next_offset == offset + 1 for offset in range(6))


def test_a_truncation_that_meets_damage_is_the_end_of_the_log_until_it_is_recovered(
    memory: MemoryStorage, open_log: OpenLog
) -> None:
    log = open_log()
    for _ in range(3):
        log.append_as_leader(batch(), 1, NOW_MS)
    sync(log)
    memory.flip_bit(f"{DIRECTORY}/{0:020d}.log", 8 * 16)  # the first one's magic
    with pytest.raises(KafkaError):
        log.truncate_to(2)
    with pytest.raises(StorageError):
        log.append_as_follower(build_batch([(NOW_MS, None, b"x")], base_offset=2, leader_epoch=2))
    memory.kill()
    log = open_log(recovery_point=2)
    assert log.end_offset == 0
    assert log.recovered is not None
    assert log.recovered.was_synced


def test_a_failed_truncation_is_the_end_of_the_log(memory: MemoryStorage, open_log: OpenLog) -> None:
    log = open_log()
    for _ in range(3):
        log.append_as_leader(batch(), 1, NOW_MS)
    memory.fail_writes(1, path=".log")
    with pytest.raises(StorageError):
        log.truncate_to(1)
    assert log.failed is not None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 8)), min_size=1, max_size=25), st.integers())
def test_nothing_acknowledged_is_lost_on_a_disk_that_fails_at_random(
    appends: list[tuple[int, int]], seed: int
) -> None:
    storage = MemoryStorage(random.Random(seed))
    config = LogConfig(segment_bytes=700, index_interval_bytes=100)
    log = Log.open(storage, DIRECTORY, config, now_ms=NOW_MS)
    acknowledged: list[bytes] = []
    for size, failures in appends:
        if failures > 4:
            storage.fail_writes(failures - 4)
        value = b"%d" % len(acknowledged) + b"x" * size
        data = bytearray(build_batch([(NOW_MS, None, value)]))
        try:
            done = log.append_as_leader(data, 1, NOW_MS)
        except StorageError:
            storage.fail_writes(0)
            if log.failed is not None:
                log.close()
                log = Log.open(storage, DIRECTORY, config, now_ms=NOW_MS)
                if log.end_offset > len(acknowledged):
                    acknowledged.append(bytes(data))  # it had reached the disk whole: it may stay
        else:
            storage.fail_writes(0)
            assert done.first_offset == len(acknowledged)
            acknowledged.append(bytes(data))
        assert log.end_offset == len(acknowledged)
    for number, data in enumerate(acknowledged):
        assert log.read(number, 1, up_to=len(acknowledged)).bytes() == data


# Row 11: a failed sync.


def test_after_a_failed_sync_the_node_recovers_what_was_synced_before(
    memory: MemoryStorage, open_log: OpenLog
) -> None:
    log = open_log()
    log.append_as_leader(batch(), 1, NOW_MS)
    sync(log)
    log.append_as_leader(batch(), 1, NOW_MS)
    memory.fail_syncs(path=".log")
    with pytest.raises(StorageError) as failure:
        sync(log)
    log.fail(str(failure.value))
    assert log.recovery_point == 1
    with pytest.raises(StorageError):
        log.append_as_leader(batch(), 1, NOW_MS)
    log.close()
    memory.crash()
    log = open_log(recovery_point=1)
    assert log.end_offset in (1, 2)
    assert log.read(0, 9999, up_to=log.end_offset).verify()


# What a sync proves.


def test_a_sync_under_way_proves_nothing_of_what_replaced_it(open_log: OpenLog) -> None:
    log = open_log()
    for _ in range(10):
        log.append_as_leader(batch(), 1, NOW_MS)
    files = log.files_to_sync()
    log.truncate_to(4)
    for _ in range(6):
        log.append_as_leader(batch(), 2, NOW_MS)
    for file in files:
        file.sync()
    log.synced_to(10)
    assert log.recovery_point == 4
    sync(log)
    assert log.recovery_point == 10
    with pytest.raises(ValueError):
        log.synced_to(10)


def test_a_sync_covers_what_was_appended_before_it_began(open_log: OpenLog) -> None:
    log = open_log()
    log.append_as_leader(batch(), 1, NOW_MS)
    log.files_to_sync()
    log.append_as_leader(batch(), 1, NOW_MS)
    log.synced_to(1)
    assert log.recovery_point == 1


def test_closed_segments_wait_for_their_sync(memory: MemoryStorage, open_log: OpenLog) -> None:
    log = open_log(segment_bytes=250)
    sync(log)
    assert not log.has_unsynced_closed_segments
    assert len(log.files_to_sync()) == 1, "the segment itself: neither names nor epochs have changed"
    log.synced_to(0)
    for _ in range(5):
        log.append_as_leader(batch(), 1, NOW_MS)
    assert log.has_unsynced_closed_segments
    assert log.segment_count == 3
    assert len(log.files_to_sync()) == 3 + 2 * 3 + 2
    log.synced_to(5)
    assert not log.has_unsynced_closed_segments
    assert log.recovery_point == 5


def test_a_closed_log_takes_nothing(open_log: OpenLog) -> None:
    log = open_log()
    log.close()
    with pytest.raises(StorageError):
        log.append_as_leader(batch(), 1, NOW_MS)


def test_a_closed_log_keeps_nothing_open_for_a_sync_that_nobody_told_the_end_of(open_log: OpenLog) -> None:
    log = open_log(segment_bytes=250)
    for _ in range(4):
        log.append_as_leader(batch(), 1, NOW_MS)
    files = [file for file in log.files_to_sync() if isinstance(file, MemoryFile)]
    assert {file.path.rpartition(".")[2] for file in files} > {"log", "index", "snapshot"}
    log.close(clean=False)
    for file in files:
        with pytest.raises(ValueError, match="closed"):
            file.sync()
