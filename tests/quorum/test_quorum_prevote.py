"""Who would get a vote, and who had better not ask."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kraft.quorum.prevote import PreVote, Standing, would_vote

OWN = Standing(
    node_id=2,
    term=5,
    last_log_term=4,
    last_log_index=10,
    leads=False,
    follows=None,
    asks_itself=False,
    disk_stalled=False,
)


@pytest.mark.parametrize(
    ("own", "candidate", "term", "log", "granted"),
    [
        ({}, 1, 5, (4, 10), True),
        ({}, 1, 7, (4, 10), True),
        ({}, 1, 4, (4, 10), False),
        ({}, 1, 5, (4, 9), False),
        ({}, 1, 5, (3, 99), False),
        ({}, 1, 5, (5, 1), True),
        ({"leads": True}, 1, 5, (9, 99), False),
        ({"follows": 3}, 1, 5, (9, 99), False),
        ({"follows": 1}, 1, 5, (4, 10), True),
        ({"asks_itself": True}, 1, 5, (4, 10), False),
        ({"asks_itself": True}, 3, 5, (4, 10), True),
        ({"asks_itself": True}, 1, 5, (4, 11), True),
        ({"disk_stalled": True}, 1, 5, (9, 99), False),
    ],
    ids=[
        "same log",
        "later term",
        "earlier term",
        "shorter log",
        "older log",
        "newer log",
        "leads itself",
        "hears a leader",
        "the leader itself asks",
        "asks too, higher",
        "asks too, lower",
        "asks too, but with less",
        "could not store the vote",
    ],
)
def test_a_pre_vote_is_granted_to_who_could_lead(own, candidate, term, log, granted):
    assert would_vote(replace(OWN, **own), candidate, term, *log) is granted


def test_a_round_is_won_by_a_majority_once():
    pre_vote = PreVote(majority=2)
    number = pre_vote.begin(own_id=1)
    assert not pre_vote.won()
    pre_vote.granted(2, number)
    assert pre_vote.won()
    assert not pre_vote.won()


def test_the_same_voter_counts_once():
    pre_vote = PreVote(majority=3)
    number = pre_vote.begin(own_id=1)
    pre_vote.granted(2, number)
    pre_vote.granted(2, number)
    assert not pre_vote.won()


def test_answers_to_an_earlier_round_count_for_nothing():
    pre_vote = PreVote(majority=2)
    earlier = pre_vote.begin(own_id=1)
    pre_vote.begin(own_id=1)
    pre_vote.granted(2, earlier)
    assert not pre_vote.won()


def test_an_abandoned_round_is_not_won():
    pre_vote = PreVote(majority=2)
    number = pre_vote.begin(own_id=1)
    pre_vote.abandon()
    pre_vote.granted(2, number)
    assert not pre_vote.won()
    assert not pre_vote.is_open


def test_a_quorum_of_one_needs_nobody():
    pre_vote = PreVote(majority=1)
    pre_vote.begin(own_id=1)
    assert pre_vote.won()
