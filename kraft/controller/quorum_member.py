"""One controller node, put together: the quorum's driver, the controller on top of it, and what others may
ask of it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Callable, Mapping

import msgspec

from kraft.clock import Clock
from kraft.controller.endpoints import ControllerEndpoints
from kraft.controller.quorum_links import TransportLinks
from kraft.controller.quorum_watch import QuorumWatch
from kraft.controller.service import ControllerService
from kraft.quorum.config import QuorumConfig
from kraft.quorum.disk import DiskWorker
from kraft.quorum.driver import QuorumDriver
from kraft.quorum.stored import QuorumStore
from kraft.transport.client import Peer
from kraft.transport.handlers import Handlers
from logstore.storage import Storage
from metadata.calls import QuorumDescription, QuorumReplica
from metadata.controller.decision import ControllerConfig
from metadata.image import BrokerImage

MakePeer = Callable[[int, tuple[str, int], Callable[[], None], Callable[[], None]], Peer]
"""(node id, address, called when the link is up, called when it is down) -> a link, not started."""


class QuorumPlace(msgspec.Struct, frozen=True):
    """Where this voter stands. `voters` are the addresses of all, this one's among them; `disk` writes to
    `directory`, and is closed with the voter."""

    quorum: QuorumConfig
    voters: Mapping[int, tuple[str, int]]
    directory: str
    disk: DiskWorker


class QuorumMember:
    """One voter. Create it on the event loop that it lives on."""

    def __init__(
        self,
        place: QuorumPlace,
        controller: ControllerConfig,
        storage: Storage,
        clock: Clock,
        rng: random.Random,
        make_peer: MakePeer,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._place = place
        self._clock = clock
        self._links = TransportLinks()
        self._store = QuorumStore.open(
            storage, place.directory, max_entry_bytes=place.quorum.max_entry_bytes, now_ms=clock.wall_ms()
        )
        self.service = ControllerService(controller, clock, rng)
        self.driver = QuorumDriver(
            place.quorum, self._store, self.service, self._links, place.disk, clock.monotonic, rng
        )
        self.driver.on_failure = on_failure
        self.driver.on_reschedule = self._reschedule
        self.service.attach(self.driver)
        self.endpoints = ControllerEndpoints(self.service, self.describe_quorum)
        self._watch = QuorumWatch(place.quorum.node_id, len(place.voters), clock.monotonic())
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = math.inf
        self._loop = asyncio.get_running_loop()
        for peer_id in place.quorum.peers:
            self._links.peers[peer_id] = make_peer(
                peer_id,
                place.voters[peer_id],
                lambda peer_id=peer_id: self._links.opened(peer_id),  # type: ignore[misc]
                lambda peer_id=peer_id: self._links.closed(peer_id),  # type: ignore[misc]
            )

    def register(self, handlers: Handlers) -> None:
        """Add what this controller answers."""
        self._links.register(handlers)
        self.endpoints.register(handlers)

    async def run(self) -> None:
        """Vote, and lead when elected, until cancelled."""
        try:
            self.driver.start()
            for peer in self._links.peers.values():
                peer.start()
            await self.service.run()
        finally:
            self.driver.stop()
            self._cancel_timer()

    async def close(self) -> None:
        """Close the links and the journal. Call it after `run` has been cancelled."""
        for peer in self._links.peers.values():
            await peer.close()
        await asyncio.to_thread(self._place.disk.close)
        self._store.close()

    async def hand_over(self) -> None:
        """Before a planned stop: let another voter lead, so that nobody has to notice that this one is
        gone."""
        if self.driver.resign():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._place.quorum.election_timeout_max):
                    await self.service.resigned.wait()

    def _reschedule(self) -> None:
        # A deadline that moved further away, as it does with each message, finds the timer as it is: that
        # looks again when it fires.
        deadline = self.driver.next_deadline
        if deadline < self._fires_at:
            self._cancel_timer()
            self._fires_at = deadline
            self._timer = self._loop.call_later(max(0.0, deadline - self._clock.monotonic()), self._fired)

    def _fired(self) -> None:
        self._cancel_timer()
        now = self._clock.monotonic()
        self._watch.look(self.driver.leadership.leader_id, self._links.connected(), now)
        if self.driver.next_deadline <= now:
            self.driver.tick()
        else:
            self._reschedule()

    def _cancel_timer(self) -> None:
        self._fires_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def describe_quorum(self) -> QuorumDescription:
        """See `metadata.calls.DESCRIBE_QUORUM`."""
        status = self.driver.status()
        offset = self._clock.wall_ms() - round(self._clock.monotonic() * 1000)

        def wall(seconds: float | None) -> int:
            return -1 if seconds is None else round(seconds * 1000) + offset

        voters = tuple(
            QuorumReplica(
                voter.node_id,
                voter.log_end_offset,
                wall(voter.last_response),
                wall(voter.last_caught_up),
                *self._place.voters[voter.node_id],
            )
            for voter in status.voters
        )
        observers = tuple(
            self._observer(broker)
            for broker in self.service.image.brokers.values()
            if broker.broker_id not in self._place.voters
        )
        leader_id = -1 if status.leader_id is None else status.leader_id
        return QuorumDescription(leader_id, status.term, status.high_watermark, voters, observers)

    def _observer(self, broker: BrokerImage) -> QuorumReplica:
        """A broker as of its last heartbeat. It counts records, where voters count entries."""
        applied, endpoint = self.service.metadata_offset(broker.broker_id), broker.node_endpoint
        log_end = -1 if applied < 0 else self.driver.log_end_of(applied + 1)
        return QuorumReplica(broker.broker_id, log_end, host=endpoint.host, port=endpoint.port)
