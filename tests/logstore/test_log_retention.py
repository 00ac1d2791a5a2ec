"""What grows old is deleted, a closed segment at a time, and never what is not yet replicated."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kafkawire.records import build_batch
from logstore.log import Log
from logstore.memory import MemoryStorage

OpenLog = Callable[..., Log]
NOW_MS = 1_700_000_000_000
DIRECTORY = "/data/t-0"
HOUR = 3_600_000
MAGIC_AT = 16


def fill(log: Log, count: int, *, timestamp: int | None = None, start: int = 0) -> None:
    """One batch of 101 bytes per hour, or all with one timestamp."""
    for number in range(start, start + count):
        when = NOW_MS + number * HOUR if timestamp is None else timestamp
        log.append_as_leader(build_batch([(when, b"k", b"x" * 32)]), 1, NOW_MS + number * HOUR)


def test_by_age(open_log: OpenLog) -> None:
    log = open_log(segment_bytes=202, retention_ms=5 * HOUR)
    fill(log, 10)
    assert log.segment_count == 5
    assert log.apply_retention(NOW_MS + 6 * HOUR, 10) == 0
    assert log.apply_retention(NOW_MS + 6 * HOUR + 1, 10) == 1
    assert (log.start_offset, log.segment_count) == (2, 4)
    assert log.apply_retention(NOW_MS + 11 * HOUR, 10) == 2
    assert log.start_offset == 6


def test_never_past_the_high_watermark(open_log: OpenLog) -> None:
    log = open_log(segment_bytes=202, retention_ms=HOUR)
    fill(log, 10)
    assert log.apply_retention(NOW_MS + 10**10, 5) == 2
    assert (log.start_offset, log.end_offset) == (4, 10)
    assert log.apply_retention(NOW_MS + 10**10, 5) == 0


def test_an_expired_last_segment_is_followed_by_an_empty_one(
    open_log: OpenLog, memory: MemoryStorage
) -> None:
    log = open_log(retention_ms=HOUR)
    fill(log, 3)
    assert log.apply_retention(NOW_MS + 10**10, 2) == 0
    assert log.apply_retention(NOW_MS + 10**10, 3) == 1
    assert (log.start_offset, log.end_offset, log.size, log.segment_count) == (3, 3, 0, 1)
    assert log.apply_retention(NOW_MS + 10**11, 3) == 0, "an empty segment stays"
    fill(log, 1)
    assert log.end_offset == 4
    log.close()
    assert open_log(clean=True, log_start=3).end_offset == 4


def test_by_size(open_log: OpenLog) -> None:
    log = open_log(segment_bytes=202, retention_ms=-1, retention_bytes=500)
    fill(log, 10)
    assert log.size == 1010
    assert log.apply_retention(NOW_MS, 10) == 2
    assert log.size == 606, "one more would leave less than is to be kept"
    assert log.apply_retention(NOW_MS, 10) == 0


def test_by_the_start_that_was_asked_for(open_log: OpenLog) -> None:
    log = open_log(segment_bytes=202, retention_ms=-1, cleanup_policy="compact")
    fill(log, 10)
    log.advance_start(5)
    assert log.apply_retention(NOW_MS, 10) == 2
    assert (log.start_offset, log.segment_count) == (5, 3)


@pytest.mark.parametrize(
    ("policy", "deleted"), [("delete", 4), ("compact,delete", 4), ("compact", 0), ("", 0)]
)
def test_only_the_delete_policy_takes_what_is_old(open_log: OpenLog, policy: str, deleted: int) -> None:
    log = open_log(segment_bytes=202, retention_ms=HOUR, cleanup_policy=policy)
    fill(log, 10)
    assert log.apply_retention(NOW_MS + 10 * HOUR, 10) == deleted


def test_unlimited_is_unlimited(open_log: OpenLog) -> None:
    log = open_log(segment_bytes=202, retention_ms=-1, retention_bytes=-1)
    fill(log, 10)
    assert log.apply_retention(NOW_MS + 10**12, 10) == 0


# Row 16: absurd timestamps.


def test_a_timestamp_from_the_future_keeps_its_segment_and_those_behind(open_log: OpenLog) -> None:
    log = open_log(
        segment_bytes=202, retention_ms=5 * HOUR, message_timestamp_after_max_ms=2**62, segment_ms=2**62
    )
    fill(log, 2)
    fill(log, 2, timestamp=NOW_MS + 10**9)
    fill(log, 4, start=2)
    assert log.apply_retention(NOW_MS + 100 * HOUR, 8) == 1
    assert log.apply_retention(NOW_MS + 10**9 + 5 * HOUR + 1, 8) == 3


def test_records_without_a_timestamp_age_by_when_they_were_written(open_log: OpenLog) -> None:
    log = open_log(segment_bytes=202, retention_ms=5 * HOUR)
    fill(log, 4, timestamp=-1)
    assert log.apply_retention(NOW_MS + 6 * HOUR, 4) == 0
    assert log.apply_retention(NOW_MS + 8 * HOUR, 4) == 1


def test_a_lying_time_index_does_not_delete(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log(segment_bytes=202, retention_ms=5 * HOUR)
    fill(log, 6)
    log.close()
    file = memory.open(f"{DIRECTORY}/{2:020d}.timeindex")
    file.write_at(file.size() - 12, (1000).to_bytes(8))
    log = open_log(segment_bytes=202, retention_ms=5 * HOUR, clean=True)
    assert log.apply_retention(NOW_MS + 7 * HOUR, 6) == 1
    assert log.start_offset == 2


def test_a_damaged_segment_is_as_old_as_its_index_says(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log(segment_bytes=202, retention_ms=5 * HOUR)
    fill(log, 6)
    memory.flip_bit(f"{DIRECTORY}/{0:020d}.log", 8 * MAGIC_AT)
    assert log.apply_retention(NOW_MS + 6 * HOUR, 6) == 0
    assert log.apply_retention(NOW_MS + 9 * HOUR, 6) == 2
    assert log.start_offset == 4


# Deleted files.


def test_a_slice_outlives_its_segment(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log(segment_bytes=202, retention_ms=HOUR, file_delete_delay_ms=1000)
    fill(log, 6)
    found = log.read(0, 10_000, up_to=6)
    before = found.bytes()
    assert log.apply_retention(NOW_MS + 10**10, 4) == 2
    assert memory.exists(f"{DIRECTORY}/{0:020d}.log.deleted")
    assert not memory.exists(f"{DIRECTORY}/{0:020d}.index")
    assert log.delete_expired_files(5000) == 0
    assert log.delete_expired_files(5999) == 0
    assert found.bytes() == before
    assert log.delete_expired_files(6000) == 2
    assert not [name for name in memory.list(DIRECTORY) if "deleted" in name]
    with pytest.raises(ValueError):
        found.bytes()


def test_a_restart_removes_what_was_waiting(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log(segment_bytes=202, retention_ms=HOUR)
    fill(log, 6)
    log.apply_retention(NOW_MS + 10**10, 4)
    log.close()
    log = open_log(clean=True)
    assert (log.start_offset, log.end_offset) == (4, 6)
    assert not [name for name in memory.list(DIRECTORY) if "deleted" in name]


def test_epochs_start_where_the_log_does(open_log: OpenLog) -> None:
    log = open_log(segment_bytes=202, retention_ms=HOUR)
    for epoch in (1, 2, 3):
        for _ in range(3):
            log.append_as_leader(build_batch([(NOW_MS, None, b"x" * 33)]), epoch, NOW_MS)
    log.apply_retention(NOW_MS + 10**10, 5)
    assert log.start_offset == 4
    assert [log.epoch_at(offset) for offset in (3, 4, 5, 6)] == [-1, 2, 2, 3]
    assert log.end_offset_for_epoch(1) == (1, 4)
