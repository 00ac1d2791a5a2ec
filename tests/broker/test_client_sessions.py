"""How many fetch sessions are kept, and whose."""

from __future__ import annotations

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.fetch import FetchPartition, FetchRequest
from kraft.broker.client_sessions import EVICTION_AFTER, ClientSessions

KEPT = 3


@pytest.fixture
def sessions() -> ClientSessions:
    return ClientSessions(KEPT, first_id=7)


def request(session_id: int, epoch: int, *, size: int = 1, forgotten: int = 0) -> FetchRequest:
    """A fetch that opens or closes a session with `size` partitions, or goes on without the first so many."""
    wanted = [FetchPartition("t", each, -1, 0, -1, -1, 1000) for each in range(size if epoch <= 0 else 0)]
    gone = [("t", each) for each in range(forgotten)]
    return FetchRequest(-1, 0, 1, 1000, 0, session_id, epoch, wanted, gone, "")


def test_who_comes_too_late_takes_nobodys_session(sessions: ClientSessions) -> None:
    """More readers than sessions, all at work: whoever has one keeps it."""
    ids = [sessions.open(request(0, 0), now=0.0).session_id for _ in range(KEPT)]
    for turn in range(1, 1000):
        now = turn * 0.5
        assert sessions.open(request(0, 0), now).session_id == 0
        assert [sessions.open(request(each, turn), now).session_id for each in ids] == ids
    assert len(sessions) == KEPT


def test_the_session_that_was_idle_longest_makes_room(sessions: ClientSessions) -> None:
    ids = [sessions.open(request(0, 0), now=0.0).session_id for _ in range(KEPT)]
    sessions.open(request(ids[0], 1), now=1.0)
    assert sessions.open(request(0, 0), now=EVICTION_AFTER - 0.1).session_id == 0
    late = sessions.open(request(0, 0), now=EVICTION_AFTER).session_id
    assert late not in (0, *ids)
    with pytest.raises(KafkaError) as gone:
        sessions.open(request(ids[1], 1), now=EVICTION_AFTER)
    assert gone.value.code is ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    for session_id, epoch in ((ids[0], 2), (ids[2], 1), (late, 1)):
        assert sessions.open(request(session_id, epoch), now=EVICTION_AFTER).session_id == session_id


def test_the_smallest_session_makes_room_for_a_larger_one_once_it_is_old(sessions: ClientSessions) -> None:
    """All are at work; whoever wants more gains more by a session."""
    sizes = (5, 3, 4)
    ids = [sessions.open(request(0, 0, size=size), now=0.0).session_id for size in sizes]
    for turn, now in ((1, EVICTION_AFTER - 1), (2, EVICTION_AFTER + 1)):
        assert sessions.open(request(0, 0, size=9), now=now - 0.5).session_id == 0, f"turn {turn}"
        for each in ids:
            sessions.open(request(each, turn), now=now)
    now = EVICTION_AFTER + 2
    assert sessions.open(request(0, 0, size=3), now).session_id == 0, "not larger"
    assert sessions.open(request(0, 0, size=4), now).session_id != 0
    with pytest.raises(KafkaError):
        sessions.open(request(ids[1], 3), now)
    sessions.open(request(ids[0], 3, forgotten=3), now)
    assert sessions.open(request(0, 0, size=3), now).session_id != 0, "the first has two left"
    assert sessions.open(request(0, 0, size=4), now).session_id == 0, "the others are new, or as large"
    assert sessions.open(request(ids[2], 3), now).session_id == ids[2]
    assert len(sessions) == KEPT


def test_a_session_without_partitions_is_none(sessions: ClientSessions) -> None:
    session_id = sessions.open(request(0, 0, size=2), now=0.0).session_id
    assert sessions.open(request(session_id, 1, forgotten=2), now=0.0).session_id == 0
    assert len(sessions) == 0
    with pytest.raises(KafkaError) as gone:
        sessions.open(request(session_id, 2), now=0.0)
    assert gone.value.code is ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_a_closed_session_makes_room_at_once(sessions: ClientSessions) -> None:
    ids = [sessions.open(request(0, 0), now=0.0).session_id for _ in range(KEPT)]
    assert sessions.open(request(ids[1], -1), now=0.0).session_id == 0
    assert sessions.open(request(0, 0), now=0.0).session_id != 0
    assert sessions.open(request(ids[0], 0), now=0.0).session_id != 0, "in place of its own"


def test_none_are_kept() -> None:
    sessions = ClientSessions(0, first_id=7)
    assert sessions.open(request(0, 0), now=0.0).session_id == 0
    assert len(sessions) == 0
