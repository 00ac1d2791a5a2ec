"""Histories of replicated partitions: one seed is one history, in virtual time.

Brokers die with and without their power, pause, leave and come back; messages get lost or come late, links
are cut in one direction or both; controllers take over. Idempotent producers write meanwhile, consumers read.
After a while everything is mended, and every log has to become the same, with everything that was
acknowledged in it.
"""

from __future__ import annotations

import random
from typing import NamedTuple
from uuid import UUID

from chaos.convergence import problems
from chaos.mourning import Mourning
from chaos.replication.broker import Cluster, Machine
from chaos.replication.clients import ALL, LEADER_ONLY, Consumer, Producer
from chaos.replication.climate import draw_climate, draw_shape
from chaos.replication.invariants import ReplicationInvariants, ViolationError
from chaos.replication.world import (
    CONTROLLER,
    FIRST_CLIENT,
    ControllerNode,
    Links,
    SimulatedSettings,
)
from chaos.trace import Trace
from chaos.virtual_time import Chances, EventQueue

CALM_BOUND = 20.0
"""Seconds, virtual, in which a mended cluster has to converge."""
MAX_EVENTS = 100_000


class HistoryResult(NamedTuple):
    """What a history came to."""

    seed: int
    problem: str | None
    trace: int
    """Checksum of everything that happened."""
    acknowledged: int
    events: int


class History:
    """One seed, from empty disks to equal logs."""

    def __init__(self, seed: int, *, printed: bool = False) -> None:
        rng = self._rng = random.Random(seed)
        self.events = 0
        self._queue = EventQueue()
        self._chances = Chances(self._queue, rng)
        self._climate = draw_climate(rng)
        self._shape = draw_shape(rng)
        self.trace = Trace(self._queue, printed=printed)
        self.trace.note(self._shape, self._climate)
        links = Links(self._queue, rng, self._shape.latency, self._shape.loss)
        controller = ControllerNode(self._queue, rng, links, self._shape)
        settings = SimulatedSettings(self._shape)
        self._cluster = Cluster(self._queue, rng, links, controller, settings, self.trace, self._climate.down)
        self.invariants = self._cluster.invariants = ReplicationInvariants(self._cluster, self.trace)
        for broker_id in range(1, self._shape.brokers + 1):
            self._cluster.machines[broker_id] = Machine(broker_id, self._cluster)
        controller.on_image = self.invariants.image_changed
        self._mourning = Mourning(self._shape.min_isr, lambda: self._cluster.image, self._running)
        self._producers: list[Producer] = []
        self._consumers: list[Consumer] = []

    def run(self) -> None:
        """Raises ViolationError, or whatever a core raises."""
        controller, climate = self._cluster.controller, self._climate
        for machine in self._machines:
            machine.start()
        self._controller_tick()
        while len(controller.image.active_brokers()) < len(self._machines):
            self._step(self._queue.time() + 10.0)
        controller.create_topic()
        self._start_clients()
        end = self._queue.time() + climate.length
        for mean, action in (
            (climate.crash, self._crash),
            (climate.cut, self._cut),
            (climate.pause, self._pause),
            (climate.leave, self._leave),
            (climate.take_over, controller.take_over),
            (climate.reconfigure, self._reconfigure),
            (climate.elect, controller.elect_preferred),
        ):
            self._chances.repeat(mean, end, action)
        while self._step(end):
            pass
        self._mend()
        self._converge()

    @property
    def _machines(self) -> list[Machine]:
        return list(self._cluster.machines.values())

    def _step(self, until: float) -> bool:
        self.events += 1
        if self.events > MAX_EVENTS:
            raise ViolationError(f"more than {MAX_EVENTS} events: somebody spins")
        return self._queue.step(until)

    def _controller_tick(self) -> None:
        self._cluster.controller.tick()
        self._queue.call_at(self._queue.time() + 0.1, self._controller_tick)

    def _start_clients(self) -> None:
        client = FIRST_CLIENT
        for index in range(self._shape.partitions):
            for acks in (ALL, ALL, LEADER_ONLY):
                count = self._rng.randint(5, 20)
                self._producers.append(Producer(self._cluster, client, index, acks, count))
                client += 1
            self._consumers.append(Consumer(self._cluster, client, index))
            client += 1
        begins = [each.begin for each in self._producers] + [each.begin for each in self._consumers]
        for begin in begins:
            self._queue.call_at(self._queue.time() + self._rng.random(), begin)

    # Faults.

    def _crash(self) -> None:
        up = [machine for machine in self._machines if machine.process is not None]
        if not up or self._mourning.goes_on():
            return
        power = self._rng.random() < self._climate.power
        victims = up if self._rng.random() < self._climate.together else [self._rng.choice(up)]
        if power and not self._shape.flush:
            victims = victims[:1]
            power = self._mourning.may_lose_power(victims[0].broker_id)
            if power:
                self._mourning.begin()
        for machine in victims:
            machine.crash(power_lost=power)

    def _running(self) -> dict[int, UUID | None]:
        return {
            machine.broker_id: None if machine.process is None else machine.process.incarnation
            for machine in self._machines
        }

    def _cut(self) -> None:
        a, b = self._rng.sample((CONTROLLER, *self._cluster.machines), 2)
        others = [each for each in (CONTROLLER, *self._cluster.machines) if each != a]
        match self._rng.randrange(4):
            case 0:
                cuts = [(a, b)]
            case 1:
                cuts = [(a, b), (b, a)]
            case 2:
                cuts = [(a, other) for other in others]
            case _:
                cuts = [(a, other) for other in others] + [(other, a) for other in others]
        self.trace.note("cut", cuts)
        for source, target in cuts:
            self._cluster.links.cut(source, target)
            self._chances.after(self._climate.cut_for, self._cluster.links.mend, source, target)

    def _pause(self) -> None:
        process = self._rng.choice(self._machines).process
        if process is not None:
            process.pause()
            self._chances.after(self._climate.pause_for, process.resume)

    def _leave(self) -> None:
        machine = self._rng.choice(self._machines)
        if machine.process is not None and not self._mourning.goes_on():
            patience = self._rng.choice((0.2, 1.0, 3.0))
            machine.process.enter(machine.process.leave, patience)

    def _reconfigure(self) -> None:
        if self._shape.flush or self._shape.min_isr == 1:
            # Else what a power cut may take would depend on when each broker heard of it.
            value = self._rng.randint(1, self._shape.replicas)
            self.trace.note("min.insync.replicas", value)
            self._cluster.controller.set_min_isr(value)

    # The end.

    def _mend(self) -> None:
        self.trace.note("mend")
        self._cluster.links.heal()
        for machine in self._machines:
            machine.start()
            if machine.process is not None:
                machine.process.resume()

    def _converge(self) -> None:
        deadline = self._queue.time() + CALM_BOUND
        next_look = self._queue.time()
        while self._step(deadline):
            if self._queue.time() >= next_look:
                next_look += 0.25
                if not self._problems():
                    return
        raise ViolationError(f"{CALM_BOUND} s after everything was mended: {'; '.join(self._problems())}")

    def _problems(self) -> list[str]:
        """Why the cluster has not converged."""
        waiting = [f"producer {number} waits" for number, each in enumerate(self._producers) if not each.done]
        return [*waiting, *problems(self._cluster, self.invariants)]


def run_history(seed: int, *, printed: bool = False) -> HistoryResult:
    """Run one history; a violated invariant, or an error out of a core, is its problem."""
    history = History(seed, printed=printed)
    problem = None
    try:
        history.run()
    except (ViolationError, AssertionError, LookupError, ValueError, TypeError, AttributeError) as error:
        if printed:
            raise
        problem = f"{type(error).__name__}: {error}"
    checksum, acknowledged = history.trace.checksum, history.invariants.acknowledgements
    return HistoryResult(seed, problem, checksum, acknowledged, history.events)
