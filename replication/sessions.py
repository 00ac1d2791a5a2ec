"""The leader's side of replica fetches: one incremental session for each follower (KIP-227).

A session remembers what its follower asked for, hears from the partitions that have news, and looks only at
those: a broker with thousands of idle partitions does nothing for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from kafkawire.errors import ErrorCode, KafkaError
from logstore.log import LogSlice
from replication.fetch_messages import NEW_SESSION, Fetched, FetchFrom, Key, ReplicaFetch, ReplicaFetchReply
from replication.log_starts import heard_log_start
from replication.partition import Partition

Lookup = Callable[[Key], Partition | None]


class _Fetching(msgspec.Struct):
    """What the follower last told of a partition, and what it last heard of it."""

    partition: Partition
    asked: FetchFrom
    sent_high_watermark: int = -1
    sent_log_start: int = -1
    unanswered: bool = False
    """Records are on their way: nothing more until the follower asks past them."""


class ReplicaSession:
    """One follower's session. `wake` is called when there is something to answer while the follower waits."""

    def __init__(self, replica_id: int, session_id: int) -> None:
        self.replica_id = replica_id
        self.session_id = session_id
        self.epoch = 0
        self.wake: Callable[[], None] | None = None
        self._fetching: dict[Key, _Fetching] = {}
        self._news: dict[Key, None] = {}
        self._errors: list[Fetched] = []

    def notify(self, partition: Partition) -> None:
        """There may be more to send of `partition`, or its role changed (see `Watcher`)."""
        self._news[partition.key] = None
        if self.wake is not None:
            self.wake()

    def close(self) -> None:
        """Forget everything; the partitions no longer notify this session."""
        for fetching in self._fetching.values():
            fetching.partition.watchers.pop(self, None)
        self._fetching.clear()
        self._news.clear()

    def receive(self, request: ReplicaFetch, lookup: Lookup, now: float) -> None:
        """Amend the session and take every new fetch offset as the follower's acknowledgement."""
        self.epoch = request.session_epoch
        for key in request.dropped:
            self._forget(key)
        for asked in request.changed:
            self._receive_one(asked, request.broker_epoch, lookup, now)

    def _receive_one(self, asked: FetchFrom, broker_epoch: int, lookup: Lookup, now: float) -> None:
        key = asked.key
        partition = lookup(key)
        if partition is None:
            self._refuse(asked, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, None)
            return
        try:
            diverging = partition.fetched_by(
                self.replica_id, broker_epoch, asked.leader_epoch, asked.offset, asked.last_epoch, now
            )
        except KafkaError as error:
            self._refuse(asked, error.code, partition)
            return
        if diverging is not None:
            self._errors.append(
                Fetched(
                    *key,
                    ErrorCode.NONE,
                    partition.high_watermark,
                    partition.log.start_offset,
                    0,
                    diverging.epoch,
                    diverging.end_offset,
                )
            )
            self._forget(key)
            return
        heard_log_start(partition, self.replica_id, asked.log_start)
        known = self._fetching.get(key)
        if (
            known is not None
            and known.partition is partition
            and known.asked.leader_epoch == asked.leader_epoch
        ):
            known.asked = asked
            known.unanswered = False
        else:
            # What it was told in another epoch it may have ignored: everything is news again.
            self._forget(key)
            known = self._fetching[key] = _Fetching(partition, asked)
            partition.watchers[self] = None
        if 0 <= asked.log_start < partition.log.start_offset:
            known.sent_log_start = asked.log_start
        if (
            partition.log.end_offset > asked.offset
            or partition.high_watermark != known.sent_high_watermark
            or partition.log.start_offset != known.sent_log_start
        ):
            self._news[key] = None

    def _refuse(self, asked: FetchFrom, code: ErrorCode, partition: Partition | None) -> None:
        log = partition.log if partition is not None else None
        self._errors.append(
            Fetched(
                asked.topic_id,
                asked.partition,
                code,
                -1,
                log.start_offset if log else -1,
                0,
                -1,
                log.end_offset if log else -1,
            )
        )
        self._forget(asked.key)

    def _forget(self, key: Key) -> None:
        fetching = self._fetching.pop(key, None)
        if fetching is not None:
            fetching.partition.watchers.pop(self, None)
        self._news.pop(key, None)

    def collect(self, max_bytes: int, *, patient: bool) -> tuple[ReplicaFetchReply, list[LogSlice]] | None:
        """The answer if there is anything to say, else None.

        Records of up to about `max_bytes` in all; partitions that did not fit come first the next time. A
        `patient` look does not answer for high watermarks alone: they travel with the next records, or when
        the follower has waited long enough.
        """
        entries = self._errors
        told: list[tuple[_Fetching, Fetched]] = []
        slices: list[LogSlice] = []
        room = max_bytes
        for key in tuple(self._news):
            if room <= 0:
                break
            fetching = self._fetching.get(key)
            if fetching is None or fetching.unanswered:
                del self._news[key]
                continue
            try:
                entry, records = self._look_at(fetching, room)
            except KafkaError as error:
                entries.append(self._failed(fetching, error.code))
                continue
            told.append((fetching, entry))
            if records.size:
                slices.append(records)
                room -= records.size
        if not entries and not slices and (patient or not any(self._is_news(*each) for each in told)):
            return None
        self._errors = []
        for fetching, entry in told:
            del self._news[entry.key]
            if entry.size or self._is_news(fetching, entry):
                entries.append(entry)
                fetching.sent_high_watermark = entry.high_watermark
                fetching.sent_log_start = entry.log_start
                fetching.unanswered = entry.size > 0
        return ReplicaFetchReply(ErrorCode.NONE, self.session_id, entries), slices

    def _look_at(self, fetching: _Fetching, room: int) -> tuple[Fetched, LogSlice]:
        """What there is to tell of one partition. Raises KafkaError when it is not ours to tell any more."""
        partition = fetching.partition
        asked = fetching.asked
        partition.leads()
        partition.check_epoch(asked.leader_epoch)
        records = partition.read_for_follower(asked.offset, room)
        start = partition.log.start_offset
        return Fetched(*asked.key, ErrorCode.NONE, partition.high_watermark, start, records.size), records

    @staticmethod
    def _is_news(fetching: _Fetching, entry: Fetched) -> bool:
        return (
            fetching.sent_high_watermark != entry.high_watermark or fetching.sent_log_start != entry.log_start
        )

    def _failed(self, fetching: _Fetching, code: ErrorCode) -> Fetched:
        log = fetching.partition.log
        self._forget(fetching.asked.key)
        return Fetched(*fetching.asked.key, code, -1, log.start_offset, 0, -1, log.end_offset)


class ReplicaSessions:
    """All followers' sessions on this broker, at most one for each follower."""

    def __init__(self, first_session_id: int) -> None:
        self._next_id = max(first_session_id, NEW_SESSION + 1)
        self._sessions: dict[int, ReplicaSession] = {}

    def receive(self, request: ReplicaFetch, lookup: Lookup, now: float) -> ReplicaSession:
        """Find or begin the session and let it take the request in.

        Raises KafkaError FETCH_SESSION_ID_NOT_FOUND or INVALID_FETCH_SESSION_EPOCH: the follower begins anew.
        """
        session = self._sessions.get(request.replica_id)
        if request.session_id == NEW_SESSION:
            if session is not None:
                self._end(session)
            session = ReplicaSession(request.replica_id, self._next_id)
            self._next_id += 1
            self._sessions[request.replica_id] = session
        elif session is None or session.session_id != request.session_id:
            raise KafkaError(ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        elif request.session_epoch != session.epoch + 1:
            raise KafkaError(ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        session.receive(request, lookup, now)
        return session

    def of(self, replica_id: int) -> ReplicaSession | None:
        return self._sessions.get(replica_id)

    def retain(self, replica_ids: Sequence[int]) -> None:
        """End the sessions of brokers that are no longer part of the cluster."""
        for session in [s for s in self._sessions.values() if s.replica_id not in replica_ids]:
            self._end(session)

    def _end(self, session: ReplicaSession) -> None:
        self._sessions.pop(session.replica_id, None)
        session.close()
        if session.wake is not None:
            session.wake()
