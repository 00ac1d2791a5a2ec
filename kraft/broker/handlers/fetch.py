"""Fetch (key 1): read records for consumers, waiting for them if there are none yet.

Versions 4-18, by topic id from 13 on, incremental sessions included (KIP-227). The records go from the
segment file to the socket; they are not looked at. A fetch that finds less than `min_bytes` waits until there
is more, or `max_wait_ms` have passed. Followers of this cluster do not come this way: they fetch from node to
node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.fetch import (
    FetchPartition,
    FetchRequest,
    FetchResult,
    decode_fetch_request,
    encode_fetch_response,
)
from kafkawire.primitives import TopicRef
from kraft.broker.client_sessions import ClientSession, ClientSessions
from kraft.broker.connection import Connection, Reply
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.leader_hints import endpoints_of_hints, leader_hint
from kraft.broker.outgoing import Segment
from kraft.broker.timeouts import LONGEST
from logstore.log import EMPTY_SLICE, LogSlice
from logstore.storage import StorageError
from replication.partition import Partition

READ_COMMITTED = 1
BEGINNER_WAITS = 0.01
"""Seconds that a fetch waits at most while its client has not begun with all partitions that it looked up."""

_Place = tuple[int, int]
"""Version and correlation id of a request, which its answer needs."""


def _place(request: Request) -> _Place:
    return request.header.api_version, request.header.correlation_id


class FetchHandler:
    """See the module."""

    def __init__(self, context: BrokerContext, sessions: ClientSessions, max_bytes: int) -> None:
        self._context = context
        self._sessions = sessions
        self._max_bytes = max_bytes

    def __call__(self, request: Request) -> Sequence[Segment] | None:
        fetch = decode_fetch_request(request.version, request.body)
        if fetch.replica_id >= 0:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "replicas of this cluster fetch from node to node")
        try:
            session = self._sessions.open(fetch, self._context.clock.monotonic())
        except KafkaError as error:
            return self._encode(request.connection, _place(request), [], error.code, 0)
        if fetch.topic_ids and fetch.partitions:
            session.note_names(fetch, self._context.metadata.image.topics)
        attempt = _Attempt(self, request, fetch, session)
        if attempt.read() or fetch.max_wait_ms <= 0:
            return attempt.encode()
        attempt.wait()
        return None

    def _encode(
        self,
        connection: Connection,
        place: _Place,
        results: Sequence[FetchResult],
        error: int,
        session_id: int,
    ) -> list[Segment]:
        hints = [result.leader for result in results if result.leader is not None]
        image, listener = self._context.metadata.image, connection.listener
        return cast(
            "list[Segment]",  # the payloads among them are the slices that we put in
            encode_fetch_response(
                *place,
                results,
                error_code=error,
                session_id=session_id,
                endpoints=endpoints_of_hints(image, listener, hints) if hints else (),
            ),
        )

    def read_all(
        self,
        fetch: FetchRequest,
        wanted: Sequence[FetchPartition],
        names: Mapping[TopicRef, str],
    ) -> tuple[list[FetchResult], bool]:
        """Read every partition within the request's and the broker's bounds; the first records found are
        returned even when they alone are larger (KIP-74). `names` are those of the session. Also whether
        there are `min_bytes`, or as many as may be answered."""
        read_committed = fetch.isolation_level == READ_COMMITTED
        room = most = min(fetch.max_bytes, self._max_bytes)
        found = 0
        at_least_one = True
        results = []
        for part in wanted:
            result = self._read(part, read_committed, room, at_least_one)
            if result.error_code == ErrorCode.UNKNOWN_TOPIC_ID and part.topic in names:
                result = self._failed(part, self._why_missing(names[part.topic], part.partition))
            size = result.records.size
            # Batches are not divided: where more is there than was asked for, what was asked for is found.
            found += (
                max(size, min(part.max_bytes, room)) if _leaves_some(part, result, read_committed) else size
            )
            if size:
                room -= size
                at_least_one = False
            results.append(result)
        return results, found >= min(fetch.min_bytes, most)

    def _read(self, part: FetchPartition, read_committed: bool, room: int, at_least_one: bool) -> FetchResult:
        try:
            partition = self._context.replicas.find(part.topic, part.partition)
            read = partition.read(
                part.fetch_offset,
                min(part.max_bytes, room),
                read_committed=read_committed,
                claimed_epoch=part.current_leader_epoch,
                at_least_one=at_least_one,
            )
        except KafkaError as error:
            if error.code == ErrorCode.CORRUPT_MESSAGE and self._is_replicated(part):
                # It is about to be repaired: clients ask again, where the other code is an exception to them.
                return self._failed(part, ErrorCode.KAFKA_STORAGE_ERROR)
            return self._failed(part, error.code)
        except StorageError as error:
            self._context.on_storage_failure(error)
            return self._failed(part, ErrorCode.KAFKA_STORAGE_ERROR)
        return FetchResult(
            part.topic,
            part.partition,
            0,
            read.high_watermark,
            read.last_stable_offset,
            read.log_start_offset,
            read.aborted,
            -1,
            read.records,
            None,
        )

    def _is_replicated(self, part: FetchPartition) -> bool:
        """Whether another broker has the partition as well."""
        partition = self.partition(part)
        return partition is not None and bool(partition.leads().followers)

    def _why_missing(self, name: str, partition: int) -> ErrorCode:
        """What became of a topic that a session knew under this name: another one may have it by now."""
        try:
            self._context.replicas.find(name, partition)
        except KafkaError as error:
            return error.code
        return ErrorCode.INCONSISTENT_TOPIC_ID

    def _failed(self, part: FetchPartition, code: ErrorCode) -> FetchResult:
        hint = leader_hint(self._context.metadata.image, part.topic, part.partition, code)
        return FetchResult(part.topic, part.partition, code, -1, -1, -1, None, -1, EMPTY_SLICE, hint)

    def partition(self, part: FetchPartition) -> Partition | None:
        """The local replica, if there is one, to watch."""
        return self._context.replicas.get(part.topic, part.partition)


def _leaves_some(part: FetchPartition, result: FetchResult, read_committed: bool) -> bool:
    """Whether the partition has more for this client than the result brings."""
    end = result.last_stable_offset if read_committed else result.high_watermark
    records = cast("LogSlice", result.records)
    return (records.next_offset if records.size else part.fetch_offset) < end


class _Attempt:
    """One fetch request: read, and while that is not enough, watch its partitions and read again."""

    def __init__(
        self, handler: FetchHandler, request: Request, fetch: FetchRequest, session: ClientSession
    ) -> None:
        self._handler = handler
        self._connection: Connection = request.connection
        self._place = _place(request)
        self._fetch = fetch
        self._session = session
        self._wanted = session.wanted()
        self._results: list[FetchResult] = []
        self._watched: list[Partition] = []
        self._reply: Reply | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled = False

    def read(self) -> bool:
        """Read; True if that is reason enough to answer: bytes as asked, an error, or nothing was asked."""
        self._results, enough = self._handler.read_all(self._fetch, self._wanted, self._session.names)
        return enough or not self._wanted or any(result.error_code for result in self._results)

    def encode(self) -> list[Segment]:
        """The answer from what was read last."""
        results = self._session.answer(self._results)
        return self._handler._encode(self._connection, self._place, results, 0, self._session.session_id)

    def wait(self) -> None:
        """Answer when there is enough or the time is over."""
        self._reply = self._connection.defer(hold=True)
        self._reply.when_lost = self._stop
        for part in self._wanted:
            partition = self._handler.partition(part)
            if partition is not None:
                partition.watchers[self] = None
                self._watched.append(partition)
        self._timer = self._loop.call_later(self._longest_wait(), self._finish)

    def _longest_wait(self) -> float:
        """Seconds. A consumer learns the positions of its partitions one by one and fetches the first of them
        at once; the others have to wait for that answer, and may be those with records."""
        told = self._connection.positions_told
        wait = min(self._fetch.max_wait_ms / 1000, LONGEST)
        if told:
            if not told.issubset(partition.key for partition in self._watched):
                wait = min(wait, BEGINNER_WAITS)
            told.clear()
        return wait

    def notify(self, partition: Partition) -> None:
        """See `Watcher`. Several appends in one turn of the loop are read together."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._look_again)

    def _look_again(self) -> None:
        self._scheduled = False
        if self._reply is not None and self.read():
            self._answer()

    def _finish(self) -> None:
        if self._reply is not None:
            self.read()
            self._answer()

    def _answer(self) -> None:
        reply = self._stop()
        assert reply is not None
        reply.send(self.encode())

    def _stop(self) -> Reply | None:
        """Wait no longer: an answer is due, or nobody is left to take one."""
        reply, self._reply = self._reply, None
        if self._timer is not None:
            self._timer.cancel()
        for partition in self._watched:
            partition.watchers.pop(self, None)
        self._watched.clear()
        return reply
