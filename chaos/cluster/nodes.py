"""Machines of a simulated cluster, and the node processes that live and die on them.

A process is put together as `kraft.node` does it, from the same parts: what differs is the network, the disk
and the clock that they are given.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from chaos.cluster.links import Introduction, SimulatedPeer, SimulatedServer
from chaos.cluster.loops import ProcessLoop, World
from chaos.cluster.streams import End, Streams, StreamTransport
from chaos.disk import CuttableStorage, DiskConditions, PowerCutError, SimulatedDisk
from chaos.virtual_time import SimulatedClock
from kafkawire.batch_header import headers
from kafkawire.errors import KafkaError
from kraft.broker.broker import Broker, BrokerAddresses, BrokerIdentity
from kraft.broker.configuration import BrokerConfiguration
from kraft.broker.lifecycle import BrokerSupersededError
from kraft.broker.log_directories import LogDirectories
from kraft.controller.quorum_member import QuorumMember, QuorumPlace
from kraft.quorum.config import QuorumConfig
from kraft.quorum.disk import Done, Work
from kraft.transport.client import PeerOptions
from logstore.storage import StorageError
from metadata.controller.decision import ControllerConfig
from metadata.records import Endpoint, NodeEndpoint

CLUSTER_ID = "simulated-cluster"
NODE_PORT = 9093
KAFKA_PORT = 9092
LOG_DIR = "data"
LEAVE_TIMEOUT = 3.0
DIALS = (0.05, 1.0)
"""Seconds between two attempts to reach a node, at first and at most."""


@dataclass(frozen=True, slots=True)
class Site:
    """What all nodes of one history share."""

    world: World
    streams: Streams
    chance: Callable[[str], random.Random]
    """A source of randomness for each purpose."""
    controllers: tuple[int, ...]
    settings: Mapping[str, str]
    quorum: Mapping[str, float]
    """How the quorum is tuned: fields of QuorumConfig."""
    on_failure: Callable[[NodeProcess, BaseException], None]
    on_start: Callable[[NodeProcess], None]
    """Told of every process whose parts are there, before they run."""


def host(machine: int) -> str:
    """A machine's name."""
    return f"node-{machine}"


class StoredBatch(NamedTuple):
    """Where a batch lies in a file, and whether it is the last one of its log."""

    path: str
    position: int
    size: int
    is_newest: bool


class Machine:
    """What outlives a process: the disk and the clock."""

    def __init__(self, site: Site, node_id: int, conditions: DiskConditions) -> None:
        self.site = site
        self.node_id = node_id
        self.rng = site.chance(host(node_id))
        self.storage = CuttableStorage(self.rng)
        self.storage.make_directory(LOG_DIR)
        self.disk = SimulatedDisk(site.world, self.rng, self.storage, conditions)
        self.clock = SimulatedClock(site.world)
        self.process: NodeProcess | None = None
        self.power_was_lost = False
        """Whether the last process died that way."""

    @property
    def is_controller(self) -> bool:
        return self.node_id in self.site.controllers

    def start(self) -> NodeProcess:
        """Start a process; None was running."""
        assert self.process is None
        process = self.process = NodeProcess(self)
        process.start()
        return process

    def crash(self, *, power_lost: bool) -> None:
        """The process dies; with the power lost, so do the bytes that were not synced."""
        process, self.process = self.process, None
        if process is not None:
            process.loop.kill()
            self.site.streams.process_died(process.loop, silently=power_lost)
        self.disk.crash(power_lost=power_lost)
        self.power_was_lost = power_lost

    def stored_batches(self) -> list[StoredBatch]:
        """The batches of every log."""
        found: list[StoredBatch] = []
        for directory in self.storage.list(LOG_DIR):
            names = [name for name in self.storage.list(f"{LOG_DIR}/{directory}") if name.endswith(".log")]
            of_log = [
                StoredBatch(path, position, size, is_newest=False)
                for path in (f"{LOG_DIR}/{directory}/{name}" for name in names)
                for position, size in self._batches_in(path)
            ]
            if of_log:
                found += [*of_log[:-1], of_log[-1]._replace(is_newest=True)]
        return found

    def _batches_in(self, path: str) -> list[tuple[int, int]]:
        file = self.storage.open(path)
        content = file.read_at(0, file.size())
        batches = []
        with contextlib.suppress(KafkaError):  # rot may have been here before
            for position, header in headers(content):
                batches.append((position, header.size))
        return batches


class NodeProcess:
    """One process, from its start to its end."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.loop = ProcessLoop(machine.site.world, host(machine.node_id), self._work_aside)
        self.loop.on_error = self._fail
        self.member: QuorumMember | None = None
        self.broker: Broker | None = None
        self.serving = False
        self.incarnation = uuid.UUID(int=machine.rng.getrandbits(128), version=4)
        self.rng = random.Random(machine.rng.getrandbits(64))
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving = False

    @property
    def node_id(self) -> int:
        return self.machine.node_id

    # -- the disk's thread ------------------------------------------------------------------------

    def _work_aside(
        self, work: Callable[[], Any], finished: Callable[[Any, BaseException | None], None]
    ) -> None:
        outcome: list[Any] = [None, None]

        def run() -> None:
            try:
                outcome[0] = work()
            except PowerCutError:
                raise
            except BaseException as error:  # noqa: BLE001 - it is raised where the work was asked for
                outcome[1] = error

        def done(error: StorageError | None) -> None:
            assert error is None
            self.loop.call_soon(finished, *outcome)

        self.machine.disk.run(run, done)

    def run(self, work: Work, done: Done) -> None:
        """See `DiskWorker`."""

        def tell(error: StorageError | None) -> None:
            self.loop.call_soon(done, error)

        self.machine.disk.run(work, tell)

    def close(self) -> None:
        """See `DiskWorker`."""

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin; it happens on the process's own loop."""
        self.loop.call_soon(self._start)

    def _start(self) -> None:
        machine = self.machine
        server = SimulatedServer(self._fail)
        try:
            if machine.is_controller:
                self.member = self._quorum_member()
                self.member.register(server.handlers)
                self._spawn(self.member.run())
            else:
                self.broker = self._broker()
                self.broker.register(server.handlers)
                self._spawn(self.broker.run(self._addresses(), self._started))
        except StorageError as error:
            self._fail(error)
            return
        machine.site.on_start(self)
        streams = machine.site.streams
        streams.listen((host(self.node_id), NODE_PORT), self.loop, self.node_id, server.accept)

    def _started(self) -> None:
        self.serving = True
        address = (host(self.node_id), KAFKA_PORT)
        self.machine.site.streams.listen(address, self.loop, self.node_id, self._client)

    def _client(self, end: End, _hello: object) -> None:
        assert self.broker is not None
        connection = self.broker.listeners.connection("PLAINTEXT")
        StreamTransport(end, connection, (host(end.other.machine), 40_000))

    def leave(self, left: Callable[[], None]) -> None:
        """Begin a controlled shutdown, as SIGTERM does; `left` is called when only the exit is missing."""
        if not self._leaving:
            self._leaving = True
            self.loop.call_soon(lambda: self._spawn(self._leave(tuple(self._tasks), left)))

    async def _leave(self, working: Sequence[asyncio.Task[None]], left: Callable[[], None]) -> None:
        broker, member = self.broker, self.member
        if broker is not None:
            await broker.leave(LEAVE_TIMEOUT)
        if member is not None:
            await member.hand_over()
        for task in working:
            task.cancel()
        if working:
            await asyncio.wait(working)
        if broker is not None:
            await broker.close()
        if member is not None:
            await member.close()
        self.loop.call_soon(left)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if self.machine.process is self:
            self.machine.site.on_failure(self, error)

    # -- parts ------------------------------------------------------------------------------------

    def _addresses(self) -> BrokerAddresses:
        name = host(self.node_id)
        return BrokerAddresses((Endpoint("PLAINTEXT", name, KAFKA_PORT),), NodeEndpoint(name, NODE_PORT))

    def _peer(
        self,
        node_id: int,
        address: tuple[str, int],
        on_up: Callable[[], None] | None = None,
        on_down: Callable[[], None] | None = None,
    ) -> SimulatedPeer:
        role = "controller" if self.machine.is_controller else "broker"
        peer = SimulatedPeer(
            self.machine.site.streams, Introduction(self.node_id, role), node_id, address, on_up, on_down
        )
        first, last = DIALS
        return peer.configure(
            PeerOptions(role=role, backoff_min=first, backoff_max=last, rng=self.rng, on_fatal=self._fail)
        )

    def _quorum_member(self) -> QuorumMember:
        site = self.machine.site
        voters = {node_id: (host(node_id), NODE_PORT) for node_id in site.controllers}
        quorum = QuorumConfig(self.node_id, site.controllers, **site.quorum)  # type: ignore[arg-type]
        place = QuorumPlace(quorum, voters, f"{LOG_DIR}/__cluster_metadata-0", self)
        controller = ControllerConfig.from_settings(CLUSTER_ID, site.settings)
        storage, clock = self.machine.storage, self.machine.clock
        return QuorumMember(place, controller, storage, clock, self.rng, self._peer, self._fail)

    def _broker(self) -> Broker:
        site, machine = self.machine.site, self.machine
        identity = BrokerIdentity(self.node_id, CLUSTER_ID, self.incarnation, None)
        controllers = {node_id: (host(node_id), NODE_PORT) for node_id in site.controllers}
        return Broker(
            identity,
            BrokerConfiguration(self.node_id, site.settings),
            LogDirectories(machine.storage, [LOG_DIR], machine.clock),
            machine.clock,
            controllers,
            self._peer,
            self._fail,
        )


def is_the_worlds(error: BaseException) -> bool:
    """Whether a process may end for this reason: its disk failed, or another process took its place."""
    return isinstance(error, StorageError | BrokerSupersededError)
