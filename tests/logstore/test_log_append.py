"""What a leader and a follower take, how they stamp it, and what they refuse."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from crc32c import crc32c

from kafkawire.compression import Compression
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import build_batch, headers, read_header, records
from logstore.log import Log, OffsetsOutOfOrder, Origin
from logstore.memory import MemoryStorage

OpenLog = Callable[..., Log]
NOW_MS = 1_700_000_000_000


def batch(count: int = 1, size: int = 10, **keywords: int) -> bytes:
    return build_batch([(NOW_MS, None, b"x" * size)] * count, **keywords)  # type: ignore[arg-type]


def with_field(data: bytes, position: int, layout: str, value: int) -> bytes:
    """A batch with one field changed and the checksum made right again."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, position, value)
    struct.pack_into(">I", changed, 17, crc32c(changed[21:]))
    return bytes(changed)


def test_batches_are_stamped_in_place(open_log: OpenLog) -> None:
    log = open_log()
    first, second = bytearray(batch(3)), bytearray(batch(2))
    assert log.append_as_leader(memoryview(first), 4, NOW_MS) == (0, 2, -1, 0, False)
    assert log.append_as_leader(second, 5, NOW_MS) == (3, 4, -1, 0, False)
    assert read_header(second)[:3] == (3, len(second) - 12, 5)
    assert log.read(0, 10_000, up_to=5).bytes() == first + second
    assert (log.end_offset, log.latest_epoch, log.size) == (5, 5, len(first) + len(second))


@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_read_only_batches_are_copied(open_log: OpenLog, kind: Callable[[bytes], bytes]) -> None:
    log = open_log(log_start=7)
    given = batch()
    log.append_as_leader(kind(given), 4, NOW_MS)
    assert given == batch()
    assert read_header(log.read(7, 10_000, up_to=8).bytes()).base_offset == 7


REFUSED = [
    ("wrong checksum", batch()[:-1] + b"?", ErrorCode.CORRUPT_MESSAGE),
    ("cut off", batch()[:-1], ErrorCode.INVALID_RECORD),
    ("shorter than a header", batch()[:60], ErrorCode.INVALID_RECORD),
    ("nothing", b"", ErrorCode.INVALID_RECORD),
    ("two batches", batch() + batch(), ErrorCode.INVALID_RECORD),
    ("something behind", batch() + b"x", ErrorCode.INVALID_RECORD),
    ("old format", with_field(batch(), 16, ">b", 1), ErrorCode.INVALID_RECORD),
    ("unknown format", with_field(batch(), 16, ">b", 3), ErrorCode.CORRUPT_MESSAGE),
    ("an offset of its own", batch(base_offset=1), ErrorCode.INVALID_RECORD),
    ("wrong count", with_field(batch(2), 57, ">i", 3), ErrorCode.INVALID_RECORD),
    ("no records", with_field(with_field(batch(), 57, ">i", 0), 23, ">i", -1), ErrorCode.INVALID_RECORD),
    (
        "more records than fit",
        with_field(with_field(batch(2), 57, ">i", 100), 23, ">i", 99),
        ErrorCode.INVALID_RECORD,
    ),
    ("wrong last offset", with_field(batch(2), 23, ">i", 5), ErrorCode.INVALID_RECORD),
    ("control batch", with_field(batch(), 21, ">h", 0x20), ErrorCode.INVALID_RECORD),
    ("log append time", with_field(batch(), 21, ">h", 0x08), ErrorCode.INVALID_TIMESTAMP),
    ("compression 5", with_field(batch(), 21, ">h", 5), ErrorCode.UNSUPPORTED_COMPRESSION_TYPE),
    ("transaction of nobody", with_field(batch(), 21, ">h", 0x10), ErrorCode.INVALID_RECORD),
    ("no sequence", batch(producer_id=1, producer_epoch=0), ErrorCode.INVALID_RECORD),
    ("no producer epoch", batch(producer_id=1, base_sequence=0), ErrorCode.INVALID_RECORD),
    ("larger than allowed", batch(size=1000), ErrorCode.MESSAGE_TOO_LARGE),
    ("too far in the future", build_batch([(NOW_MS + 3_600_001, None, b"")]), ErrorCode.INVALID_TIMESTAMP),
    (
        "first too far in the past",
        build_batch([(NOW_MS - 1001, None, b""), (NOW_MS, None, b"")]),
        ErrorCode.INVALID_TIMESTAMP,
    ),
]


@pytest.mark.parametrize(("data", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_a_leader_refuses_leaves_no_trace(open_log: OpenLog, data: bytes, code: ErrorCode) -> None:
    log = open_log(max_message_bytes=1000, message_timestamp_before_max_ms=1000)
    with pytest.raises(KafkaError) as refused:
        log.append_as_leader(data, 1, NOW_MS)
    assert refused.value.code is code
    assert (log.end_offset, log.size, log.latest_epoch) == (0, 0, -1)
    assert log.append_as_leader(batch(), 1, NOW_MS).first_offset == 0


def test_the_near_side_of_every_limit(open_log: OpenLog) -> None:
    data = batch(size=500)
    log = open_log(max_message_bytes=len(data), segment_bytes=len(data), message_timestamp_before_max_ms=1000)
    log.append_as_leader(data, 1, NOW_MS)
    for timestamp in (NOW_MS - 1000, NOW_MS + 3_600_000, -1):
        log.append_as_leader(build_batch([(timestamp, None, b"")]), 1, NOW_MS)
    assert log.end_offset == 4


def test_a_batch_larger_than_a_segment(open_log: OpenLog) -> None:
    log = open_log(segment_bytes=500)
    with pytest.raises(KafkaError) as refused:
        log.append_as_leader(batch(size=500), 1, NOW_MS)
    assert refused.value.code is ErrorCode.RECORD_LIST_TOO_LARGE
    log.append_as_follower(batch(size=500))
    assert log.append_as_leader(batch(size=500), 1, NOW_MS, origin=Origin.RAFT_LEADER).first_offset == 1


@pytest.mark.parametrize("kind", list(Compression))
def test_compressed_batches_are_taken_as_they_are(open_log: OpenLog, kind: Compression) -> None:
    log = open_log()
    log.append_as_leader(build_batch([(NOW_MS, b"k", b"v" * 100)] * 3, compression=kind), 1, NOW_MS)
    found = list(records(log.read(0, 9999, up_to=3).bytes()))
    assert [(record.offset, record.value) for record in found] == [(n, b"v" * 100) for n in range(3)]


def test_log_append_time(open_log: OpenLog) -> None:
    log = open_log(message_timestamp_type="LogAppendTime")
    given = build_batch([(5, None, b"a"), (6, None, b"b")])
    assert log.append_as_leader(given, 1, NOW_MS).log_append_time_ms == NOW_MS
    assert log.read(0, 9999, up_to=2).verify()
    assert [record.timestamp for record in records(log.read(0, 9999, up_to=2).bytes())] == [NOW_MS] * 2


def test_segments_roll_by_size(open_log: OpenLog) -> None:
    size = len(batch(size=100))
    log = open_log(segment_bytes=3 * size)
    for _ in range(7):
        log.append_as_leader(batch(size=100), 1, NOW_MS)
    assert log.segment_count == 3


def test_segments_roll_by_time_between_batches(open_log: OpenLog) -> None:
    log = open_log(segment_ms=1000, message_timestamp_after_max_ms=10**6)
    for step, segments in ((0, 1), (1000, 1), (1001, 2), (500, 2), (2002, 3)):
        log.append_as_leader(build_batch([(NOW_MS + step, None, b"x")]), 1, NOW_MS)
        assert log.segment_count == segments


def test_segments_without_timestamps_roll_by_the_clock(open_log: OpenLog) -> None:
    log = open_log(segment_ms=1000)
    for now, segments in ((0, 1), (1000, 1), (1001, 2)):
        log.append_as_leader(build_batch([(-1, None, b"x")]), 1, NOW_MS + now)
        assert log.segment_count == segments


def test_jitter_rolls_earlier_but_not_at_once(open_log: OpenLog) -> None:
    log = open_log(segment_ms=10_000, segment_jitter_ms=9_000)
    log.append_as_leader(build_batch([(NOW_MS, None, b"x")]), 1, NOW_MS)
    rolled_at = None
    for step in range(0, 10_002, 100):
        log.append_as_leader(build_batch([(NOW_MS + step, None, b"x")]), 1, NOW_MS)
        if log.segment_count == 2 and rolled_at is None:
            rolled_at = step
    assert rolled_at is not None
    assert 1000 < rolled_at < 10_000


def test_segments_roll_when_an_index_is_full(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log(segment_index_bytes=100, index_interval_bytes=1)
    for number in range(100):
        log.append_as_leader(build_batch([(NOW_MS + number, None, b"x")]), 1, NOW_MS)
    log.close()
    sizes = [memory.open(f"/data/t-0/{name}").size() for name in memory.list("/data/t-0") if "index" in name]
    assert log.segment_count > 5
    assert max(sizes) <= 100


def test_segments_roll_where_relative_offsets_end(open_log: OpenLog) -> None:
    log = open_log(cleanup_policy="compact")
    log.append_as_follower(batch(base_offset=0, leader_epoch=0))
    log.append_as_follower(batch(base_offset=2**31 - 1, leader_epoch=0))
    log.append_as_follower(batch(base_offset=2**31, leader_epoch=0))
    assert log.segment_count == 2
    assert log.read(2**31, 999, up_to=2**31 + 1).size


def test_a_leader_does_not_write_in_an_older_epoch(open_log: OpenLog) -> None:
    log = open_log()
    log.append_as_leader(batch(), 3, NOW_MS)
    with pytest.raises(ValueError):
        log.append_as_leader(batch(), 2, NOW_MS)
    assert (log.end_offset, log.latest_epoch) == (1, 3)


def test_a_follower_writes_what_the_leader_stamped(open_log: OpenLog) -> None:
    leader, data = open_log(), b""
    for epoch in (1, 1, 4):
        leader.append_as_leader(batch(2, size=100), epoch, NOW_MS)
    data = leader.read(0, 10_000, up_to=6).bytes()
    leader.reset_to(0)
    assert leader.append_as_follower(data + batch()[:30]) == (0, 5, -1, 0, False)
    assert leader.read(0, 10_000, up_to=6).bytes() == data
    assert leader.latest_epoch == 4
    assert leader.end_offset_for_epoch(1) == (1, 4)
    assert leader.append_as_follower(b"") == (6, 5, -1, 0, False)


def test_a_fetch_larger_than_a_segment_is_split(open_log: OpenLog) -> None:
    size = len(batch(size=100))
    log = open_log(segment_bytes=3 * size)
    log.append_as_follower(b"".join(batch(base_offset=n, leader_epoch=0, size=100) for n in range(8)))
    assert log.segment_count == 3
    assert all(log.read(n, 1, up_to=8).size == size for n in range(8))


def test_a_follower_checks_everything_before_it_writes_anything(open_log: OpenLog) -> None:
    log = open_log()
    good = batch(base_offset=0, leader_epoch=0)
    for bad in (
        batch(base_offset=1, leader_epoch=0)[:-1] + b"?",
        with_field(batch(base_offset=1), 23, ">i", -1),
    ):
        with pytest.raises(KafkaError) as refused:
            log.append_as_follower(good + bad)
        assert refused.value.code is ErrorCode.CORRUPT_MESSAGE
    for wrong in (0, 2):
        with pytest.raises(OffsetsOutOfOrder) as order:
            log.append_as_follower(good + batch(base_offset=wrong, leader_epoch=0), gaps=False)
        assert (order.value.expected, order.value.found) == (1, wrong)
    assert (log.end_offset, log.size) == (0, 0)


def test_a_compacted_leader_leaves_gaps(open_log: OpenLog) -> None:
    # The topic may have been compacted before its policy was changed.
    log = open_log(cleanup_policy="delete")
    log.append_as_follower(batch(base_offset=5, leader_epoch=0) + batch(base_offset=9, leader_epoch=0))
    assert log.end_offset == 10
    assert [header.base_offset for _, header in headers(log.read(6, 999, up_to=10).bytes())] == [9]
    with pytest.raises(OffsetsOutOfOrder):
        log.append_as_follower(batch(base_offset=9, leader_epoch=0))


def test_a_follower_may_begin_inside_the_leaders_first_batch(open_log: OpenLog) -> None:
    log = open_log(log_start=55)
    first = batch(10, base_offset=50, leader_epoch=2)
    log.append_as_follower(first + batch(base_offset=60, leader_epoch=2))
    assert (log.start_offset, log.end_offset) == (55, 61)
    assert log.read(55, 1, up_to=61).bytes() == first
    with pytest.raises(KafkaError):
        log.read(54, 1, up_to=61)
    with pytest.raises(OffsetsOutOfOrder):
        log.append_as_follower(batch(10, base_offset=55, leader_epoch=2))
