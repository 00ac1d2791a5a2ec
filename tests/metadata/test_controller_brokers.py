"""Registration, heartbeats, fencing, controlled shutdown, takeover."""

from __future__ import annotations

from math import inf
from uuid import UUID

import pytest
from msgspec.structs import replace

from kafkawire.errors import ErrorCode, KafkaError
from metadata.controller.commands import (
    AllocateProducerIds,
    AllocateProducerIdsReply,
    AlterPartition,
    BrokerConnected,
    BrokerDisconnected,
    BrokerHeartbeat,
    Command,
    RegisterBrokerReply,
    Tick,
    UnregisterBroker,
)
from metadata.image import BrokerState
from metadata.records import NO_LEADER, Endpoint, ProducerIdsRecord


def test_a_broker_registers_fenced_under_the_offset_of_its_record(make_cluster):
    cluster = make_cluster()
    first = cluster.image.next_offset
    assert [cluster.register(broker) for broker in (7, 8)] == [first, first + 1]
    assert cluster.broker(7).fenced
    assert cluster.broker(8).endpoint("PLAINTEXT") == Endpoint("PLAINTEXT", "host8", 9092)
    assert cluster.broker(8).endpoint("OTHER") is None


def test_a_broker_is_unfenced_once_it_has_applied_its_own_registration(make_cluster):
    cluster = make_cluster()
    epoch = cluster.register(1)
    behind = cluster.heartbeat(1, offset=epoch - 1)
    assert (behind.is_caught_up, behind.is_fenced) == (False, True)
    waiting = cluster.heartbeat(1, want_fence=True)
    assert (waiting.is_caught_up, waiting.is_fenced) == (True, True)
    ready = cluster.heartbeat(1, offset=epoch)
    assert (ready.is_caught_up, ready.is_fenced, ready.should_shutdown) == (True, False, False)
    assert cluster.broker(1).state is BrokerState.ACTIVE
    offset = cluster.image.offset
    cluster.heartbeat(1)
    assert cluster.image.offset == offset, "a heartbeat that changes nothing leaves no record"


def test_the_same_incarnation_keeps_its_epoch_and_may_change_its_endpoints(cluster):
    cluster.incarnations = 9
    epoch = cluster.register(5)
    offset = cluster.image.offset
    again = cluster.registration(5, same=True)
    assert cluster.ask(again) == RegisterBrokerReply(epoch)
    assert cluster.image.offset == offset
    moved = replace(again, endpoints=(Endpoint("PLAINTEXT", "elsewhere", 1),))
    cluster.heartbeat(5)
    assert cluster.ask(moved) == RegisterBrokerReply(epoch)
    assert cluster.broker(5).endpoints == moved.endpoints
    assert cluster.broker(5).active, "amending a registration does not fence"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"cluster_id": "other"}, ErrorCode.INCONSISTENT_CLUSTER_ID),
        ({"broker_id": -1}, ErrorCode.INVALID_REGISTRATION),
        ({"endpoints": ()}, ErrorCode.INVALID_REGISTRATION),
        ({"endpoints": (Endpoint("A", "h", 1), Endpoint("A", "h", 2))}, ErrorCode.INVALID_REGISTRATION),
    ],
)
def test_a_registration_that_cannot_be_is_refused(cluster, change, code):
    assert cluster.refused(replace(cluster.registration(4), **change)).code is code


def test_a_second_process_is_refused_while_the_first_lives(cluster):
    error = cluster.refused(cluster.registration(1))
    assert error.code is ErrorCode.DUPLICATE_BROKER_REGISTRATION
    assert "1" in error.message
    cluster.pass_time(2.9)
    assert cluster.refused(cluster.registration(1)).code is ErrorCode.DUPLICATE_BROKER_REGISTRATION
    cluster.now += 0.1
    assert cluster.register(1) == cluster.image.offset


def test_a_new_process_takes_over_at_once_when_the_stream_of_the_old_one_broke(cluster):
    cluster.create("t", (1, 2, 3))
    old = cluster.epochs[1]
    cluster.ask(BrokerDisconnected(1, old))
    new = cluster.register(1)
    assert new > old
    assert cluster.broker(1).fenced
    assert cluster.partition().leader == 2, "leadership moves with the registration"
    assert cluster.partition().isr == (2, 3)


def test_a_broken_stream_fences_after_the_grace(cluster):
    cluster.create("t", (1, 2, 3))
    cluster.ask(BrokerDisconnected(1, cluster.epochs[1]))
    assert cluster.controller.next_deadline(cluster.now) == pytest.approx(cluster.now + 0.2)
    cluster.pass_time(0.19)
    assert cluster.broker(1).active
    cluster.pass_time(0.02)
    assert cluster.broker(1).fenced
    assert cluster.partition().leader == 2


def test_a_broken_stream_does_not_prolong_a_session(cluster):
    cluster.now += 2.95
    cluster.ask(BrokerDisconnected(1, cluster.epochs[1]))
    cluster.pass_time(0.1)
    assert cluster.broker(1).fenced


def test_a_second_report_of_the_same_break_does_not_prolong_the_grace(cluster):
    cluster.ask(BrokerDisconnected(1, cluster.epochs[1]))
    cluster.now += 0.15
    cluster.ask(BrokerDisconnected(1, cluster.epochs[1]))
    cluster.pass_time(0.1)
    assert cluster.broker(1).fenced


def test_a_new_stream_within_the_grace_saves_the_broker(cluster):
    cluster.ask(BrokerDisconnected(1, cluster.epochs[1]))
    cluster.now += 0.15
    cluster.ask(BrokerConnected(1, cluster.epochs[1]))
    cluster.pass_time(0.2)
    assert cluster.broker(1).active


def test_a_late_heartbeat_does_not_save_a_broker_whose_stream_broke(cluster):
    """It may have been under way when the process died."""
    cluster.ask(BrokerDisconnected(1, cluster.epochs[1]))
    cluster.now += 0.1
    assert not cluster.heartbeat(1).is_fenced
    cluster.pass_time(0.15)
    assert cluster.broker(1).fenced
    assert not cluster.heartbeat(1).is_fenced, "one that comes after the fence proves life"


def test_the_stream_of_an_earlier_incarnation_does_not_matter(cluster):
    old = cluster.epochs[1]
    cluster.ask(BrokerDisconnected(1, old))
    cluster.register(1)
    cluster.heartbeat(1)
    cluster.ask(BrokerDisconnected(1, old))
    cluster.pass_time(1.0)
    assert cluster.broker(1).active


def test_a_silent_broker_is_fenced_when_its_session_ends(cluster):
    for _ in range(5):
        cluster.pass_time(1.0)
        cluster.heartbeat(2)
        cluster.heartbeat(3)
    assert cluster.broker(1).fenced
    assert cluster.broker(2).active


def test_brokers_that_expire_together_do_not_inherit_from_each_other(cluster):
    cluster.create("t", (1, 2, 3), min_insync_replicas="2")
    cluster.now += 2.0
    cluster.heartbeat(3)
    cluster.pass_time(1.5)
    partition = cluster.partition()
    assert (partition.leader, partition.leader_epoch) == (3, 1), "one election, not two"
    assert partition.isr == (3,)
    assert set(partition.elr) == {1, 2}


def test_row_8_a_zombie_is_turned_away_whatever_it_asks(cluster):
    """A process whose place was taken learns so from each of its requests."""
    cluster.create("t", (1, 2, 3))
    stale = cluster.epochs[1]
    cluster.ask(BrokerDisconnected(1, stale))
    cluster.register(1)
    requests: list[Command] = [
        BrokerHeartbeat(1, stale, cluster.image.offset),
        BrokerConnected(1, stale),
        AlterPartition(1, stale, (cluster.proposal((1,)),)),
        AllocateProducerIds(1, stale),
        BrokerHeartbeat(9, 0, 0),
    ]
    for request in requests:
        assert cluster.refused(request).code is ErrorCode.STALE_BROKER_EPOCH


def test_controlled_shutdown_moves_leaderships_before_the_broker_stops(cluster):
    cluster.create("t", (1, 2, 3), (2, 3, 1))
    first = cluster.heartbeat(1, want_shutdown=True)
    assert not first.should_shutdown
    assert cluster.broker(1).in_controlled_shutdown
    assert [cluster.partition("t", number).leader for number in (0, 1)] == [2, 2]
    assert 1 not in cluster.partition().isr
    began = cluster.image.offset
    assert not cluster.heartbeat(1, want_shutdown=True).should_shutdown, "the others do not know yet"
    cluster.heartbeat(2)
    cluster.heartbeat(3, offset=began - 1)
    assert not cluster.heartbeat(1, want_shutdown=True).should_shutdown
    cluster.heartbeat(3)
    assert not cluster.heartbeat(1, want_shutdown=True, offset=began - 1).should_shutdown, "nor it itself"
    last = cluster.heartbeat(1, want_shutdown=True)
    assert (last.should_shutdown, last.is_fenced) == (True, True)
    assert cluster.broker(1).fenced


def test_a_broker_that_leads_nothing_stops_at_once(cluster):
    reply = cluster.heartbeat(1, want_shutdown=True)
    assert (reply.should_shutdown, reply.is_fenced) == (True, True)


def test_a_fenced_broker_may_stop(make_cluster):
    cluster = make_cluster()
    cluster.register(1)
    reply = cluster.heartbeat(1, want_shutdown=True)
    assert (reply.should_shutdown, reply.is_fenced) == (True, True)


def test_a_controlled_shutdown_goes_on_under_another_controller(cluster):
    cluster.create("t", (1, 2, 3))
    cluster.heartbeat(1, want_shutdown=True)
    cluster.controller.take_over(cluster.now)
    assert not cluster.heartbeat(1, want_shutdown=True).should_shutdown
    cluster.heartbeat(2)
    cluster.heartbeat(3)
    assert cluster.heartbeat(1, want_shutdown=True).should_shutdown


def test_a_broker_in_controlled_shutdown_may_come_back_as_another_process(cluster):
    cluster.create("t", (1, 2, 3))
    cluster.heartbeat(1, want_shutdown=True)
    assert cluster.register(1) == cluster.broker(1).epoch


def test_a_new_controller_gives_brokers_a_moment_to_find_it(cluster):
    cluster.pass_time(2.5)
    cluster.controller.take_over(cluster.now)
    cluster.pass_time(0.9)
    cluster.ask(BrokerConnected(1, cluster.epochs[1]))
    cluster.heartbeat(2)
    cluster.pass_time(0.2)
    assert [cluster.broker(broker).active for broker in (1, 2, 3)] == [True, True, False]


def test_a_controller_that_was_away_gives_brokers_a_moment_to_be_heard(cluster):
    """Once: their heartbeats wait to be read. One whose stream broke before had its moment."""
    cluster.now += 1.0
    cluster.ask(BrokerDisconnected(3, cluster.epochs[3]))
    cluster.now += 9.0
    cluster.controller.was_away(cluster.now, 8.0)
    cluster.pass_time(0.0)
    assert [cluster.broker(broker).active for broker in (1, 2, 3)] == [True, True, False]
    cluster.heartbeat(1)
    cluster.now += 1.0
    cluster.controller.was_away(cluster.now, 0.1)
    cluster.pass_time(0.0)
    assert [cluster.broker(broker).active for broker in (1, 2)] == [True, False]


def test_after_a_takeover_a_broker_that_has_not_been_heard_from_may_be_replaced(cluster):
    cluster.controller.take_over(cluster.now)
    assert cluster.register(1) > 0
    cluster.heartbeat(2)
    assert cluster.refused(cluster.registration(2)).code is ErrorCode.DUPLICATE_BROKER_REGISTRATION


def test_a_fenced_broker_has_no_session_after_a_takeover(make_cluster):
    cluster = make_cluster(leader_balance_interval=None)
    cluster.register(1)
    cluster.controller.take_over(cluster.now)
    assert cluster.controller.next_deadline(cluster.now) == inf


def test_an_unregistered_broker_is_forgotten(cluster):
    cluster.create("t", (1, 2), min_insync_replicas="2")
    cluster.fence(1)
    assert cluster.partition().elr == (1,)
    cluster.ask(UnregisterBroker(1))
    assert 1 not in cluster.image.brokers
    assert (cluster.partition().isr, cluster.partition().elr) == ((2,), ())
    assert cluster.refused(UnregisterBroker(1)).code is ErrorCode.BROKER_ID_NOT_REGISTERED
    assert cluster.refused(BrokerHeartbeat(1, 0, 0)).code is ErrorCode.STALE_BROKER_EPOCH


def test_a_leaderless_partition_gets_a_leader_when_a_replica_comes_back(cluster):
    cluster.create("t", (1,))
    cluster.fence(1)
    assert cluster.partition().leader == NO_LEADER
    assert cluster.partition().elr == (1,)
    cluster.heartbeat(1)
    assert (cluster.partition().leader, cluster.partition().isr) == (1, (1,))
    assert cluster.partition().leader_epoch == 2
    assert not cluster.partition().recovering


def test_producer_ids_come_in_blocks_that_never_repeat(cluster):
    def allocate(broker: int) -> object:
        return cluster.ask(AllocateProducerIds(broker, cluster.epochs[broker]))

    assert [allocate(1), allocate(2), allocate(1)] == [
        AllocateProducerIdsReply(first, 1000) for first in (0, 1000, 2000)
    ]
    assert cluster.image.next_producer_id == 3000


def test_producer_ids_run_out(cluster):
    image = cluster.image.apply([ProducerIdsRecord(1, 0, 2**63 - 1000)], cluster.image.next_offset)
    cluster.controller.image = image
    assert cluster.refused(AllocateProducerIds(1, cluster.epochs[1])).code is ErrorCode.UNKNOWN_SERVER_ERROR


def test_tick_as_a_command_does_what_tick_does(cluster):
    cluster.create("t", (1, 2, 3))
    cluster.ask(BrokerDisconnected(1, cluster.epochs[1]))
    cluster.now += 1
    cluster.ask(Tick())
    assert cluster.broker(1).fenced
    assert cluster.partition().leader == 2


def test_an_error_says_what_is_expected(cluster):
    with pytest.raises(KafkaError, match="Expected broker epoch"):
        cluster.ask(BrokerHeartbeat(1, 12345, 0))
    with pytest.raises(KafkaError, match="Expected cluster ID cluster, but got cluster ID x"):
        cluster.ask(replace(cluster.registration(4), cluster_id="x", incarnation_id=UUID(int=5)))
