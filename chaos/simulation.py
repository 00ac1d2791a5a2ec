"""Histories of a whole cluster: one seed is one history, in virtual time, from empty disks to a verdict.

Controllers, brokers and clients are those that ship. While the clients work, machines and links are hurt as
the seed's climate has it; the invariants are looked at after every event. Then everything is mended, the
cluster has to come to rest, all is read back, and the history is judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple
from uuid import UUID

from chaos.anomalies import Judgement, check
from chaos.cluster.administrators import Administrator, Founder
from chaos.cluster.clients import (
    Auditor,
    Client,
    LastReader,
    LastWriter,
    Notebook,
    Reader,
    Surroundings,
    Writer,
)
from chaos.cluster.climate import draw_climate, draw_shape
from chaos.cluster.disbanders import Disbander, LastWitness
from chaos.cluster.faults import Faults
from chaos.cluster.group_clients import Copier, Inquirer, Member
from chaos.cluster.loops import World
from chaos.cluster.metadata_truth import MetadataTruth
from chaos.cluster.nodes import Machine, NodeProcess, Site
from chaos.cluster.pace import longer_pauses
from chaos.cluster.plan import Plan
from chaos.cluster.renewers import SETTINGS as RENEWAL_SETTINGS
from chaos.cluster.renewers import LastReaderOfIncarnation, Renewer
from chaos.cluster.shared_images import shared_images
from chaos.cluster.streams import Streams
from chaos.cluster.watching import Watch
from chaos.convergence import problems
from chaos.disk import DiskConditions
from chaos.history import Committed, Ending, OffsetFetched, Outcome, Polled, Sent, Settled
from chaos.network import NetworkConditions
from chaos.replication.invariants import ReplicationInvariants, ViolationError
from chaos.trace import Trace
from metadata.image import MetadataImage
from replication.fetch_messages import Key
from replication.partition import Partition

FIRST_CONTROLLER = 101
CALM_BOUND = 30.0
"""Seconds, virtual, in which a mended cluster has to come to rest."""
LOOK_EVERY = 0.25
OPERATIONS = (Sent, Polled, Committed, OffsetFetched, Ending)
MAX_TURNS = 2_000_000
TOPIC = "orders"
COPIES = "copies"
RENEWALS = 0.25
"""In how many histories topics and groups are deleted."""
RENEWER = 90
"""The first number of the clients that do so: far from those of all others, which keep theirs."""


class HistoryResult(NamedTuple):
    """What a history came to."""

    seed: int
    problem: str | None
    trace: int
    """Checksum of everything that happened."""
    operations: int
    """What clients did: records sent, polls that returned some, commits, ends of transactions."""
    turns: int
    length: float
    """Seconds, virtual."""
    faults: tuple[str, ...]
    """Every fault that took place, as `kind#number`."""
    clients: tuple[str, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of faults that took place."""
        return tuple(dict.fromkeys(each.split("#")[0] for each in self.faults))


class History:
    """One plan. Also the `ClusterView` of its invariants."""

    def __init__(self, plan: Plan, *, printed: bool = False) -> None:
        self.plan = plan
        self.world = World()
        self.trace = Trace(self.world, printed=printed, details=False)
        self._shape = draw_shape(plan.chance("shape"))
        self._climate = draw_climate(plan.chance("climate"))
        self._renews = plan.chance("renewals").random() < RENEWALS
        if self._renews:
            # Whoever works on the topics that are renewed stands in for some of the others.
            self._shape = replace(self._shape, producers=1, readers=0, copiers=0)
        self.trace.note(self._shape)
        self.trace.note(self._climate)
        conditions = NetworkConditions(latency=(0.0002, self._shape.latency))
        self._streams = Streams(self.world, plan.chance("network"), conditions, on_arrival=self.trace.add)
        self.invariants = ReplicationInvariants(self, self.trace)
        self.metadata = MetadataTruth(self.world.checks, self.invariants.image_changed)
        self._machines: dict[int, Machine] = self._build()
        self._faults = Faults(
            self._machines,
            self._streams,
            plan,
            self._shape,
            self._climate,
            self.trace,
            lambda: self.metadata.image,
        )
        self.notebook = Notebook(self.world)
        brokers = tuple(range(1, self._shape.brokers + 1))
        self._surroundings = Surroundings(
            self.world,
            self._streams,
            self.notebook,
            plan.chance,
            brokers,
            TOPIC,
            COPIES,
            self._shape.partitions,
        )
        self._clients: list[Client] = []

    def _build(self) -> dict[int, Machine]:
        shape = self._shape
        controllers = tuple(range(FIRST_CONTROLLER, FIRST_CONTROLLER + shape.controllers))
        settings = shape.settings() | (RENEWAL_SETTINGS if self._renews else {})
        site = Site(
            self.world,
            self._streams,
            self.plan.chance,
            controllers,
            settings,
            shape.quorum(),
            lambda process, error: self.world.checks.append(partial(self._failed, process, error)),
            self._born,
        )
        nodes = (*controllers, *range(1, shape.brokers + 1))
        return {node_id: Machine(site, node_id, DiskConditions()) for node_id in nodes}

    def _born(self, process: NodeProcess) -> None:
        if process.member is not None:
            self.metadata.follow(process)

    def _failed(self, process: NodeProcess, error: BaseException) -> None:
        self._faults.failed(process, error)

    # -- ClusterView ------------------------------------------------------------------------------

    @property
    def image(self) -> MetadataImage:
        """See `ClusterView`."""
        return self.metadata.image

    def replica(self, broker_id: int, key: Key) -> Partition | None:
        """See `ClusterView`."""
        machine = self._machines.get(broker_id)
        process = None if machine is None else machine.process
        if process is None or process.broker is None:
            return None
        return process.broker.replicas.by_key(key)

    def lost_power(self, broker_id: int, incarnation: UUID) -> bool:
        """See `ClusterView`."""
        del broker_id  # no two processes share an incarnation
        return incarnation in self._faults.lossy

    def _came_from_power_cut(self, partition: Partition) -> bool | None:
        """For the process that a partition belongs to; None if that is gone."""
        machine = self._machines[partition.local_id]
        if self.replica(partition.local_id, partition.key) is not partition:
            return None
        return machine.power_was_lost

    # -- the course of things ---------------------------------------------------------------------

    def run(self) -> Judgement:
        """Raises ViolationError, or whatever is raised where nobody handles it."""
        watch = Watch(self.world.checks, self.invariants, self._came_from_power_cut)
        with watch.watching(), longer_pauses(), shared_images():
            for machine in self._machines.values():
                machine.start()
            self._await("the cluster does not come up", 30.0, self._serves)
            self._found()
            self._start_clients()
            self._faults.begin()
            self._pass(self.plan.length)
            self._faults.mend()
            for client in self._clients:
                client.stop()
            self._await("a client does not finish", 60.0, lambda: all(each.done for each in self._clients))
            self._check_that_nothing_was_refused()
            self._converge()
            writer = LastWriter(self._surroundings, 97)
            writer.start()
            self._await("a mended cluster does not take a record", 30.0, lambda: writer.done)
            last = self._last()
            for client in last:
                client.start()
            self._await("not everything can be read", 30.0, lambda: all(each.done for each in last))
        return check(self.notebook.events)

    def _serves(self) -> bool:
        return all(
            machine.process is not None and (machine.is_controller or machine.process.serving)
            for machine in self._machines.values()
        )

    def _pass(self, seconds: float) -> None:
        self.world.run(self.world.now + seconds)
        if self.world.turns > MAX_TURNS:
            raise ViolationError(f"more than {MAX_TURNS} events: somebody spins")

    def _await(self, complaint: str, patience: float, done: Callable[[], bool]) -> None:
        deadline = self.world.now + patience
        while not done():
            if self.world.now >= deadline:
                raise ViolationError(f"{complaint} in {patience} s")
            self._pass(LOOK_EVERY)

    def _found(self) -> None:
        founder = Founder(self._surroundings, 98)
        founder.start()
        self._await("the topic is not created", 30.0, lambda: founder.done)

    def _last(self) -> list[Client]:
        around = self._surroundings
        last: list[Client] = [LastReader(around, 99)]
        if self._shape.members or self._shape.copiers:
            last.append(Inquirer(around, 100))
        for client in self._clients:
            match client:
                case Renewer(living=incarnation) if incarnation is not None:
                    last.append(LastReaderOfIncarnation(around, RENEWER + 2, incarnation))
                case Disbander():
                    last.append(LastWitness(around, RENEWER + 3, client))
        return last

    def _start_clients(self) -> None:
        shape = self._shape
        kinds: list[type[Client]] = [Writer] * shape.producers + [Reader] * shape.readers
        kinds += [Member] * shape.members + [Copier] * shape.copiers + [Auditor] * min(1, shape.copiers)
        clients: list[Client] = [kind(self._surroundings, number) for number, kind in enumerate(kinds)]
        administrator = Administrator(self._surroundings, len(clients))
        administrator.every = {
            kind: mean for kind, mean in self._climate.every.items() if self.plan.has(kind)
        }
        clients.append(administrator)
        if self._renews:
            clients += [Renewer(self._surroundings, RENEWER), Disbander(self._surroundings, RENEWER + 1)]
        self._clients = [each for each in clients if self.plan.has(each.name)]
        self._faults.clients = [each.loop for each in self._clients]
        for client in self._clients:
            client.start()

    def result(self, problem: str | None) -> HistoryResult:
        """What it came to."""
        return HistoryResult(
            self.plan.seed,
            problem,
            self.trace.checksum,
            sum(isinstance(event, OPERATIONS) for event in self.notebook.events),
            self.world.turns,
            self.world.now - self.world.began,
            tuple(self._faults.happened),
            tuple(each.name for each in self._clients),
        )

    def _missing(self) -> list[str]:
        active = {broker.broker_id for broker in self.image.active_brokers()}
        return [
            f"broker {machine.node_id} does not serve"
            for machine in self._machines.values()
            if not machine.is_controller and machine.node_id not in active
        ]

    def _check_that_nothing_was_refused(self) -> None:
        """Where nothing fails, writers have no reason to give up a record."""
        if self._climate.every:
            return
        writers = {each.name for each in self._clients if isinstance(each, Writer)}
        given_up = [
            event.record
            for event in self.notebook.events
            if isinstance(event, Settled)
            and event.client in writers
            and event.outcome is not Outcome.ACKNOWLEDGED
        ]
        if given_up:
            raise ViolationError(f"nothing failed, and {len(given_up)} records were not acknowledged")

    def _converge(self) -> None:
        deadline = self.world.now + CALM_BOUND
        while found := [*self._missing(), *problems(self, self.invariants)]:
            if self.world.now >= deadline:
                raise ViolationError(f"{CALM_BOUND} s after everything was mended: {'; '.join(found)}")
            self._pass(LOOK_EVERY)


def run_history(seed: int) -> HistoryResult:
    """Run one history; a violated invariant, an anomaly, or an error that nobody handled is its problem."""
    return run_plan(Plan(seed))


def run_plan(plan: Plan, *, printed: bool = False) -> HistoryResult:
    """As `run_history`, of a history that something may have been left out of."""
    history = History(plan, printed=printed)
    problem = None
    try:
        judgement = history.run()
        if not judgement.held:
            problem = f"anomalies: {'; '.join(judgement.lines())}"
    except Exception as error:  # noqa: BLE001 - whatever went wrong is what the history came to
        problem = f"{type(error).__name__}: {error}"
    return history.result(problem)
