"""How soon a quorum has a leader again, and who does not disturb it."""

from __future__ import annotations

from functools import partial

import pytest

from chaos.quorum.node import DIRECTORY
from kraft.quorum.stored import LOG_DIRECTORY, STATE_FILE


def others(cluster, node):
    return [other for other in cluster.nodes if other is not node]


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("seed", range(8))
def test_a_killed_leader_is_replaced_within_a_second(make_cluster, size, seed):
    cluster = make_cluster(size, seed)
    cluster.commit([b"a"])
    old = cluster.leader()
    old.crash(power_lost=True)
    assert cluster.until(lambda: any(cluster._leads(node) for node in cluster.nodes)) < 1.0


def test_most_killed_leaders_are_replaced_in_a_quarter_of_a_second(make_cluster):
    times = []
    for seed in range(30):
        cluster = make_cluster(3, seed)
        cluster.commit([b"a"])
        cluster.leader().crash(power_lost=False)
        times.append(cluster.until(lambda c=cluster: any(c._leads(node) for node in c.nodes)))
    assert sorted(times)[15] < 0.25


def test_entries_of_a_term_bring_the_term_with_them(make_cluster):
    """A power cut may keep a follower's entries and take the term, which is in a file of its own: the leader
    of that term has to be answered in that term."""
    cluster = make_cluster(3)
    cluster.commit([b"a"])
    old = cluster.leader()
    term_file = f"{DIRECTORY}/{LOG_DIRECTORY}/{STATE_FILE}"
    earlier = {node: node.storage.read_text(term_file) for node in others(cluster, old)}
    old.crash(power_lost=False)
    cluster.commit([b"b"])
    leader = cluster.leader()
    old.start()
    (follower,) = (node for node in earlier if node is not leader)
    end = max(node.next_offset for node in cluster.nodes)
    cluster.until(lambda: follower.next_offset == end)
    cluster.run(1.0)
    follower.crash(power_lost=True)
    assert follower.storage.read_text(term_file) != earlier[follower]
    follower.storage.write_text_atomically(term_file, earlier[follower])
    follower.start()
    old.crash(power_lost=False)
    cluster.commit([b"c"])
    cluster.until(lambda: follower.next_offset == end + 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_silent_leader_is_replaced_after_the_election_timeout(make_cluster, seed):
    cluster = make_cluster(3, seed)
    cluster.commit([b"a"])
    old = cluster.leader()
    old.pause()
    rest = others(cluster, old)
    assert cluster.until(lambda: any(cluster._leads(node) for node in rest)) < 1.5
    old.resume()
    cluster.until(lambda: old.log.leadership.leader_id not in (None, old.node_id), bound=1.0)


def test_nobody_is_said_to_lead_while_nobody_can(make_cluster):
    """Two of three are gone: the last one knows a leader of its term, who is dead."""
    cluster = make_cluster(3)
    cluster.commit([b"a"])
    old = cluster.leader()
    left, other = others(cluster, old)
    cluster.until(lambda: left.log.status().leader_id == old.node_id)
    other.crash(power_lost=False)
    old.crash(power_lost=False)
    cluster.until(lambda: left.log.status().leader_id is None, bound=1.0)


def test_a_leader_that_was_cut_off_steps_down_before_another_can_lead(make_cluster):
    cluster = make_cluster(3)
    cluster.commit([b"a"])
    old = cluster.leader()
    cluster.isolate(old.node_id)
    took = cluster.until(lambda: old.log.leadership.leader_id is None)
    assert took < 0.35
    assert not any(cluster._leads(node) for node in others(cluster, old))


def test_a_node_that_was_cut_off_does_not_disturb_when_it_returns(make_cluster):
    cluster = make_cluster(3)
    cluster.commit([b"a"])
    leader = cluster.leader()
    term = leader.log.leadership.term
    lost = others(cluster, leader)[0]
    cluster.isolate(lost.node_id)
    cluster.run(5.0)
    cluster.network.mend_all()
    cluster.run(2.0)
    assert cluster.leader() is leader
    assert {node.log.term for node in cluster.nodes} == {term}


def test_a_node_that_sees_only_some_peers_does_not_flap_the_quorum(make_cluster):
    """Row 17 of the known failures: a partial partition. Node A cannot reach the leader; B reaches both."""
    cluster = make_cluster(3)
    cluster.commit([b"a"])
    leader = cluster.leader()
    term = leader.log.leadership.term
    apart = others(cluster, leader)[0]
    cluster.network.cut(leader.node_id, apart.node_id)
    cluster.network.cut(apart.node_id, leader.node_id)
    cluster.run(10.0)
    assert cluster.leader() is leader
    assert leader.log.leadership.term == term


def test_a_node_behind_in_terms_catches_up_without_an_election(make_cluster):
    cluster = make_cluster(3)
    cluster.commit([b"a"])
    lost = others(cluster, cluster.leader())[0]
    cluster.isolate(lost.node_id)
    old = cluster.leader()
    old.crash(power_lost=False)
    old.start()
    cluster.run(2.0)
    before = cluster.leader().log.leadership
    assert lost.log.leadership.term < before.term
    cluster.network.mend_all()
    cluster.until(lambda: lost.log.leadership == before, bound=2.0)
    cluster.run(1.0)
    assert cluster.leader().log.leadership == before


def test_a_leader_with_a_stuck_disk_hands_over(make_cluster):
    cluster = make_cluster(3, disk_stall_timeout=0.5)
    leader = cluster.leader()
    leader.disk.conditions.stall = 60.0
    cluster.propose(leader, [b"stuck"])
    rest = others(cluster, leader)
    assert cluster.until(lambda: any(cluster._leads(node) for node in rest)) < 2.0
    cluster.run(5.0)
    assert any(cluster._leads(node) for node in rest)
    assert not cluster._leads(leader)


def test_a_follower_with_a_slow_disk_does_not_unseat_the_leader(make_cluster):
    cluster = make_cluster(3)
    cluster.commit([b"a"])
    leader = cluster.leader()
    for node in others(cluster, leader):
        node.disk.conditions.stall = 0.6
    outcomes = cluster.propose(leader, [b"slow"])
    cluster.until(lambda: bool(outcomes), bound=2.0)
    assert cluster.leader() is leader


@pytest.mark.parametrize("seed", range(5))
def test_resigning_moves_leadership_at_once(make_cluster, seed):
    cluster = make_cluster(3, seed)
    cluster.commit([b"a"])
    cluster.run(0.2)
    leader = cluster.leader()
    assert leader.log.resign()
    took = cluster.until(lambda: any(cluster._leads(node) for node in others(cluster, leader)))
    assert took < 0.1


def test_a_follower_cannot_resign(make_cluster):
    cluster = make_cluster(3)
    assert not others(cluster, cluster.leader())[0].log.resign()


def test_a_paused_leader_that_nobody_missed_goes_on(make_cluster):
    cluster = make_cluster(3)
    cluster.commit([b"a"])
    leader = cluster.leader()
    term = leader.log.leadership.term
    leader.pause()
    cluster.run(0.28)
    leader.resume()
    cluster.run(1.0)
    assert cluster.leader() is leader
    assert leader.log.leadership.term == term


def test_a_quorum_of_one_leads_at_once(make_cluster):
    cluster = make_cluster(1)
    assert cluster.until(lambda: cluster._leads(cluster.nodes[0])) < 0.05


def test_a_fresh_quorum_of_three_has_a_leader_soon(make_cluster):
    for seed in range(10):
        cluster = make_cluster(3, seed)
        assert cluster.until(lambda c=cluster: any(c._leads(node) for node in c.nodes)) < 1.0


def test_a_vote_that_is_repeated_counts_once(make_cluster):
    """One voter's answer arrives three times, those of all others get lost: two of five have voted."""
    cluster = make_cluster(5)
    arrives = {node.node_id: node.received for node in cluster.nodes}

    def received(own_id, peer, payload):
        voter = 1 if own_id != 1 else 2
        if b"response_vote" not in payload:
            arrives[own_id](peer, payload)
        elif peer == voter:
            for _ in range(3):
                arrives[own_id](peer, payload)

    for node in cluster.nodes:
        node.received = partial(received, node.node_id)
    cluster.run(5.0)
    told = [each for node in cluster.nodes for each in node.leaderships]
    assert max(each.term for each in told) > 1, "somebody stood for election"
    assert {each.leader_id for each in told} == {None}
    for node in cluster.nodes:
        node.received = arrives[node.node_id]
    cluster.commit([b"a"])
