"""Replica fetches as they travel: one loop for each leader that we follow, one waiting answer for each
follower."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from kafkawire.errors import ErrorCode, KafkaError
from kraft.broker.controller_channel import ControllerChannel
from kraft.clock import Clock
from kraft.events import Events
from kraft.transport.client import Peer
from kraft.transport.errors import PeerError
from kraft.transport.link import Link
from kraft.transport.messages import Reply
from logstore.log import LogSlice
from logstore.storage import StorageError
from replication.fetch_messages import ReplicaFetch, ReplicaFetchReply
from replication.fetcher import LeaderFetcher
from replication.replicas import Replicas
from replication.sessions import ReplicaSession, ReplicaSessions

FETCH = "replica.fetch"
NUDGE = "replica.nudge"
"""A follower has something new to ask: its waiting fetch is to be answered at once, if only with nothing."""


class FetchSettings(msgspec.Struct, frozen=True):
    """Times in seconds, sizes in bytes. `wait` is replica.fetch.wait.max.ms.

    When an answer had `bulk_from` bytes, the follower is catching up: the next fetch is a request of its own,
    which the kernel answers from the file. None where that does not pay.
    """

    wait: float = 0.5
    max_bytes: int = 1024 * 1024
    timeout: float = 5.0
    bulk_from: int | None = None


class FollowerLoops:
    """Keeps one fetch in flight to each leader that some partition here follows."""

    def __init__(
        self,
        controller: ControllerChannel,
        peer_of: Callable[[int], Peer | None],
        clock: Clock,
        settings: FetchSettings,
        on_storage_failure: Callable[[BaseException], None],
    ) -> None:
        self._controller = controller
        self._peer_of = peer_of
        self._clock = clock
        self._settings = settings
        self._on_storage_failure = on_storage_failure
        self._wakes: dict[int, asyncio.Event] = {}
        self._waiting: dict[int, bool] = {}
        self._group: asyncio.TaskGroup | None = None
        self._events = Events("fetcher")

    async def run(self) -> None:
        """Own the loops until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await asyncio.get_running_loop().create_future()

    def changed(self, fetcher: LeaderFetcher) -> None:
        """A fetcher has something new to ask: begin its loop, or shorten its wait."""
        wake = self._wakes.get(fetcher.leader_id)
        if wake is None:
            assert self._group is not None
            wake = self._wakes[fetcher.leader_id] = asyncio.Event()
            self._group.create_task(self._follow(fetcher, wake))
        wake.set()
        if self._waiting.get(fetcher.leader_id) and (peer := self._peer_of(fetcher.leader_id)) is not None:
            peer.notify(NUDGE, None)

    async def _follow(self, fetcher: LeaderFetcher, wake: asyncio.Event) -> None:
        leader_id = fetcher.leader_id
        catching_up = False
        while True:
            if not fetcher.partitions and not fetcher.has_news:
                wake.clear()
                await wake.wait()
            peer = self._peer_of(leader_id)
            if peer is None or not peer.connected:
                fetcher.reset()
                await asyncio.sleep(0.02)
                continue
            try:
                catching_up = await self._exchange(fetcher, peer, bulk=catching_up)
            except PeerError as error:
                self._events.info("fetch.failed", leader=leader_id, reason=str(error))
                fetcher.reset()
                await asyncio.sleep(0.02)
            except KafkaError as error:
                if error.code not in (
                    ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
                    ErrorCode.INVALID_FETCH_SESSION_EPOCH,
                ):
                    self._events.warning("fetch.refused", leader=leader_id, reason=error.code.name)
                    await asyncio.sleep(0.05)
                fetcher.reset()
            except StorageError as error:
                self._on_storage_failure(error)
                return

    async def _exchange(self, fetcher: LeaderFetcher, peer: Peer, *, bulk: bool) -> bool:
        settings = self._settings
        request = fetcher.next_request(
            self._controller.broker_epoch,
            self._clock.monotonic(),
            round(settings.wait * 1000),
            settings.max_bytes,
        )
        self._waiting[fetcher.leader_id] = True
        try:
            timeout = settings.wait + settings.timeout
            response = await peer.call(FETCH, request.to_wire(), timeout=timeout, bulk=bulk)
        finally:
            self._waiting[fetcher.leader_id] = False
        payload = memoryview(response.payload)
        fetcher.apply(ReplicaFetchReply.from_wire(response.value), payload, self._clock.monotonic())
        return settings.bulk_from is not None and len(payload) >= settings.bulk_from


class FetchServer:
    """Answers the followers of the partitions that this broker leads."""

    def __init__(
        self,
        replicas: Replicas,
        clock: Clock,
        first_session_id: int,
        on_storage_failure: Callable[[BaseException], None],
    ) -> None:
        self._replicas = replicas
        self._clock = clock
        self._sessions = ReplicaSessions(first_session_id)
        self._on_storage_failure = on_storage_failure
        self._waits: dict[int, _Wait] = {}

    def fetch(self, link: Link, value: Any) -> Reply | asyncio.Future[Reply]:
        """Handle `FETCH`: answer at once if there is anything to send, else when there is or the wait is
        over. Raises KafkaError, and StorageError when our log can not be read: a leader that failed."""
        request = ReplicaFetch.from_wire(value)
        if request.replica_id != link.peer_id:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "a replica fetch in another node's name")
        session = self._sessions.receive(request, self._replicas.by_key, self._clock.monotonic())
        collected = self.collect(session, request.max_bytes, patient=request.wait_ms > 0)
        if collected is not None:
            return _reply(*collected)
        if request.wait_ms <= 0:
            return _nothing(session)
        previous = self._waits.pop(request.replica_id, None)
        if previous is not None:
            previous.finish()
        wait = _Wait(self, session, request)
        self._waits[request.replica_id] = wait
        return wait.future

    def collect(
        self, session: ReplicaSession, max_bytes: int, *, patient: bool
    ) -> tuple[ReplicaFetchReply, list[LogSlice]] | None:
        """See `ReplicaSession.collect`. Raises KafkaError for a session that has ended, StorageError."""
        if self._sessions.of(session.replica_id) is not session:
            raise KafkaError(ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        try:
            return session.collect(max_bytes, patient=patient)
        except StorageError as error:
            self._on_storage_failure(error)
            raise

    def nudge(self, link: Link, value: Any) -> None:  # noqa: ARG002 - there is nothing to say
        """Handle `NUDGE`."""
        wait = self._waits.pop(link.peer_id, None)
        if wait is not None:
            wait.finish()

    def forget_missing(self, brokers: Mapping[int, object]) -> None:
        """End the sessions of brokers that are not registered any more."""
        self._sessions.retain(tuple(brokers))


class _Wait:
    """A follower's fetch that waits for records."""

    __slots__ = ("_loop", "_max_bytes", "_scheduled", "_server", "_session", "_timer", "future")

    def __init__(self, server: FetchServer, session: ReplicaSession, request: ReplicaFetch) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Reply] = self._loop.create_future()
        self._server = server
        self._session = session
        self._max_bytes = request.max_bytes
        self._scheduled = False
        self._timer = self._loop.call_later(request.wait_ms / 1000, self.finish)
        session.wake = self._wake
        self.future.add_done_callback(self._done)

    def _wake(self) -> None:
        # What is appended in this turn of the loop leaves together.
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._scheduled = False
        if not self.future.done():
            self._answer(only_if_any=True)

    def finish(self) -> None:
        """Answer now, with whatever there is."""
        if not self.future.done():
            self._answer(only_if_any=False)

    def _answer(self, *, only_if_any: bool) -> None:
        try:
            collected = self._server.collect(self._session, self._max_bytes, patient=only_if_any)
        except (KafkaError, StorageError) as error:
            self.future.set_exception(error)
            return
        if collected is not None:
            self.future.set_result(_reply(*collected))
        elif not only_if_any:
            self.future.set_result(_nothing(self._session))

    def _done(self, future: asyncio.Future[Reply]) -> None:  # noqa: ARG002 - it is `self.future`
        self._timer.cancel()
        if self._session.wake == self._wake:
            self._session.wake = None


def _reply(reply: ReplicaFetchReply, slices: list[LogSlice]) -> Reply:
    return Reply(reply.to_wire(), slices)


def _nothing(session: ReplicaSession) -> Reply:
    return Reply(ReplicaFetchReply(ErrorCode.NONE, session.session_id, ()).to_wire())
