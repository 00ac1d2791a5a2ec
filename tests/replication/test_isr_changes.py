"""How the in-sync replica set grows and shrinks, and what happens when nobody knows whether it did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from metadata.controller.partition_commands import AlterPartitionReassignments, Reassignment
from replication.isr import CommittedIsr, PendingExpand, PendingShrink
from tests.counted_calls import calls_of

ALL = frozenset({1, 2, 3})


def members(bench: Any, number: int = 1) -> frozenset[int]:
    return bench.leader(number).isr.committed.members


def out_of_sync(bench: Any, number: int = 3) -> None:
    """Fence a follower and let it come back: it is out of the ISR."""
    bench.fence(number)
    bench.unfence(number)
    bench.hear()
    assert number not in bench.state().isr


def test_a_follower_that_has_caught_up_joins(bench: Any) -> None:
    out_of_sync(bench)
    bench.produce(1)
    bench.fetch(2, 1, times=2)
    bench.fetch(3, 1)
    assert bench.proposals(1) == []
    bench.fetch(3, 1)
    assert isinstance(bench.leader(1).isr, PendingExpand)
    assert bench.alter(1) == [ErrorCode.NONE]
    assert set(bench.state().isr) == members(bench) == ALL


def test_a_follower_short_of_the_high_watermark_does_not_join(bench: Any) -> None:
    out_of_sync(bench)
    bench.fetch(2, 1)
    bench.now += 20
    bench.produce(1, b"a")
    bench.fetch(2, 1, times=2)
    bench.produce(1, b"b")
    assert bench.partition(1).high_watermark == 1
    bench.fetch(3, 1, max_bytes=1)
    assert bench.proposals(1) == []
    bench.fetch(3, 1, max_bytes=1)
    assert [change.members[-1][0] for _, change in bench.proposals(1)] == [3]


def test_a_follower_joins_only_once_it_has_reached_the_start_of_the_leaders_epoch(
    make_bench: Callable[..., Any],
) -> None:
    """Rule 4 of the Kip320 model: the new leader's own tail may be committed although it does not know so."""
    bench = make_bench()
    bench.create((1, 2, 3), min_insync_replicas=2)
    bench.fetch(3, 1)
    bench.produce(1, b"a")
    bench.fetch(2, 1, times=2)
    out_of_sync(bench)
    bench.fence(1)
    bench.hear()
    assert bench.partition(2).high_watermark == 0
    assert bench.leader(2).start_offset == 1
    bench.fetch(3, 2)
    assert bench.proposals(2) == []
    bench.fetch(3, 2)
    assert len(bench.proposals(2)) == 1


def test_the_high_watermark_waits_for_a_proposed_member(bench: Any) -> None:
    """Row 5 (KIP-497): from the proposal on the controller may elect the new member."""
    bench.fetch(2, 1)
    out_of_sync(bench)
    bench.fetch(3, 1)
    assert bench.leader(1).isr.maximal == ALL
    waiter = bench.awaiting(1, bench.produce(1))
    bench.fetch(2, 1, times=2)
    bench.now += 100.0
    bench.partition(1).tick(bench.now - 96.0)
    assert waiter.told == []
    assert bench.partition(1).high_watermark == 0
    bench.fetch(3, 1, times=2)
    assert waiter.told == [ErrorCode.NONE]


def test_a_new_leader_does_not_wait_for_a_replica_that_was_not_in_sync(bench: Any) -> None:
    """Nobody knows when it was caught up last, so nothing says that it is about to join."""
    bench.produce(1)
    bench.fetch(2, 1, times=2)
    out_of_sync(bench)
    bench.fence(1)
    bench.hear()
    assert bench.state().isr == (2,)
    bench.ask(3, 2)
    assert bench.awaiting(2, bench.produce(2)) is None


def test_a_replica_that_a_reassignment_adds_does_not_hold_the_high_watermark_back(
    make_bench: Callable[..., Any],
) -> None:
    bench = make_bench()
    bench.create((1, 2))
    bench.produce(1)
    bench.fetch(2, 1, times=2)
    bench.controller.ask(AlterPartitionReassignments((Reassignment("t", 0, (1, 2, 3)),)), bench.now)
    bench.hear()
    bench.ask(3, 1)
    waiter = bench.awaiting(1, bench.produce(1))
    bench.fetch(2, 1, times=2)
    assert waiter.told == [ErrorCode.NONE]


def test_a_replica_that_joins_short_of_the_end_has_time_to_reach_it(make_bench: Callable[..., Any]) -> None:
    """It has all that is committed, though it never was at the end of the leader's log."""
    bench = make_bench()
    bench.create((1, 2))
    bench.produce(1, b"a")
    bench.fetch(2, 1, times=2)
    bench.produce(1, b"b")
    bench.produce(1, b"c")
    bench.controller.ask(AlterPartitionReassignments((Reassignment("t", 0, (1, 2, 3)),)), bench.now)
    bench.hear()
    bench.fetch(3, 1, times=2, max_bytes=1)
    assert bench.alter(1) == [ErrorCode.NONE]
    assert members(bench) == ALL
    bench.partition(1).tick(bench.now + 9.0)
    assert isinstance(bench.leader(1).isr, CommittedIsr)
    bench.partition(1).tick(bench.now + 11.0)
    assert isinstance(bench.leader(1).isr, PendingShrink)


def test_the_high_watermark_waits_for_members_until_their_removal_is_committed(bench: Any) -> None:
    """Row 5 (KIP-497): a member that fell behind counts until the controller has agreed."""
    bench.fetch(2, 1)
    bench.fetch(3, 1)
    waiter = bench.awaiting(1, bench.produce(1), timeout=60.0)
    bench.now += 11.0
    bench.fetch(2, 1, times=2)
    bench.partition(1).tick(bench.now)
    assert bench.leader(1).isr == PendingShrink(CommittedIsr(ALL, 0), frozenset({3}))
    bench.partition(1).reconsider_isr(bench.now)
    assert waiter.told == []
    assert bench.alter(1) == [ErrorCode.NONE]
    assert bench.state().isr == (1, 2)
    assert waiter.told == []
    bench.hear(1)
    assert waiter.told == [ErrorCode.NONE]


def test_a_follower_that_reached_what_was_the_end_is_not_behind(bench: Any) -> None:
    """A follower under constant load is caught up when it has reached the end of its fetch before."""
    bench.produce(1)
    for _ in range(30):
        bench.now += 1.0
        bench.fetch(2, 1)
        bench.fetch(3, 1)
        bench.produce(1)
        bench.partition(1).tick(bench.now)
    assert isinstance(bench.leader(1).isr, CommittedIsr)


def test_an_idle_follower_is_in_sync_until_there_is_something_it_lacks(bench: Any) -> None:
    bench.fetch(2, 1)
    bench.fetch(3, 1)
    bench.now += 1000.0
    bench.partition(1).tick(bench.now)
    assert isinstance(bench.leader(1).isr, CommittedIsr)
    bench.produce(1)
    bench.partition(1).tick(bench.now + 9.0)
    assert isinstance(bench.leader(1).isr, CommittedIsr)
    bench.partition(1).tick(bench.now + 11.0)
    assert isinstance(bench.leader(1).isr, PendingShrink)


def test_a_lost_request_is_sent_again(bench: Any) -> None:
    out_of_sync(bench)
    bench.fetch(3, 1)
    assert len(bench.proposals(1)) == 1
    bench.partition(1).tick(bench.now)
    assert bench.alter(1) == [ErrorCode.NONE]
    assert members(bench) == ALL


def test_a_lost_answer_leaves_the_maximal_isr(bench: Any) -> None:
    """Row 5 (KIP-497): the second request is refused because the first one was done; the leader must not fall
    back to an ISR which the controller has left."""
    bench.fetch(2, 1)
    out_of_sync(bench)
    bench.fetch(3, 1)
    ((partition, change),) = bench.proposals(1)
    bench.decide(1, change)
    assert set(bench.state().isr) == ALL
    result = bench.decide(1, change)
    assert result.error_code is ErrorCode.INVALID_UPDATE_VERSION
    bench.answer(partition, change, result)
    assert bench.leader(1).isr.maximal == ALL
    waiter = bench.awaiting(1, bench.produce(1))
    bench.fetch(2, 1, times=2)
    bench.now += 20.0
    partition.reconsider_isr(bench.now)
    assert waiter.told == []
    bench.hear()
    assert bench.leader(1).isr == CommittedIsr(ALL, bench.state().partition_epoch)


@pytest.mark.parametrize(
    "error",
    [
        ErrorCode.NOT_CONTROLLER,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.NEW_LEADER_ELECTED,
    ],
)
def test_only_a_refusal_that_is_certain_takes_a_proposal_back(bench: Any, error: ErrorCode) -> None:
    out_of_sync(bench)
    bench.fetch(3, 1)
    ((partition, change),) = bench.proposals(1)
    partition.isr_change_refused(change, error, bench.now)
    assert bench.leader(1).isr.maximal == ALL
    partition.tick(bench.now)
    assert bench.alter(1) == [ErrorCode.NONE]


def test_a_fenced_broker_is_not_proposed(bench: Any) -> None:
    """Row 6 (KIP-841): the leader knows who is fenced."""
    bench.fence(3)
    bench.hear()
    bench.fetch(3, 1)
    assert bench.proposals(1) == []
    bench.unfence(3)
    bench.hear(1)
    assert len(bench.proposals(1)) == 1


def test_a_leaving_broker_is_not_added_back(bench: Any) -> None:
    """Row 6 (KIP-841): neither is one in controlled shutdown."""
    bench.create((3, 1, 2), name="u")
    bench.heartbeat(3, want_shutdown=True)
    bench.hear()
    assert 3 not in bench.state().isr
    bench.fetch(3, 1)
    assert bench.proposals(1) == []


def test_an_ineligible_replica_is_refused_and_asked_for_again(bench: Any) -> None:
    """Row 6 (KIP-841): the controller knows of the fencing before the leader does, and refuses."""
    out_of_sync(bench)
    bench.fetch(2, 1)
    bench.fetch(3, 1)
    ((partition, change),) = bench.proposals(1)
    bench.fence(3)
    result = bench.decide(1, change)
    assert result.error_code is ErrorCode.INELIGIBLE_REPLICA
    bench.answer(partition, change, result)
    assert bench.leader(1).isr == CommittedIsr(frozenset({1, 2}), bench.state().partition_epoch)
    partition.tick(bench.now)
    assert bench.proposals(1) == []
    bench.unfence(3)
    partition.tick(bench.now + 0.6)
    assert bench.alter(1) == [ErrorCode.NONE]
    assert set(bench.state().isr) == ALL


def test_a_refusal_lets_the_high_watermark_go_on(bench: Any) -> None:
    bench.fetch(2, 1)
    out_of_sync(bench)
    bench.fetch(3, 1)
    ((partition, change),) = bench.proposals(1)
    waiter = bench.awaiting(1, bench.produce(1), timeout=100.0)
    bench.now += 11.0
    bench.fetch(2, 1, times=2)
    assert waiter.told == []
    partition.isr_change_refused(change, ErrorCode.INELIGIBLE_REPLICA, bench.now)
    assert waiter.told == [ErrorCode.NONE]


def test_a_broker_that_came_back_empty_does_not_join_by_a_change_in_flight(bench: Any) -> None:
    """Row 7 (KIP-903): 3 caught up, lost its disk and came back while the request was under way."""
    out_of_sync(bench)
    bench.produce(1)
    bench.fetch(2, 1, times=2)
    bench.fetch(3, 1, times=2)
    ((_, change),) = bench.proposals(1)
    bench.restart(3, power_lost=True)
    result = bench.decide(1, change)
    assert result.error_code is ErrorCode.INELIGIBLE_REPLICA
    assert 3 not in bench.state().isr


def test_a_proposal_names_the_process_that_caught_up(bench: Any) -> None:
    """Row 7 (KIP-903): 3 caught up, the request was lost, 3 came back empty and fetched again. The request
    that is sent anew must not name the new process, which has nothing."""
    out_of_sync(bench)
    caught_up = bench.brokers[3].epoch
    bench.produce(1)
    bench.fetch(2, 1, times=2)
    bench.fetch(3, 1, times=2)
    assert len(bench.proposals(1)) == 1
    assert bench.partition(1).high_watermark == 1
    host = bench.brokers[3].host
    bench.restart(3)
    host.delete(bench.partition(3).log)
    bench.restart(3)
    bench.hear()
    bench.lose_connection(3, 1)
    bench.fetch(3, 1)
    assert bench.leader(1).followers[3].end_offset == 0
    bench.partition(1).tick(bench.now)
    ((partition, change),) = bench.proposals(1)
    assert dict(change.members)[3] == caught_up
    result = bench.decide(1, change)
    assert result.error_code is ErrorCode.INELIGIBLE_REPLICA
    bench.answer(partition, change, result)
    assert 3 not in bench.leader(1).isr.maximal


def test_a_new_leader_takes_no_acknowledgement_of_a_process_that_was_replaced(bench: Any) -> None:
    """Row 8: what it had, the process that is in sync under its id now may lack."""
    bench.produce(1)
    bench.fetch(2, 1, times=2)
    bench.fetch(3, 1, times=2)
    replaced = bench.brokers[3].epoch
    bench.restart(3, clean=True)
    bench.hear()
    bench.fetch(3, 1, times=2)
    assert bench.alter(1) == [ErrorCode.NONE]
    bench.fence(1)
    bench.hear()
    leader = bench.partition(2)
    with pytest.raises(KafkaError) as refused:
        leader.fetched_by(3, replaced, leader.leader_epoch, 1, 0, bench.now)
    assert refused.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert leader.fetched_by(3, bench.brokers[3].epoch, leader.leader_epoch, 1, 0, bench.now) is None


def test_members_are_named_with_the_epochs_in_which_they_fetched(bench: Any) -> None:
    out_of_sync(bench)
    bench.fetch(2, 1)
    bench.fetch(3, 1)
    ((_, change),) = bench.proposals(1)
    assert change.members == tuple((number, bench.brokers[number].epoch) for number in (1, 2, 3))


def test_a_zombie_leader_changes_no_isr(bench: Any) -> None:
    """Row 8: what a deposed leader proposes is fenced by the leader epoch."""
    out_of_sync(bench)
    bench.fetch(3, 1)
    ((_, change),) = bench.proposals(1)
    bench.fence(1)
    bench.unfence(1)
    before = bench.state()
    assert bench.decide(1, change).error_code is ErrorCode.FENCED_LEADER_EPOCH
    assert bench.state() is before


def test_answers_of_an_earlier_leadership_change_nothing(bench: Any) -> None:
    out_of_sync(bench)
    bench.fetch(3, 1)
    ((partition, change),) = bench.proposals(1)
    bench.fence(1)
    bench.hear()
    role = partition.role
    partition.isr_changed(change, ALL, 99, bench.now)
    partition.isr_change_refused(change, ErrorCode.INELIGIBLE_REPLICA, bench.now)
    assert partition.role is role
    assert partition.isr_change(1) is None


def test_metadata_that_overtakes_the_answer_wins(bench: Any) -> None:
    out_of_sync(bench)
    bench.fetch(3, 1)
    ((partition, change),) = bench.proposals(1)
    result = bench.decide(1, change)
    bench.fence(2)
    bench.hear(1)
    assert members(bench) == {1, 3}
    bench.answer(partition, change, result)
    assert members(bench) == {1, 3}


def test_min_insync_replicas_is_raised_in_the_same_step_in_which_a_member_leaves(
    make_bench: Callable[..., Any],
) -> None:
    """Row 9 (KIP-966): both arrive in one image. Read with the old setting, the smaller ISR would commit what
    the eligible replica lacks."""
    bench = make_bench(2)
    bench.create((1, 2), min_insync_replicas=1)
    bench.fetch(2, 1)
    bench.produce(1)
    bench.configure(min_insync_replicas=2)
    bench.fence(2)
    assert bench.state().elr == (2,)
    bench.hear(1)
    assert bench.partition(1).high_watermark == 0


def test_a_smaller_isr_counts_once_the_metadata_tells_of_it(make_bench: Callable[..., Any]) -> None:
    """Row 9 (KIP-966), seed 3661 of the simulation: min.insync.replicas was raised, so the controller keeps
    the member that fell behind eligible. The leader hears of the shrink first, and with the old setting would
    commit without it."""
    bench = make_bench(2)
    bench.create((1, 2), min_insync_replicas=1)
    bench.fetch(2, 1)
    bench.produce(1)
    bench.configure(min_insync_replicas=2)
    bench.partition(1).tick(bench.now + 11.0)
    assert bench.alter(1) == [ErrorCode.NONE]
    assert bench.state().elr == (2,)
    assert bench.partition(1).high_watermark == 0
    bench.hear(1)
    assert bench.partition(1).high_watermark == 0
    assert members(bench) == {1}


def test_an_isr_that_grows_to_what_was_enough_counts_once_the_metadata_tells_of_it(
    make_bench: Callable[..., Any],
) -> None:
    """Row 9 (KIP-966), seed 13296 of the simulation: min.insync.replicas was raised, so an ISR that has grown
    is too small still, and who left it earlier stays eligible. The leader hears of the growth first, and with
    the old setting would commit without them."""
    bench = make_bench(3)
    bench.create((1, 2, 3), min_insync_replicas=2)
    bench.fetch(2, 1)
    bench.fetch(3, 1)
    bench.produce(1)
    bench.now += 11.0
    bench.partition(1).tick(bench.now)
    assert bench.alter(1) == [ErrorCode.NONE]
    bench.hear()
    assert members(bench) == {1}
    assert bench.state().elr == (2, 3)
    bench.fetch(2, 1, times=2)
    bench.configure(min_insync_replicas=3)
    assert bench.alter(1) == [ErrorCode.NONE]
    assert bench.state().isr == (1, 2)
    assert bench.state().elr == (3,)
    assert bench.partition(1).high_watermark == 0
    bench.hear(1)
    assert bench.partition(1).high_watermark == 0
    assert members(bench) == {1, 2}


def test_the_controllers_file_and_the_brokers_may_differ_about_min_insync_replicas(
    make_bench: Callable[..., Any],
) -> None:
    """Row 9 (KIP-966): a leader that goes by its own file commits alone, and the eligible replica that the
    controller elects after it lacks what was acknowledged."""
    bench = make_bench(2, controllers={"min.insync.replicas": "2"}, brokers={"min.insync.replicas": "1"})
    bench.create((1, 2))
    bench.fetch(2, 1)
    bench.fence(2)
    bench.hear()
    assert bench.state().elr == (2,)
    with pytest.raises(KafkaError) as refused:
        bench.produce(1)
    assert refused.value.code is ErrorCode.NOT_ENOUGH_REPLICAS
    bench.fence(1)
    bench.unfence(2)
    bench.hear()
    assert bench.state().leader == 2
    assert bench.partition(2).high_watermark == bench.partition(1).high_watermark


def test_a_partition_at_rest_takes_next_to_no_work_as_time_passes(bench: Any) -> None:
    bench.produce(1)
    for _ in range(2):
        bench.fetch(2, 1)
        bench.fetch(3, 1)
    partition = bench.partition(1)
    assert partition.high_watermark == partition.log.end_offset == 1
    calls = calls_of(lambda: partition.tick(bench.now + 1000.0))
    assert isinstance(bench.leader(1).isr, CommittedIsr)
    assert calls < 8, "brokers look at each of thousands of partitions ten times a second"
