"""Journals of clients: what is written down becomes the same events again, and live counts."""

from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.harness.journal import Journal, SentRun, events, parse_line, runs_of
from chaos.harness.observations import Observations, Tail
from chaos.harness.tasks import Library, Pace, Role, Task, decode_task, encode_task
from chaos.harness.verdict import percentiles
from chaos.history import (
    Assigned,
    Committed,
    Ended,
    Ending,
    OffsetFetched,
    Outcome,
    Polled,
    Read,
    ReadBack,
    Sent,
    Settled,
)


def counting() -> float:
    return 10.0


def test_everything_comes_back_as_events_in_the_order_of_time(tmp_path: Path) -> None:
    ticks = itertools.count(10)
    one = Journal(tmp_path / "one.journal", lambda: float(next(ticks)))
    two = Journal(tmp_path / "two#2.journal", lambda: float(next(ticks)))
    one.sent(SentRun("t", 1, 5, 100, 2))
    two.assigned([("t", 1), ("a-b.c", 0)])
    one.settled(100, Outcome.ACKNOWLEDGED, 7)
    one.settled(101, Outcome.ACKNOWLEDGED, 8)
    one.flush()
    two.polled([Read("t", 1, 7, 100), Read("t", 1, 8, 101)], committed_only=True, transaction=3)
    two.polled([])
    two.sent(SentRun("a-b.c", 0, 1, 500, 1, 3, 100))
    two.committed(("g", "t", 1), 9, Outcome.ACKNOWLEDGED, 11.5, 3)
    two.committing(3, commit=True)
    two.ended(3, Outcome.UNKNOWN, commit=True)
    two.fetched(("g", "t", 1), -1, 16.0)
    two.note("two\nlines are one")
    two.read_back("t", 1, 9)
    one.close()
    two.close()
    paths = [tmp_path / "one.journal", tmp_path / "two#2.journal"]
    assert list(events(paths, 10.0)) == [
        Sent("one", 0.0, 100, "t", 1, 5, None, None),
        Sent("one", 0.0, 101, "t", 1, 5, None, None),
        Assigned("two#2", 1.0, 1, (("t", 1), ("a-b.c", 0))),
        Settled("one", 2.0, 100, Outcome.ACKNOWLEDGED, 7),
        Settled("one", 2.0, 101, Outcome.ACKNOWLEDGED, 8),
        Polled("two#2", 3.0, 1, (Read("t", 1, 7, 100), Read("t", 1, 8, 101)), True, 3),
        Sent("two#2", 4.0, 500, "a-b.c", 0, 1, 3, 100),
        Committed("two#2", 5.0, "g", "t", 1, 9, Outcome.ACKNOWLEDGED, 3, 1.5),
        Ending("two#2", 6.0, 3, True),
        Ended("two#2", 7.0, 3, True, Outcome.UNKNOWN),
        OffsetFetched("two#2", 8.0, "g", "t", 1, None, 6.0),
        ReadBack("two#2", 10.0, "t", 1, 9),
    ]


def test_a_line_that_its_writer_did_not_finish_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "one.journal"
    path.write_text("R 1.0 t 0 5\nR 2.0 t 1 5\nR 3.0 t 2")
    assert len(list(events([path], 0.0))) == 2
    tail = Tail(path)
    assert len(list(tail.lines())) == 2
    with path.open("a") as file:
        file.write(" 9\n")
    assert [line.fields for line in tail.lines()] == [["t", "2", "9"]]
    assert list(tail.lines()) == []


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(0, 9), st.integers(-1, 9)),
        max_size=30,
    )
)
def test_runs_are_the_same_reads(rows: list[tuple[str, int, int, int]]) -> None:
    reads = [Read(*row) for row in rows]
    again = [
        Read(run.topic, run.partition, run.offset + index, run.record + index)
        for run in runs_of(reads)
        for index in range(run.length)
    ]
    assert again == reads


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from(Outcome), st.integers(-1, 20)), max_size=30))
def test_settlements_that_are_put_together_say_the_same(
    tmp_path_factory: object, rows: list[tuple[int, Outcome, int]]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "one.journal"  # type: ignore[attr-defined]
    journal = Journal(path, counting)
    for record, outcome, offset in rows:
        journal.settled(record, outcome, offset)
    journal.close()
    expected = [(record, outcome, None if offset < 0 else offset) for record, outcome, offset in rows]
    assert [(each.record, each.outcome, each.offset) for each in events([path], 0.0)] == expected


def test_latencies_and_waits_are_taken_from_the_lines() -> None:
    seen = Observations()
    seen.take("p", parse_line("S 10.0 t 0 1 0 10 -1 -1"))
    seen.take("p", parse_line("S 10.1 t 1 1 10 10 -1 -1"))
    assert seen.waits.quiet_for(12.0) == 2.0
    seen.take("p", parse_line("D 10.5 a 0 10 0"))
    seen.take("p", parse_line("D 13.5 a 10 5 0"))
    seen.take("p#2", parse_line("B 13.6 gave up"))
    seen.take("p", parse_line("D 14.0 u 15 5 -1"))
    assert seen.acknowledged == 15
    counts = seen.clients["p"]
    assert (counts.sent, counts.unknown, counts.last_note) == (20, 5, "gave up")
    assert seen.seconds[10].latencies == [(0.5, 10)]
    ((place, pause),) = seen.waits.longer_than(1.0)
    assert place == "t-1"
    assert (round(pause.start, 1), pause.end) == (10.1, 13.5)
    assert seen.waits.quiet_for(20.0) == 0.0


def test_percentiles_weigh_latencies_by_records() -> None:
    assert percentiles([(3.0, 1), (1.0, 98), (2.0, 1)], 0.5, 0.99, 1.0) == [1.0, 2.0, 3.0]
    assert percentiles([], 0.5) == [0.0]


def test_a_pace_spreads_all_records_over_partitions_and_time() -> None:
    task = Task(
        "p", Library.KRAFT, Role.PRODUCE, "h:1", "j", (("t", 3),), first_record=1000, records=1000, rate=500.0
    )
    assert decode_task(encode_task(task)) == task
    pace = Pace(task, 0.0)
    bursts, now = [], 0.0
    while not pace.finished:
        burst = pace.next_burst(now)
        if burst is None:
            now += 0.01
        else:
            bursts.append(burst)
            pace.unsettled -= burst[3]
    assert 1.8 <= now <= 2.1
    assert [record for _, _, first, count in bursts for record in range(first, first + count)] == [
        *range(1000, 2000)
    ]
    assert {partition for partition, *_ in bursts} == {0, 1, 2}


def test_a_pace_waits_while_too_much_is_under_way() -> None:
    task = Task("p", Library.KRAFT, Role.PRODUCE, "h:1", "j", (("t", 1),), records=10**6, rate=1e9)
    pace = Pace(task, 0.0)
    while pace.next_burst(1.0) is not None:
        assert pace.unsettled <= 20_000
    assert pace.unsettled == 20_000
