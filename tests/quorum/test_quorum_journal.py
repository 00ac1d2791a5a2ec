"""Which entries of the journal are durable, while changes are on their way to the disk."""

from __future__ import annotations

import pytest

from kraft.quorum.journal import Append, Discard, Journal, Reset, Truncate, Vote
from kraft.quorum.snapshots import Snapshot


def journal_with(count, term=1):
    journal = Journal([], Vote(0, None))
    for index in range(1, count + 1):
        journal.add(b"\x00", index, term)
    return journal


def test_nothing_is_durable_before_it_has_landed():
    journal = journal_with(3)
    assert (journal.written, journal.synced, journal.synced_index) == (3, 0, 0)
    journal.take()
    assert journal.synced == 0
    journal.landed()
    assert (journal.synced, journal.synced_index) == (3, 3)


def test_what_is_added_during_a_flight_waits_for_the_next():
    journal = journal_with(2)
    journal.take()
    journal.add(b"\x00", 3, 1)
    journal.landed()
    assert journal.synced_index == 2
    assert journal.written > journal.synced
    assert journal.take() == [Append([(b"\x00", 3, 1)])]


def test_entries_that_are_truncated_during_a_flight_are_not_durable():
    journal = journal_with(5)
    journal.take()
    journal.deleteEntriesFrom(2)
    journal.add(b"\x00", 3, 2)
    journal.landed()
    assert journal.synced_index == 2
    journal.take()
    journal.landed()
    assert journal.synced_index == 3


def test_truncation_takes_durable_entries_back():
    journal = journal_with(5)
    journal.take()
    journal.landed()
    journal.deleteEntriesFrom(1)
    assert journal.synced_index == 1


def test_a_truncation_of_nothing_is_no_change():
    journal = journal_with(2)
    journal.take()
    journal.deleteEntriesFrom(2)
    assert not journal.has_changes


def test_changes_keep_their_order():
    journal = journal_with(3)
    journal.setCurrentTerm(2, 1)
    journal.deleteEntriesFrom(1)
    journal.add(b"\x01", 2, 2)
    journal.discard_below(2)
    entries = [(b"\x00", index, 1) for index in (1, 2, 3)]
    assert journal.take() == [Append(entries), Vote(2, 1), Truncate(2), Append([(b"\x01", 2, 2)]), Discard(2)]


def test_the_same_vote_is_written_once():
    journal = journal_with(1)
    journal.take()
    journal.landed()
    journal.setCurrentTerm(2, 1)
    journal.setCurrentTerm(2, 1)
    assert journal.take() == [Vote(2, 1)]


def test_the_term_is_durable_when_its_vote_has_landed():
    journal = journal_with(1)
    journal.setCurrentTerm(2, 1)
    assert not journal.term_is_durable
    journal.take()
    journal.landed()
    journal.add(b"\x00", 2, 2)
    assert journal.term_is_durable


def test_a_snapshot_that_is_installed_is_durable_with_its_entries():
    journal = journal_with(3)
    journal.take()
    snapshot = Snapshot(((b"\x00", 8, 2), (b"\x00", 9, 2)), 5, b"")
    journal.install(snapshot)
    journal.landed()
    assert (journal.first_index, journal.last_index, journal.synced_index) == (8, 9, 9)
    assert journal.take() == [Reset(list(snapshot.entries))]


def test_entries_below_the_first_are_not_there():
    journal = journal_with(5)
    journal.discard_below(3)
    assert journal.entry(3)[1] == 3
    with pytest.raises(IndexError):
        journal.entry(2)


def test_landing_without_a_flight_is_a_mistake():
    with pytest.raises(AssertionError):
        journal_with(1).landed()
