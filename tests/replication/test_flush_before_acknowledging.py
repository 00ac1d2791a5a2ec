"""flush.messages=1: nothing counts as held before it is synced, on leaders and followers alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kafkawire.errors import ErrorCode


@pytest.fixture
def durable(make_bench: Callable[..., Any]) -> Any:
    """Two brokers, and a partition that is led by 1; both replicas are in sync and have been heard of."""
    bench = make_bench(2)
    bench.create((1, 2), flush_messages=1, min_insync_replicas=2)
    bench.fetch(2, 1)
    return bench


def test_a_leader_counts_itself_once_it_has_synced(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(1)
    bench.create((1,), flush_messages=1)
    waiter = bench.awaiting(1, bench.produce(1))
    assert waiter.told == []
    bench.sync(1)
    assert waiter.told == [ErrorCode.NONE]


def test_a_follower_asks_past_what_it_has_synced_only(durable: Any) -> None:
    """The next fetch is the acknowledgement, so it waits for the sync."""
    waiter = durable.awaiting(1, durable.produce(1))
    durable.sync(1)
    durable.fetch(2, 1)
    assert durable.log_of(2) == [(0, 0)]
    assert durable.fetch(2, 1).request.changed == []
    assert waiter.told == []
    durable.sync(2)
    assert durable.fetch(2, 1).request.changed[0].offset == 1
    assert waiter.told == [ErrorCode.NONE]


def test_a_sync_covers_what_was_there_when_it_began(durable: Any) -> None:
    partition = durable.partition(1)
    durable.produce(1, b"a")
    end = partition.log.end_offset
    files = partition.log.files_to_sync()
    durable.produce(1, b"b")
    for file in files:
        file.sync()
    partition.synced(end, durable.now)
    assert partition.held_end() == 1
    durable.sync(1)
    assert partition.held_end() == 2


def test_a_lost_connection_does_not_acknowledge_what_is_not_synced(durable: Any) -> None:
    durable.produce(1)
    durable.fetch(2, 1)
    durable.lose_connection(2, 1)
    assert durable.fetch(2, 1).request.changed == []
    durable.sync(2)
    assert durable.fetch(2, 1).request.changed[0].offset == 1


def test_a_new_leader_epoch_does_not_acknowledge_what_is_not_synced(make_bench: Callable[..., Any]) -> None:
    """The follower begins anew under another leader; what it has not synced it must not claim."""
    bench = make_bench(3)
    bench.create((1, 2, 3), flush_messages=1)
    for number in (2, 3):
        bench.fetch(number, 1)
    bench.produce(1)
    for number in (2, 3):
        bench.fetch(number, 1)
    bench.fence(1)
    bench.hear()
    assert bench.state().leader == 2
    assert bench.fetch(3, 2).request.changed == []
    assert bench.partition(2).high_watermark == 0
    bench.sync(3)
    assert bench.fetch(3, 2).request.changed[0].offset == 1


def test_a_new_leader_syncs_what_it_has_not_synced(durable: Any) -> None:
    """Nobody may write to it any more: what it owes has to be synced without that."""
    durable.produce(1)
    durable.fetch(2, 1)
    durable.brokers[2].replicas.outbox.unsynced.clear()
    durable.fence(1)
    durable.hear()
    assert durable.state().leader == 2
    assert list(durable.brokers[2].replicas.outbox.unsynced) == [durable.partition(2)]
    durable.sync(2)
    durable.unfence(1)
    durable.hear()
    durable.sync(1)
    durable.fetch(1, 2, times=2)
    durable.alter(2)
    durable.hear()
    assert durable.partition(2).high_watermark == 1


def test_a_process_that_was_killed_syncs_what_it_finds_before_it_claims_it(durable: Any) -> None:
    durable.produce(1)
    durable.fetch(2, 1)
    durable.restart(2)
    durable.hear()
    assert durable.fetch(2, 1).request.changed == []
    durable.sync(2)
    assert durable.fetch(2, 1).request.changed[0].offset == 1


def test_settings_that_begin_to_ask_for_syncs_ask_at_once(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(1)
    bench.create((1,))
    bench.produce(1)
    bench.configure(flush_messages=1)
    bench.hear()
    assert list(bench.brokers[1].replicas.outbox.unsynced) == [bench.partition(1)]
    waiter = bench.awaiting(1, bench.produce(1))
    bench.sync(1)
    assert waiter.told == [ErrorCode.NONE]


def test_a_truncated_log_holds_what_is_left(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(2)
    bench.create((1, 2), flush_messages=1)
    for value in (b"a", b"b"):
        bench.produce(1, value)
        bench.sync(1)
    bench.fetch(2, 1, max_bytes=1)
    bench.sync(2)
    bench.fence(1)
    bench.hear()
    bench.unfence(1)
    bench.hear()
    bench.fetch(1, 2, times=2)
    assert bench.partition(1).held_end() == bench.partition(1).log.end_offset == 1


def test_acknowledged_records_survive_a_power_cut_of_everybody(durable: Any) -> None:
    """Row 10: every replica loses power at once; what was acknowledged is there."""
    waiter = durable.awaiting(1, durable.produce(1, b"acknowledged"))
    durable.sync(1)
    durable.fetch(2, 1)
    durable.sync(2)
    durable.fetch(2, 1)
    assert waiter.told == [ErrorCode.NONE]
    durable.produce(1, b"not acknowledged")
    for number in (1, 2):
        durable.restart(number, power_lost=True)
    durable.hear()
    assert durable.log_of(1)[:1] == durable.log_of(2)[:1] == [(0, 0)]


def test_partitions_that_are_gone_take_no_notice_of_a_sync(durable: Any) -> None:
    durable.produce(1)
    partition = durable.partition(1)
    durable.delete_topic()
    durable.hear()
    assert durable.brokers[1].replicas.outbox.unsynced == {}
    assert durable.brokers[1].replicas.synced({partition: 1}, durable.now) == []
