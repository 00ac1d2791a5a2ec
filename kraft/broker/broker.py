"""One broker, put together: what listens, what follows, what leads, and in which order it comes up and goes
down."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from uuid import UUID

import msgspec

from kraft.broker.client_sessions import ClientSessions
from kraft.broker.configuration import BrokerConfiguration
from kraft.broker.connection import ConnectionLimits
from kraft.broker.context import BrokerContext
from kraft.broker.controller_channel import ControllerChannel
from kraft.broker.dispatch import Dispatcher
from kraft.broker.durability import Durability, DurabilitySettings
from kraft.broker.fetching import FETCH, NUDGE, FetchServer, FetchSettings, FollowerLoops
from kraft.broker.group_coordination import group_coordinator
from kraft.broker.handlers import frame_handlers, message_handlers
from kraft.broker.handlers.fetch import FetchHandler
from kraft.broker.internal_topic_growth import InternalTopicGrowth
from kraft.broker.internal_topics import InternalTopics
from kraft.broker.isr_updates import IsrUpdates
from kraft.broker.lifecycle import BrokerLifecycle, HeartbeatSettings
from kraft.broker.listener import ConnectionQuota, Listeners
from kraft.broker.log_cleaner import CleanerSettings, LogCleaner
from kraft.broker.log_directories import LogDirectories
from kraft.broker.log_scrubber import LogScrubber, ScrubberSettings
from kraft.broker.metadata_cache import MetadataCache
from kraft.broker.metadata_feed import MetadataFeed
from kraft.broker.neighbours import PING, MakePeer, Neighbours
from kraft.broker.producer_ids import ProducerIds
from kraft.broker.replica_copies import COPY, CopyServer
from kraft.broker.stalls import StallDetector
from kraft.broker.suspected_leaders import SuspectedLeaders
from kraft.broker.transaction_coordination import Transactions, TransactionWorld
from kraft.clock import Clock
from kraft.events import Events
from kraft.transport.handlers import Handlers
from kraft.transport.messages import Reply
from metadata.controller.commands import RegisterBroker
from metadata.delta import MetadataDelta
from metadata.image import MetadataImage
from metadata.records import Endpoint, NodeEndpoint
from replication.fetcher import LeaderFetcher
from replication.outbox import Outbox
from replication.replicas import Replicas

TICK_INTERVAL = 0.1
"""Seconds between two looks at partitions' deadlines."""
HEARTBEATS_PER_SESSION = 3
"""So often an unanswered heartbeat is given up before the session ends: whoever was asked may be paused, and
another controller active."""
STALL_BOUND = 3.0
STALL_REST = 10.0
"""Seconds: a write or sync that takes longer than the bound makes the broker rest from leading for so long.
"""


def _bulk_from() -> int | None:
    """uvloop cannot send files, and its WebSocket costs less than asyncio's response from a file."""
    return 256 * 1024 if isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop) else None


class BrokerIdentity(msgspec.Struct, frozen=True):
    """Who this broker is."""

    node_id: int
    cluster_id: str
    incarnation: UUID
    rack: str | None


class BrokerAddresses(msgspec.Struct, frozen=True):
    """Where a broker is reached, once its ports are bound."""

    endpoints: tuple[Endpoint, ...]
    node_endpoint: NodeEndpoint


class Broker:
    """`controllers` says where all controllers are; `make_peer` makes a link to one of them, or to another
    broker. Whoever made the broker closes the links to controllers."""

    def __init__(
        self,
        identity: BrokerIdentity,
        configuration: BrokerConfiguration,
        directories: LogDirectories,
        clock: Clock,
        controllers: Mapping[int, tuple[str, int]],
        make_peer: MakePeer,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._identity = identity
        self._configuration = configuration
        self._directories = directories
        self._clock = clock
        self._on_failure = on_failure
        self._events = Events("broker")
        self._latest: MetadataImage | None = None
        self._registered_epoch = -1
        self.metadata = MetadataCache()
        self.controller = ControllerChannel(
            {
                node_id: make_peer(node_id, address, self._controller_is_there, lambda: None)
                for node_id, address in controllers.items()
            },
            clock.monotonic,
        )
        self._stalls = StallDetector(STALL_BOUND, STALL_REST, self._stalled)
        self._neighbours = Neighbours(
            identity.node_id, make_peer, configuration.seconds("broker.session.timeout.ms"), clock.monotonic
        )
        self.replicas = Replicas(
            identity.node_id,
            directories,
            configuration,
            Outbox(self._outbox_filled, directories.log_was_cut),
            self._fetcher_changed,
        )
        self.groups = group_coordinator(
            configuration, clock, self.replicas, self.metadata, on_failure, identity.incarnation
        )
        self._producer_ids = ProducerIds(identity.node_id, self.controller)
        self.transactions = Transactions(self._transaction_world())
        self._build_replication()
        self._build_log_keepers()
        self._build_service()
        self.controller.on_active = self._feed.prefer

    def _transaction_world(self) -> TransactionWorld:
        return TransactionWorld(
            self._identity.node_id,
            self._configuration,
            self._clock,
            self.metadata,
            self.replicas,
            self._neighbours,
            self._producer_ids,
            self.groups,
            self._on_failure,
        )

    def _build_replication(self) -> None:
        configuration, clock = self._configuration, self._clock
        self._isr_updates = IsrUpdates(
            self._identity.node_id, self.replicas.outbox, self.controller, clock.monotonic
        )
        self._followers = FollowerLoops(
            self.controller,
            self._neighbours.peer,
            clock,
            FetchSettings(
                wait=configuration.seconds("replica.fetch.wait.max.ms"),
                max_bytes=configuration.number("replica.fetch.max.bytes"),
                bulk_from=_bulk_from(),
            ),
            self._on_failure,
        )
        self._fetch_server = FetchServer(self.replicas, clock, clock.wall_ms(), self._on_failure)
        self._copy_server = CopyServer(self.replicas, self._on_failure)

    def _build_log_keepers(self) -> None:
        configuration, clock = self._configuration, self._clock
        self._durability = Durability(
            self.replicas,
            self._directories,
            clock,
            self._stalls,
            DurabilitySettings(
                high_watermarks=configuration.seconds("replica.high.watermark.checkpoint.interval.ms"),
                recovery_points=configuration.seconds("log.flush.offset.checkpoint.interval.ms"),
                retention=configuration.seconds("log.retention.check.interval.ms"),
            ),
            self._followers.changed,
            self._on_failure,
        )
        self._cleaner = LogCleaner(
            self.replicas,
            self._directories,
            clock,
            lambda: CleanerSettings.of(configuration, self.metadata.image),
            self._durability.sync,
            self._on_failure,
        )
        self._scrubber = LogScrubber(
            self.replicas,
            self.metadata,
            self._neighbours.peer,
            clock,
            ScrubberSettings.of(configuration),
            self._cleaner.retry,
            self._on_failure,
        )

    def _build_service(self) -> None:
        self._feed = MetadataFeed(self.controller.peers, self, self._leader_changed)
        self._lifecycle = BrokerLifecycle(
            self._identity.node_id,
            self.controller,
            self._heartbeats(),
            lambda: self.metadata.image.offset,
            self._had_better_rest,
        )
        self._growth = InternalTopicGrowth(
            self._identity.node_id, self._configuration, self.metadata, self.controller
        )
        self.listeners = Listeners(self._dispatcher(), self._connection_limits(), self._connection_quota)

    def _registration(self, addresses: BrokerAddresses) -> RegisterBroker:
        identity = self._identity
        return RegisterBroker(
            broker_id=identity.node_id,
            incarnation_id=identity.incarnation,
            cluster_id=identity.cluster_id,
            endpoints=addresses.endpoints,
            node_endpoint=addresses.node_endpoint,
            rack=identity.rack,
            previous_broker_epoch=self._directories.clean_epoch,
        )

    def _heartbeats(self) -> HeartbeatSettings:
        configuration = self._configuration
        return HeartbeatSettings(
            interval=configuration.seconds("broker.heartbeat.interval.ms"),
            timeout=configuration.seconds("broker.session.timeout.ms") / HEARTBEATS_PER_SESSION,
        )

    def _connection_limits(self) -> ConnectionLimits:
        configuration = self._configuration
        return ConnectionLimits(
            max_frame=configuration.number("socket.request.max.bytes"),
            max_idle=configuration.seconds("connections.max.idle.ms"),
        )

    def _connection_quota(self) -> ConnectionQuota:
        limit = partial(self._configuration.current, self.metadata.image)
        return ConnectionQuota(limit("max.connections"), limit("max.connections.per.ip"))

    def _dispatcher(self) -> Dispatcher:
        context = BrokerContext(
            node_id=self._identity.node_id,
            cluster_id=self._identity.cluster_id,
            clock=self._clock,
            configuration=self._configuration,
            metadata=self.metadata,
            replicas=self.replicas,
            controller=self.controller,
            log_directories=self._directories,
            stalls=self._stalls,
            suspected_leaders=SuspectedLeaders(self._neighbours, self.metadata),
            internal_topics=InternalTopics(self._configuration, self.metadata, self.controller),
            groups=self.groups,
            transactions=self.transactions,
            on_storage_failure=self._on_failure,
        )
        sessions = ClientSessions(
            self._configuration.number("max.incremental.fetch.session.cache.slots"), self._clock.wall_ms()
        )
        fetch = FetchHandler(context, sessions, self._configuration.number("fetch.max.bytes"))
        return Dispatcher(
            frame_handlers(context, fetch),
            message_handlers(context, self._producer_ids),
            self._on_failure,
        )

    def register(self, handlers: Handlers) -> None:
        """Add what this broker answers to other brokers."""
        handlers.handle(FETCH, self._fetch_server.fetch)
        handlers.handle_notify(NUDGE, self._fetch_server.nudge)
        handlers.handle(COPY, self._copy_server.copy)
        self.transactions.register(handlers)
        handlers.handle(PING, lambda _link, _value: Reply(None))

    @property
    def serving(self) -> bool:
        """Whether clients may connect and the controller lets this broker lead."""
        return self._lifecycle.unfenced.is_set()

    # -- up and down ------------------------------------------------------------------------------

    async def run(self, addresses: BrokerAddresses, started: Callable[[], None]) -> None:
        """Register, catch up, serve; until cancelled. `started` is called when clients may connect."""
        for peer in self.controller.peers.values():
            peer.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._followers.run())
            group.create_task(self._isr_updates.run())
            group.create_task(self._durability.run())
            group.create_task(self._cleaner.run())
            group.create_task(self._scrubber.run())
            group.create_task(self._feed.run())
            self._registered_epoch = await self._lifecycle.register(self._registration(addresses))
            self._apply_latest()
            group.create_task(self._lifecycle.run())
            group.create_task(self._growth.run())
            group.create_task(self._tick())
            group.create_task(self.groups.runtime.run())
            group.create_task(self.transactions.coordinator.run())
            group.create_task(self.listeners.close_idle())
            await self._lifecycle.unfenced.wait()
            self.listeners.listen()
            group.create_task(self.listeners.accept())
            started()

    async def leave(self, timeout: float) -> bool:
        """Move the leaderships away before stopping; True if that was done in time."""
        return await self._lifecycle.leave(timeout)

    async def close(self) -> None:
        """Stop serving and close every log cleanly. Call it after `run` has been cancelled."""
        await self.listeners.close()
        self.groups.runtime.close()
        self.transactions.coordinator.close()
        await self._neighbours.close()
        await self._durability.sync(self.replicas)
        self._directories.close(self.replicas, self._registered_epoch)

    # -- events -----------------------------------------------------------------------------------

    def on_metadata(self, delta: MetadataDelta) -> None:
        """See `MetadataPublisher`."""
        self._latest = delta.new
        self._apply_latest()

    def _apply_latest(self) -> None:
        # What the metadata says of this broker before its registration concerns an earlier process.
        image = self._latest
        if image is None or self._registered_epoch < 0 or image.offset < self._registered_epoch:
            return
        first = self.metadata.image.offset < self._registered_epoch
        if image.brokers is not self.metadata.image.brokers:
            self._neighbours.meet(image)
            self._fetch_server.forget_missing(image.brokers)
        changed = self.replicas.apply(image, self._clock.monotonic())
        if changed:
            self._events.info("partitions.changed", offset=image.offset, **changed)
            self.groups.runtime.reconcile()
            self.transactions.coordinator.reconcile()
        delta = MetadataDelta(self.metadata.image, image)
        self.metadata.publish(image)
        self.groups.metadata_changed(delta)
        self._growth.metadata_changed(image)
        if first:
            self._directories.set_strays_aside()
            self._lifecycle.nudge()

    def _leader_changed(self, leader_id: int | None) -> None:
        self.controller.heard_of_leader(leader_id)
        if leader_id is not None:
            self._lifecycle.nudge()

    def _controller_is_there(self) -> None:
        # A link that broke is missed until the next heartbeat, and the controller does not wait for long.
        self._lifecycle.nudge()

    def _outbox_filled(self) -> None:
        if self.replicas.outbox.isr_changes:
            self._isr_updates.wake()
        if self.replicas.outbox.unsynced:
            self._durability.wake()

    def _fetcher_changed(self, fetcher: LeaderFetcher) -> None:
        self._followers.changed(fetcher)

    def _stalled(self, seconds: float) -> None:
        self._events.warning("disk.stalled", seconds=round(seconds, 2))
        self._lifecycle.nudge()

    def _had_better_rest(self) -> bool:
        """Whether the disk limps, and somebody else could lead meanwhile."""
        active = self.metadata.image.active_brokers()
        alone = all(broker.broker_id == self._identity.node_id for broker in active)
        return self._stalls.resting(self._clock.monotonic()) and not alone

    async def _tick(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(TICK_INTERVAL)
                self.replicas.tick(self._clock.monotonic())
