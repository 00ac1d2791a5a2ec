"""The composition root: one node, put together from its configuration. The only file that knows every
package."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import signal
import sys
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

from kafkawire.errors import KafkaError
from kraft.broker.broker import Broker, BrokerAddresses, BrokerIdentity
from kraft.broker.configuration import BrokerConfiguration
from kraft.broker.lifecycle import BrokerSupersededError
from kraft.broker.log_directories import LogDirectories
from kraft.clock import Clock, SystemClock
from kraft.config import NodeConfig
from kraft.controller.quorum_member import QuorumMember, QuorumPlace
from kraft.events import Events, configure_logging
from kraft.formatting import FormatError, claim_directories, directories_of, locked_directories
from kraft.huge_pages import gather_heap
from kraft.open_files import raise_limit
from kraft.quorum.config import QuorumConfig
from kraft.quorum.disk import ThreadDiskWorker
from kraft.readiness import NodeAddresses, announce_ready
from kraft.status import add_status_routes
from kraft.transport.client import Peer, PeerOptions
from kraft.transport.server import NodeServer
from logstore.storage import LocalStorage, Storage, StorageError
from metadata.controller.decision import ControllerConfig
from metadata.records import Endpoint, NodeEndpoint

LEAVE_TIMEOUT = 10.0
"""Seconds that a controlled shutdown may take before the node stops all the same."""


MAX_METADATA_BATCH = 3 * 1024 * 1024
"""Bytes of one proposal to the quorum: the 10,000 partitions that one request may create fit in."""


class NodeFailureError(Exception):
    """The node cannot start or go on. The message is one line for people."""


class Node:
    """One node. `run` returns after a controlled shutdown and raises when the node cannot go on."""

    def __init__(
        self,
        config: NodeConfig,
        ready: Callable[[NodeAddresses], None],
        clock: Clock | None = None,
        storage: Storage | None = None,
    ) -> None:
        self._config = config
        self._ready = ready
        self._clock = clock or SystemClock()
        self._rng = random.Random()
        self._storage = storage or LocalStorage()
        self._cluster_id = ""
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._events = Events("node")

    def stop(self) -> None:
        """Begin a controlled shutdown."""
        self._stopping.set()

    def _fail(self, failure: BaseException) -> None:
        """Something is wrong that only a restart mends: stop without ceremony."""
        if self._failure is None:
            self._failure = failure
        self._stopping.set()

    async def run(self) -> None:
        """Run until `stop` is called. Raises NodeFailureError, FormatError, and whatever mistake of ours
        broke it."""
        self._cluster_id = claim_directories(self._storage, self._config).cluster_id
        try:
            await self._run()
        except (StorageError, KafkaError) as failure:  # of parts that were not running yet, or no more
            raise _explained(failure) from failure

    async def _run(self) -> None:
        config = self._config
        server = NodeServer(
            config.node_id, self._cluster_id, config.cluster.secret.reveal(), on_fatal=self._fail
        )
        async with contextlib.AsyncExitStack() as stack:
            member = self._quorum_member() if config.is_controller else None
            broker = self._broker(stack) if config.is_broker else None
            for role in (member, broker):
                if role is not None:
                    role.register(server.handlers)
            add_status_routes(server.app, config.node_id, self._cluster_id, member, broker)
            reached = await self._listen(server, broker)
            addresses = self._addresses(reached)
            stack.push_async_callback(server.close)
            if member is not None:
                stack.push_async_callback(member.close)
                self._spawn(stack, member.run())
            if broker is not None:
                stack.push_async_callback(self._close_broker, broker)
                self._spawn(stack, broker.run(reached, lambda: self._ready(addresses)))
            else:
                self._ready(addresses)
            await self._stopping.wait()
            if self._failure is None:
                await self._leave(member, broker)
        if self._failure is not None:
            raise _explained(self._failure) from self._failure

    def _spawn(self, stack: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        stack.push_async_callback(_cancel, task)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _leave(self, member: QuorumMember | None, broker: Broker | None) -> None:
        self._events.info("node.leaving")
        if broker is not None and self._config.settings["controlled.shutdown.enable"]:
            alone = len(broker.metadata.image.brokers) <= 1
            if not alone:
                await broker.leave(LEAVE_TIMEOUT)
        if member is not None:
            await member.hand_over()

    async def _close_broker(self, broker: Broker) -> None:
        if self._failure is None:
            await broker.close()

    # -- parts ------------------------------------------------------------------------------------

    async def _listen(self, server: NodeServer, broker: Broker | None) -> BrokerAddresses:
        """Bind every port; says where the node is reached."""
        network = self._config.network
        endpoints: list[Endpoint] = []
        where = network.node_listener
        try:
            if broker is not None:
                for listener, advertised in zip(network.listeners, network.advertised_listeners, strict=True):
                    where = listener.address
                    port = await broker.listeners.bind(listener.name, where.host, where.port)
                    reached = advertised.address
                    endpoints.append(Endpoint(listener.name, reached.host, reached.port or port))
            where = network.node_listener
            port = await server.start(where.host, where.port)
        except OSError as error:
            raise NodeFailureError(f"cannot listen on {where}: {error.strerror or error}") from error
        node = network.advertised_node_listener
        return BrokerAddresses(tuple(endpoints), NodeEndpoint(node.host, node.port or port))

    def _addresses(self, reached: BrokerAddresses) -> NodeAddresses:
        kafka = (reached.endpoints[0].host, reached.endpoints[0].port) if reached.endpoints else None
        return NodeAddresses(
            self._config.node_id, (reached.node_endpoint.host, reached.node_endpoint.port), kafka
        )

    def _peer(
        self,
        node_id: int,
        address: tuple[str, int],
        on_up: Callable[[], None] | None = None,
        on_down: Callable[[], None] | None = None,
    ) -> Peer:
        config = self._config
        peer = Peer(
            config.node_id,
            self._cluster_id,
            config.cluster.secret.reveal(),
            node_id,
            address,
            on_up=on_up,
            on_down=on_down,
        )
        role = ",".join(sorted(each.value for each in config.roles))
        return peer.configure(PeerOptions(role=role, rng=self._rng, on_fatal=self._fail))

    def _quorum_member(self) -> QuorumMember:
        config = self._config
        voters = {voter.node_id: (voter.address.host, voter.address.port) for voter in config.cluster.voters}
        place = QuorumPlace(
            quorum_config(config),
            voters,
            config.metadata_dir,
            ThreadDiskWorker(),
        )
        controller = ControllerConfig.from_settings(self._cluster_id, config.static)
        return QuorumMember(place, controller, self._storage, self._clock, self._rng, self._peer, self._fail)

    def _broker(self, stack: contextlib.AsyncExitStack) -> Broker:
        config = self._config
        identity = BrokerIdentity(
            node_id=config.node_id,
            cluster_id=self._cluster_id,
            incarnation=uuid.uuid4(),
            rack=config.rack,
        )
        broker = Broker(
            identity,
            BrokerConfiguration(config.node_id, config.static),
            LogDirectories(self._storage, config.log_dirs, self._clock),
            self._clock,
            {voter.node_id: (voter.address.host, voter.address.port) for voter in config.cluster.voters},
            self._peer,
            self._fail,
        )
        for peer in broker.controller.peers.values():
            stack.push_async_callback(peer.close)
        return broker


def quorum_config(config: NodeConfig) -> QuorumConfig:
    """What the node's configuration says to its quorum."""

    def number(name: str) -> int:
        value = config.settings[name]
        assert isinstance(value, int), name
        return value

    return QuorumConfig.tuned(
        config.node_id,
        tuple(sorted(voter.node_id for voter in config.cluster.voters)),
        election_timeout=number("controller.quorum.election.timeout.ms") / 1000,
        majority_timeout=number("controller.quorum.fetch.timeout.ms") / 1000,
        max_entry_bytes=MAX_METADATA_BATCH,
        snapshot_interval_bytes=number("metadata.log.max.record.bytes.between.snapshots"),
    )


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait([task])


def _explained(failure: BaseException) -> BaseException:
    """The world's failures become one line; a mistake of ours keeps its traceback."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if isinstance(failure, StorageError | BrokerSupersededError):
        return NodeFailureError(str(failure))
    if isinstance(failure, KafkaError):
        return NodeFailureError(failure.message or failure.code.name)
    return failure


async def run_node(config: NodeConfig, *, ready: Callable[[NodeAddresses], None] | None = None) -> None:
    """Run one node until SIGTERM or SIGINT; `ready` is called once when it serves. Raises as `Node.run`."""
    node = Node(config, ready or (lambda _: None))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, node.stop)
    # What exists by now lives as long as the node: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    await node.run()


def main(config: NodeConfig) -> int:
    """Run one node as a process; returns its exit status."""
    configure_logging(config.process.log_format, node_id=config.node_id)
    raise_limit()
    events = Events("node")
    if config.ignored:
        events.info("config.without_effect", keys=",".join(config.ignored))

    def ready(addresses: NodeAddresses) -> None:
        kafka = addresses.kafka or ("-", "")
        node = addresses.node
        events.info("node.ready", node=f"{node[0]}:{node[1]}", kafka=f"{kafka[0]}:{kafka[1]}".rstrip(":"))
        if config.process.ready_fd is not None:
            announce_ready(config.process.ready_fd, addresses)
        # In a thread: clients may come now, and it takes a while.
        asyncio.get_running_loop().run_in_executor(None, gather_heap)

    try:
        with locked_directories(directories_of(config)):
            _run(run_node(config, ready=ready))
    except (NodeFailureError, FormatError) as error:
        print(f"kraft-node: {error}", file=sys.stderr)
        return 1
    return 0


def _run(work: Coroutine[Any, Any, None]) -> None:
    """On uvloop where it is installed, else on asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)
