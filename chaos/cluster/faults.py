"""What goes wrong in a history, and how it is mended."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from uuid import UUID

from chaos.cluster.climate import Climate, Shape
from chaos.cluster.loops import ProcessLoop
from chaos.cluster.nodes import Machine, NodeProcess, is_the_worlds
from chaos.cluster.plan import Plan
from chaos.cluster.streams import Streams
from chaos.mourning import Mourning
from chaos.replication.invariants import ViolationError
from chaos.trace import Trace
from metadata.image import MetadataImage

CLIENT_PAUSES = (0.5, 3.0, 4.0, 8.0)
"""Seconds: less and more than members' sessions and transactions last."""


class Faults:
    """Hurts machines and links at random times, until `mend`. `image` is what the controllers committed."""

    def __init__(
        self,
        machines: dict[int, Machine],
        streams: Streams,
        plan: Plan,
        shape: Shape,
        climate: Climate,
        trace: Trace,
        image: Callable[[], MetadataImage],
    ) -> None:
        self._machines = machines
        self._streams = streams
        self._plan = plan
        self._rng = plan.chance("faults")
        self._counts = dict.fromkeys(climate.every, 0)
        self.happened: list[str] = []
        """Every fault that took place, as `kind#number`."""
        self._shape = shape
        self._climate = climate
        self._trace = trace
        self._mended = False
        self._mourning = Mourning(shape.min_isr, image, self._running, self._is_whole)
        self.clients: Sequence[ProcessLoop] = ()
        """The processes of clients that may be paused."""
        self.lossy: set[object] = set()
        """The incarnations of brokers that may lack what they had."""
        self._actions: dict[str, Callable[[], str | None]] = {
            "kill": self._kill,
            "kill-controller": self._kill_controller,
            "power-cut": self._power_cut,
            "power-cut-all": self._power_cut_all,
            "pause": self._pause,
            "leave": self._leave,
            "cut": self._cut,
            "one-way-cut": self._one_way_cut,
            "partial-cut": self._partial_cut,
            "isolate": self._isolate,
            "delay": self._delay,
            "reconnect": self._reconnect,
            "slow-disk": self._slow_disk,
            "full-disk": self._full_disk,
            "failed-sync": self._failed_sync,
            "bit-flip": self._bit_flip,
            "clock-step": self._clock_step,
            "pause-client": self._pause_client,
        }

    # -- when -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """From now on things go wrong."""
        for kind in self._actions:
            if kind in self._climate.every and self._plan.has(kind):
                self._schedule(kind)

    def _schedule(self, kind: str) -> None:
        name = f"{kind}#{self._counts[kind]}"
        self._counts[kind] += 1
        chance = self._plan.chance(name)
        delay = chance.expovariate(1.0 / self._climate.every[kind])
        self._streams.world.call_at(self._streams.world.now + delay, self._happen, kind, name, chance)

    def _happen(self, kind: str, name: str, chance: random.Random) -> None:
        if self._mended:
            return
        self._schedule(kind)
        if self._plan.has(name):
            self._rng = chance
            what = self._actions[kind]()
            if what is not None:
                self.happened.append(name)
                self._trace.note("fault", name, what)

    def _in(self, mean: float, action: Callable[[], None]) -> None:
        delay = self._rng.expovariate(1.0 / mean)
        self._streams.world.call_at(self._streams.world.now + delay, action)

    def _lasting(self, undo: Callable[[], None]) -> None:
        self._in(self._climate.lasting, undo)

    def mend(self) -> None:
        """Undo everything; nothing goes wrong from now on."""
        self._trace.note("mend")
        self._mended = True
        self._streams.mend_all()
        self._streams.conditions.latency = (0.0002, self._shape.latency)
        for client in self.clients:
            client.resume()
        for machine in self._machines.values():
            machine.storage.capacity = None
            machine.storage.fail_syncs(0)
            machine.disk.conditions.stall = 0.0
            if machine.process is not None:
                machine.process.loop.resume()
            else:
                self.revive(machine)

    # -- processes --------------------------------------------------------------------------------

    def failed(self, process: NodeProcess, error: BaseException) -> None:
        """A process cannot go on: raises ViolationError unless that is the world's fault."""
        if not is_the_worlds(error):
            raise ViolationError(f"node {process.node_id} failed: {error!r}") from error
        self._trace.note("failed", process.node_id, error)
        self._end(process.machine, power_lost=False)

    def _end(self, machine: Machine, *, power_lost: bool) -> None:
        if power_lost and machine.process is not None:
            self.lossy.add(machine.process.incarnation)
        machine.crash(power_lost=power_lost)
        self._in(self._climate.down, lambda: self.revive(machine))

    def revive(self, machine: Machine) -> None:
        """Start a process unless one runs."""
        if machine.process is None:
            self._trace.note("start", machine.node_id)
            machine.start()

    def _brokers(self) -> list[Machine]:
        return [each for each in self._machines.values() if each.process and not each.is_controller]

    def _controllers(self) -> list[Machine]:
        return [each for each in self._machines.values() if each.process and each.is_controller]

    def _kill(self) -> str | None:
        up = self._brokers()
        if not up or self._mourning.goes_on():
            return None
        victims = up if self._rng.random() < 0.1 else [self._rng.choice(up)]
        return self._end_all(victims, power_lost=False)

    def _kill_controller(self) -> str | None:
        up = self._controllers()
        if not up:
            return None
        victims = up if self._rng.random() < 0.1 else [self._rng.choice(up)]
        return self._end_all(victims, power_lost=self._rng.random() < 0.5)

    def _power_cut(self) -> str | None:
        up = self._brokers()
        if not up or self._mourning.goes_on():
            return None
        victim = self._rng.choice(up)
        if not self._shape.flush:
            if not self._mourning.may_lose_power(victim.node_id):
                return None
            self._mourn()
        return self._end_all([victim], power_lost=True)

    def _power_cut_all(self) -> str | None:
        """Only what is synced before it is acknowledged survives this."""
        if not self._shape.flush:
            return None
        return self._end_all([*self._brokers(), *self._controllers()], power_lost=True)

    def _end_all(self, victims: Sequence[Machine], *, power_lost: bool) -> str:
        for machine in victims:
            self._end(machine, power_lost=power_lost)
        return f"{[machine.node_id for machine in victims]}{' power' if power_lost else ''}"

    def _mourn(self) -> None:
        self._mourning.begin()
        for machine in self._machines.values():
            if not machine.is_controller:
                machine.storage.capacity = None
                machine.storage.fail_syncs(0)

    def _is_whole(self) -> bool:
        """Whether no broker has anything damaged, as far as it has looked at everything."""
        logs = [
            partition.log
            for machine in self._brokers()
            if machine.process is not None and machine.process.broker is not None
            for partition in machine.process.broker.replicas
        ]
        return not any(log.integrity.damaged or log.integrity.doubts for log in logs)

    def _running(self) -> dict[int, UUID | None]:
        return {
            machine.node_id: None if machine.process is None else machine.process.incarnation
            for machine in self._machines.values()
            if not machine.is_controller
        }

    def _pause(self) -> str | None:
        machine = self._rng.choice(list(self._machines.values()))
        process = machine.process
        if process is None:
            return None
        process.loop.pause()
        self._lasting(process.loop.resume)
        return str(machine.node_id)

    def _pause_client(self) -> str | None:
        """What it does afterwards may be what others have taken over meanwhile."""
        if not self.clients:
            return None
        client = self._rng.choice(self.clients)
        seconds = self._rng.choice(CLIENT_PAUSES)
        client.pause()
        self._streams.world.call_at(self._streams.world.now + seconds, client.resume)
        return f"{client.name} {seconds}"

    def _leave(self) -> str | None:
        """A rolling restart's step: SIGTERM, and a new process."""
        machine = self._rng.choice(list(self._machines.values()))
        if machine.process is None or self._mourning.goes_on():
            return None
        self._end_cleanly(machine, lambda: None)
        return str(machine.node_id)

    def _end_cleanly(self, machine: Machine, then: Callable[[], object]) -> None:
        process = machine.process
        assert process is not None

        def left() -> None:
            if machine.process is process:
                self._trace.note("left", machine.node_id)
                self._end(machine, power_lost=False)
                then()

        process.leave(left)

    # -- links ------------------------------------------------------------------------------------

    def _everybody(self) -> list[int]:
        clients = {end.machine for end in self._streams.open_ends}
        return sorted(clients | set(self._machines))

    def _cut_for_a_while(self, directions: Sequence[tuple[int, int]]) -> str:
        for sender, receiver in directions:
            self._streams.cut(sender, receiver)

        def mend() -> None:
            for sender, receiver in directions:
                self._streams.mend(sender, receiver)

        self._lasting(mend)
        return str(list(directions))

    def _cut(self) -> str:
        one, other = self._rng.sample(self._everybody(), 2)
        return self._cut_for_a_while([(one, other), (other, one)])

    def _one_way_cut(self) -> str:
        one, other = self._rng.sample(self._everybody(), 2)
        return self._cut_for_a_while([(one, other)])

    def _partial_cut(self) -> str:
        """Some links of a node, in any direction."""
        node = self._rng.choice(list(self._machines))
        others = [each for each in self._everybody() if each != node]
        cut = [each for each in others if self._rng.random() < 0.5]
        return self._cut_for_a_while(
            [direction for each in cut for direction in ((node, each), (each, node))]
        )

    def _isolate(self) -> str:
        """From everybody, or from the other nodes alone: then clients still believe it."""
        node = self._rng.choice(list(self._machines))
        whole = self._rng.random() < 0.5
        others = [each for each in (self._everybody() if whole else sorted(self._machines)) if each != node]
        return self._cut_for_a_while(
            [direction for each in others for direction in ((node, each), (each, node))]
        )

    def _delay(self) -> str:
        slow = self._rng.choice((0.02, 0.05, 0.2))
        usual = (0.0002, self._shape.latency)
        self._streams.conditions.latency = (0.0002, slow)

        def mend() -> None:
            self._streams.conditions.latency = usual

        self._lasting(mend)
        return str(slow)

    def _reconnect(self) -> str:
        one, other = self._rng.sample(self._everybody(), 2)
        self._streams.reset(one, other)
        return f"{one} {other}"

    # -- disks and clocks -------------------------------------------------------------------------

    def _slow_disk(self) -> str:
        machine = self._rng.choice(list(self._machines.values()))
        stall = self._rng.choice((0.02, 0.1, 1.0, 4.0))
        machine.disk.conditions.stall = stall

        def mend() -> None:
            machine.disk.conditions.stall = 0.0

        self._lasting(mend)
        return f"{machine.node_id} {stall}"

    def _full_disk(self) -> str | None:
        machine = self._rng.choice(list(self._machines.values()))
        if not machine.is_controller and self._mourning.goes_on():
            return None
        machine.storage.capacity = machine.storage.used + self._rng.randrange(1, 4000)

        def mend() -> None:
            machine.storage.capacity = None

        self._lasting(mend)
        return str(machine.node_id)

    def _failed_sync(self) -> str | None:
        """Where everything is synced, the power may fail soon after: then it shows what was not."""
        machine = self._rng.choice(list(self._machines.values()))
        if not machine.is_controller and self._mourning.goes_on():
            return None
        machine.storage.fail_syncs(1)
        if self._rng.random() < 0.5:
            self._in(1.0, self._lose_all_power)
        return str(machine.node_id)

    def _lose_all_power(self) -> None:
        if not self._mended:
            self._power_cut_all()

    def _bit_flip(self) -> str | None:
        """Rot on the disk of a broker that is down, killed or after a clean stop; of no more of them than may
        lose their power, until what it has is mended."""
        up = self._brokers()
        if not up or self._mourning.goes_on():
            return None
        victim = self._rng.choice(up)
        if not self._mourning.may_lose_power(victim.node_id):
            return None
        self._mourn()
        if self._rng.random() < 0.5:
            self._end_cleanly(victim, lambda: self._trace.note("rot", self._rot(victim, was_killed=False)))
            return str(victim.node_id)
        self._end_all([victim], power_lost=False)
        return self._rot(victim, was_killed=True)

    def _rot(self, victim: Machine, *, was_killed: bool) -> str | None:
        """Flip a bit of any batch that is noticed: recovery goes by checksums alone, which do not cover a
        batch's bytes 0 to 7 and 12 to 15, its base offset and leader epoch. What is not recovered has to fit
        what lies around it, but behind the newest batch there is nothing."""
        batches = victim.stored_batches()
        if not batches:
            return None
        batch = self._rng.choice(batches)
        unnoticed = {*range(8), *range(12, 16)} if was_killed else set(range(8 if batch.is_newest else 0))
        byte = self._rng.choice([each for each in range(batch.size) if each not in unnoticed])
        bit = (batch.position + byte) * 8 + self._rng.randrange(8)
        victim.storage.flip_bit(batch.path, bit)
        return f"{victim.node_id} {batch.path} {bit}"

    def _clock_step(self) -> str:
        machine = self._rng.choice(list(self._machines.values()))
        machine.clock.skew_ms = self._rng.choice((-3_600_000, -1000, 0, 1000, 3_600_000))
        return f"{machine.node_id} {machine.clock.skew_ms}"
