"""Each anomaly in the smallest history that has it, beside the one that just has not."""

from __future__ import annotations

import pytest

from chaos.anomalies import Anomaly, Checker, Judgement, check
from chaos.checking.cycles import strongly_connected
from chaos.history import (
    ALTERED,
    Assigned,
    Committed,
    Compacted,
    Ended,
    Ending,
    Event,
    OffsetFetched,
    Outcome,
    Polled,
    Read,
    ReadBack,
    Sent,
    Settled,
    Stored,
    Trimmed,
)

YES, NO, MAYBE = Outcome.ACKNOWLEDGED, Outcome.REFUSED, Outcome.UNKNOWN


def sent(
    record: int, client: str = "p", partition: int = 0, transaction: int | None = None, key: int = 0
) -> Sent:
    return Sent(client, 0.0, record, "t", partition, key, transaction)


def settled(record: int, outcome: Outcome = YES, offset: int | None = None) -> Settled:
    return Settled("p", 0.0, record, outcome, offset)


def stored(record: int, offset: int | None, client: str = "p", transaction: int | None = None) -> list[Event]:
    """A record that was sent and acknowledged at `offset`."""
    return [sent(record, client, transaction=transaction), settled(record, YES, offset)]


def polled(
    *found: tuple[int, int], client: str = "c", assignment: int = 0, partition: int = 0, **how: object
) -> Polled:
    """A poll that returned (offset, record)s."""
    records = tuple(Read("t", partition, offset, record) for offset, record in found)
    return Polled(client, 0.0, assignment, records, **how)  # type: ignore[arg-type]


def committed_only(*found: tuple[int, int], **how: object) -> Polled:
    return polled(*found, committed_only=True, **how)  # type: ignore[arg-type]


def ended(transaction: int, commit: bool, outcome: Outcome = YES, client: str = "p") -> Ended:
    return Ended(client, 0.0, transaction, commit, outcome)


def read_back(end: int, partition: int = 0) -> ReadBack:
    return ReadBack("c", 0.0, "t", partition, end)


def found(*events: Event | list[Event]) -> dict[Anomaly, int]:
    """The anomalies of a history that is put together of events and lists of them."""
    flat: list[Event] = []
    for each in events:
        flat += each if isinstance(each, list) else [each]
    return dict(check(flat).counts)


TWO = [*stored(1, 0), *stored(2, 1)]
THREE = [*TWO, *stored(3, 2)]
ALL_THREE = polled((0, 1), (1, 2), (2, 3), client="other")


def test_nothing_is_wrong_with_nothing() -> None:
    assert check([]) == Judgement({}, check([]).totals, {})
    assert check([]).held


def test_a_lost_write() -> None:
    assert found(THREE, polled((0, 1), (1, 2), (2, 3))) == {}
    assert found(THREE, polled((0, 1), (2, 3))) == {Anomaly.LOST_WRITE: 1}
    assert found(THREE, polled((0, 1)), polled((2, 3))) == {Anomaly.LOST_WRITE: 1}
    assert found(THREE, polled((0, 1)), polled((2, 3), assignment=1)) == {}, "a rebalance may skip"
    assert found(THREE, polled((1, 2), (2, 3)), read_back(3)) == {Anomaly.LOST_WRITE: 1}


def test_what_somebody_read_and_a_final_consumer_does_not_find_is_lost() -> None:
    def at_last(*records: tuple[int, int], end: int) -> dict[Anomaly, int]:
        return found(THREE, ALL_THREE, polled(*records), read_back(end))

    assert at_last((0, 1), (1, 2), (2, 3), end=3) == {}
    assert at_last((0, 1), (1, 2), end=2) == {Anomaly.LOST_WRITE: 1}, "its end is gone"
    assert at_last((0, 1), (1, 2), end=3) == {Anomaly.LOST_WRITE: 1}, "there is nothing at its end"
    assert at_last((1, 2), (2, 3), end=3) == {Anomaly.LOST_WRITE: 1}, "its beginning is gone"
    assert at_last(end=0) == {Anomaly.LOST_WRITE: 3}
    later = [polled((0, 1), (1, 2), (2, 3)), read_back(3), *stored(4, 3), polled((3, 4), client="other")]
    assert found(THREE, later) == {}, "what was sent afterwards"
    maybe = [sent(4), settled(4, MAYBE), polled((3, 4), client="other")]
    assert found(THREE, maybe, polled((0, 1), (1, 2), (2, 3)), read_back(3)) == {}, "nobody promised it"
    trimmed = Trimmed("c", 0.0, "t", 0, 1)
    assert found(THREE, ALL_THREE, polled((1, 2), (2, 3)), read_back(3), trimmed) == {}


def test_a_batch_is_acknowledged_as_its_records_are() -> None:
    batch = [sent(1), sent(2), sent(3)]
    assert found(batch, Stored("p", 0.0, (1, 2, 3), 0)) == found(THREE)
    assert found(batch, Stored("p", 0.0, (1, 2, 3), 0), polled((0, 1), (2, 3))) == {Anomaly.LOST_WRITE: 1}
    assert found(batch, Stored("p", 0.0, (1, 2), None), read_back(0)) == {Anomaly.UNSEEN: 2}
    assert found(batch, Stored("p", 0.0, (1, 2), 0), Stored("p", 0.0, (3,), 1)) == {
        Anomaly.INCONSISTENT_OFFSET: 1
    }
    assert found(batch, polled((1, 2)), Stored("p", 0.0, (1, 2), 1)) == {
        Anomaly.INCONSISTENT_OFFSET: 1,
        Anomaly.DUPLICATE: 1,
    }
    assert found(batch, Stored("p", 0.0, (), 0)) == {}


def test_what_was_not_acknowledged_is_not_lost() -> None:
    for outcome in (MAYBE, NO):
        assert found(sent(0), settled(0, outcome), TWO, polled((0, 1), (1, 2)), read_back(2)) == {}
    assert found(sent(0), TWO, polled((0, 1), (1, 2)), read_back(2)) == {}


def test_a_lost_write_of_a_transaction() -> None:
    history = [*stored(1, 0, transaction=7), sent(2, transaction=7)]
    whole = committed_only((0, 1), (1, 2)), read_back(3)
    torn = committed_only((0, 1)), read_back(3)
    assert found(history, ended(7, True), *whole) == {}
    assert found(history, settled(2, YES, 1), ended(7, True), *torn) == {Anomaly.LOST_WRITE: 1}
    assert found(history, ended(7, True), *torn) == {Anomaly.UNSEEN: 1}, "nobody knows its offset"
    assert found(history, settled(2, YES, 1), ended(7, False), read_back(3)) == {}
    assert found(history, settled(2, YES, 1), ended(7, True, MAYBE), read_back(3)) == {}
    assert found(history, settled(2, YES, 1), read_back(3)) == {}


def test_a_transaction_of_which_a_part_is_shown_is_there_as_a_whole() -> None:
    history = [*stored(1, 0, transaction=7), *stored(2, 1, transaction=7), ended(7, True, MAYBE)]
    assert found(history, committed_only((0, 1), (1, 2)), read_back(3)) == {}
    assert found(history, committed_only((0, 1)), read_back(3)) == {Anomaly.LOST_WRITE: 1}
    assert found(history, polled((0, 1)), read_back(3)) == {}, "who reads everything proves nothing"


def test_unseen() -> None:
    assert found(TWO, polled((0, 1), (1, 2)), read_back(2)) == {}
    assert found(TWO, polled((0, 1))) == {}, "nobody looked further"
    assert found(TWO, polled((0, 1)), read_back(1)) == {Anomaly.UNSEEN: 1}
    assert found(stored(1, None), read_back(0)) == {Anomaly.UNSEEN: 1}
    assert check([*TWO, polled((0, 1))]).totals.unjudged == 1
    assert check([*TWO, polled((0, 1))]).totals.not_read_back == 1
    assert check([*TWO, polled((0, 1)), read_back(1), polled((0, 1), partition=3)]).totals.not_read_back == 1


def test_an_inconsistent_offset() -> None:
    history = [sent(1), sent(2), settled(1, MAYBE), settled(2, MAYBE)]
    assert found(history, polled((0, 1), client="a"), polled((0, 1), client="b")) == {}
    assert found(history, polled((0, 1), client="a"), polled((0, 2), client="b")) == {
        Anomaly.INCONSISTENT_OFFSET: 1
    }
    assert found(stored(1, 0), stored(2, 0), read_back(0)) == {
        Anomaly.INCONSISTENT_OFFSET: 1,
        Anomaly.UNSEEN: 2,
    }


def test_a_duplicate() -> None:
    assert found(TWO, polled((0, 1), (1, 2), client="a"), polled((0, 1), (1, 2), client="b")) == {}
    twice = polled((0, 1), (1, 2), (2, 1)), polled((0, 1), (1, 2), (2, 1), client="b")
    assert found(TWO, *twice) == {Anomaly.DUPLICATE: 1}
    assert found(stored(1, 0), polled((4, 1))) == {Anomaly.DUPLICATE: 1}, (
        "acknowledged at one, read at another"
    )


def test_altered() -> None:
    assert found(polled((0, 1)), stored(1, 0)) == {}, "clocks of two clients may differ"
    assert found(stored(1, 0), polled((0, 1), (1, ALTERED)), polled((1, ALTERED), client="b")) == {
        Anomaly.ALTERED: 1
    }
    assert found(stored(1, 0), polled((0, 1), (1, 99)), polled((1, 99), client="b")) == {Anomaly.ALTERED: 1}
    assert found(sent(1), polled((0, 1), partition=1), polled((0, 1), client="b", partition=1)) == {
        Anomaly.ALTERED: 1
    }


def test_an_aborted_read() -> None:
    history = stored(1, 0, transaction=7)
    assert found(history, ended(7, False), polled((0, 1))) == {}, "read_uncommitted shows all"
    assert found(history, ended(7, True), committed_only((0, 1))) == {}
    assert found(history, ended(7, True, MAYBE), committed_only((0, 1))) == {}
    for outcome in (YES, MAYBE, NO):
        assert found(history, ended(7, False, outcome), committed_only((0, 1))) == {Anomaly.ABORTED_READ: 1}
    assert found(history, ended(7, True, NO), committed_only((0, 1))) == {Anomaly.ABORTED_READ: 1}


def test_a_refused_record_is_read_by_nobody() -> None:
    assert found(sent(1), settled(1, MAYBE), polled((0, 1))) == {}
    assert found(sent(1), settled(1, NO), polled((0, 1))) == {Anomaly.ABORTED_READ: 1}


def test_a_commit_without_an_answer_may_have_an_end_later() -> None:
    history = [*stored(1, 0, transaction=7), ended(7, True, MAYBE)]
    assert found(history, ended(7, True), read_back(1)) == {Anomaly.LOST_WRITE: 1}
    assert found(history, ended(7, False), committed_only((0, 1))) == {}, "the abort may have come too late"


def test_a_client_that_dies_while_it_asks_leaves_a_commit_without_an_answer_or_an_abort() -> None:
    history = [*stored(1, 0, transaction=7), *stored(2, 1, transaction=7)]
    asked, gave_up = Ending("p", 0.0, 7, commit=True), Ending("p", 0.0, 7, commit=False)
    part = committed_only((0, 1)), read_back(3)
    assert found(history, asked, committed_only((0, 1), (1, 2)), read_back(3)) == {}
    assert found(history, asked, read_back(3)) == {}, "it may not have been committed"
    assert found(history, asked, *part) == {Anomaly.LOST_WRITE: 1}, "it was, and a part of it is missing"
    assert found(history, gave_up, *part) == {Anomaly.ABORTED_READ: 1}
    assert found(history, asked, gave_up, *part) == {Anomaly.ABORTED_READ: 1}
    assert found(history, asked, ended(7, False), *part) == {Anomaly.ABORTED_READ: 1}
    assert check([*history, asked]).totals.committed == check([*history, asked]).totals.aborted == 0
    assert check([*history, gave_up]).totals.aborted == 1


def test_an_uncommitted_read() -> None:
    history = stored(1, 0, client="own", transaction=7)
    own = committed_only((0, 1), client="own")
    assert found(history, ended(7, True, client="own"), own) == {}
    assert found(history, own, ended(7, True, client="own")) == {Anomaly.UNCOMMITTED_READ: 1}
    assert found(history, own) == {Anomaly.UNCOMMITTED_READ: 1}
    assert found(history, polled((0, 1), client="own"), ended(7, True, client="own")) == {}


def test_an_uncommitted_read_of_another_is_known_if_the_request_is() -> None:
    history = stored(1, 0, transaction=7)
    other, asked = committed_only((0, 1)), Ending("p", 0.0, 7, commit=True)
    assert found(history, asked, other, ended(7, True)) == {}
    assert found(history, other, ended(7, True)) == {}, "the request may have been on its way"
    assert found(history, other, asked, ended(7, True)) == {Anomaly.UNCOMMITTED_READ: 1}
    assert found(history, other, Ending("p", 0.0, 7, commit=False), ended(7, False)) == {
        Anomaly.ABORTED_READ: 1
    }


def test_a_poll_skip() -> None:
    assert found(THREE, ALL_THREE, polled((0, 1), (2, 3))) == {Anomaly.INTERNAL_POLL_SKIP: 1}
    assert found(THREE, ALL_THREE, polled((0, 1)), polled((2, 3))) == {Anomaly.EXTERNAL_POLL_SKIP: 1}
    again = Assigned("c", 0.0, 1, (("t", 0),))
    assert found(THREE, ALL_THREE, polled((0, 1)), again, polled((2, 3), assignment=1)) == {}
    assert found(sent(1), sent(3), polled((0, 1), (2, 3))) == {}, "offset 1 is the end of a transaction"


def test_a_poll_of_several_partitions_is_judged_partition_by_partition() -> None:
    both = (
        Read("t", 0, 0, 1),
        Read("t", 1, 5, 4),
        Read("t", 0, 1, 2),
        Read("t", 1, 6, 5),
        Read("t", 0, 2, 3),
    )
    history = [*THREE, sent(4, partition=1), sent(5, partition=1)]
    assert found(history, Polled("c", 0.0, 0, both)) == {}
    without = tuple(read for read in both if read.record != 2)
    assert found(history, ALL_THREE, Polled("c", 0.0, 0, without)) == {Anomaly.INTERNAL_POLL_SKIP: 1}


def test_what_is_not_committed_is_skipped() -> None:
    history = [*stored(1, 0), *stored(2, 1, transaction=7), *stored(3, 2)]
    for outcome, skips in ((True, 1), (False, 0)):
        skipping = committed_only((0, 1), (2, 3))
        skip = {Anomaly.INTERNAL_POLL_SKIP: 1} if skips else {}
        assert found(history, ended(7, outcome), ALL_THREE, skipping) == skip
        assert found(history, ended(7, outcome), ALL_THREE, polled((0, 1), (2, 3))) == {
            Anomaly.INTERNAL_POLL_SKIP: 1
        }
    assert found(history, ended(7, True, MAYBE), ALL_THREE, committed_only((0, 1), (2, 3))) == {}


def test_a_non_monotonic_poll() -> None:
    assert found(THREE, polled((0, 1), (1, 2)), polled((2, 3))) == {}
    assert found(THREE, polled((0, 1), (1, 2), (0, 1))) == {Anomaly.INTERNAL_NONMONOTONIC_POLL: 1}
    assert found(THREE, polled((0, 1), (1, 2), (1, 2))) == {Anomaly.INTERNAL_NONMONOTONIC_POLL: 1}
    assert found(THREE, polled((0, 1), (1, 2)), polled((0, 1))) == {Anomaly.EXTERNAL_NONMONOTONIC_POLL: 1}
    assert found(THREE, polled((0, 1), (1, 2)), polled((0, 1), assignment=1)) == {}


def test_a_non_monotonic_send() -> None:
    assert found(sent(1), sent(2), settled(2, YES, 1), settled(1, YES, 0)) == {}
    assert found(stored(1, 1), stored(2, 0)) == {Anomaly.EXTERNAL_NONMONOTONIC_SEND: 1}
    assert found(stored(1, 1, client="a"), stored(2, 0, client="b")) == {}
    assert found(sent(1), settled(1, MAYBE), stored(2, 0), polled((0, 2), (1, 1))) == {}, "it may be late"
    assert found(stored(1, None), stored(2, None), polled((0, 2), (1, 1))) == {
        Anomaly.EXTERNAL_NONMONOTONIC_SEND: 1
    }
    inside = [*stored(1, 1, transaction=7), *stored(2, 0, transaction=7)]
    assert found(inside) == {Anomaly.INTERNAL_NONMONOTONIC_SEND: 1}
    across = [*stored(1, 1, transaction=7), *stored(2, 0, transaction=8)]
    assert found(across) == {Anomaly.EXTERNAL_NONMONOTONIC_SEND: 1}


def test_records_of_others_between_those_of_a_transaction_are_allowed() -> None:
    history = [
        *stored(1, 0, client="a", transaction=7),
        *stored(2, 1, client="b", transaction=8),
        *stored(3, 2, client="a", transaction=7),
        *stored(4, 3, client="b", transaction=8),
        ended(7, True, client="a"),
        ended(8, True, client="b"),
    ]
    assert found(history, committed_only((0, 1), (1, 2), (2, 3), (3, 4)), read_back(6)) == {}


def test_a_read_cycle() -> None:
    history = [*stored(1, 0, client="a", transaction=7), *stored(2, 1, client="b", transaction=8)]
    one = committed_only((0, 1), client="b", transaction=8)
    other = committed_only((1, 2), client="a", transaction=7)
    ends = [ended(7, True, client="a"), ended(8, True, client="b")]
    assert found(history, one, ends) == {}
    assert found(history, one, other, ends) == {Anomaly.READ_CYCLE: 1}
    aborted = [ended(7, True, client="a"), ended(8, False, client="b")]
    assert found(history, one, other, aborted) == {Anomaly.ABORTED_READ: 1}
    before = committed_only((0, 1), (1, 2))
    assert found(history, before, one, other, ends) == {Anomaly.READ_CYCLE: 1}, "whoever else has read them"


def test_circles_of_any_length_are_found_without_recursion() -> None:
    length = 50_000
    chain = {node: [node + 1] for node in range(length)}
    assert strongly_connected(chain) == []
    assert [len(circle) for circle in strongly_connected({**chain, length: [0]})] == [length + 1]
    two = strongly_connected({1: [2, 3], 2: [1], 3: [4], 4: [5, 3], 5: [6]})
    assert sorted(map(sorted, two)) == [[1, 2], [3, 4]]


def commit(offset: int, at: float, outcome: Outcome = YES, **how: object) -> Committed:
    return Committed("c", at, "g", "t", 0, offset, outcome, **how)  # type: ignore[arg-type]


def fetched(offset: int | None, began: float, at: float) -> OffsetFetched:
    return OffsetFetched("c", at, "g", "t", 0, offset, began)


def test_a_lost_commit() -> None:
    assert found(commit(5, 1.0), fetched(5, 2.0, 2.1)) == {}
    assert found(fetched(None, 0.1, 0.2), commit(5, 1.0)) == {}
    assert found(commit(5, 1.0), fetched(None, 2.0, 2.1)) == {Anomaly.LOST_COMMIT: 1}
    assert found(commit(5, 1.0), commit(8, 2.0), fetched(5, 3.0, 3.1)) == {Anomaly.LOST_COMMIT: 1}
    assert found(commit(5, 1.0), commit(8, 2.0, NO), fetched(5, 3.0, 3.1)) == {}
    assert found(commit(5, 1.0), commit(8, 2.0, NO), fetched(8, 3.0, 3.1)) == {Anomaly.LOST_COMMIT: 1}
    assert found(commit(8, 1.0), commit(5, 2.0), fetched(5, 3.0, 3.1)) == {}, "a group may go back"


def test_a_commit_that_overlaps_may_come_first_or_last() -> None:
    assert found(commit(5, 1.0), commit(8, 2.0, MAYBE), fetched(5, 3.0, 3.1), fetched(8, 4.0, 4.1)) == {}
    lost = {Anomaly.LOST_COMMIT: 1}
    late = commit(5, 4.0, MAYBE)
    assert found(commit(5, 1.0), commit(8, 2.0), fetched(5, 3.0, 3.1), late) == lost, "not asked for yet"
    assert found(commit(5, 1.0), commit(8, 2.0), fetched(5, 3.0, 3.1), late._replace(began=3.05)) == {}
    assert found(commit(5, 1.0), fetched(8, 2.0, 2.1), commit(8, 3.0, began=1.5)) == {}
    assert found(commit(5, 1.0), fetched(8, 2.0, 2.1), commit(8, 3.0, began=2.5)) == {Anomaly.LOST_COMMIT: 1}
    assert found(commit(5, 1.0), fetched(5, 0.5, 2.1), commit(8, 1.5)) == {}
    assert found(commit(5, 1.0), commit(8, 1.1, began=0.9), fetched(5, 2.0, 2.1)) == {}
    assert found(commit(5, 1.0), commit(8, 1.1, began=1.05), fetched(5, 2.0, 2.1)) == {Anomaly.LOST_COMMIT: 1}


def test_a_transaction_takes_its_offsets_with_it() -> None:
    first, second = commit(5, 1.0), commit(8, 2.0, transaction=7)
    old, new = fetched(5, 4.0, 4.1), fetched(8, 4.0, 4.1)
    end = Ended("p", 3.0, 7, commit=True, outcome=YES)
    abort, unknown = end._replace(commit=False), end._replace(outcome=MAYBE)
    lost = {Anomaly.LOST_COMMIT: 1}
    assert [found(first, second, end, new), found(first, second, end, old)] == [{}, lost]
    assert [found(first, second, abort, new), found(first, second, abort, old)] == [lost, {}]
    assert [found(first, second, unknown, new), found(first, second, unknown, old)] == [{}, {}]


def test_offsets_of_a_transaction_whose_client_died_before_the_answer_may_hold() -> None:
    first, second, asked = commit(5, 1.0), commit(8, 2.0, transaction=7), Ending("p", 3.0, 7, commit=True)
    old, new = fetched(5, 4.0, 4.1), fetched(8, 4.0, 4.1)
    lost = {Anomaly.LOST_COMMIT: 1}
    assert [found(first, second, asked, told) for told in (old, new)] == [{}, {}]
    assert found(first, second, new) == lost, "its commit was never asked for"
    assert found(first, second, fetched(8, 2.1, 2.9), asked) == lost, "or not yet"
    assert found(first, second, asked, asked._replace(commit=False), new) == lost, "or it gave it up"


def copy(record: int, original: int, transaction: int) -> Sent:
    return Sent("copier", 0.0, record, "copies", 0, 0, transaction, original)


def test_a_record_is_copied_once() -> None:
    once = [*TWO, polled((0, 1), (1, 2)), copy(11, 1, 7), copy(12, 2, 7), commit(2, 0.0, transaction=7)]
    shown = Polled("c", 0.0, 0, (Read("copies", 0, 0, 11), Read("copies", 0, 1, 12)), committed_only=True)
    assert found(once, ended(7, True), shown) == {}
    again = [copy(13, 2, 8), commit(2, 0.0, transaction=8)]
    assert found(once, ended(7, True), again, ended(8, True)) == {Anomaly.COPIED_TWICE: 1}
    assert found(once, ended(7, True), again, ended(8, False)) == {}
    assert found(once, ended(7, False), again, ended(8, True)) == {Anomaly.NOT_COPIED: 1}
    assert found(once, ended(7, True, MAYBE), shown, again, ended(8, True)) == {Anomaly.COPIED_TWICE: 1}
    assert found(once, ended(7, True, MAYBE), again, ended(8, True)) == {}, "nobody looked"
    asked = Ending("copier", 0.0, 7, commit=True)
    assert found(once, asked, shown, again, ended(8, True)) == {Anomaly.COPIED_TWICE: 1}, "its copier died"
    assert found(once, asked, again, ended(8, True)) == {}
    dirty = Polled("c", 0.0, 0, (Read("copies", 0, 0, 11), Read("copies", 0, 1, 12)))
    end = ReadBack("c", 0.0, "copies", 0, 4)
    lost = [*once, ended(7, True, MAYBE), *again, ended(8, True), ReadBack("c", 0.0, "t", 0, 2)]
    assert found(lost, dirty, end)[Anomaly.UNSEEN] == 1, "the second copy of record 2"
    assert Anomaly.NOT_COPIED not in found(lost, dirty, end), "who reads everything proves nothing"
    assert found(lost, dirty, end._replace(committed_only=True))[Anomaly.NOT_COPIED] == 1


def test_a_record_that_retention_took_is_not_lost() -> None:
    trimmed = Trimmed("c", 0.0, "t", 0, 2)
    assert found(THREE, polled((2, 3)), read_back(3)) == {Anomaly.LOST_WRITE: 2}
    assert found(THREE, polled((2, 3)), read_back(3), trimmed) == {}
    assert found(THREE, ALL_THREE, polled((0, 1), (2, 3)), trimmed) == {}
    assert found(THREE, polled((0, 1)), read_back(3), trimmed) == {Anomaly.LOST_WRITE: 1}


def test_a_record_with_a_successor_may_be_compacted_away() -> None:
    keys = [[sent(number, key=key), settled(number, YES, number)] for number, key in enumerate((8, 9, 8, 9))]
    compacted = Compacted("c", 0.0, "t")
    history = [event for pair in keys for event in pair]
    tail = polled((2, 2), (3, 3))
    assert found(history, tail, read_back(4)) == {Anomaly.LOST_WRITE: 2}
    assert found(compacted, history, tail, read_back(4)) == {}
    assert found(history, compacted, tail, read_back(4)) == {}
    assert found(history, compacted, polled((0, 0), (2, 2)), read_back(4)) == {Anomaly.LOST_WRITE: 1}
    everything = polled(*((number, number) for number in range(4)), client="early")
    assert found(history, compacted, everything, polled((0, 0), (2, 2), (3, 3))) == {}


@pytest.mark.parametrize(
    "events",
    [
        [sent(1), sent(1)],
        [sent(-1)],
        [settled(1)],
        [sent(1), settled(1), settled(1)],
        [sent(1), Stored("p", 0.0, (1, 1), 0)],
        [Stored("p", 0.0, (1,), 0)],
        [sent(1), settled(1, NO), settled(1)],
    ],
)
def test_a_history_that_contradicts_itself_is_refused(events: list[Event]) -> None:
    with pytest.raises(ValueError, match=r"record -?1"):
        check(events)


def test_what_was_unknown_may_be_known_later() -> None:
    assert found(sent(1), settled(1, MAYBE), settled(1, YES, 0), polled((0, 1)), read_back(1)) == {}


def test_a_judgement_can_be_had_at_any_time() -> None:
    checker = Checker()
    for event in [*THREE, polled((0, 1), (2, 3))]:
        checker.observe(event)
    assert checker.judgement().counts == {Anomaly.LOST_WRITE: 1}
    assert checker.judgement() == checker.judgement()
    checker.observe(polled((1, 2), client="b"))
    assert checker.judgement().counts == {Anomaly.INTERNAL_POLL_SKIP: 1}


def test_examples_are_few_and_say_what_it_was() -> None:
    history = [event for number in range(20) for event in stored(number, number)]
    judgement = check([*history, polled((0, 0), (19, 19))])
    assert not judgement.held
    assert judgement.counts == {Anomaly.LOST_WRITE: 18}
    assert judgement.examples[Anomaly.LOST_WRITE][0] == (
        "record 1 of p was acknowledged at offset 1 of t-0, and is not there"
    )
    assert len(judgement.examples[Anomaly.LOST_WRITE]) == 5
    assert judgement.lines()[0] == "lost write: 18"
    assert judgement.count(Anomaly.LOST_WRITE, Anomaly.UNSEEN) == 18


def test_totals() -> None:
    history = [
        *stored(1, 0),
        *stored(2, 1, transaction=7),
        ended(7, True),
        sent(3),
        settled(3, NO),
        commit(1, 0.0),
    ]
    totals = check([*history, polled((0, 1)), polled((0, 1), client="b")]).totals
    assert (totals.sent, totals.acknowledged, totals.refused, totals.read, totals.polled) == (3, 2, 1, 1, 2)
    assert (totals.transactions, totals.committed, totals.aborted, totals.offset_commits) == (1, 1, 0, 1)
