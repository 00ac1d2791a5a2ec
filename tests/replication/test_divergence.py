"""How a follower finds out where its log has parted from the leader's, and gives up what never committed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from kafkawire.errors import ErrorCode
from logstore.log import EpochEnd


def fail_over(bench: Any, to: int) -> None:
    """Everybody else is fenced for a moment, so that `to` leads; all know."""
    others = [number for number in bench.brokers if number != to]
    bench.fence(*(number for number in others if not bench.image.brokers[number].fenced))
    bench.unfence(*others)
    bench.hear()
    assert bench.state().leader == to


def all_in_sync(bench: Any, leader: int) -> None:
    for number in bench.brokers:
        if number != leader:
            bench.fetch(number, leader, times=4)
            bench.alter(leader)
    bench.hear()
    assert len(bench.state().isr) == len(bench.brokers)


def test_a_follower_keeps_what_lies_above_its_high_watermark(make_bench: Callable[..., Any]) -> None:
    """Row 1 (KIP-101): 2 has an acknowledged record above its own high watermark, restarts, and then leads.
    Had it truncated to its high watermark, the record would be gone."""
    bench = make_bench(2)
    bench.create((1, 2))
    bench.fetch(2, 1)
    waiter = bench.awaiting(1, bench.produce(1, b"acknowledged"))
    bench.fetch(2, 1)
    exchange = bench.ask(2, 1)
    assert waiter.told == [ErrorCode.NONE]
    assert exchange.request.changed[0].offset == 1
    assert bench.partition(2).high_watermark == 0
    bench.restart(2, clean=True)
    bench.hear()
    bench.fetch(2, 1)
    bench.alter(1)
    assert bench.state().isr == (1, 2)
    bench.fence(1)
    bench.hear()
    assert bench.state().leader == 2
    assert bench.log_of(2) == [(0, 0)]


def test_a_deposed_leader_gives_up_its_uncommitted_tail(bench: Any) -> None:
    """KIP-595: the fetch says in which epoch the follower's log ends, the answer where that epoch ended."""
    bench.produce(1, b"a")
    bench.fetch(2, 1, times=2)
    bench.fetch(3, 1, times=2)
    bench.produce(1, b"lost")
    fail_over(bench, 2)
    bench.produce(2, b"b")
    exchange = bench.fetch(1, 2)
    (answer,) = exchange.reply.partitions
    assert (answer.diverging_epoch, answer.end_offset, answer.size) == (0, 1, 0)
    assert bench.log_of(1) == [(0, 0)]
    assert bench.leader(2).followers[1].end_offset == -1
    bench.fetch(1, 2)
    assert bench.log_of(1) == [(0, 0), (1, 1)] == bench.log_of(2)


def test_records_of_one_epoch_of_which_the_leader_has_fewer_go(bench: Any) -> None:
    bench.produce(1, b"a")
    bench.fetch(2, 1)
    bench.produce(1, b"b")
    bench.produce(1, b"c")
    fail_over(bench, 2)
    bench.fetch(1, 2, times=2)
    assert bench.log_of(1) == bench.log_of(2) == [(0, 0)]


def test_an_epoch_that_the_leader_lacks_is_looked_up_step_by_step(make_bench: Callable[..., Any]) -> None:
    """Row 2 (KIP-279): two fail-overs in quick succession. The leader never heard of the follower's epochs 3
    and 1 and answers the largest one before; the follower, who lacks that, falls back to the end of its own
    and asks again."""
    bench = make_bench(2)
    bench.create((1, 2))
    follower, leader = bench.partition(1), bench.partition(2)
    for partition, epochs in ((follower, (0, 0, 1, 3, 3)), (leader, (0, 0, 2, 2, 2))):
        for epoch in epochs:
            partition.log.append_as_leader(_batch(), epoch, 1_700_000_000_000)
    led_by_2 = replace(bench.state(), leader=2, isr=(2,), leader_epoch=4, partition_epoch=4)
    for partition in (leader, follower):
        partition.update(led_by_2, lambda broker: bench.brokers[broker].epoch, bench.now)
    answers = []
    log = follower.log
    while True:
        asked = (1, bench.brokers[1].epoch, 4, log.end_offset, log.latest_epoch, bench.now)
        diverging = leader.fetched_by(*asked)
        if diverging is None:
            break
        answers.append(diverging)
        follower.truncate_to_agreement(diverging)
    assert answers == [EpochEnd(2, 5), EpochEnd(0, 2)]
    assert bench.log_of(1) == [(0, 0), (1, 0)]


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (EpochEnd(2, 4), 4),
        (EpochEnd(2, 9), 6),
        (EpochEnd(1, 4), 2),
        (EpochEnd(1, 1), 1),
        (EpochEnd(0, 1), 0),
    ],
)
def test_what_is_kept_for_each_answer(bench: Any, answer: EpochEnd, kept: int) -> None:
    """The log has epoch 1 up to 2 and epoch 2 up to 6. Of epochs that both have, the shorter counts; of an
    epoch that we lack, our own end of the one before."""
    log = bench.partition(1).log
    for epoch, count in ((1, 2), (2, 4)):
        for _ in range(count):
            log.append_as_leader(_batch(), epoch, 1_700_000_000_000)
    bench.partition(1).truncate_to_agreement(answer)
    assert log.end_offset == kept
    assert bench.partition(1).high_watermark <= kept


def _batch() -> bytes:
    from kafkawire.batch_builder import build_batch

    return build_batch([(1_700_000_000_000, None, b"v")])


def test_every_cut_is_told_at_once(bench: Any) -> None:
    bench.produce(1, b"a")
    fail_over(bench, 2)
    bench.fetch(1, 2)
    assert bench.brokers[1].cuts == [bench.partition(1)]


def test_a_follower_behind_the_leaders_log_start_begins_anew(bench: Any) -> None:
    """OFFSET_OUT_OF_RANGE on the low side: what it would fetch next was deleted long ago."""
    bench.fetch(3, 1)
    for _ in range(3):
        bench.produce(1, b"a")
    bench.fetch(2, 1, times=2)
    bench.fence(3)
    bench.hear(1)
    bench.partition(1).log.advance_start(2)
    bench.unfence(3)
    bench.hear()
    bench.lose_connection(3, 1)
    exchange = bench.fetch(3, 1)
    assert exchange.reply.partitions[0].error == ErrorCode.OFFSET_OUT_OF_RANGE
    log = bench.partition(3).log
    assert (log.start_offset, log.end_offset) == (2, 2)
    bench.fetch(3, 1)
    assert bench.log_of(3) == [(2, 0)]


def test_an_empty_log_past_the_leaders_end_begins_anew(bench: Any) -> None:
    """OFFSET_OUT_OF_RANGE on the high side, after an unclean election: an empty log has no epoch to compare,
    and nothing to cut; it once asked for the same offset for ever."""
    bench.produce(1, b"a")
    bench.partition(3).restart_at(100)
    bench.lose_connection(3, 1)
    exchange = bench.fetch(3, 1)
    assert exchange.reply.partitions[0].error == ErrorCode.OFFSET_OUT_OF_RANGE
    bench.fetch(3, 1, times=2)
    assert bench.log_of(3) == bench.log_of(1) == [(0, 0)]
    assert bench.partition(3).log.start_offset == 0


def test_the_log_start_follows_the_leaders(bench: Any) -> None:
    for _ in range(3):
        bench.produce(1, b"a")
    bench.fetch(2, 1, times=2)
    bench.fetch(3, 1, times=2)
    bench.partition(1).log.advance_start(2)
    bench.produce(1, b"b")
    bench.fetch(3, 1)
    assert bench.partition(3).log.start_offset == 2


def test_an_answer_from_the_leader_before_is_ignored(bench: Any) -> None:
    bench.produce(1, b"a")
    exchange = bench.ask(3, 1)
    bench.fence(1)
    bench.hear()
    bench.deliver(3, 1, exchange)
    assert bench.log_of(3) == []


def test_an_answer_to_what_was_asked_in_an_older_epoch_is_ignored(bench: Any) -> None:
    """The same leader in a later epoch: the follower asks anew before it believes anything."""
    fail_over(bench, 1)
    all_in_sync(bench, 1)
    bench.produce(1, b"a")
    exchange = bench.ask(3, 1)
    fail_over(bench, 2)
    all_in_sync(bench, 2)
    bench.elect_preferred()
    bench.hear()
    assert bench.state().leader == 1
    before = bench.log_of(3)
    bench.deliver(3, 1, exchange)
    assert bench.log_of(3) == before == []
    bench.produce(1, b"b")
    bench.fetch(3, 1)
    assert bench.log_of(3) == bench.log_of(1)
