"""What a leader takes, when it acknowledges, and what it shows to whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kafkawire.batch_header import headers
from kafkawire.errors import ErrorCode

Refused = Callable[..., ErrorCode]


def test_acks_all_is_answered_when_every_in_sync_replica_has_it(bench: Any) -> None:
    bench.fetch(2, 1)
    bench.fetch(3, 1)
    waiter = bench.awaiting(1, bench.produce(1, b"a"))
    bench.fetch(2, 1, times=2)
    bench.fetch(3, 1)
    assert waiter.told == []
    bench.fetch(3, 1)
    assert waiter.told == [ErrorCode.NONE]
    assert bench.partition(1).high_watermark == 1


def test_a_sole_replica_commits_at_once(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(1)
    bench.create((1,))
    assert bench.awaiting(1, bench.produce(1)) is None


def test_waiters_are_released_in_order_up_to_the_high_watermark(bench: Any) -> None:
    bench.fetch(2, 1)
    bench.fetch(3, 1)
    first = bench.awaiting(1, bench.produce(1, b"a"))
    bench.fetch(2, 1, times=2)
    bench.fetch(3, 1, times=2)
    second = bench.awaiting(1, bench.produce(1, b"b"))
    assert (first.told, second.told) == ([ErrorCode.NONE], [])


def test_acks_all_is_refused_under_min_insync_replicas(
    make_bench: Callable[..., Any], refused: Refused
) -> None:
    bench = make_bench()
    bench.create((1, 2, 3), min_insync_replicas=2)
    bench.fence(2, 3)
    bench.hear(1)
    end = bench.partition(1).log.end_offset
    assert refused(bench.produce, 1) is ErrorCode.NOT_ENOUGH_REPLICAS
    assert bench.partition(1).log.end_offset == end
    assert bench.produce(1, acks=1).first_offset == end


def test_min_insync_replicas_counts_no_more_replicas_than_there_are(make_bench: Callable[..., Any]) -> None:
    bench = make_bench(1)
    bench.create((1,), min_insync_replicas=3)
    assert bench.awaiting(1, bench.produce(1)) is None


def test_nothing_commits_under_min_insync_replicas(make_bench: Callable[..., Any]) -> None:
    """Row 9 (KIP-966): a replica that left the ISR is eligible, so nothing may commit without it."""
    bench = make_bench()
    bench.create((1, 2), min_insync_replicas=2)
    bench.fetch(2, 1)
    waiter = bench.awaiting(1, bench.produce(1))
    bench.fence(2)
    bench.hear(1)
    assert bench.state().elr == (2,)
    assert bench.partition(1).high_watermark == 0
    assert waiter.told == []
    bench.now += 6.0
    bench.partition(1).tick(bench.now)
    assert waiter.told == [ErrorCode.REQUEST_TIMED_OUT]


def test_the_last_in_sync_replica_loses_its_tail_and_nothing_acknowledged_goes(
    make_bench: Callable[..., Any],
) -> None:
    """Row 9 (KIP-966): 1 and 2 committed; 1 stays alone, takes more, and loses power. 2 is eligible."""
    bench = make_bench(2)
    bench.create((1, 2), min_insync_replicas=2)
    bench.fetch(2, 1)
    waiter = bench.awaiting(1, bench.produce(1, b"acknowledged"))
    bench.fetch(2, 1, times=3)
    assert waiter.told == [ErrorCode.NONE]
    bench.fence(2)
    bench.hear(1)
    bench.produce(1, b"not acknowledged", acks=1)
    bench.restart(1, power_lost=True)
    bench.unfence(2)
    bench.hear()
    assert bench.state().leader == 2
    assert bench.log_of(2) == [(0, 0)]
    bench.fetch(1, 2, times=3)
    assert bench.log_of(1) == [(0, 0)]


def test_a_timeout_answers_but_does_not_take_back(bench: Any) -> None:
    bench.fetch(2, 1)
    bench.fetch(3, 1)
    waiter = bench.awaiting(1, bench.produce(1), timeout=1.0)
    bench.partition(1).tick(bench.now + 0.9)
    assert waiter.told == []
    bench.partition(1).tick(bench.now + 1.0)
    assert waiter.told == [ErrorCode.REQUEST_TIMED_OUT]
    bench.fetch(2, 1, times=2)
    bench.fetch(3, 1, times=2)
    assert waiter.told == [ErrorCode.REQUEST_TIMED_OUT]
    assert bench.partition(1).high_watermark == 1


def test_those_with_more_time_go_on_waiting(bench: Any) -> None:
    short = bench.awaiting(1, bench.produce(1), timeout=1.0)
    long = bench.awaiting(1, bench.produce(1), timeout=9.0)
    bench.partition(1).tick(bench.now + 1.0)
    assert (short.told, long.told) == ([ErrorCode.REQUEST_TIMED_OUT], [])
    bench.fetch(2, 1, times=3)
    bench.fetch(3, 1, times=3)
    assert long.told == [ErrorCode.NONE]


def test_a_repeated_batch_waits_for_the_first_one_to_commit(bench: Any) -> None:
    """Row 19: a retry of what is there, uncommitted, is acknowledged only with it, at the same offset."""
    producer = {"producer_id": 7, "producer_epoch": 0, "base_sequence": 0}
    bench.fetch(2, 1)
    bench.fetch(3, 1)
    first = bench.produce(1, b"a", **producer)
    again = bench.produce(1, b"a", **producer)
    assert again.duplicate
    assert again.first_offset == first.first_offset
    waiter = bench.awaiting(1, again)
    assert waiter.told == []
    bench.fetch(2, 1, times=2)
    bench.fetch(3, 1, times=2)
    assert waiter.told == [ErrorCode.NONE]
    assert bench.awaiting(1, bench.produce(1, b"a", **producer)) is None
    assert bench.partition(1).log.end_offset == 1


def test_a_new_leader_remembers_the_producers_of_the_old_one(bench: Any, refused: Refused) -> None:
    """Row 19 (KIP-360): a follower's log makes the same producer states, so that a retry is known."""
    for sequence in range(3):
        bench.produce(1, b"%d" % sequence, producer_id=7, producer_epoch=0, base_sequence=sequence)
    bench.fetch(2, 1, times=4)
    bench.fence(1)
    bench.hear()
    assert bench.state().leader == 2
    retry = bench.produce(2, b"1", producer_id=7, producer_epoch=0, base_sequence=1)
    assert (retry.duplicate, retry.first_offset) == (True, 1)
    gap = {"producer_id": 7, "producer_epoch": 0, "base_sequence": 4}
    assert refused(bench.produce, 2, b"4", **gap) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert bench.produce(2, b"3", producer_id=7, producer_epoch=0, base_sequence=3).first_offset == 3


def test_truncation_forgets_what_a_producer_did_in_the_part_that_goes(bench: Any) -> None:
    """Row 19: after truncation a retry of a truncated batch is no duplicate; it is appended again."""
    bench.fetch(2, 1)
    bench.fetch(3, 1)
    bench.produce(1, b"0", producer_id=7, producer_epoch=0, base_sequence=0)
    bench.fetch(2, 1, times=2)
    bench.fetch(3, 1, times=2)
    bench.produce(1, b"1", producer_id=7, producer_epoch=0, base_sequence=1)
    bench.fence(1)
    bench.hear()
    bench.unfence(1)
    bench.hear()
    bench.fetch(1, 2, times=3)
    bench.fetch(3, 2, times=3)
    assert bench.log_of(1) == [(0, 0)]
    bench.alter(2)
    bench.hear()
    bench.elect_preferred()
    bench.hear()
    again = bench.produce(1, b"1", producer_id=7, producer_epoch=0, base_sequence=1)
    assert (again.duplicate, again.first_offset) == (False, 1)


def test_stepping_down_tells_those_who_wait(bench: Any) -> None:
    waiter = bench.awaiting(1, bench.produce(1))
    bench.fence(1)
    bench.hear()
    assert waiter.told == [ErrorCode.NOT_LEADER_OR_FOLLOWER]


def test_only_the_leader_serves_clients(bench: Any, refused: Refused) -> None:
    follower = bench.partition(2)
    assert refused(bench.produce, 2) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert refused(follower.read, 0, 100) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert refused(follower.latest_offset, read_committed=False) is ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_consumer_sees_what_is_committed_and_no_more(bench: Any, refused: Refused) -> None:
    leader = bench.partition(1)
    bench.produce(1, b"a")
    bench.fetch(2, 1, times=2)
    bench.fetch(3, 1, times=2)
    bench.produce(1, b"b")
    read = leader.read(0, 1 << 20)
    assert [header.base_offset for _, header in headers(read.records.bytes())] == [0]
    assert (read.high_watermark, read.log_start_offset) == (1, 0)
    assert leader.read(1, 1 << 20).records.size == 0
    assert leader.read(2, 1 << 20).records.size == 0
    for beyond in (-1, 3):
        assert refused(leader.read, beyond, 100) is ErrorCode.OFFSET_OUT_OF_RANGE


@pytest.mark.parametrize(
    ("claimed", "code"), [(0, ErrorCode.FENCED_LEADER_EPOCH), (2, ErrorCode.UNKNOWN_LEADER_EPOCH)]
)
def test_a_client_of_another_epoch_is_fenced(
    bench: Any, refused: Refused, claimed: int, code: ErrorCode
) -> None:
    """KIP-320, both ways."""
    bench.fence(1)
    bench.hear()
    leader = bench.partition(2)
    assert leader.leader_epoch == 1
    assert refused(leader.read, 0, 100, claimed_epoch=claimed) is code
    assert refused(leader.latest_offset, read_committed=False, claimed_epoch=claimed) is code
    assert leader.read(0, 100, claimed_epoch=1).records.size == 0


@pytest.mark.parametrize(
    ("claimed", "code"),
    [
        (0, ErrorCode.FENCED_LEADER_EPOCH),
        (1, ErrorCode.NOT_LEADER_OR_FOLLOWER),
        (2, ErrorCode.UNKNOWN_LEADER_EPOCH),
    ],
)
def test_a_follower_judges_the_epoch_first(
    bench: Any, refused: Refused, claimed: int, code: ErrorCode
) -> None:
    """Whoever knows a newer epoch may be right to ask here, and must not go back to an older leader."""
    bench.fence(1)
    bench.hear()
    follower = bench.partition(3)
    assert follower.leader_epoch == 1
    assert refused(follower.read, 0, 100, claimed_epoch=claimed) is code
    assert refused(follower.latest_offset, read_committed=False, claimed_epoch=claimed) is code


def test_a_new_leader_tells_no_end_before_it_has_caught_up(bench: Any, refused: Refused) -> None:
    """Row 4 (KIP-207): an older leader may have shown more than the new one's high watermark."""
    bench.produce(1, b"a")
    bench.fetch(2, 1, times=2)
    bench.fetch(3, 1, times=2)
    assert bench.partition(1).latest_offset(read_committed=False) == 1
    assert bench.partition(2).high_watermark < 1
    bench.fence(1)
    bench.hear()
    leader = bench.partition(2)
    assert refused(leader.latest_offset, read_committed=False) is ErrorCode.OFFSET_NOT_AVAILABLE
    assert refused(leader.latest_offset, read_committed=True) is ErrorCode.OFFSET_NOT_AVAILABLE
    bench.fetch(3, 2, times=2)
    assert leader.latest_offset(read_committed=False) == 1


def test_a_fetch_from_another_epoch_moves_nothing(bench: Any, refused: Refused) -> None:
    """Row 3 (KIP-320): neither an older nor a newer epoch, nor none at all, acknowledges anything."""
    bench.fence(3)
    bench.hear()
    bench.produce(1, b"a")
    leader = bench.partition(1)
    epoch = bench.brokers[2].epoch
    for claimed, code in (
        (-1, ErrorCode.FENCED_LEADER_EPOCH),
        (leader.leader_epoch + 1, ErrorCode.UNKNOWN_LEADER_EPOCH),
    ):
        assert refused(leader.fetched_by, 2, epoch, claimed, 1, 0, bench.now) is code
        assert leader.high_watermark == 0
    leader.fetched_by(2, epoch, leader.leader_epoch, 1, 0, bench.now)
    assert leader.high_watermark == 1


def test_a_deposed_leader_commits_nothing_by_fetches_meant_for_the_new_one(
    bench: Any, refused: Refused
) -> None:
    """Row 3, row 8 (KIP-320): 1 does not know yet that 2 leads; the followers' fetches name the new epoch."""
    bench.fetch(2, 1)
    bench.fetch(3, 1)
    waiter = bench.awaiting(1, bench.produce(1))
    bench.fence(1)
    bench.hear(2, 3)
    zombie = bench.partition(1)
    code = refused(zombie.fetched_by, 3, bench.brokers[3].epoch, 1, 1, 0, bench.now)
    assert code is ErrorCode.UNKNOWN_LEADER_EPOCH
    assert zombie.high_watermark == 0
    bench.hear(1)
    assert waiter.told == [ErrorCode.NOT_LEADER_OR_FOLLOWER]


def test_an_older_incarnation_of_a_follower_is_refused(bench: Any, refused: Refused) -> None:
    """Row 7 (KIP-903): a fetch that was sent before the follower restarted acknowledges nothing any more."""
    bench.produce(1, b"a")
    late = bench.brokers[2].epoch
    bench.restart(2)
    bench.hear()
    bench.fetch(2, 1)
    leader = bench.partition(1)
    assert refused(leader.fetched_by, 2, late, 0, 1, 0, bench.now) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert bench.leader(1).followers[2].end_offset == 0


def test_a_broker_that_is_no_replica_is_refused(make_bench: Callable[..., Any], refused: Refused) -> None:
    bench = make_bench()
    bench.create((1, 2))
    leader = bench.partition(1)
    code = refused(leader.fetched_by, 3, bench.brokers[3].epoch, 0, 0, -1, bench.now)
    assert code is ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_stale_image_changes_nothing(bench: Any) -> None:
    stale = bench.state()
    bench.fence(1)
    bench.hear()
    leader = bench.partition(2)
    role = leader.role
    leader.update(stale, bench.brokers[2].replicas.broker_epoch_if_eligible, bench.now)
    assert leader.role is role


def test_a_leader_stays_the_same_over_changes_of_its_isr(bench: Any) -> None:
    role = bench.partition(1).role
    bench.fence(3)
    bench.hear()
    assert bench.partition(1).role is role
    assert role.isr.maximal == {1, 2}
