"""The guards, against the rules of the Raft paper written down as directly as they can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.quorum import guard
from kraft.quorum.guard import Admitted, Refused
from kraft.quorum.journal import Journal, Vote


def journal_of(terms, first=1):
    """A log whose entries from index `first` on have these terms."""
    return Journal([(b"\x01", index, term) for index, term in enumerate(terms, first)], Vote(9, None))


def append(prev, prev_term, terms, commit=0, term=9):
    entries = [(b"\x01", index, entry_term) for index, entry_term in enumerate(terms, prev + 1)]
    return {
        "type": "append_entries",
        "term": term,
        "commit_index": commit,
        "prevLogIdx": prev,
        "prevLogTerm": prev_term,
        "entries": entries,
    }


def as_pysyncobj_would(log, message):
    """What pysyncobj makes of it: the terms by index, the index it asks for next, how far it may commit."""
    entries = {index: term for _, index, term in log[:]}
    prev = message["prevLogIdx"]
    if entries.get(prev) != message["prevLogTerm"]:
        return entries, None, None
    kept = {index: term for index, term in entries.items() if index <= prev}
    kept |= {index: term for _, index, term in message["entries"]}
    asks = message["entries"][-1][1] + 1 if message["entries"] else prev + 1
    return kept, asks, min(message["commit_index"], max(kept))


def as_raft_says(log, message):
    """§5.3, receiver rules 2 to 4: remove at a conflict only, append what is not there."""
    entries = {index: term for _, index, term in log[:]}
    if entries.get(message["prevLogIdx"]) != message["prevLogTerm"]:
        return entries
    for _, index, term in message["entries"]:
        if index in entries and entries[index] != term:
            entries = {i: t for i, t in entries.items() if i < index}
        entries[index] = term
    return entries


@st.composite
def logs_and_messages(draw):
    """A log, how much of it is committed, a message of a leader, and the leader's log.

    The logs are the same up to some point behind what is committed, and have no term in common after it: what
    Raft calls log matching.
    """
    common = draw(st.lists(st.integers(0, 3), min_size=1, max_size=8).map(sorted))
    committed = draw(st.integers(1, len(common)))
    own_tail = draw(st.lists(st.sampled_from([4, 6, 8]), max_size=5).map(sorted))
    leaders = common + draw(st.lists(st.sampled_from([5, 7, 9]), max_size=5).map(sorted))
    prev = draw(st.integers(1, len(leaders)))
    end = draw(st.integers(prev, len(leaders)))
    commit = draw(st.integers(0, len(leaders)))
    return common + own_tail, committed, append(prev, leaders[prev - 1], leaders[prev:end], commit), leaders


@given(logs_and_messages())
def test_pysyncobj_behind_the_guard_does_what_raft_says(case):
    terms, committed, message, _ = case
    log = journal_of(terms)
    admission = guard.admit_append(log, committed, message)
    assert isinstance(admission, Admitted)
    after, _, _ = as_pysyncobj_would(log, admission.message)
    assert after == as_raft_says(log, message)


@given(logs_and_messages())
def test_a_reply_vouches_for_entries_that_are_the_leaders(case):
    terms, committed, message, leaders = case
    log = journal_of(terms)
    admission = guard.admit_append(log, committed, message)
    after, asks, commit_bound = as_pysyncobj_would(log, admission.message)
    if asks is None:
        return
    vouched = (admission.reply_next if admission.reply_next is not None else asks) - 1
    for index in range(1, max(vouched, commit_bound) + 1):
        assert after[index] == leaders[index - 1]


@given(logs_and_messages())
def test_what_is_committed_stays(case):
    terms, committed, message, _ = case
    log = journal_of(terms)
    after, _, _ = as_pysyncobj_would(log, guard.admit_append(log, committed, message).message)
    assert [after[index] for index in range(1, committed + 1)] == terms[:committed]


def test_a_repeated_message_removes_nothing():
    """Defect 1: after entries up to 6 were acknowledged, the message with 2 and 3 comes again."""
    log = journal_of([1, 1, 1, 1, 1, 1])
    admission = guard.admit_append(log, 2, append(1, 1, [1, 1], commit=6))
    assert admission.message["prevLogIdx"] == 6
    assert admission.message["entries"] == []
    assert admission.reply_next == 4
    assert admission.message["commit_index"] == 3


def test_a_mismatch_asks_for_the_first_entry_of_its_term():
    admission = guard.admit_append(journal_of([1, 1, 2, 2, 2]), 1, append(5, 3, []))
    assert admission.reply_next == 3


def test_a_mismatch_never_asks_for_what_is_committed():
    admission = guard.admit_append(journal_of([1, 1, 2, 2, 2]), 4, append(5, 3, []))
    assert admission.reply_next == 5


@pytest.mark.parametrize(
    "message",
    [append(2, 5, []), append(1, 1, [5]), append(1, 1, [1, 5])],
    ids=["previous", "first", "second"],
)
def test_a_leader_that_contradicts_what_is_committed_is_refused(message):
    assert isinstance(guard.admit_append(journal_of([1, 1, 1, 1]), 3, message), Refused)


def test_entries_below_a_compacted_log_are_known():
    log = journal_of([2, 2, 3], first=50)
    admission = guard.admit_append(log, 51, append(40, 1, [1] * 9 + [2, 2, 3, 3], commit=53))
    assert [index for _, index, _ in admission.message["entries"]] == [53]
    assert admission.message["prevLogIdx"] == 52


def test_a_message_that_ends_below_a_compacted_log_vouches_for_no_more():
    log = journal_of([2, 2, 3], first=50)
    admission = guard.admit_append(log, 51, append(40, 1, [1, 1], commit=60))
    assert admission.reply_next == 43
    assert admission.message["commit_index"] == 51


@pytest.mark.parametrize(
    ("index", "term", "admitted"),
    [(3, 1, False), (5, 2, False), (6, 2, False), (6, 3, True), (9, 3, True)],
    ids=["old", "committed", "already here", "conflict", "beyond the log"],
)
def test_snapshots_are_admitted_for_what_the_log_lacks(index, term, admitted):
    log = journal_of([1, 1, 1, 2, 2, 2])
    assert guard.admit_snapshot(log, 5, index, term) is admitted


@pytest.mark.parametrize(
    ("term", "expected", "lands"), [(3, 10, True), (2, 10, False), (3, 9, False), (3, 11, False)]
)
def test_a_batch_lands_in_its_term_at_its_offset_only(term, expected, lands):
    assert guard.lands(term, expected, entry_term=3, next_offset=10) is lands


def test_only_the_leader_of_the_term_accepts_a_proposal():
    assert guard.accepts_proposal(3, leading=3)
    assert not guard.accepts_proposal(3, leading=4)
    assert not guard.accepts_proposal(3, leading=None)
