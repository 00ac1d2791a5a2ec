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


def request(session_id: int, epoch: int) -> FetchRequest:
    wanted = [FetchPartition("t", 0, -1, 0, -1, -1, 1000)] if epoch <= 0 else []
    return FetchRequest(-1, 0, 1, 1000, 0, session_id, epoch, wanted, [], "")


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


def test_a_closed_session_makes_room_at_once(sessions: ClientSessions) -> None:
    ids = [sessions.open(request(0, 0), now=0.0).session_id for _ in range(KEPT)]
    assert sessions.open(request(ids[1], -1), now=0.0).session_id == 0
    assert sessions.open(request(0, 0), now=0.0).session_id != 0
    assert sessions.open(request(ids[0], 0), now=0.0).session_id != 0, "in place of its own"


def test_none_are_kept() -> None:
    sessions = ClientSessions(0, first_id=7)
    assert sessions.open(request(0, 0), now=0.0).session_id == 0
    assert len(sessions) == 0
