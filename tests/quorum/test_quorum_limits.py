"""Each limit, and its far side."""

from __future__ import annotations

import pytest

from kraft.quorum.commands import encode_batch
from kraft.quorum.config import MAX_CARRIED_BYTES, MIB, QuorumConfig
from kraft.quorum.messages import SnapshotPiece
from kraft.quorum.snapshots import IncomingSnapshot
from metadata.log import Outcome


def test_a_proposal_of_the_largest_size_is_committed(make_cluster):
    cluster = make_cluster(3, max_entry_bytes=1000, max_append_bytes=100)
    overhead = len(encode_batch(1, 0, [b""]))
    cluster.commit([b"x" * (999 - overhead)])
    cluster.until(lambda: all(node.records == [b"x" * (999 - overhead)] for node in cluster.nodes))


def test_a_proposal_beyond_the_largest_size_is_rejected_and_harms_nothing(make_cluster):
    cluster = make_cluster(3, max_entry_bytes=1000, max_append_bytes=100)
    overhead = len(encode_batch(1, 0, [b""]))
    outcomes = cluster.propose(cluster.leader(), [b"x" * (1000 - overhead)])
    cluster.until(lambda: bool(outcomes))
    assert outcomes == [Outcome.REJECTED]
    cluster.commit([b"a"])


@pytest.mark.parametrize(
    ("limits", "size"), [({"max_pending_proposals": 3}, 1), ({"max_pending_bytes": 400}, 100)]
)
def test_more_proposals_than_may_wait_are_rejected(make_cluster, limits, size):
    cluster = make_cluster(3, **limits)
    leader = cluster.leader()
    outcomes: list[Outcome] = []

    def propose():
        for number in range(5):
            record = b"%d" % number * size
            leader.log.propose(leader.log.leadership.term, number, [record], outcomes.append)

    leader.do(propose)
    cluster.until(lambda: len(outcomes) == 5)
    assert sorted(outcomes, key=str) == [Outcome.COMMITTED] * 3 + [Outcome.REJECTED] * 2
    cluster.commit([b"there is room again"])


def test_a_snapshot_in_many_pieces_reaches_a_node_that_is_far_behind(make_cluster):
    cluster = make_cluster(
        3, snapshot_interval_records=10, snapshot_piece_bytes=50, snapshot_pieces_per_round=3
    )
    leader = cluster.leader()
    behind = next(node for node in cluster.nodes if node is not leader)
    behind.crash(power_lost=True)
    for number in range(60):
        cluster.commit([b"%03d" % number])
    behind.start()
    cluster.until(lambda: behind.records == [b"%03d" % number for number in range(60)])
    assert behind.snapshots_seen == 1


def test_logs_stay_short(make_cluster):
    cluster = make_cluster(3, snapshot_interval_records=10)
    for number in range(100):
        cluster.commit([b"%d" % number])
    cluster.run(0.5)
    assert all(len(node.log.log) < 40 for node in cluster.nodes)


def piece(data, position, *, last=False, index=9):
    return SnapshotPiece(data, position == 0, last, index, 2, position)


def test_pieces_become_a_whole():
    incoming = IncomingSnapshot(limit=6)
    assert incoming.add(1, piece(b"abc", 0)) is None
    assert incoming.add(1, piece(b"def", 3, last=True)) == b"abcdef"


@pytest.mark.parametrize(
    ("peer", "second"),
    [
        (1, piece(b"def", 4, last=True)),
        (1, piece(b"defg", 3, last=True)),
        (1, piece(b"def", 3, last=True, index=10)),
        (2, piece(b"def", 3, last=True)),
    ],
    ids=["a gap", "too large", "of another snapshot", "of another peer"],
)
def test_pieces_that_do_not_fit_start_over(peer, second):
    incoming = IncomingSnapshot(limit=6)
    assert incoming.add(1, piece(b"abc", 0)) is None
    assert incoming.add(peer, second) is None
    assert incoming.add(1, piece(b"def", 3, last=True)) is None
    assert incoming.add(1, piece(b"abc", 0, last=True)) == b"abc"


@pytest.mark.parametrize(
    "settings",
    [
        {"node_id": 4},
        {"voters": (1, 1, 2)},
        {"election_timeout_min": 0.6},
        {"heartbeat_interval": 0.1},
        {"check_quorum_timeout": 0.31},
        {"check_quorum_timeout": 0.07},
        {"link_grace_min": 0.2},
        {"max_append_bytes": MAX_CARRIED_BYTES - MIB + 1},
        {"snapshot_piece_bytes": MAX_CARRIED_BYTES + 1},
        {"max_pending_proposals": 0},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(ValueError, match=r"\w"):
        QuorumConfig(**({"node_id": 1, "voters": (1, 2, 3)} | settings))


def test_the_defaults_work():
    config = QuorumConfig(node_id=1, voters=(1, 2, 3, 4, 5))
    assert config.majority == 3
    assert config.peers == (2, 3, 4, 5)


def tuned(election_timeout, majority_timeout=2.0):
    return QuorumConfig.tuned(
        1, (1, 2, 3), election_timeout=election_timeout, majority_timeout=majority_timeout
    )


def test_the_usual_times_are_the_defaults():
    assert tuned(0.3) == QuorumConfig(node_id=1, voters=(1, 2, 3))


@pytest.mark.parametrize("election_timeout", [0.001, 0.1, 1.0, 60.0])
@pytest.mark.parametrize("majority_timeout", [0.001, 0.1, 1.0, 60.0])
def test_whatever_times_are_asked_for_the_others_fit_in(election_timeout, majority_timeout):
    config = tuned(election_timeout, majority_timeout)
    assert (config.election_timeout_min, config.election_timeout_max) == (
        election_timeout,
        2 * election_timeout,
    )
    assert config.check_quorum_timeout <= majority_timeout
