"""Reads: whole batches, within their limits, from wherever they lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import build_batch, headers
from logstore.config import LogConfig
from logstore.log import EMPTY_SLICE, Log
from logstore.memory import MemoryStorage
from logstore.segment import RECENT_BATCHES
from logstore.storage import LocalStorage

OpenLog = Callable[..., Log]
NOW_MS = 1_700_000_000_000


def fill(log: Log, count: int, *, records: int = 1, size: int = 33) -> None:
    for _ in range(count):
        step = log.end_offset
        log.append_as_leader(build_batch([(NOW_MS + step, None, b"x" * size)] * records), 1, NOW_MS)


def test_limits(open_log: OpenLog) -> None:
    log = open_log()
    fill(log, 5, records=2)
    size = log.size // 5
    rows = [
        # offset, max_bytes, up_to, at_least_one -> batches, next offset
        (0, 10_000, 10, True, 5, 10),
        (0, 3 * size, 10, True, 3, 6),
        (0, 3 * size - 1, 10, True, 2, 4),
        (1, 3 * size, 10, True, 3, 6),
        (4, 1, 10, True, 1, 6),
        (4, 1, 10, False, 0, -1),
        (4, 0, 10, True, 1, 6),
        (0, 10_000, 6, True, 3, 6),
        (0, 10_000, 7, True, 3, 6),
        (0, 2 * size, 6, True, 2, 4),
        (4, 10_000, 5, True, 0, -1),
        (4, 10_000, 4, True, 0, -1),
        (10, 10_000, 10, True, 0, -1),
        (8, 10_000, 10, False, 1, 10),
    ]
    for offset, max_bytes, up_to, one, batches, next_offset in rows:
        found = log.read(offset, max_bytes, up_to=up_to, at_least_one=one)
        assert (found.size, found.next_offset) == (batches * size, next_offset), (offset, max_bytes, up_to)
    assert log.read(10, 10_000, up_to=10) is EMPTY_SLICE
    assert EMPTY_SLICE.bytes() == b""


@pytest.mark.parametrize("offset", [-1, 1, 5])
def test_outside(open_log: OpenLog, offset: int) -> None:
    log = open_log(log_start=2)
    fill(log, 2)
    with pytest.raises(KafkaError) as refused:
        log.read(offset, 100, up_to=4)
    assert refused.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


def test_a_read_stays_in_one_segment(open_log: OpenLog) -> None:
    log = open_log(segment_bytes=202)
    fill(log, 6)
    assert [log.read(offset, 10_000, up_to=6).next_offset for offset in range(6)] == [2, 2, 4, 4, 6, 6]


def test_a_read_of_the_tail_touches_no_file(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log()
    fill(log, 100)
    memory.fail_reads(1)
    for offset in range(100):
        assert log.read(offset, 1, up_to=100).next_offset == offset + 1
    with pytest.raises(Exception, match="Input/output"):
        log.read(0, 1, up_to=100).bytes()


def test_batches_beyond_those_kept_in_memory_are_found(tmp_path: Path) -> None:
    log = Log.open(LocalStorage(), f"{tmp_path}/t-0", LogConfig(), now_ms=NOW_MS)
    count = RECENT_BATCHES + 100
    fill(log, count, size=1)
    size = log.size // count
    for offset in (0, 1, 57, 58, 59, RECENT_BATCHES // 2 - 1, RECENT_BATCHES // 2, RECENT_BATCHES, count - 1):
        for batches in (1, 2, 500):
            found = log.read(offset, batches * size, up_to=count)
            got = [header.base_offset for _, header in headers(found.bytes())]
            assert got == list(range(offset, min(offset + batches, count)))
        assert log.read(offset, 10**9, up_to=min(offset + 130, count)).next_offset == min(offset + 130, count)
    log.close()


def test_only_a_few_closed_segments_keep_their_indexes(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log(segment_bytes=202)
    fill(log, 40)
    for _ in range(2):
        for offset in range(40):
            assert log.read(offset, 1, up_to=40).next_offset == offset + 1
    segments = log._content.segments
    assert sum(segment.loaded for segment in segments.all[:-1]) <= 4


def test_few_indexes_stay_in_memory_when_times_are_looked_up(open_log: OpenLog) -> None:
    log = open_log(segment_bytes=200)
    fill(log, 40)
    segments = log._content.segments
    assert len(segments.all) > 10
    for step in range(40):
        found = log.offset_for_time(NOW_MS + step, up_to=40)
        assert found is not None
        assert found.offset == step
    for end in range(1, 41):
        newest = log.max_timestamp(end)
        assert newest is not None
        assert newest.offset == end - 1
    assert sum(segment.loaded for segment in segments.all[:-1]) <= 4


def test_gaps_of_compaction_are_stepped_over(open_log: OpenLog) -> None:
    log = open_log(cleanup_policy="compact", segment_bytes=202)
    for base in (0, 5, 20, 30, 50):
        log.append_as_follower(build_batch([(NOW_MS, None, b"x" * 33)], base_offset=base, leader_epoch=1))
    for offset in range(52):
        found = log.read(offset, 1, up_to=51)
        expected = next((base for base in (0, 5, 20, 30, 50) if base >= offset), None)
        got = [header.base_offset for _, header in headers(found.bytes())]
        assert got == ([] if expected is None else [expected])


def test_a_segment_may_end_before_the_next_one_starts(open_log: OpenLog, memory: MemoryStorage) -> None:
    memory.make_directory("/data/t-0")
    for base in (0, 20):
        data = build_batch([(NOW_MS, None, b"x")], base_offset=base, leader_epoch=1)
        memory.open(f"/data/t-0/{base:020d}.log", create=True).write_at(0, data)
    log = open_log(cleanup_policy="compact", clean=True)
    for offset in (1, 19, 20):
        assert log.read(offset, 1, up_to=21).next_offset == 21
    assert log.read(1, 1, up_to=20) is EMPTY_SLICE


def test_an_empty_log(open_log: OpenLog) -> None:
    log = open_log(log_start=4)
    assert log.read(4, 100, up_to=4) is EMPTY_SLICE
    assert log.offset_for_time(0, up_to=4) is None
    assert log.max_timestamp(4) is None
    assert log.end_offset_for_epoch(0) == (-1, -1)
    assert log.epoch_at(4) == -1


def test_a_slice_knows_whether_it_is_still_right(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log()
    fill(log, 3)
    assert log.read(0, 9999, up_to=3).verify()
    memory.flip_bit(f"/data/t-0/{0:020d}.log", 8 * (log.size - 1))
    assert log.read(0, 1, up_to=3).verify()
    assert not log.read(0, 9999, up_to=3).verify()
    log.truncate_to(1)
    assert log.read(0, 9999, up_to=1).verify()


def test_time_lookups(open_log: OpenLog) -> None:
    log = open_log(segment_bytes=330, index_interval_bytes=50)
    for epoch, timestamp in enumerate((100, 300, 200, 300, 500, 400)):
        log.append_as_leader(
            build_batch([(timestamp - 50, None, b"x"), (timestamp, None, b"y")]), epoch, NOW_MS
        )
    rows = [(0, (50, 0, 0)), (51, (100, 1, 0)), (101, (250, 2, 1)), (251, (300, 3, 1)), (301, (450, 8, 4))]
    for wanted, expected in [*rows, (451, (500, 9, 4)), (501, None)]:
        assert log.offset_for_time(wanted, up_to=12) == expected
    assert log.offset_for_time(301, up_to=8) is None
    assert log.max_timestamp(12) == (500, 9, 4)
    assert log.max_timestamp(8) == (300, 3, 1)
    assert log.max_timestamp(2) == (100, 1, 0)
    log.advance_start(4)
    assert log.offset_for_time(0, up_to=12) == (150, 4, 2)
    assert log.max_timestamp(8) == (300, 7, 3)


def test_what_lies_before_the_start_is_not_the_youngest(open_log: OpenLog) -> None:
    log = open_log()
    log.append_as_leader(build_batch([(900, None, b"a"), (300, None, b"b")]), 0, NOW_MS)
    log.append_as_leader(build_batch([(500, None, b"c")]), 0, NOW_MS)
    log.append_as_leader(build_batch([(400, None, b"d")]), 0, NOW_MS)
    log.advance_start(1)
    assert log.max_timestamp(4) == (500, 2, 0)
    assert log.max_timestamp(2) == (300, 1, 0), "the start lies inside of the batch"
    log.advance_start(3)
    assert log.max_timestamp(4) == (400, 3, 0)
    log.advance_start(4)
    assert log.max_timestamp(4) is None
