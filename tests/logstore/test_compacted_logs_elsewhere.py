"""Logs with gaps: copied by followers, cut, compared by epochs, and opened after every kind of stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from kafkawire.records import BatchHeader, ControlType, build_batch, build_control_batch, headers
from logstore.config import LogConfig
from logstore.log import Log, Origin
from logstore.memory import MemoryStorage
from logstore.steps import Step

OpenLog = Callable[..., Log]
DoAll = Callable[[Iterable[Step]], int]
NOW_MS = 1_700_000_000_000
CONFIG = LogConfig(cleanup_policy="compact", segment_bytes=220, index_interval_bytes=100)


def put(log: Log, key: bytes, epoch: int = 1, now: int = NOW_MS) -> None:
    log.append_as_leader(build_batch([(now, key, b"v")]), epoch, now)


def clean(log: Log, do_all: DoAll) -> None:
    for part in log.files_to_sync():
        part.sync()
    log.synced_to(log.end_offset)
    do_all(log.compaction.clean(log.end_offset, NOW_MS, memory=1_000_000))


def copy(leader: Log, follower: Log, size: int = 150) -> None:
    """Fetch as a follower does, until there is no more."""
    while follower.end_offset < leader.end_offset:
        part = leader.read(follower.end_offset, size, up_to=leader.end_offset)
        assert part.size, f"nothing behind {follower.end_offset} of {leader.end_offset}"
        follower.append_as_follower(part.bytes())


def batches(log: Log) -> list[BatchHeader]:
    found = []
    offset = log.start_offset
    while offset < log.end_offset:
        part = log.read(offset, 10_000, up_to=log.end_offset)
        found += [header for _, header in headers(part.bytes())]
        offset = part.next_offset
    return found


@pytest.fixture
def elsewhere(memory: MemoryStorage) -> Callable[..., Log]:
    """Opens a follower's log."""

    def open_it(config: LogConfig = CONFIG, **options: int) -> Log:
        return Log.open(memory, "/data/follower-0", config, now_ms=NOW_MS, **options)

    return open_it


@pytest.mark.parametrize("policy", ["compact", "delete"])
def test_a_new_follower_copies_what_is_left(
    open_log: OpenLog, elsewhere: Callable[..., Log], do_all: DoAll, policy: str
) -> None:
    """Also after the policy was changed: the gaps do not go away with it."""
    leader = open_log(config=CONFIG)
    for number in range(30):
        put(leader, b"k%d" % (number % 4), now=NOW_MS + number)
    data = build_batch(
        [(NOW_MS, b"t", b"x")],
        producer_id=8,
        producer_epoch=0,
        base_sequence=0,
        transactional=True,
    )
    leader.append_as_leader(data, 1, NOW_MS, origin=Origin.COORDINATOR)
    marker = build_control_batch(
        ControlType.ABORT, timestamp=NOW_MS, producer_id=8, producer_epoch=0, coordinator_epoch=0
    )
    leader.append_as_leader(marker, 1, NOW_MS, origin=Origin.COORDINATOR)
    for _ in range(6):
        put(leader, b"more")
    clean(leader, do_all)
    config = LogConfig(cleanup_policy=policy, segment_bytes=220, index_interval_bytes=100)
    follower = elsewhere(config)
    copy(leader, follower)
    assert batches(follower) == batches(leader)
    assert len(batches(leader)) < 20
    assert follower.aborted_transactions(0, 38) == leader.aborted_transactions(0, 38) == [(8, 30)]
    for when in range(NOW_MS - 1, NOW_MS + 40, 3):
        assert follower.offset_for_time(when, up_to=38) == leader.offset_for_time(when, up_to=38)
    after = elsewhere(config)
    assert (batches(after), after.recovered, after.end_offset) == (batches(leader), None, 38)
    clean(follower, do_all)
    assert follower.end_offset == leader.end_offset


def test_a_follower_compacts_by_itself_and_goes_on(
    open_log: OpenLog, elsewhere: Callable[..., Log], do_all: DoAll
) -> None:
    leader, follower = open_log(config=CONFIG), elsewhere()
    for number in range(40):
        put(leader, b"k%d" % (number % 4))
        if number % 7 == 0:
            copy(leader, follower)
            clean(follower, do_all)
        if number % 11 == 0:
            clean(leader, do_all)
    copy(leader, follower)
    clean(leader, do_all)
    clean(follower, do_all)
    assert follower.end_offset == leader.end_offset == 40
    assert batches(follower)[-4:] == batches(leader)[-4:]


def test_a_cut_inside_a_gap_ends_before_it(open_log: OpenLog, do_all: DoAll) -> None:
    log = open_log(config=CONFIG)
    for number in range(12):
        put(log, b"k%d" % (number % 3), epoch=1 + number // 5)
    clean(log, do_all)
    assert [header.base_offset for header in batches(log)] == [2, 5, 6, 7, 8, 9, 10, 11]
    log.truncate_to(5)
    assert (log.end_offset, log.latest_epoch) == (3, 1)
    put(log, b"new", epoch=7)
    assert [header.base_offset for header in batches(log)] == [2, 3]
    log.close()
    after = open_log(config=CONFIG, clean=True)
    assert [header.base_offset for header in batches(after)] == [2, 3]


def test_an_epoch_whose_first_records_are_gone_begins_where_the_one_before_ended(
    open_log: OpenLog, elsewhere: Callable[..., Log], memory: MemoryStorage, do_all: DoAll
) -> None:
    """A replica that has parted from this log in between must not be told that it agrees."""
    leader = open_log(config=CONFIG)
    for epoch, count in ((4, 3), (5, 12)):
        for number in range(count):
            put(leader, b"k%d" % (number % 3), epoch)
    clean(leader, do_all)
    assert [header.base_offset for header in batches(leader)][:3] == [2, 5, 8]
    assert leader.end_offset_for_epoch(4) == (4, 3), "this one knows, it has seen all of them"
    follower = elsewhere()
    copy(leader, follower)
    assert follower.end_offset_for_epoch(4) == (4, 3)
    memory.remove("/data/follower-0/leader-epoch-checkpoint")
    assert elsewhere(clean=False).end_offset_for_epoch(4) == (4, 3)
    assert elsewhere(recovery_point=15).end_offset_for_epoch(4) == (4, 3)


def test_a_missing_end_of_a_segment_is_noticed_in_a_compacted_log_too(
    open_log: OpenLog, memory: MemoryStorage, do_all: DoAll
) -> None:
    log = open_log(config=CONFIG)
    for number in range(12):
        put(log, b"%d" % number)
    clean(log, do_all)
    file = memory.open(f"/data/t-0/{3:020d}.log")
    file.truncate(2 * file.size() // 3)
    after = open_log(config=CONFIG, recovery_point=0)
    assert after.end_offset == 5
    assert after.recovered is not None


def test_a_swap_that_was_not_decided_is_undone(
    open_log: OpenLog, memory: MemoryStorage, do_all: DoAll
) -> None:
    log = open_log(config=CONFIG)
    for number in range(12):
        put(log, b"%d" % number)
    log.close()
    for name in (f"{0:020d}.log.swap", f"{0:020d}.index.swap", f"{0:020d}.timeindex.cleaned"):
        memory.open(f"/data/t-0/{name}", create=True).write_at(0, b"half a segment")
    after = open_log(config=CONFIG, clean=True)
    assert len(batches(after)) == 12
    assert not [name for name in memory.list("/data/t-0") if name.endswith((".swap", ".cleaned"))]


def test_a_swap_that_was_decided_by_another_broker_is_finished(
    open_log: OpenLog, memory: MemoryStorage
) -> None:
    """Its indexes may be missing: all but that of aborted transactions are made anew."""
    log = open_log(config=CONFIG)
    for number in range(12):
        put(log, b"%d" % number)
    log.close()
    cleaned = build_batch([(NOW_MS, b"5", b"v")], base_offset=5, leader_epoch=1)
    memory.open(f"/data/t-0/{0:020d}.log.swap", create=True).write_at(0, cleaned)
    after = open_log(config=CONFIG, clean=True)
    assert [header.base_offset for header in batches(after)] == [5, 6, 7, 8, 9, 10, 11]
    assert after.read(0, 1, up_to=12).next_offset == 6
