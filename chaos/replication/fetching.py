"""Replica fetches between simulated brokers: what `kraft.broker.fetching` does, without asyncio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chaos.virtual_time import Timer
from kafkawire.errors import ErrorCode, KafkaError
from logstore.log import LogSlice
from logstore.storage import StorageError
from metadata.image import MetadataImage
from replication.fetch_messages import ReplicaFetch, ReplicaFetchReply
from replication.fetcher import LeaderFetcher
from replication.sessions import ReplicaSession, ReplicaSessions

if TYPE_CHECKING:
    from chaos.replication.broker import BrokerProcess

WAIT = 0.3
TIMEOUT = 0.5
RETRY = 0.05

Collected = tuple[ReplicaFetchReply, Sequence[LogSlice]]
Answer = Callable[[Collected | KafkaError], None]


class _Loop:
    """The fetches from one leader; `token` numbers them."""

    __slots__ = ("fetcher", "resting", "timer", "token", "waiting")

    def __init__(self, fetcher: LeaderFetcher) -> None:
        self.fetcher = fetcher
        self.token = 0
        self.waiting = False
        self.resting = False
        self.timer: Timer | None = None


class FollowerLoops:
    """Keeps one fetch in flight to each leader that some partition here follows."""

    def __init__(self, process: BrokerProcess) -> None:
        self._process = process
        self._loops: dict[int, _Loop] = {}

    def changed(self, fetcher: LeaderFetcher) -> None:
        """A fetcher has something new to ask."""
        loop = self._loops.get(fetcher.leader_id)
        if loop is None:
            loop = self._loops[fetcher.leader_id] = _Loop(fetcher)
        if not loop.waiting:
            self._process.later(0.0, self._ask, loop)
            return
        leader = self._process.cluster.process(fetcher.leader_id)
        if leader is not None:
            self._process.cluster.links.send(
                self._process.broker_id,
                leader.broker_id,
                leader.enter,
                leader.serving.nudge,
                self._process.broker_id,
            )

    def _ask(self, loop: _Loop) -> None:
        fetcher = loop.fetcher
        if loop.waiting or loop.resting or not (fetcher.partitions or fetcher.has_news):
            return
        process = self._process
        cluster = process.cluster
        size = cluster.settings.shape.fetch_bytes
        request = fetcher.next_request(process.broker_epoch, process.now, round(WAIT * 1000), size)
        loop.token += 1
        loop.waiting = True
        loop.timer = cluster.queue.call_at(
            process.now + WAIT + TIMEOUT, process.enter, self._failed, loop, loop.token
        )
        cluster.links.send(process.broker_id, fetcher.leader_id, self._arrive, loop, loop.token, request)

    def _arrive(self, loop: _Loop, token: int, request: ReplicaFetch) -> None:
        """The request reaches the leader's machine."""
        process = self._process
        links = process.cluster.links
        leader_id = loop.fetcher.leader_id
        leader = process.cluster.process(leader_id)
        if leader is None:
            links.send(leader_id, process.broker_id, process.enter, self._failed, loop, token)
            return

        def answer(outcome: Collected | KafkaError) -> None:
            content: bytes | None = None
            if not isinstance(outcome, KafkaError) and process.cluster.rng.random() < 0.8:
                content = b"".join(records.bytes() for records in outcome[1])
            links.send(
                leader_id, process.broker_id, process.enter, self._answered, loop, token, outcome, content
            )

        leader.enter(leader.serving.fetch, request, answer)

    def _answered(
        self, loop: _Loop, token: int, outcome: Collected | KafkaError, content: bytes | None
    ) -> None:
        """With `content` None the records are read only now, as the kernel may do when it sends a file."""
        if token != loop.token or not loop.waiting:
            return
        if isinstance(outcome, KafkaError):
            self._failed(loop, token)
            return
        reply, slices = outcome
        try:
            if content is None:
                content = b"".join(records.bytes() for records in slices)
        except (StorageError, ValueError):  # the leader is dead, or has closed the file
            self._failed(loop, token)
            return
        self._end(loop)
        try:
            loop.fetcher.apply(reply, memoryview(content), self._process.now)
        except KafkaError:
            loop.fetcher.reset()
            self._rest(loop)
            return
        self._ask(loop)

    def _failed(self, loop: _Loop, token: int) -> None:
        if token == loop.token and loop.waiting:
            self._end(loop)
            loop.fetcher.reset()
            self._rest(loop)

    def _end(self, loop: _Loop) -> None:
        loop.waiting = False
        if loop.timer is not None:
            loop.timer.cancel()

    def _rest(self, loop: _Loop) -> None:
        loop.resting = True
        self._process.later(RETRY, self._rested, loop)

    def _rested(self, loop: _Loop) -> None:
        loop.resting = False
        self._ask(loop)


class FetchServer:
    """Answers the followers of the partitions that this broker leads."""

    def __init__(self, process: BrokerProcess) -> None:
        self._process = process
        self._sessions = ReplicaSessions(process.cluster.rng.getrandbits(30))
        self._waits: dict[int, _Wait] = {}

    def fetch(self, request: ReplicaFetch, answer: Answer) -> None:
        """Answer at once if there is anything to send, else when there is or the wait is over."""
        process = self._process
        try:
            session = self._sessions.receive(request, process.replicas.by_key, process.now)
        except KafkaError as error:
            answer(error)
            return
        collected = session.collect(request.max_bytes, patient=request.wait_ms > 0)
        if collected is not None:
            answer(collected)
            return
        previous = self._waits.pop(request.replica_id, None)
        if previous is not None:
            previous.finish()
        self._waits[request.replica_id] = _Wait(process, self._sessions, session, request, answer)

    def nudge(self, replica_id: int) -> None:
        """A follower has something new to ask."""
        wait = self._waits.pop(replica_id, None)
        if wait is not None:
            wait.finish()

    def forget_missing(self, image: MetadataImage) -> None:
        self._sessions.retain(tuple(image.brokers))


class _Wait:
    """A follower's fetch that waits for records."""

    def __init__(
        self,
        process: BrokerProcess,
        sessions: ReplicaSessions,
        session: ReplicaSession,
        request: ReplicaFetch,
        answer: Answer,
    ) -> None:
        self._process = process
        self._sessions = sessions
        self._session = session
        self._max_bytes = request.max_bytes
        self._answer: Answer | None = answer
        self._scheduled = False
        session.wake = self._wake
        process.later(request.wait_ms / 1000, self.finish)

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._process.later(0.0, self._look)

    def _look(self) -> None:
        self._scheduled = False
        self._try(patient=True)

    def finish(self) -> None:
        """Answer now, with whatever there is."""
        self._try(patient=False)

    def _try(self, *, patient: bool) -> None:
        answer = self._answer
        if answer is None:
            return
        if self._sessions.of(self._session.replica_id) is not self._session:
            self._done()
            answer(KafkaError(ErrorCode.FETCH_SESSION_ID_NOT_FOUND))
            return
        collected = self._session.collect(self._max_bytes, patient=patient)
        if collected is None and patient:
            return
        self._done()
        answer(collected or (ReplicaFetchReply(ErrorCode.NONE, self._session.session_id, ()), ()))

    def _done(self) -> None:
        self._answer = None
        if self._session.wake == self._wake:
            self._session.wake = None
