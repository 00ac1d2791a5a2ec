"""ISR changes, elections and eligible leader replicas, in scenes of one partition."""

from __future__ import annotations

from uuid import UUID

import pytest

from kafkawire.errors import ErrorCode
from metadata.controller.commands import (
    AlterConfigOp,
    AlterConfigsResource,
    AlterPartition,
    AlterPartitionReply,
    BrokerDisconnected,
    ConfigAlteration,
    ElectionType,
    ElectLeaders,
    ElectLeadersReply,
    IncrementalAlterConfigs,
    IsrMember,
    TopicPartition,
)
from metadata.records import NO_LEADER, ConfigResourceType, LeaderRecoveryState


@pytest.fixture
def scene(cluster):
    """t-0 on brokers 1, 2 and 3, led by 1, with two replicas demanded."""
    cluster.create("t", (1, 2, 3), min_insync_replicas="2")
    return cluster


def configure(cluster, name: str, value: str) -> None:
    op = ConfigAlteration(name, AlterConfigOp.SET, value)
    cluster.ask(IncrementalAlterConfigs((AlterConfigsResource(ConfigResourceType.TOPIC, "t", (op,)),)))


def test_a_leader_shrinks_and_expands_its_isr(scene):
    shrunk = scene.alter_isr(scene.proposal((1, 3)))
    assert (shrunk.error_code, shrunk.isr, shrunk.partition_epoch) == (ErrorCode.NONE, (1, 3), 1)
    assert (shrunk.leader_id, shrunk.leader_epoch) == (1, 0), "the leader epoch stays"
    grown = scene.alter_isr(scene.proposal((1, 3, 2)))
    assert (grown.isr, grown.partition_epoch) == ((1, 3, 2), 2)
    assert scene.partition().isr == (1, 3, 2)


def test_a_proposal_that_changes_nothing_leaves_no_record(scene):
    offset = scene.image.offset
    result = scene.alter_isr(scene.proposal((1, 2, 3)))
    assert (result.error_code, result.partition_epoch) == (ErrorCode.NONE, 0)
    assert scene.image.offset == offset


@pytest.mark.parametrize(
    ("isr", "epochs", "sender", "code"),
    [
        ((1, 2), (+1, 0), None, ErrorCode.NOT_CONTROLLER),
        ((1, 2), (0, +1), None, ErrorCode.NOT_CONTROLLER),
        ((1, 2), (-1, 0), None, ErrorCode.FENCED_LEADER_EPOCH),
        ((1, 2), (0, 0), 2, ErrorCode.INVALID_REQUEST),
        ((1, 2), (0, -1), None, ErrorCode.INVALID_UPDATE_VERSION),
        ((1, 1), (0, 0), None, ErrorCode.INVALID_REQUEST),
        ((1, 9), (0, 0), None, ErrorCode.INVALID_REQUEST),
        ((2, 3), (0, 0), None, ErrorCode.INVALID_REQUEST),
        ((), (0, 0), None, ErrorCode.INVALID_REQUEST),
    ],
)
def test_a_proposal_is_refused_and_told_the_state(scene, isr, epochs, sender, code):
    scene.fence(1)
    scene.heartbeat(1)
    scene.alter_isr(scene.proposal((2, 1, 3)))
    scene.ask(ElectLeaders(ElectionType.PREFERRED))
    partition = scene.partition()
    assert (partition.leader, partition.leader_epoch, partition.partition_epoch) == (1, 2, 3)
    leader_epoch, partition_epoch = 2 + epochs[0], 3 + epochs[1]
    proposal = scene.proposal(isr, leader_epoch=leader_epoch, partition_epoch=partition_epoch)
    result = scene.alter_isr(proposal, sender)
    assert result.error_code is code
    assert (result.leader_id, result.leader_epoch, result.partition_epoch) == (1, 2, 3)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"topic_id": UUID(int=1)}, ErrorCode.UNKNOWN_TOPIC_ID),
        ({"partition": 1}, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ({"partition": -1}, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ({"leader_recovery_state": LeaderRecoveryState.RECOVERING}, ErrorCode.INVALID_REQUEST),
    ],
)
def test_a_proposal_about_something_else_is_refused(scene, changes, code):
    assert scene.alter_isr(scene.proposal((1,), **changes)).error_code is code


def test_row_6_a_fenced_replica_is_not_added(scene):
    scene.fence(3)
    assert scene.alter_isr(scene.proposal((1, 2, 3))).error_code is ErrorCode.INELIGIBLE_REPLICA
    scene.heartbeat(3)
    assert scene.alter_isr(scene.proposal((1, 2, 3))).error_code is ErrorCode.NONE


def test_row_6_a_replica_that_shuts_down_is_not_added_back(scene):
    scene.create("other", (3, 1))
    scene.heartbeat(3, want_shutdown=True)
    assert scene.broker(3).in_controlled_shutdown
    assert scene.partition().isr == (1, 2)
    assert scene.alter_isr(scene.proposal((1, 2, 3))).error_code is ErrorCode.INELIGIBLE_REPLICA


def test_row_7_a_replica_that_restarted_is_not_added_by_a_proposal_under_way(scene):
    scene.fence(3)
    under_way = IsrMember(3, scene.epochs[3])
    scene.restart(3, clean=False)
    scene.heartbeat(3)
    members = (IsrMember(1, scene.epochs[1]), IsrMember(2, scene.epochs[2]))
    refused = scene.alter_isr(scene.proposal((), new_isr=(*members, under_way)))
    assert refused.error_code is ErrorCode.INELIGIBLE_REPLICA
    accepted = scene.alter_isr(scene.proposal((), new_isr=(*members, IsrMember(3, scene.epochs[3]))))
    assert accepted.error_code is ErrorCode.NONE


def test_an_epoch_of_minus_one_is_not_checked(scene):
    scene.alter_isr(scene.proposal((1, 2)))
    members = tuple(IsrMember(member, -1) for member in (1, 2, 3))
    assert scene.alter_isr(scene.proposal((), new_isr=members)).error_code is ErrorCode.NONE


def test_proposals_of_one_request_see_each_other(scene):
    first = scene.proposal((1, 2))
    reply = scene.ask(AlterPartition(1, scene.epochs[1], (first, first)))
    assert isinstance(reply, AlterPartitionReply)
    assert [result.error_code for result in reply.partitions] == [
        ErrorCode.NONE,
        ErrorCode.INVALID_UPDATE_VERSION,
    ]
    assert reply.partitions[1].isr == (1, 2)


def test_row_8_the_partition_epoch_is_compare_and_set(scene):
    """A proposal that was made before the ISR changed does not undo the change."""
    before = scene.proposal((1, 2, 3))
    scene.alter_isr(scene.proposal((1, 2)))
    assert scene.alter_isr(before).error_code is ErrorCode.INVALID_UPDATE_VERSION
    assert scene.partition().isr == (1, 2)


def test_members_who_leave_stay_eligible_only_below_min_insync_replicas(scene):
    scene.fence(3)
    assert (scene.partition().isr, scene.partition().elr) == ((1, 2), ())
    scene.fence(2)
    assert (scene.partition().isr, scene.partition().elr) == ((1,), (2,))
    scene.fence(1)
    partition = scene.partition()
    assert (partition.isr, partition.elr, partition.leader) == ((), (1, 2), NO_LEADER)
    assert partition.last_known_elr == (1,)


def test_an_eligible_replica_is_elected_and_the_others_stay_eligible(scene):
    scene.fence(3)
    scene.fence(2)
    scene.fence(1)
    scene.heartbeat(3)
    assert scene.partition().leader == NO_LEADER, "3 left when two were in sync: it may miss records"
    scene.heartbeat(2)
    partition = scene.partition()
    assert (partition.leader, partition.isr, partition.elr) == (2, (2,), (1,))
    assert not partition.recovering
    scene.alter_isr(scene.proposal((2, 3)))
    partition = scene.partition()
    assert (partition.elr, partition.last_known_elr) == ((), ())


def test_row_9_the_last_in_sync_replica_that_lost_its_tail_is_not_elected(scene):
    scene.fence(3)
    scene.fence(2)
    scene.fence(1)
    scene.restart(1, clean=False)
    assert scene.partition().elr == (2,), "an unclean registration leaves the eligible replicas"
    scene.heartbeat(1)
    assert scene.partition().leader == NO_LEADER
    scene.heartbeat(2)
    assert scene.partition().leader == 2
    assert not scene.partition().recovering


def test_row_9_a_clean_restart_stays_eligible(scene):
    scene.fence(3, 2, 1)
    scene.restart(1, clean=True)
    assert scene.partition().elr == (1, 2)
    scene.heartbeat(1)
    assert scene.partition().leader == 1
    assert not scene.partition().recovering


def test_an_unclean_registration_leaves_the_isr_without_becoming_eligible(scene):
    scene.ask(BrokerDisconnected(1, scene.epochs[1]))
    scene.register(1)
    scene.ask(BrokerDisconnected(2, scene.epochs[2]))
    scene.register(2)
    partition = scene.partition()
    assert (partition.leader, partition.isr, partition.elr) == (3, (3,), ())


def test_when_nobody_is_left_the_last_leader_is_taken_back_and_says_so(scene):
    scene.fence(3)
    scene.fence(2)
    scene.fence(1)
    for broker in (1, 2):
        scene.restart(broker, clean=False)
    scene.heartbeat(2)
    assert scene.partition().leader == NO_LEADER, "only the last leader"
    scene.heartbeat(1)
    partition = scene.partition()
    assert (partition.leader, partition.isr, partition.recovering) == (1, (1,), True)
    recovering = {"leader_recovery_state": LeaderRecoveryState.RECOVERING}
    assert scene.alter_isr(scene.proposal((1, 2), **recovering)).error_code is ErrorCode.INVALID_REQUEST
    assert scene.alter_isr(scene.proposal((1,), **recovering)).error_code is ErrorCode.NONE
    done = scene.alter_isr(scene.proposal((1, 2)))
    assert done.error_code is ErrorCode.NONE
    assert not scene.partition().recovering


def test_a_single_replica_survives_a_kill(cluster):
    cluster.create("t", (1,))
    cluster.ask(BrokerDisconnected(1, cluster.epochs[1]))
    cluster.register(1)
    assert cluster.partition().leader == NO_LEADER
    cluster.heartbeat(1)
    assert cluster.partition().leader == 1


def test_lowering_min_insync_replicas_dissolves_the_eligible_replicas(scene):
    """From then on the leader commits alone, so that the others may miss records."""
    scene.fence(3)
    scene.fence(2)
    assert scene.partition().elr == (2,)
    configure(scene, "min.insync.replicas", "1")
    assert scene.partition().elr == ()


def test_an_election_under_lowered_min_insync_replicas_dissolves_them_too(scene):
    scene.fence(3)
    scene.fence(2)
    scene.fence(1)
    configure(scene, "min.insync.replicas", "1")
    assert scene.partition().elr == (1, 2)
    scene.heartbeat(2)
    partition = scene.partition()
    assert (partition.isr, partition.elr, partition.last_known_elr) == ((2,), (), ())


def test_the_clusters_min_insync_replicas_counts_where_a_topic_has_none(make_cluster):
    cluster = make_cluster(static={"min.insync.replicas": "2"})
    cluster.start(1, 2)
    cluster.create("t", (1, 2))
    cluster.fence(2)
    assert cluster.partition().elr == (2,)
    op = ConfigAlteration("min.insync.replicas", AlterConfigOp.SET, "1")
    cluster.ask(IncrementalAlterConfigs((AlterConfigsResource(ConfigResourceType.BROKER, "", (op,)),)))
    assert cluster.partition().elr == ()


def test_unclean_election_only_where_it_is_allowed(cluster):
    cluster.create("t", (1, 2))
    cluster.fence(2)
    cluster.fence(1)
    cluster.heartbeat(2)
    assert cluster.partition().leader == NO_LEADER
    configure(cluster, "unclean.leader.election.enable", "true")
    partition = cluster.partition()
    assert (partition.leader, partition.isr, partition.elr, partition.recovering) == (2, (2,), (), True)


def test_unclean_election_happens_at_once_when_it_is_allowed_before(cluster):
    cluster.create("t", (1, 2), unclean_leader_election_enable="true")
    cluster.fence(2)
    cluster.heartbeat(2)
    cluster.fence(1)
    assert (cluster.partition().leader, cluster.partition().recovering) == (2, True)


@pytest.mark.parametrize(
    ("kind", "topic", "number", "code"),
    [
        (ElectionType.PREFERRED, "t", 0, ErrorCode.ELECTION_NOT_NEEDED),
        (ElectionType.PREFERRED, "t", 1, ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE),
        (ElectionType.PREFERRED, "t", 2, ErrorCode.NONE),
        (ElectionType.UNCLEAN, "t", 0, ErrorCode.ELECTION_NOT_NEEDED),
        (ElectionType.UNCLEAN, "t", 3, ErrorCode.NONE),
        (ElectionType.UNCLEAN, "t", 4, ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE),
        (ElectionType.UNCLEAN, "t", 9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (ElectionType.PREFERRED, "unknown", 0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)
def test_elections_on_request(cluster, kind, topic, number, code):
    cluster.start(4)
    cluster.create("t", (1, 2), (3, 1), (2, 1), (3, 2), (3, 4))
    cluster.fence(2, 4)
    cluster.heartbeat(2)
    cluster.fence(3)
    assert [cluster.partition("t", each).leader for each in range(5)] == [1, 1, 1, -1, -1]
    cluster.alter_isr(cluster.proposal((1, 2), 2))
    reply = cluster.ask(ElectLeaders(kind, (TopicPartition(topic, number),)))
    assert isinstance(reply, ElectLeadersReply)
    assert [(each.topic, each.partition, each.error_code) for each in reply.partitions] == [
        (topic, number, code)
    ]
    assert (reply.partitions[0].error_message is None) == (code is ErrorCode.NONE)


def test_electing_everywhere_tells_only_what_was_needed(cluster):
    cluster.create("t", (1, 2), (2, 1))
    assert cluster.ask(ElectLeaders(ElectionType.PREFERRED)).partitions == ()


def test_leaderships_return_to_preferred_leaders_by_themselves(make_cluster):
    cluster = make_cluster(leader_balance_interval=10.0)
    cluster.start(1, 2)
    cluster.create("t", (1, 2))
    cluster.fence(1)
    cluster.heartbeat(1)
    cluster.alter_isr(cluster.proposal((2, 1)))
    for _ in range(4):
        cluster.pass_time(2.0)
        cluster.heartbeat(1)
        cluster.heartbeat(2)
    assert cluster.partition().leader == 2
    cluster.pass_time(2.0)
    partition = cluster.partition()
    assert (partition.leader, partition.leader_epoch) == (1, 2)


def test_balancing_can_be_switched_off(make_cluster):
    cluster = make_cluster(leader_balance_interval=None)
    cluster.start(1, 2)
    cluster.create("t", (1, 2))
    cluster.fence(1)
    cluster.heartbeat(1)
    cluster.alter_isr(cluster.proposal((2, 1)))
    for _ in range(300):
        cluster.pass_time(2.0)
        cluster.heartbeat(1)
        cluster.heartbeat(2)
    assert cluster.partition().leader == 2


def test_balancing_moves_a_bounded_number_at_a_time(make_cluster):
    cluster = make_cluster(leader_balance_interval=10.0, session_timeout=1000.0)
    cluster.start(1, 2)
    cluster.create("t", *[(1, 2)] * 1500)
    cluster.fence(1)
    cluster.heartbeat(1)
    for number in range(1500):
        cluster.alter_isr(cluster.proposal((2, 1), number), sender=2)
    cluster.pass_time(10.0)
    leaders = [partition.leader for partition in cluster.image.topics.by_name["t"].partitions]
    assert leaders.count(1) == 1000
    assert cluster.controller.next_deadline(cluster.now) == cluster.now, "the rest follows at once"
    cluster.pass_time(0.0)
    leaders = [partition.leader for partition in cluster.image.topics.by_name["t"].partitions]
    assert leaders.count(1) == 1500
