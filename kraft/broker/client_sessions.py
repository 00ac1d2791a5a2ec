"""Incremental fetch sessions of clients (KIP-227): what a consumer asked for last time need not be said
again.

A session is identified by its id and counts its requests by epoch: 0 opens one, -1 closes it, anything else
has to be the next number. A session of no partitions is none. A bounded number is kept; when it is reached
the one that was idle longest goes, if it was idle for EVICTION_AFTER, or the smallest of those that are older
than that for a larger one, and its client begins anew (Kafka's `FetchSessionCache`). Otherwise whoever comes
is answered in full, with session id 0: clients that are all at work would take the sessions from each other
with every fetch. `max_sessions` of 0 answers every fetch so.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.fetch import FetchPartition, FetchRequest, FetchResult
from kafkawire.primitives import TopicRef
from metadata.image import TopicsImage

EVICTION_AFTER = 120.0
"""Seconds (Kafka's MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS)."""
SESSIONLESS = 0
OPENING_EPOCH = 0
CLOSING_EPOCH = -1
_LAST_EPOCH = 2**31 - 1
_NOT_LISTED = -1


class ClientSession:
    """What one consumer wants and what it was told last. Session id 0, until it is kept, is no session:
    everything is answered."""

    def __init__(self, fetch: FetchRequest) -> None:
        self.session_id = SESSIONLESS
        self.epoch = 1
        self.last_used = 0.0
        """When its client asked last (monotonic seconds)."""
        self.created = 0.0
        self.listed_size = _NOT_LISTED
        """Under how many partitions `ClientSessions` has it among those that make room for larger ones."""
        self.topic_ids = fetch.topic_ids
        """Whether the client refers to topics by id: it has to go on as it began."""
        self._wanted = {(part.topic, part.partition): part for part in fetch.partitions}
        self._told: dict[tuple[TopicRef, int], tuple[int, int]] = {}
        self._opening = True
        self.names: dict[TopicRef, str] = {}
        """What topics were called when the client referred to them by id."""

    @property
    def size(self) -> int:
        """How many partitions it has."""
        return len(self._wanted)

    def note_names(self, fetch: FetchRequest, topics: TopicsImage) -> None:
        """Remember what the topics that the request adds are called now."""
        if self.session_id != SESSIONLESS:
            for part in fetch.partitions:
                if part.topic not in self.names and (topic := topics.find(part.topic)) is not None:
                    self.names[part.topic] = topic.name

    def amend(self, fetch: FetchRequest) -> None:
        """Take over what the next request changes."""
        for key in fetch.forgotten:
            self._wanted.pop(key, None)
            self._told.pop(key, None)
        if fetch.forgotten and self.names:
            kept = {topic for topic, _ in self._wanted}
            self.names = {topic: name for topic, name in self.names.items() if topic in kept}
        for part in fetch.partitions:
            self._wanted[(part.topic, part.partition)] = part
        self.epoch = 1 if self.epoch == _LAST_EPOCH else self.epoch + 1
        self._opening = False

    def wanted(self) -> list[FetchPartition]:
        """All partitions of the session."""
        return list(self._wanted.values())

    def answer(self, results: Sequence[FetchResult]) -> list[FetchResult]:
        """Of `results`, what has to be told: everything at first, then only what has news."""
        news = []
        for result in results:
            key = (result.topic, result.partition)
            state = (result.high_watermark, result.log_start_offset)
            if self._opening or result.records.size or result.error_code or self._told.get(key) != state:
                news.append(result)
            if self.session_id != SESSIONLESS:
                self._told[key] = state
                if result.records.size:
                    # What was served goes to the end, so that no partition starves behind a busy one.
                    part = self._wanted.pop(key, None)
                    if part is not None:
                        self._wanted[key] = part
        return news


class ClientSessions:
    """All sessions of one broker. Ids count from `first_id` on, which differs from start to start: none may
    come again soon."""

    def __init__(self, max_sessions: int, first_id: int) -> None:
        self._max = max_sessions
        self._next_id = max(1, first_id % (2**31 - 1))
        self._sessions: dict[int, ClientSession] = {}
        self._by_size: list[tuple[int, int]] = []
        """(partitions, id) of the sessions that are old enough to make room for larger ones."""

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, fetch: FetchRequest, now: float) -> ClientSession:
        """The session that a request opens, continues or leaves; `now` in monotonic seconds.

        Raises KafkaError FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH,
        FETCH_SESSION_TOPIC_ID_ERROR.
        """
        if fetch.session_epoch in (OPENING_EPOCH, CLOSING_EPOCH):
            self._drop(fetch.session_id)
            opened = ClientSession(fetch)
            if fetch.session_epoch == OPENING_EPOCH and self._has_room(opened.size, now):
                self._keep(opened, now)
            return opened
        session = self._sessions.get(fetch.session_id)
        if session is None:
            raise KafkaError(ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        if fetch.session_epoch != session.epoch:
            raise KafkaError(ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        if fetch.topic_ids != session.topic_ids:
            raise KafkaError(ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
        session.amend(fetch)
        if not session.size:
            self._drop(fetch.session_id)
            return ClientSession(fetch)
        session.last_used = now
        # The order of the dictionary is the order of use.
        self._sessions[fetch.session_id] = self._sessions.pop(fetch.session_id)
        if session.listed_size != session.size and now - session.created > EVICTION_AFTER:
            self._unlist(session)
            session.listed_size = session.size
            insort(self._by_size, (session.size, session.session_id))
        return session

    def _has_room(self, size: int, now: float) -> bool:
        """Whether there is a place for one more of so many partitions, if need be that of the one that was
        idle longest or of one that is smaller."""
        if len(self._sessions) < self._max:
            return True
        idle = next(iter(self._sessions.values()), None)
        if idle is None:
            return False
        if now - idle.last_used >= EVICTION_AFTER:
            self._drop(idle.session_id)
            return True
        if self._by_size and self._by_size[0][0] < size:
            self._drop(self._by_size[0][1])
            return True
        return False

    def _drop(self, session_id: int) -> None:
        """Forget a session, if there is one of that id."""
        session = self._sessions.pop(session_id, None)
        if session is not None:
            self._unlist(session)

    def _unlist(self, session: ClientSession) -> None:
        if session.listed_size != _NOT_LISTED:
            del self._by_size[bisect_left(self._by_size, (session.listed_size, session.session_id))]
            session.listed_size = _NOT_LISTED

    def _keep(self, session: ClientSession, now: float) -> None:
        """Give it an id of its own."""
        session.session_id = self._next_id
        self._next_id = 1 if self._next_id == 2**31 - 1 else self._next_id + 1
        session.created = session.last_used = now
        self._sessions[session.session_id] = session
