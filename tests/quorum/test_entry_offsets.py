"""Metadata offsets and Raft's entries are two scales; who has applied so many records has so many entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kraft.quorum.config import QuorumConfig
from kraft.quorum.entry_offsets import KEPT, EntryOffsets


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5)), max_size=20), st.integers(0, 100))
def test_the_last_entry_is_the_last_that_brought_no_later_record(
    steps: list[tuple[int, int]], next_offset: int
) -> None:
    offsets, index, end = EntryOffsets(), 7, 10
    offsets.restart(index, end)
    seen = [(end, index)]
    for entries, records in steps:  # entries without records may come before those that have some
        index, end = index + entries, end + records
        offsets.applied(index, end)
        seen.append((end, index))
    expected = [entry for known, entry in seen if known <= next_offset]
    assert offsets.last_entry(next_offset) == (expected[-1] if expected else None)


def test_what_is_long_ago_is_forgotten() -> None:
    offsets = EntryOffsets()
    for index in range(KEPT + 1):
        offsets.applied(index, index * 2)
    assert offsets.last_entry(1) is None
    assert offsets.last_entry(2) == 1
    assert offsets.last_entry(KEPT * 2) == KEPT


def test_a_leader_tells_entries_of_whoever_tells_it_records(make_cluster) -> None:
    cluster = make_cluster(3)
    cluster.commit([b"a", b"b"])
    after_first = cluster.leader().log.committed_index + 1
    cluster.commit([b"c"])
    leader = cluster.leader().log
    assert leader.log_end_of(1) == -1
    assert leader.log_end_of(2) == after_first
    assert leader.log_end_of(3) == leader.committed_index + 1 == after_first + 1
    assert leader.status().high_watermark == leader.log_end_of(3)


def test_a_snapshot_is_where_counting_begins_again(make_cluster) -> None:
    interval = QuorumConfig(node_id=1, voters=(1,)).snapshot_interval_records
    cluster = make_cluster(1)
    cluster.commit([b"a"] * interval)
    cluster.commit([b"b"])
    node = cluster.leader()
    cluster.until(lambda: node.log.counters.snapshots_taken == 1)
    end = node.log.committed_index + 1
    node.crash(power_lost=False)
    node.start()
    leader = cluster.leader().log
    assert leader.log_end_of(0) == -1
    assert end <= leader.log_end_of(interval + 1) == leader.committed_index + 1
