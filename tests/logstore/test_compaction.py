"""What a cleaning keeps, removes, and leaves as it is."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from crc32c import crc32c
from msgspec.structs import replace

from chaos.disk import CuttableStorage, PowerCutError
from kafkawire.compression import Compression
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import (
    BatchHeader,
    ControlType,
    Record,
    build_batch,
    build_control_batch,
    check_crc,
    empty_batch,
    headers,
    raw_records,
    read_header,
    records,
    stamp,
)
from logstore.compaction import CleaningAborted
from logstore.config import LogConfig
from logstore.key_offsets import ENTRY_BYTES, KeyOffsets
from logstore.log import Log, Origin
from logstore.memory import MemoryStorage
from logstore.steps import Step, Steps
from logstore.storage import StorageError

OpenLog = Callable[..., Log]
DoAll = Callable[[Iterable[Step]], int]
NOW_MS = 1_700_000_000_000
DIRECTORY = "/data/t-0"
DAY = 86_400_000
MEMORY = 1_000_000
TRANSACTION = {"transactional": True, "producer_id": 9, "producer_epoch": 0, "base_sequence": 0}
CONFIG = LogConfig(cleanup_policy="compact", segment_bytes=220, index_interval_bytes=100)


def put(log: Log, *pairs: tuple[bytes, bytes | None], now: int = NOW_MS, **options: Any) -> int:
    data = build_batch([(now, key, value) for key, value in pairs], **options)
    origin = Origin.COORDINATOR if options.get("transactional") else Origin.CLIENT
    return log.append_as_leader(data, 1, now, origin=origin).first_offset


def fill(log: Log, count: int = 12) -> None:
    """Batches of one record, three to a segment of 220 bytes; keys k0, k1 and k2 in turn."""
    for number in range(count):
        put(log, (b"k%d" % (number % 3), b"%d" % number))


def end(log: Log, producer_id: int, kind: ControlType, now: int = NOW_MS) -> None:
    marker = build_control_batch(
        kind, timestamp=now, producer_id=producer_id, producer_epoch=0, coordinator_epoch=1
    )
    log.append_as_leader(marker, 1, now, origin=Origin.COORDINATOR)


def sync(log: Log) -> None:
    for part in log.files_to_sync():
        part.sync()
    log.synced_to(log.end_offset)


def cleaning(log: Log, now: int = NOW_MS, **options: Any) -> Steps[None]:
    """All closed segments are synced and committed."""
    sync(log)
    stable = log.last_stable_offset(log.end_offset)
    return log.compaction.clean(stable, now, memory=options.pop("memory", MEMORY), **options)


def stored(log: Log) -> list[tuple[BatchHeader, list[Record]]]:
    found = []
    offset = log.start_offset
    while offset < log.end_offset:
        part = log.read(offset, 10_000, up_to=log.end_offset)
        data = part.bytes()
        for position, header in headers(data):
            assert check_crc(data, position, header)
            found.append((header, list(records(data, position))))
        offset = part.next_offset
    return found


def offsets(log: Log) -> list[int]:
    return [record.offset for header, batch in stored(log) if not header.is_control for record in batch]


def test_the_last_record_of_each_key_stays_where_it_was(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    fill(log)
    assert log.segment_count == 4
    do_all(cleaning(log))
    # Offsets 9 to 11 are in the active segment; 6 to 8 are the last ones of the closed three.
    assert offsets(log) == [6, 7, 8, 9, 10, 11]
    assert log.compaction.cleaned_to == 9
    assert (log.start_offset, log.end_offset) == (0, 12)
    assert [header.base_offset for header, batch in stored(log) if not batch] == [2, 5], "ends of segments"
    fill(log, 3)
    do_all(cleaning(log))
    assert (offsets(log), log.segment_count) == ([9, 10, 11, 12, 13, 14], 4)


def test_nothing_of_the_active_segment_or_past_what_is_committed_is_touched(
    open_log: OpenLog, do_all: DoAll
) -> None:
    log = open_log(config=CONFIG)
    fill(log)
    sync(log)
    assert do_all(log.compaction.clean(2, NOW_MS, memory=MEMORY)) == 0
    do_all(log.compaction.clean(8, NOW_MS, memory=MEMORY))
    assert log.compaction.cleaned_to == 6
    assert offsets(log) == list(range(3, 12))


def test_nothing_goes_for_the_sake_of_what_is_not_synced(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    fill(log)
    assert do_all(log.compaction.clean(12, NOW_MS, memory=MEMORY)) == 0
    assert offsets(log) == list(range(12))


def test_a_producer_is_known_after_what_it_wrote_last_was_taken_back(
    open_log: OpenLog, do_all: DoAll, memory: MemoryStorage
) -> None:
    """Its last batch that is committed stays, although a newer one that is not follows."""
    log = open_log(config=CONFIG)
    for sequence in range(2):
        put(log, (b"k0", b"%d" % sequence), producer_id=7, producer_epoch=0, base_sequence=sequence)
    fill(log)
    sync(log)
    committed = log.end_offset
    put(log, (b"k1", b"late"), producer_id=7, producer_epoch=0, base_sequence=2)
    do_all(log.compaction.clean(committed, NOW_MS, memory=MEMORY))
    log.truncate_to(committed)
    memory.kill()
    log = open_log(config=CONFIG)
    state = log.producers.get(7)
    assert state is not None
    assert state.last_sequence == 1


def test_an_open_transaction_holds_cleaning_up(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    fill(log, 6)
    put(log, (b"k0", b"open"), transactional=True, producer_id=7, producer_epoch=0, base_sequence=0)
    fill(log, 6)
    do_all(cleaning(log))
    assert log.compaction.cleaned_to == 6


def test_a_cleaning_goes_on_where_memory_ended(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    fill(log)
    seen = []
    for _ in range(9):
        do_all(cleaning(log, memory=2 * ENTRY_BYTES))
        seen.append(log.compaction.cleaned_to)
    assert seen == [2, 4, 6, 8, 9, 9, 9, 9, 9]
    assert offsets(log)[-6:] == [6, 7, 8, 9, 10, 11]


def test_keys_are_bounded_by_memory() -> None:
    keys = KeyOffsets(2 * ENTRY_BYTES, 5)
    assert keys.add(b"a", 5)
    assert keys.add(b"b", 6)
    assert not keys.add(b"c", 7)
    assert keys.add(b"a", 7)
    assert (len(keys), keys.end) == (2, 8)
    assert [keys.newest(key) for key in (b"a", b"b", b"c")] == [7, 6, -1]
    assert KeyOffsets(1, 0).add(b"a" * 10_000, 0), "one key always fits"


def test_a_tombstone_stays_for_its_time(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    put(log, (b"a", b"1"), (b"b", b"1"))
    put(log, (b"a", None))
    fill(log)
    do_all(cleaning(log))
    batches = {header.base_offset: (header, batch) for header, batch in stored(log)}
    header, (tombstone,) = batches[2]
    assert header.has_delete_horizon
    assert header.base_timestamp == NOW_MS + DAY
    assert (tombstone.timestamp, tombstone.value, header.max_timestamp) == (NOW_MS, None, NOW_MS)
    assert not batches[0][0].has_delete_horizon
    for wait, expected in ((DAY - 1, True), (DAY, False)):
        fill(log, 6)
        do_all(cleaning(log, NOW_MS + wait))
        assert (2 in offsets(log)) is expected
    assert [record.key for record in batches[0][1]] == [b"b"]
    assert 1 in offsets(log)


def test_a_tombstone_that_memory_had_no_room_for_stays_for_its_time_after_what_it_replaces(
    open_log: OpenLog, do_all: DoAll
) -> None:
    log = open_log(config=CONFIG)
    put(log, (b"k", b"x" * 100))
    put(log, (b"a", b"1"))
    do_all(cleaning(log))
    assert log.compaction.cleaned_to == 1
    put(log, (b"b", b"1"))
    put(log, (b"k", None))
    fill(log, 3)
    do_all(cleaning(log, memory=2 * ENTRY_BYTES))
    assert log.compaction.cleaned_to == 3
    assert offsets(log)[:4] == [0, 1, 2, 3], "who is told now that there was a k"
    later = NOW_MS + DAY
    do_all(cleaning(log, later))
    assert offsets(log)[:3] == [1, 2, 3], "has a day from now on to be told that there is none"
    fill(log, 6)
    do_all(cleaning(log, later + DAY))
    assert 3 not in offsets(log)


@pytest.mark.parametrize("kind", Compression)
def test_what_is_left_of_a_batch_keeps_its_compression_and_its_place(
    kind: Compression, open_log: OpenLog, do_all: DoAll
) -> None:
    log = open_log(cleanup_policy="compact", segment_bytes=200_000)
    rng = random.Random(3)
    big = rng.randbytes(40_000) + b"x" * 30_000
    headed = [("name", b"value"), ("none", None)]
    written = [(NOW_MS + 9, b"gone", b""), (NOW_MS + 2, b"big", big, headed), (NOW_MS + 5, b"gone", b"")]
    data = build_batch(written, compression=kind, producer_id=4, producer_epoch=2, base_sequence=7)  # type: ignore[arg-type]
    log.append_as_leader(data, 6, NOW_MS)
    put_later = [(b"gone", b"later")] * 2
    for pair in put_later:
        log.append_as_leader(build_batch([(NOW_MS, pair[0], b"y" * 99_000)]), 6, NOW_MS)
    log.append_as_leader(build_batch([(NOW_MS, b"last", b"z" * 150_000)]), 6, NOW_MS)
    do_all(cleaning(log))
    header, batch = stored(log)[0]
    assert batch == [Record(1, NOW_MS + 2, b"big", big, headed)]
    assert header.compression is kind
    assert (header.base_offset, header.last_offset, header.record_count) == (0, 2, 1)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (4, 2, 7)
    assert (header.partition_leader_epoch, header.last_sequence) == (6, 9)
    assert header.max_timestamp == NOW_MS + 2


def test_the_time_that_the_broker_set_stays(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=replace(CONFIG, message_timestamp_type="LogAppendTime"))
    log.append_as_leader(build_batch([(5, b"a", b"1"), (6, b"b", None)]), 1, NOW_MS)
    fill(log)
    put(log, (b"a", b"2"))
    fill(log)
    do_all(cleaning(log))
    header, (record,) = stored(log)[0]
    assert header.log_append_time
    assert (record.offset, record.timestamp, record.value) == (1, NOW_MS, None)


def test_a_producers_last_sequence_outlives_its_records(
    open_log: OpenLog, memory: MemoryStorage, do_all: DoAll
) -> None:
    log = open_log(config=CONFIG)
    for sequence in (0, 1):
        put(log, (b"k0", b"p"), producer_id=5, producer_epoch=0, base_sequence=sequence)
    fill(log)
    do_all(cleaning(log))
    header, batch = stored(log)[0]
    assert (header.base_offset, header.producer_id, header.last_sequence, batch) == (1, 5, 1, [])
    assert (header.max_timestamp, header.base_timestamp) == (NOW_MS, -1)
    for name in memory.list(DIRECTORY):
        if name.endswith(".snapshot"):
            memory.remove(f"{DIRECTORY}/{name}")
    log = open_log(config=CONFIG)
    state = log.producers.get(5)
    assert state is not None
    assert state.last_sequence == 1
    again = build_batch([(NOW_MS, b"k0", b"p")], producer_id=5, producer_epoch=0, base_sequence=1)
    assert log.append_as_leader(again, 1, NOW_MS).duplicate
    put(log, (b"x", b"next"), producer_id=5, producer_epoch=0, base_sequence=2)
    fill(log)
    do_all(cleaning(log))
    assert stored(log)[0][0].producer_id == -1, "its last batch is another one now"


def test_an_empty_batch_has_no_time(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    put(log, (b"k0", b"p"), now=NOW_MS + 1000, producer_id=5, producer_epoch=0, base_sequence=0)
    fill(log)
    do_all(cleaning(log))
    newest = log.max_timestamp(log.end_offset)
    assert newest is not None
    assert (newest.timestamp, newest.offset) == (NOW_MS, offsets(log)[0])
    assert log.offset_for_time(NOW_MS + 1, up_to=log.end_offset) is None


# Transactions.


def write_aborted(log: Log, value: bytes = b"aborted", sequence: int = 0) -> None:
    put(log, (b"k0", value), transactional=True, producer_id=9, producer_epoch=0, base_sequence=sequence)
    end(log, 9, ControlType.ABORT)


def forget_producer(log: Log) -> None:
    log.config = replace(CONFIG, producer_id_expiration_ms=1)
    log.expire_producers(NOW_MS + 10)


def test_aborted_records_go_and_their_marker_follows_them(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    put(log, (b"k0", b"0"))
    write_aborted(log)
    put(log, (b"other", b"o"))
    while log.segment_count < 2:
        put(log, (b"x", b"o"))
    forget_producer(log)
    assert log.aborted_transactions(0, 5) == [(9, 1)]

    def marker() -> BatchHeader | None:
        return next((header for header, _ in stored(log) if header.is_control), None)

    do_all(cleaning(log))
    assert 0 in offsets(log), "the aborted record has not replaced the one before"
    assert 1 not in offsets(log)
    first = marker()
    assert first is not None
    assert not first.has_delete_horizon
    now, seen = NOW_MS, []
    for wait in (0, DAY - 1, 1):
        now += wait
        for _ in range(4):
            put(log, (b"y", b"o" * 40))
        do_all(cleaning(log, now))
        found = marker()
        seen.append(None if found is None else found.base_timestamp if found.has_delete_horizon else 0)
        assert log.aborted_transactions(0, log.end_offset) == []
    assert seen == [NOW_MS + DAY, NOW_MS + DAY, None]


def test_an_aborted_record_that_stays_is_still_skipped(open_log: OpenLog, do_all: DoAll) -> None:
    """The producer is known, so that its last batch stays, empty, and its marker and index entry with it."""
    log = open_log(config=CONFIG)
    write_aborted(log)
    fill(log)
    do_all(cleaning(log))
    (empty, nothing), (marker, _) = stored(log)[:2]
    assert (empty.base_offset, nothing, marker.is_control) == (0, [], True)
    assert log.aborted_transactions(0, log.end_offset) == [(9, 0)]
    log.close()
    assert open_log(config=CONFIG, clean=True).aborted_transactions(0, 12) == [(9, 0)]


def test_a_commit_stays_while_one_of_its_records_does(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    put(log, (b"k0", b"gone"), (b"t", b"stays"), **TRANSACTION)
    end(log, 9, ControlType.COMMIT)
    put(log, (b"x", b"another one's"))
    forget_producer(log)
    now = NOW_MS
    for _ in range(3):
        fill(log)
        do_all(cleaning(log, now))
        now += 2 * DAY
    (data, kept), (marker, _) = stored(log)[:2]
    assert ([record.key for record in kept], data.record_count) == ([b"t"], 1)
    assert (marker.is_control, marker.has_delete_horizon) == (True, False)
    put(log, (b"t", b"replaced"))
    for _ in range(3):
        fill(log)
        do_all(cleaning(log, now))
        now += 2 * DAY
    assert not any(header.is_control or header.is_transactional for header, _ in stored(log))


def test_a_marker_that_tells_a_producers_epoch_stays_whole(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    marker = build_control_batch(
        ControlType.ABORT, timestamp=NOW_MS, producer_id=9, producer_epoch=4, coordinator_epoch=1
    )
    log.append_as_leader(marker, 1, NOW_MS, origin=Origin.COORDINATOR)
    now = NOW_MS
    for _ in range(3):
        fill(log)
        do_all(cleaning(log, now))
        now += 2 * DAY
    header, batch = stored(log)[0]
    assert (header.is_control, header.producer_epoch, len(batch)) == (True, 4, 1)


def test_an_empty_marker_of_another_broker_says_nothing(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    put(log, (b"a", b"1"), transactional=True, producer_id=9, producer_epoch=0, base_sequence=0)
    marker = build_control_batch(
        ControlType.COMMIT, timestamp=NOW_MS, producer_id=9, producer_epoch=0, coordinator_epoch=1
    )
    emptied = bytearray(empty_batch(read_header(marker)))
    stamp(emptied, 0, 1, 1)
    log.append_as_follower(bytes(emptied))
    state = log.producers.get(9)
    assert state is not None
    assert (state.last_sequence, log.first_undecided()) == (0, 0)
    end(log, 9, ControlType.COMMIT)
    fill(log)
    do_all(cleaning(log))
    assert open_log(config=CONFIG).end_offset == log.end_offset


def test_a_transaction_over_several_segments_is_one(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    for number in range(6):
        put(
            log,
            (b"t%d" % number, b"x" * 40),
            transactional=True,
            producer_id=9,
            producer_epoch=0,
            base_sequence=number,
        )
    put(log, (b"t0", b"committed"))
    end(log, 9, ControlType.ABORT)
    fill(log)
    do_all(cleaning(log))
    assert [offset for offset in offsets(log) if offset < 8] == [6]


# When a log is due, and what becomes one segment.


def test_when_a_log_is_due(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    fill(log)
    dirt = log.compaction.dirt(12, NOW_MS)
    assert (dirt.first_offset, dirt.end, dirt.clean, dirt.ratio) == (0, 9, 0, 1.0)
    assert dirt.is_due(LogConfig())
    do_all(cleaning(log))
    assert not log.compaction.dirt(12, NOW_MS).is_due(LogConfig(min_cleanable_dirty_ratio=0.0))
    fill(log, 3)
    dirt = log.compaction.dirt(15, NOW_MS)
    assert 0 < dirt.ratio == dirt.dirty / (dirt.dirty + dirt.clean) < 0.5
    assert not dirt.is_due(LogConfig(min_cleanable_dirty_ratio=dirt.ratio)), "the share has to be larger"
    assert dirt.is_due(LogConfig(min_cleanable_dirty_ratio=dirt.ratio - 0.01))


def test_min_compaction_lag_keeps_young_segments(open_log: OpenLog) -> None:
    config = LogConfig(cleanup_policy="compact", segment_bytes=220, min_compaction_lag_ms=1000)
    log = open_log(config=config)
    for number in range(12):
        put(log, (b"k", b"v"), now=NOW_MS + 100 * number)
    assert [log.compaction.dirt(12, NOW_MS + now).end for now in (1199, 1200, 1499, 1500, 5000)] == [
        0,
        3,
        3,
        6,
        9,
    ]


def test_max_compaction_lag_makes_a_log_due(open_log: OpenLog, memory: MemoryStorage, do_all: DoAll) -> None:
    config = LogConfig(cleanup_policy="compact", segment_ms=DAY, max_compaction_lag_ms=1000)
    log = open_log(config=config)
    put(log, (b"k", b"1"))
    put(log, (b"k", b"2"), now=NOW_MS + 1000)
    assert log.segment_count == 1
    put(log, (b"k", b"3"), now=NOW_MS + 1001)
    assert log.segment_count == 2, "segments close in time"
    lazy = LogConfig(min_cleanable_dirty_ratio=1.0)
    assert not log.compaction.dirt(3, NOW_MS + 1000).is_due(lazy)
    assert log.compaction.dirt(3, NOW_MS + 1001).is_due(lazy)
    log.close()
    log = open_log(config=config, clean=True)
    assert log.compaction.dirt(3, NOW_MS + 1001).is_due(lazy)
    do_all(cleaning(log))
    assert not log.compaction.dirt(3, NOW_MS + 10_000).is_due(lazy)


def test_a_mark_that_does_not_fit_the_log_starts_over(open_log: OpenLog) -> None:
    log = open_log(config=CONFIG)
    fill(log)
    for mark in (13, 10**9):
        log.compaction.cleaned_to = mark
        assert log.compaction.dirt(12, NOW_MS).first_offset == 0
    log.advance_start(5)
    log.compaction.cleaned_to = 4
    assert log.compaction.dirt(12, NOW_MS).first_offset == 5


def test_small_segments_become_one_of_the_allowed_size(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    for number in range(40):
        put(log, (b"key %d" % (number % 20), b"%d" % number))
    do_all(cleaning(log))
    sizes = [segment.size for segment in log._content.segments.all]
    assert max(sizes) <= 220
    do_all(cleaning(log))
    for number in range(4):
        put(log, (b"key %d" % number, b"x" * 100))
    do_all(cleaning(log))
    assert len(offsets(log)) == len(set(offsets(log)))
    smaller = log.segment_count
    log.config = LogConfig(cleanup_policy="compact", segment_bytes=10**6)
    put(log, (b"new", b"x"))
    log._content.roll()
    do_all(cleaning(log))
    assert (smaller > 4, log.segment_count) == (True, 2)


def test_segments_whose_offsets_lie_too_far_apart_stay_apart(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    bases = [0, 2**31 - 2, 2**31 + 5, 2**32 - 5, 2**32 + 1]
    for base in bases:
        log.append_as_follower(build_batch([(NOW_MS, b"%d" % base, b"v")], base_offset=base, leader_epoch=0))
        log._content.roll()
    do_all(cleaning(log))
    assert (offsets(log), log.segment_count) == (bases, 4)
    assert offsets(open_log(config=CONFIG)) == bases


# What is refused.


def test_a_compacted_topic_takes_no_record_without_a_key(open_log: OpenLog) -> None:
    log = open_log(config=CONFIG)
    for kind in Compression:
        data = build_batch([(NOW_MS, b"k", b"v"), (NOW_MS, None, b"v")], compression=kind)
        with pytest.raises(KafkaError) as refused:
            log.append_as_leader(data, 1, NOW_MS)
        assert refused.value.code is ErrorCode.INVALID_RECORD
    assert log.end_offset == 0
    put(log, (b"", b"an empty key is a key"))
    open_log(cleanup_policy="delete").append_as_leader(build_batch([(NOW_MS, None, b"v")]), 1, NOW_MS)


@pytest.mark.parametrize("delta", [0, 2, 6])
def test_a_compacted_topic_takes_offsets_in_their_order_alone(open_log: OpenLog, delta: int) -> None:
    data = bytearray(build_batch([(NOW_MS, b"a", b"1"), (NOW_MS, b"b", b"2")]))
    at = len(data) - 7 + 1  # the offset delta of the second record: length, attributes and time before it
    assert data[at] == 2
    data[at] = 2 * delta
    with pytest.raises(KafkaError) as refused:
        open_log(config=CONFIG).append_as_leader(_with_crc(data), 1, NOW_MS)
    assert refused.value.code is ErrorCode.INVALID_RECORD


def _with_crc(data: bytearray) -> bytes:
    struct.pack_into(">I", data, 17, crc32c(data[21:]))
    return bytes(data)


def test_keyless_records_from_before_the_policy_go(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(segment_bytes=220)
    log.append_as_leader(build_batch([(NOW_MS, None, b"v"), (NOW_MS, b"k", b"v")]), 1, NOW_MS)
    log.config = CONFIG
    fill(log)
    do_all(cleaning(log))
    assert offsets(log)[0] == 1


def test_a_damaged_batch_is_not_given_a_new_checksum(
    open_log: OpenLog, memory: MemoryStorage, do_all: DoAll
) -> None:
    log = open_log(config=CONFIG)
    fill(log)
    memory.flip_bit(f"{DIRECTORY}/{0:020d}.log", 8 * 70)
    before = memory.list(DIRECTORY)
    with pytest.raises(KafkaError) as damaged:
        do_all(cleaning(log))
    assert damaged.value.code is ErrorCode.CORRUPT_MESSAGE
    assert memory.list(DIRECTORY) == before
    assert log.failed is None


@pytest.mark.parametrize(
    "payload", [b"\x0e\x00\x00\x00\x02a\x02b", b"\xff" * 12, b"\x02", b"\x12" + b"\x00" * 9]
)
def test_records_that_do_not_add_up_are_refused(payload: bytes) -> None:
    header = read_header(build_batch([(0, b"a", b"b")]))
    with pytest.raises(KafkaError) as refused:
        list(raw_records(header, payload))
    assert refused.value.code is ErrorCode.INVALID_RECORD


# Meanwhile the world goes on.


def interrupted(
    log: Log, memory: MemoryStorage, after: int, event: Callable[[], object], do_all: DoAll
) -> None:
    """Begin a cleaning, let something happen after so many steps, and see it given up without a trace."""
    work = cleaning(log, chunk=100)
    for _, step in zip(range(after), work, strict=False):
        if step is not None:
            step()
    event()
    with pytest.raises(CleaningAborted):
        do_all(work)
    assert not [name for name in memory.list(DIRECTORY) if name.endswith((".cleaned", ".swap"))]


@pytest.mark.parametrize("after", [1, 8, 20])
def test_a_truncation_ends_a_cleaning(
    open_log: OpenLog, memory: MemoryStorage, do_all: DoAll, after: int
) -> None:
    log = open_log(config=CONFIG)
    fill(log)
    interrupted(log, memory, after, lambda: log.truncate_to(4), do_all)
    assert (log.end_offset, log.compaction.cleaned_to) == (4, 0)
    assert offsets(log) == [0, 1, 2, 3]


def test_a_truncation_takes_the_mark_back(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    fill(log)
    do_all(cleaning(log))
    log.truncate_to(7)
    assert (log.end_offset, log.compaction.cleaned_to) == (7, 7)
    fill(log)
    do_all(cleaning(log))
    assert offsets(open_log(config=CONFIG)) == offsets(log)
    log.reset_to(100)
    assert log.compaction.cleaned_to == 100


def test_retention_ends_a_cleaning(open_log: OpenLog, memory: MemoryStorage, do_all: DoAll) -> None:
    log = open_log(cleanup_policy="compact,delete", segment_bytes=220, retention_bytes=500)
    fill(log)
    interrupted(log, memory, 5, lambda: log.apply_retention(NOW_MS, 12), do_all)
    assert log.start_offset == 3
    do_all(cleaning(log))
    assert offsets(log) == [6, 7, 8, 9, 10, 11]


def test_both_policies_apply(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(cleanup_policy="compact,delete", segment_bytes=220, retention_ms=DAY)
    fill(log)
    do_all(cleaning(log))
    assert log.apply_retention(NOW_MS + DAY, 12) == 0
    assert log.apply_retention(NOW_MS + DAY + 1, 12) == 4
    assert (log.start_offset, log.end_offset) == (12, 12)


def test_closing_or_failing_ends_a_cleaning(open_log: OpenLog, memory: MemoryStorage, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    fill(log)
    interrupted(log, memory, 5, lambda: log.fail("a sync failed"), do_all)
    log = open_log(config=CONFIG)
    interrupted(log, memory, 5, log.close, do_all)
    log = open_log(config=CONFIG, clean=True)
    assert offsets(log) == list(range(12))


def test_appends_and_reads_go_on(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    fill(log)
    before = log.read(0, 1000, up_to=12)
    whole = before.bytes()
    for step in cleaning(log, chunk=100):
        if step is not None:
            step()
        put(log, (b"k0", b"meanwhile"))
        assert log.read(6, 1, up_to=12).next_offset == 7
    assert before.bytes() == whole, "a reader still has the old file"
    log.delete_expired_files(NOW_MS)
    assert before.bytes() == whole
    log.delete_expired_files(NOW_MS + CONFIG.file_delete_delay_ms)
    with pytest.raises(ValueError):
        before.bytes()
    assert offsets(log)[:3] == [6, 7, 8]


def test_a_full_disk_leaves_the_log_as_it_was(
    open_log: OpenLog, memory: MemoryStorage, do_all: DoAll
) -> None:
    log = open_log(config=CONFIG)
    fill(log)
    sync(log)
    before, memory.capacity = memory.used, memory.used + 50
    with pytest.raises(StorageError):
        do_all(cleaning(log))
    assert (memory.used, log.failed) == (before, None)
    memory.capacity = None
    do_all(cleaning(log))
    assert offsets(log) == [6, 7, 8, 9, 10, 11]


# Power cuts, everywhere.


def prepared(seed: int) -> tuple[CuttableStorage, Log]:
    storage = CuttableStorage(random.Random(seed))
    log = Log.open(storage, DIRECTORY, CONFIG, now_ms=NOW_MS)
    put(log, (b"p", b"1"), producer_id=5, producer_epoch=0, base_sequence=0)
    put(log, (b"k0", b"t"), transactional=True, producer_id=9, producer_epoch=0, base_sequence=0)
    end(log, 9, ControlType.ABORT)
    fill(log, 20)
    put(log, (b"p", b"2"))
    sync(log)
    return storage, log


def table(log: Log) -> dict[bytes | None, tuple[int, bytes | None]]:
    return {
        record.key: (record.offset, record.value)
        for header, batch in stored(log)
        for record in batch
        if not (header.is_control or header.is_transactional)
    }


@pytest.mark.parametrize("power", [True, False])
def test_a_stop_at_any_operation_loses_nothing(power: bool, do_all: DoAll) -> None:
    storage, log = prepared(0)
    expected = table(log)
    operations = 0
    done = False
    while not done:
        storage, log = prepared(operations)
        recovery_point = log.recovery_point
        work = log.compaction.clean(log.end_offset, NOW_MS, memory=MEMORY, chunk=200)
        storage.cut_power_after(operations)
        with contextlib.suppress(PowerCutError):
            do_all(work)
            done = True
        with contextlib.suppress(PowerCutError):
            work.close()
        _restart_halfway(storage, power=power, operations=operations % 7)
        after = Log.open(storage, DIRECTORY, CONFIG, now_ms=NOW_MS, recovery_point=recovery_point)
        assert after.recovered is None
        assert (after.start_offset, after.end_offset) == (0, log.end_offset)
        assert table(after) == expected
        state = after.producers.get(5)
        assert state is not None
        assert (state.last_sequence, after.first_undecided()) == (0, None)
        assert after.aborted_transactions(0, after.end_offset) == [(9, 1)]
        names = storage.list(DIRECTORY)
        assert not [name for name in names if name.endswith((".cleaned", ".swap", ".deleted"))]
        operations += 1
    assert operations > 40


def _restart_halfway(storage: CuttableStorage, *, power: bool, operations: int) -> None:
    """Stop, and stop again while the log is being opened."""
    stop = storage.crash if power else storage.kill
    stop()
    storage.cut_power_after(operations)
    with contextlib.suppress(PowerCutError):
        Log.open(storage, DIRECTORY, CONFIG, now_ms=NOW_MS, recovery_point=24)
    stop()
