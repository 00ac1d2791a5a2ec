"""Reassigning partitions: replicas come, are waited for, and only then do others go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kafkawire.errors import ErrorCode
from metadata.controller.partition_commands import AlterPartitionReassignments, Reassignment
from metadata.image import PartitionImage


@pytest.fixture
def wide(make_cluster: Callable[..., Any]) -> Any:
    """Five brokers, and the topic t on 1, 2 and 3."""
    cluster = make_cluster()
    cluster.start(1, 2, 3, 4, 5)
    cluster.create("t", (1, 2, 3))
    return cluster


def reassign(
    cluster: Any, *replicas: int, topic: str = "t", number: int = 0, allow_change: bool = True
) -> ErrorCode:
    """Ask for these replicas; without any, cancel."""
    wanted = Reassignment(topic, number, replicas or None)
    before = cluster.image
    (result,) = cluster.ask(AlterPartitionReassignments((wanted,), allow_change)).partitions
    assert (result.topic, result.partition) == (topic, number)
    if result.error_code is not ErrorCode.NONE:
        assert cluster.image is before
        assert result.error_message
    code: ErrorCode = result.error_code
    return code


def moves(partition: PartitionImage) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    return partition.replicas, partition.adding, partition.removing


def test_replicas_come_before_others_go(wide: Any) -> None:
    assert reassign(wide, 4, 5, 3) is ErrorCode.NONE
    began = wide.partition()
    assert moves(began) == ((4, 5, 3, 1, 2), (4, 5), (1, 2))
    assert (began.leader, began.leader_epoch, began.isr) == (1, 0, (1, 2, 3))
    assert wide.alter_isr(wide.proposal((1, 2, 3, 4))).error_code is ErrorCode.NONE
    assert moves(wide.partition()) == ((4, 5, 3, 1, 2), (4, 5), (1, 2))
    # The leader itself has to go: the last replica that joins ends its leadership.
    assert wide.alter_isr(wide.proposal((1, 2, 3, 4, 5))).error_code is ErrorCode.NEW_LEADER_ELECTED
    done = wide.partition()
    assert moves(done) == ((4, 5, 3), (), ())
    assert (set(done.isr), done.leader, done.leader_epoch) == ({3, 4, 5}, 4, 1)


def test_a_leader_that_stays_gets_a_new_epoch(wide: Any) -> None:
    """Otherwise it could go on counting, and proposing, a replica that is none any more."""
    reassign(wide, 1, 2, 4)
    result = wide.alter_isr(wide.proposal((1, 2, 3, 4)))
    assert (result.error_code, result.isr, result.leader_epoch) == (ErrorCode.NONE, (1, 2, 4), 1)
    assert moves(wide.partition()) == ((1, 2, 4), (), ())


def test_replicas_that_are_there_already_are_rearranged_at_once(wide: Any) -> None:
    assert reassign(wide, 3, 1, 2) is ErrorCode.NONE
    now = wide.partition()
    assert moves(now) == ((3, 1, 2), (), ())
    assert (now.leader, now.leader_epoch) == (1, 0)


def test_replicas_are_added_and_removed(wide: Any) -> None:
    assert reassign(wide, 1, 2, 3, 4) is ErrorCode.NONE
    wide.alter_isr(wide.proposal((1, 2, 3, 4)))
    assert moves(wide.partition()) == ((1, 2, 3, 4), (), ())
    assert reassign(wide, 2) is ErrorCode.NONE
    now = wide.partition()
    assert (moves(now), now.isr, now.leader) == (((2,), (), ()), (2,), 2)


def test_a_reassignment_waits_for_replicas_that_are_down(wide: Any) -> None:
    wide.fence(3)
    assert reassign(wide, 2, 3) is ErrorCode.NONE
    assert moves(wide.partition()) == ((2, 3, 1), (), (1,))
    wide.restart(3, clean=True)
    wide.heartbeat(3)
    assert wide.alter_isr(wide.proposal((1, 2, 3))).error_code is ErrorCode.NEW_LEADER_ELECTED
    assert moves(wide.partition()) == ((2, 3), (), ())


def test_a_reassignment_that_is_given_up_leaves_no_trace(wide: Any) -> None:
    reassign(wide, 4, 5)
    wide.alter_isr(wide.proposal((1, 2, 3, 4)))
    assert reassign(wide) is ErrorCode.NONE
    now = wide.partition()
    assert moves(now) == ((3, 1, 2), (), ()) or set(now.replicas) == {1, 2, 3}
    assert (set(now.isr), now.leader, now.adding, now.removing) == ({1, 2, 3}, 1, (), ())
    assert reassign(wide) is ErrorCode.NO_REASSIGNMENT_IN_PROGRESS


def test_another_target_takes_the_place_of_the_first(wide: Any) -> None:
    reassign(wide, 4, 2, 3)
    wide.alter_isr(wide.proposal((1, 2, 3, 4)))
    assert moves(wide.partition()) == ((4, 2, 3), (), ())
    reassign(wide, 1, 2, 3)
    assert moves(wide.partition()) == ((1, 2, 3, 4), (1,), (4,))
    reassign(wide, 5, 2, 3)
    assert moves(wide.partition()) == ((5, 2, 3, 1, 4), (5,), (1, 4))
    wide.alter_isr(wide.proposal((2, 3, 4, 5)), sender=wide.partition().leader)
    assert moves(wide.partition()) == ((5, 2, 3), (), ())


def test_what_was_being_added_and_is_still_wanted_goes_on_being_added(wide: Any) -> None:
    reassign(wide, 4, 2, 3)
    reassign(wide, 4, 5, 3)
    assert moves(wide.partition()) == ((4, 5, 3, 1, 2), (4, 5), (1, 2))
    reassign(wide)
    assert set(wide.partition().replicas) == {1, 2, 3}


def test_giving_up_must_not_lose_what_only_the_new_ones_have(wide: Any) -> None:
    reassign(wide, 4, 5)
    wide.alter_isr(wide.proposal((1, 4)))
    wide.fence(1)
    assert wide.partition().leader == 4
    wide.restart(1, clean=False)
    assert (wide.partition().isr, wide.partition().elr) == ((4,), ())
    assert reassign(wide) is ErrorCode.INVALID_REPLICA_ASSIGNMENT
    assert wide.partition().leader == 4


def test_giving_up_may_lose_where_the_topic_allows_it(make_cluster: Callable[..., Any]) -> None:
    cluster = make_cluster()
    cluster.start(1, 2, 3)
    cluster.create("t", (1, 2), unclean_leader_election_enable="true")
    reassign(cluster, 3)
    cluster.alter_isr(cluster.proposal((1, 2)))
    cluster.fence(2)
    reassign(cluster, 3, 2)
    cluster.alter_isr(cluster.proposal((1, 3)))
    cluster.fence(1)
    assert cluster.partition().leader == 3
    cluster.restart(1, clean=False)
    cluster.heartbeat(1)
    assert reassign(cluster) is ErrorCode.NONE
    now = cluster.partition()
    assert (now.leader, now.isr, now.recovering) == (1, (1,), True)


@pytest.mark.parametrize(
    ("replicas", "code"),
    [
        ((1, 1), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ((1, 9), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ((-1,), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ((), ErrorCode.NO_REASSIGNMENT_IN_PROGRESS),
    ],
)
def test_what_no_partition_can_become(wide: Any, replicas: tuple[int, ...], code: ErrorCode) -> None:
    assert reassign(wide, *replicas) is code


def test_no_replicas_at_all(wide: Any) -> None:
    (result,) = wide.ask(AlterPartitionReassignments((Reassignment("t", 0, ()),))).partitions
    assert result.error_code is ErrorCode.INVALID_REPLICA_ASSIGNMENT


def test_the_number_of_replicas_stays_if_it_must(wide: Any) -> None:
    assert reassign(wide, 4, 5, allow_change=False) is ErrorCode.INVALID_REPLICATION_FACTOR
    assert reassign(wide, 4, 5, 1, allow_change=False) is ErrorCode.NONE
    # The measure is the target of what is under way, not the replicas that there are meanwhile.
    assert reassign(wide, 1, 2, 4, 5, 3, allow_change=False) is ErrorCode.INVALID_REPLICATION_FACTOR
    assert reassign(wide, 1, 2, 4, allow_change=False) is ErrorCode.NONE


@pytest.mark.parametrize(("topic", "number"), [("u", 0), ("t", 1), ("t", -1)])
def test_what_is_not_there(wide: Any, topic: str, number: int) -> None:
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert reassign(wide, 1, topic=topic, number=number) is unknown
    assert reassign(wide, topic=topic, number=number) is unknown


def test_each_partition_on_its_own(wide: Any) -> None:
    wanted = (Reassignment("t", 0, (4,)), Reassignment("u", 0, (4,)), Reassignment("t", 0, None))
    reply = wide.ask(AlterPartitionReassignments(wanted))
    assert [each.error_code for each in reply.partitions] == [
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.NONE,
    ]
    assert reply.offset == wide.image.offset
    assert set(wide.partition().replicas) == {1, 2, 3}
