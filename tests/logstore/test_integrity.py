"""Rot in what was synced: nobody reads it, and another replica's batches take its place."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import build_batch, headers, stamp
from logstore.config import LogConfig
from logstore.log import Log
from logstore.repair import RepairAborted
from tests.counted_calls import calls_of
from tests.rotten_logs import (
    COMPACTED,
    COUNT,
    DIRECTORY,
    NOW_MS,
    SMALL,
    DoAll,
    Replica,
    append,
    batches_of,
    clean_all,
    filled,
    look_at_all,
    repair,
    rot,
)


@given(data=st.data())
def test_no_flipped_bit_is_read_and_each_is_mended(do_all: DoAll, data: st.DataObject) -> None:
    rotten, healthy = filled(SMALL, SMALL)
    wanted = batches_of(healthy.log)
    aborted = rotten.log.aborted_transactions(0, rotten.log.end_offset)
    rotten.close_cleanly()
    path = data.draw(st.sampled_from(rotten.segments()))
    size = rotten.storage.open(path).size()
    bit = data.draw(st.integers(0, 8 * size - 1))
    # Where the newest batch says that it begins nothing can be held against it.
    assume(path != rotten.segments()[-1] or not 0 <= bit // 8 - (size - len(wanted[-1])) < 8)
    rotten.storage.flip_bit(path, bit)
    rotten.reopen()
    log = rotten.log
    if log.recovered is not None:
        # The end could not be believed, which is noticed at once: it is fetched as what was never there.
        assert batches_of(log) == wanted[: len(batches_of(log))]
        return
    if data.draw(st.booleans(), label="read first"):
        with pytest.raises(KafkaError) as refused:
            assert batches_of(log) == wanted, "rot was read"
        assert refused.value.code == ErrorCode.CORRUPT_MESSAGE
    else:
        look_at_all(log, do_all)
    assert len(log.integrity.damaged) == 1
    repair(log, healthy.log, do_all)
    look_at_all(log, do_all)
    assert not log.integrity.damaged
    assert not log.integrity.doubts
    assert batches_of(log) == wanted
    assert log.aborted_transactions(0, log.end_offset) == aborted
    rotten.close_cleanly()
    rotten.reopen()
    assert batches_of(rotten.log) == wanted
    assert not [name for name in rotten.storage.list(DIRECTORY) if name.endswith((".cleaned", ".swap"))]


def test_what_is_not_committed_is_not_the_same_everywhere(do_all: DoAll) -> None:
    rotten, healthy = filled(SMALL, SMALL)
    rot(rotten, rotten.segments()[1], 70)
    look_at_all(rotten.log, do_all)
    (base_offset,) = rotten.log.integrity.damaged
    with pytest.raises(RepairAborted):
        repair(rotten.log, healthy.log, do_all, high_watermark=base_offset + 1)
    repair(rotten.log, healthy.log, do_all)
    assert batches_of(rotten.log) == batches_of(healthy.log)


def test_the_segment_that_is_written_to_is_closed_first(do_all: DoAll) -> None:
    config = LogConfig(index_interval_bytes=150)
    rotten, healthy = filled(config, config)
    rot(rotten, rotten.segments()[0], 70)
    log = rotten.log
    look_at_all(log, do_all)
    append(log, COUNT, 3)
    with pytest.raises(RepairAborted):
        repair(log, healthy.log, do_all, high_watermark=healthy.log.end_offset)
    assert log.segment_count == 2, "so that what comes does not keep it from being committed"
    healthy.log.append_as_follower(log.read(log.end_offset - 1, 400, up_to=log.end_offset).bytes())
    append(log, COUNT + 1, 3)
    repair(log, healthy.log, do_all, high_watermark=healthy.log.end_offset)
    assert batches_of(log)[:-1] == batches_of(healthy.log)


def test_a_source_that_is_damaged_as_well_mends_nothing(do_all: DoAll) -> None:
    rotten, other = filled(SMALL, SMALL)
    for replica in (rotten, other):
        rot(replica, replica.segments()[0], 70)
    look_at_all(rotten.log, do_all)
    with pytest.raises(KafkaError, match="damaged"):
        repair(rotten.log, other.log, do_all)
    with rotten.log.integrity.repairing(rotten.log.end_offset, 1000) as work:
        do_all(work.copy())
        damaged = other.storage.open(other.segments()[0])
        with pytest.raises(KafkaError, match="no right batch"):
            do_all(work.add(damaged.read_at(0, damaged.size()), work.up_to))
    assert rotten.log.integrity.damaged
    assert not [name for name in rotten.storage.list(DIRECTORY) if name.endswith(".cleaned")]


@pytest.mark.parametrize("cut", ["truncate", "retain"])
def test_a_log_that_is_cut_meanwhile_is_let_alone(do_all: DoAll, cut: str) -> None:
    rotten, healthy = filled(SMALL, SMALL)
    rot(rotten, rotten.segments()[0], 70)
    log = rotten.log
    look_at_all(log, do_all)
    with log.integrity.repairing(log.end_offset, 1000) as work:
        do_all(work.copy())
        if cut == "truncate":
            log.truncate_to(COUNT // 2)
        else:
            log.advance_start(COUNT // 2)
            log.apply_retention(NOW_MS, log.end_offset)
        got = healthy.log.read(work.next_offset, 300, up_to=work.up_to)
        with pytest.raises(RepairAborted):
            do_all(work.add(got.bytes(), got.next_offset))
    assert not [name for name in rotten.storage.list(DIRECTORY) if name.endswith(".cleaned")]


def test_a_compacted_log_takes_all_that_lies_before_from_the_same_source(do_all: DoAll) -> None:
    rotten, healthy = filled(COMPACTED, COMPACTED)
    healthy.close_cleanly()
    healthy.reopen()
    do_all(healthy.log.compaction.clean(healthy.log.end_offset, NOW_MS, memory=1 << 20))
    assert len(batches_of(healthy.log)) < len(batches_of(rotten.log))
    rot(rotten, rotten.segments()[2], 70)
    log = rotten.log
    look_at_all(log, do_all)
    (base_offset,) = log.integrity.damaged
    replaced = log.integrity.damaged[base_offset]
    repair(log, healthy.log, do_all)
    assert not log.integrity.damaged
    for data in batches_of(log):
        ((_, header),) = headers(data)
        if header.base_offset <= replaced:
            assert data in batches_of(healthy.log), "an older record of a key would be its last one again"
    do_all(log.compaction.clean(log.end_offset, NOW_MS, memory=1 << 20))


def test_everything_can_be_looked_at_anew(do_all: DoAll) -> None:
    (replica,) = filled(SMALL)
    assert not replica.log.integrity.doubts, "this process has verified what it wrote"
    replica.storage.flip_bit(replica.segments()[0], 8 * 70)
    replica.log.integrity.doubt_all()
    look_at_all(replica.log, do_all)
    assert list(replica.log.integrity.damaged) == [0]


def with_gaps(do_all: DoAll) -> Replica:
    """A compacted log that another process has written."""
    (replica,) = filled(COMPACTED)
    replica.close_cleanly()
    replica.reopen()
    do_all(replica.log.compaction.clean(replica.log.end_offset, NOW_MS, memory=1 << 20))
    replica.close_cleanly()
    replica.reopen()
    return replica


def test_who_reads_over_a_gap_does_not_disturb_who_looks(do_all: DoAll) -> None:
    log = with_gaps(do_all).log
    for step in log.integrity.look(100):
        if step is not None:
            step()
        for offset in range(log.end_offset):
            assert log.read(offset, 400, up_to=log.end_offset).size
    look_at_all(log, do_all)
    assert not log.integrity.damaged
    assert not log.integrity.doubts


def test_a_gap_costs_a_look_at_what_lies_around_it() -> None:
    """Not at a whole segment, for which everybody would have to wait."""
    leader, follower = Replica(), Replica(LogConfig(index_interval_bytes=150))
    for number in range(400):
        append(leader.log, 4 * number, 0)
    given = batches_of(leader.log)
    follower.log.append_as_follower(b"".join(given[:200] + given[201:]))
    follower.close_cleanly()
    follower.reopen()
    log = follower.log
    assert calls_of(lambda: log.read(200, 400, up_to=log.end_offset)) < len(given)
    found = log.read(200, 400, up_to=log.end_offset)
    assert next(headers(found.bytes()))[1].base_offset == 201


@pytest.mark.parametrize("seen", [False, True])
def test_a_damaged_batch_at_the_end_of_a_segment_is_not_passed_over(do_all: DoAll, seen: bool) -> None:
    """The next segment was verified, and goes on behind it as if compaction had been there."""
    (replica,) = filled(LogConfig(segment_bytes=600))  # no index knows it
    first, second = (int(path[-24:-4]) for path in replica.segments()[:2])
    last = replica.log.read(second - 1, 400, up_to=second)
    replica.close_cleanly()
    replica.storage.flip_bit(replica.segments()[0], 8 * (last.position + 7) + 5)  # offset 4 is 0
    replica.reopen()
    log = replica.log
    if seen:
        look_at_all(log, do_all)
        log.integrity.damaged.clear()
    else:
        del log.integrity.doubts[log.read(second, 400, up_to=log.end_offset).file]
    with pytest.raises(KafkaError, match="damaged"):
        log.read(second - 1, 400, up_to=log.end_offset)
    assert list(log.integrity.damaged) == [first]


@pytest.mark.parametrize("taken", range(2, 6))
def test_a_segment_may_be_compacted_away_while_it_is_looked_at(do_all: DoAll, taken: int) -> None:
    """What is closed by then is no disk that has failed."""
    (replica,) = filled(COMPACTED)
    replica.close_cleanly()
    replica.reopen()
    log = replica.log
    steps = iter(log.integrity.look(100))
    for step in itertools.islice(steps, taken):
        if step is not None:
            step()
    do_all(log.compaction.clean(log.end_offset, NOW_MS, memory=1 << 20))
    for later in range(2):
        log.delete_expired_files(NOW_MS + later * log.config.file_delete_delay_ms)
    do_all(steps)
    look_at_all(log, do_all)
    assert not log.integrity.damaged
    assert not log.integrity.doubts


def test_what_was_cut_meanwhile_is_looked_at_from_the_start(do_all: DoAll) -> None:
    config = LogConfig(index_interval_bytes=150)
    (replica,) = filled(config)
    replica.close_cleanly()
    replica.reopen()
    log = replica.log
    steps = iter(log.integrity.look(100))
    while log.integrity.doubts and next(iter(log.integrity.doubts.values())).next_offset < COUNT // 2:
        step = next(steps)
        if step is not None:
            step()
    log.truncate_to(COUNT // 4)
    for _ in range(COUNT):
        log.append_as_leader(build_batch([(NOW_MS, None, b"y" * 7)] * 3), 3, NOW_MS)
    do_all(steps)
    look_at_all(log, do_all)
    assert not log.integrity.damaged
    assert not log.integrity.doubts


@pytest.mark.parametrize("number", [0, 1])
def test_what_was_aborted_is_known_where_it_was_compacted_away(do_all: DoAll, number: int) -> None:
    """Its records come back with what another replica has."""
    rotten, healthy = filled(COMPACTED, COMPACTED)
    clean_all(rotten, do_all)
    wanted = healthy.log.aborted_transactions(0, healthy.log.end_offset)
    assert len(rotten.log.aborted_transactions(0, rotten.log.end_offset)) < len(wanted)
    cleaned_to = rotten.log.compaction.cleaned_to
    rot(rotten, rotten.segments()[number], 70)
    log = rotten.log
    log.compaction.cleaned_to = cleaned_to
    look_at_all(log, do_all)
    assert log.integrity.damaged
    repair(log, healthy.log, do_all)
    assert log.aborted_transactions(0, log.end_offset) == wanted
    assert [data for data in batches_of(log) if data in batches_of(healthy.log)] == batches_of(healthy.log)


def test_a_compacted_log_keeps_nothing_ahead_of_the_damage(do_all: DoAll) -> None:
    """Its tombstone may have been compacted away in the other replica."""
    replicas = [Replica(COMPACTED), Replica(COMPACTED)]
    for replica in replicas:
        for number in range(12):
            key = b"gone" if number < 2 else b"%d" % number
            batch = build_batch([(NOW_MS, key, None if number == 1 else b"v" * 20)])
            replica.log.append_as_leader(batch, 0, NOW_MS)
    rotten, healthy = replicas
    clean_all(healthy, do_all)
    assert not any(b"gone" in data for data in batches_of(healthy.log))
    rot(rotten, rotten.segments()[0], 200)
    look_at_all(rotten.log, do_all)
    repair(rotten.log, healthy.log, do_all)
    assert not any(b"gone" in data for data in batches_of(rotten.log))


def test_between_a_segment_that_was_mended_and_the_next_is_no_gap(do_all: DoAll) -> None:
    """Recovery would take it for what was not written, and drop all that follows."""
    rotten, healthy = filled(SMALL, SMALL)
    rot(rotten, rotten.segments()[0], 70)
    look_at_all(rotten.log, do_all)
    with rotten.log.integrity.repairing(rotten.log.end_offset, 1000) as work:
        do_all(work.copy())
        do_all(work.add(b"", work.up_to))
        do_all(work.finish())
    rest = batches_of(healthy.log)[work.up_to :]
    assert batches_of(rotten.log)[-len(rest) :] == rest
    rotten.log.close(clean=False)
    opened = Log.open(rotten.storage, DIRECTORY, SMALL, now_ms=NOW_MS)
    assert (opened.end_offset, opened.recovered) == (healthy.log.end_offset, None)


def test_a_batch_of_another_leader_is_not_taken(do_all: DoAll) -> None:
    rotten, other = filled(SMALL)[0], Replica()
    for number in range(COUNT):
        append(other.log, number, 5)
    rot(rotten, rotten.segments()[0], 70)
    look_at_all(rotten.log, do_all)
    with pytest.raises(KafkaError, match="no right batch"):
        repair(rotten.log, other.log, do_all)


def test_what_is_too_much_for_one_segment_is_let_alone(do_all: DoAll) -> None:
    replica = Replica(COMPACTED)
    for number in range(24):
        data = bytearray(build_batch([(NOW_MS, b"k", b"v" * 20)]))
        stamp(data, 0, number // 6 * 2**30 + number, 0)
        replica.log.append_as_follower(data)
    rot(replica, replica.segments()[-2], 70)
    look_at_all(replica.log, do_all)
    assert replica.log.integrity.damaged
    with pytest.raises(RepairAborted, match="too much"):
        repair(replica.log, replica.log, do_all)
