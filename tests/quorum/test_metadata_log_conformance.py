"""What any implementation of `metadata.log.MetadataLog` has to keep, asked of the quorum."""

from __future__ import annotations

import pytest

from metadata.log import Leadership, Outcome

pytestmark = pytest.mark.parametrize("size", [1, 3, 5])


def test_committed_records_reach_every_node_in_order(make_cluster, size):
    cluster = make_cluster(size)
    for number in range(10):
        cluster.commit([b"%d-%d" % (number, part) for part in range(3)])
    expected = [b"%d-%d" % (number, part) for number in range(10) for part in range(3)]
    cluster.until(lambda: all(node.log.next_offset == 30 for node in cluster.nodes))
    assert all(node.records == expected for node in cluster.nodes)


def test_offsets_count_records_densely_from_zero(make_cluster, size):
    cluster = make_cluster(size)
    assert cluster.leader().log.next_offset == 0
    cluster.commit([b"a", b"b"])
    cluster.commit([b"c"])
    assert [(batch.first_offset, list(batch.records)) for batch in cluster.leader().batches] == [
        (0, [b"a", b"b"]),
        (2, [b"c"]),
    ]


def test_a_batch_carries_the_term_it_was_proposed_in(make_cluster, size):
    cluster = make_cluster(size)
    term = cluster.leader().log.leadership.term
    cluster.commit([b"a"])
    assert cluster.leader().batches[0].term == term


def test_done_is_called_once_and_not_from_inside_propose(make_cluster, size):
    cluster = make_cluster(size)
    leader = cluster.leader()
    outcomes: list[Outcome] = []
    inside: list[Outcome] = []

    def propose():
        leader.log.propose(leader.log.leadership.term, 0, [b"a"], outcomes.append)
        leader.log.propose(leader.log.leadership.term - 1, 0, [b"b"], outcomes.append)
        inside.extend(outcomes)

    leader.do(propose)
    cluster.run(1.0)
    assert inside == []
    assert sorted(outcomes, key=str) == [Outcome.COMMITTED, Outcome.REJECTED]


def test_committed_is_told_after_the_batch_was_delivered(make_cluster, size):
    cluster = make_cluster(size)
    leader = cluster.leader()
    delivered: list[list[bytes]] = []
    term = leader.log.leadership.term
    leader.do(
        lambda: leader.log.propose(term, 0, [b"a"], lambda outcome: delivered.append(leader.records[:]))
    )
    cluster.until(lambda: bool(delivered))
    assert delivered == [[b"a"]]


def test_several_proposals_in_flight_keep_their_order(make_cluster, size):
    cluster = make_cluster(size)
    leader = cluster.leader()
    outcomes: list[tuple[int, Outcome]] = []

    def propose():
        for number in range(20):
            leader.log.propose(
                leader.log.leadership.term,
                number,
                [b"%d" % number],
                lambda outcome, number=number: outcomes.append((number, outcome)),
            )

    leader.do(propose)
    cluster.until(lambda: len(outcomes) == 20)
    assert outcomes == [(number, Outcome.COMMITTED) for number in range(20)]
    assert leader.records == [b"%d" % number for number in range(20)]


def test_a_proposal_for_another_offset_is_rejected_and_skipped_everywhere(make_cluster, size):
    cluster = make_cluster(size)
    leader = cluster.leader()
    outcomes: list[Outcome] = []
    term = leader.log.leadership.term
    for offset, record in ((1, b"too far"), (0, b"right"), (0, b"too late")):
        leader.do(lambda o=offset, r=record: leader.log.propose(term, o, [r], outcomes.append))
    cluster.until(lambda: len(outcomes) == 3)
    assert outcomes == [Outcome.REJECTED, Outcome.COMMITTED, Outcome.REJECTED]
    cluster.until(lambda: all(node.log.next_offset == 1 for node in cluster.nodes))
    assert all(node.records == [b"right"] for node in cluster.nodes)


def test_nobody_but_the_leader_of_the_term_appends(make_cluster, size):
    cluster = make_cluster(size)
    leader = cluster.leader()
    outcomes: list[Outcome] = []
    for node in cluster.nodes:
        for term in (leader.log.leadership.term - 1, leader.log.leadership.term + 1):
            node.do(lambda n=node, t=term: n.log.propose(t, 0, [b"no"], outcomes.append))
    for node in cluster.nodes:
        if node is not leader:
            node.do(lambda n=node: n.log.propose(leader.log.leadership.term, 0, [b"no"], outcomes.append))
    cluster.run(1.0)
    assert outcomes == [Outcome.REJECTED] * (3 * size - 1)
    assert all(node.records == [] for node in cluster.nodes)


def test_a_new_leader_has_delivered_everything_before_it_says_so(make_cluster, size):
    cluster = make_cluster(size)
    cluster.commit([b"a"])
    old = cluster.leader()
    old.crash(power_lost=True)
    if size == 1:
        old.start()
    leader = cluster.leader()
    assert leader.records == [b"a"]
    announced = f"leader {leader.node_id} of term {leader.log.leadership.term}"
    assert leader.events.index("committed 0") < leader.events.index(announced)


def test_every_node_learns_who_leads(make_cluster, size):
    cluster = make_cluster(size)
    leader = cluster.leader()
    expected = Leadership(leader.log.leadership.term, leader.node_id)
    cluster.until(lambda: all(node.log.leadership == expected for node in cluster.nodes))
    assert all(node.leaderships[-1] == expected for node in cluster.nodes)


def test_everything_survives_a_power_cut_of_all_nodes(make_cluster, size):
    cluster = make_cluster(size)
    for number in range(5):
        cluster.commit([b"%d" % number])
    for node in cluster.nodes:
        node.crash(power_lost=True)
    for node in cluster.nodes:
        node.start()
    leader = cluster.leader()
    assert leader.records == [b"%d" % number for number in range(5)]


def test_a_snapshot_replaces_the_state_of_a_node_that_starts(make_cluster, size):
    cluster = make_cluster(size, snapshot_interval_records=4)
    for number in range(20):
        cluster.commit([b"%d" % number])
    cluster.run(1.0)
    node = cluster.nodes[0]
    node.crash(power_lost=True)
    node.start()
    assert node.snapshots_seen == 1
    assert node.log.next_offset >= 16
    cluster.until(lambda: node.log.next_offset == 20)
    assert node.records == [b"%d" % number for number in range(20)]


def test_proposals_under_way_are_unknown_when_leadership_is_lost(make_cluster, size):
    cluster = make_cluster(size)
    leader = cluster.leader()
    leader.disk.conditions.stall = 5.0
    outcomes = cluster.propose(leader, [b"maybe"])
    cluster.run(0.02)
    if size == 1:
        leader.do(leader.log.stop)
    else:
        cluster.isolate(leader.node_id)
        cluster.until(lambda: bool(outcomes), bound=1.5)
    assert outcomes == [Outcome.UNKNOWN]
