"""flush.messages above 1 and flush.ms: acknowledgements wait for no sync, but one is asked for in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kafkawire.errors import ErrorCode


def asked_for(bench: Any, number: int) -> bool:
    """Whether the broker's shell was asked to sync since the last time."""
    unsynced = bench.brokers[number].replicas.outbox.unsynced
    asked = bool(unsynced)
    unsynced.clear()
    return asked


def sync_anyway(bench: Any) -> None:
    partition = bench.partition(1)
    partition.outbox.want_sync(partition)
    bench.sync(1)


def test_by_default_no_sync_is_asked_for(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(1)
    bench.create((1,))
    bench.produce(1, *[b"v"] * 1000)
    bench.now += 1e6
    bench.partition(1).tick(bench.now)
    assert not asked_for(bench, 1)


def test_so_many_records_are_synced_together(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(2)
    bench.create((1, 2), flush_messages=3)
    bench.fetch(2, 1)
    asked = []
    for _ in range(7):
        waiter = bench.awaiting(1, bench.produce(1))
        bench.fetch(2, 1, times=2)
        assert waiter.told == [ErrorCode.NONE]
        asked.append((asked_for(bench, 1), asked_for(bench, 2)))
    assert [each for each, _ in asked] == [False, False, True, False, False, True, False]
    assert [each for _, each in asked] == [False, False, True, False, False, True, False]


def test_what_was_synced_for_another_reason_does_not_count(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(1)
    bench.create((1,), flush_messages=3)
    bench.produce(1, b"a", b"b")
    sync_anyway(bench)
    bench.produce(1, b"c", b"d")
    assert not asked_for(bench, 1)
    bench.produce(1, b"e")
    assert asked_for(bench, 1)


def test_what_is_appended_in_the_place_of_what_was_cut_counts(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(1)
    bench.create((1,), flush_messages=3)
    bench.produce(1, b"a", b"b", b"c")
    assert asked_for(bench, 1)
    bench.partition(1).log.truncate_to(0)
    bench.produce(1, b"d", b"e")
    assert not asked_for(bench, 1)
    bench.produce(1, b"f")
    assert asked_for(bench, 1)


def test_nothing_stays_unsynced_for_long(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(1)
    bench.create((1,), flush_ms=1000)
    partition = bench.partition(1)
    asked = []
    for _ in range(5):
        bench.produce(1)
        partition.tick(bench.now)
        asked.append(asked_for(bench, 1))
        bench.now += 0.5
    assert asked == [False, False, True, False, False]
    sync_anyway(bench)
    bench.now += 10
    partition.tick(bench.now)
    assert not asked_for(bench, 1), "all is synced"
