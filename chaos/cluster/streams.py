"""Connections between simulated processes: in order, with delays, cuts and resets, like TCP.

What is sent on a connection whose direction is cut waits, as in the kernel's buffers; a cut that lasts for
`dead_after` ends the connection for both sides, as keep-alives and heartbeats see to. A process that dies
has its connections reset by its kernel; a machine without power says nothing to anybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chaos.cluster.loops import Life, ProcessLoop, World, current_process
from chaos.network import NetworkConditions
from chaos.virtual_time import Randomness

Address = tuple[str, int]
Accept = Callable[["End", Any], None]
"""Takes the server's end of a new connection and what the client said first."""


@dataclass(frozen=True, slots=True)
class _Listening:
    loop: ProcessLoop
    machine: int
    accept: Accept


class End:
    """One side of a connection, which belongs to a process."""

    __slots__ = (
        "_early",
        "_held",
        "_network",
        "_on_data",
        "_stuck",
        "arrival",
        "closed",
        "loop",
        "machine",
        "on_lost",
        "other",
        "silent",
    )

    other: End

    def __init__(self, network: Streams, loop: ProcessLoop, machine: int) -> None:
        self._network = network
        self.loop = loop
        self.machine = machine
        self.closed = False
        self.silent = False
        """Whether its machine lost its power: it does not even refuse what comes."""
        self._on_data: Callable[[bytes], None] | None = None
        self.on_lost: Callable[[], None] | None = None
        self.arrival = 0.0
        """When the last of what was sent here arrives."""
        self._stuck: list[bytes | None] = []
        """What was under way when the direction was cut."""
        self._held: list[bytes | None] = []
        """What was sent since."""
        self._early: list[bytes] = []

    def receive(self, on_data: Callable[[bytes], None], on_lost: Callable[[], None]) -> None:
        """Hand on what arrives from now on, and what did before."""
        self._on_data = on_data
        self.on_lost = on_lost
        early, self._early = self._early, []
        for data in early:
            on_data(data)
        if self.closed:
            self.loop.call_soon(on_lost)  # it was lost before anybody listened

    def send(self, data: bytes) -> None:
        """Everything that was not lost arrives, in order."""
        if not self.closed and self.loop.life is not Life.DEAD:
            self._network.send(self, data)

    def close(self) -> None:
        """The other side learns of it after everything that was sent; this one is told nothing."""
        if not self.closed:
            self.closed = True
            self._network.closing(self)

    def arrive(self, data: bytes | None) -> None:
        """Called when something reaches this side; None is the end."""
        if self.closed:
            return
        network = self._network
        if (self.other.machine, self.machine) in network.cuts:
            self.other._stuck.append(data)
        elif data is None:
            self.lose()
        elif self._on_data is None:
            self._early.append(data)
        else:
            network.on_arrival(self.machine, data)
            self._on_data(data)

    def lose(self) -> None:
        """The connection is gone, and this side hears of it."""
        if not self.closed:
            self.closed = True
            self._network.forget(self)
            if self.on_lost is not None:
                self.on_lost()

    def take_held(self) -> list[bytes | None]:
        """What waited for a cut to be mended."""
        held = self._stuck + self._held
        self._stuck, self._held = [], []
        return held

    def hold(self, data: bytes | None) -> None:
        """Keep it until the cut is mended."""
        self._held.append(data)


@dataclass(slots=True)
class Streams:
    """The network. Machines are numbers; processes listen at addresses."""

    world: World
    rng: Randomness
    conditions: NetworkConditions
    cuts: set[tuple[int, int]] = field(default_factory=set)
    """(sender, receiver) pairs of machines between which nothing gets through."""
    on_arrival: Callable[[int, bytes], None] = lambda *_: None
    _listening: dict[Address, _Listening] = field(default_factory=dict)
    _open: dict[End, None] = field(default_factory=dict)

    @property
    def open_ends(self) -> list[End]:
        """Both ends of every connection, oldest first."""
        return list(self._open)

    # -- connecting -------------------------------------------------------------------------------

    def listen(self, address: Address, loop: ProcessLoop, machine: int, accept: Accept) -> None:
        """Accept connections until the process ends."""
        self._listening[address] = _Listening(loop, machine, accept)

    async def connect(self, machine: int, address: Address, hello: Any = None) -> End:
        """From the process whose loop this runs on; raises ConnectionRefusedError. May never return."""
        loop = current_process()
        established: asyncio.Future[End] = loop.create_future()
        self._later(self.world.host, self._knock, established, loop, machine, address, hello)
        return await established

    def _knock(
        self, caller: asyncio.Future[End], loop: ProcessLoop, machine: int, address: Address, hello: Any
    ) -> None:
        if caller.done() or loop.life is Life.DEAD:
            return
        found = self._listening.get(address)
        if found is not None and self._is_cut(machine, found.machine):
            # The system tries again, until the caller gives up.
            self.world.call_at(self.world.now + 0.1, self._knock, caller, loop, machine, address, hello)
            return
        if found is None or found.loop.life is Life.DEAD:
            self._later(loop, _refuse, caller, address)
            return
        near, far = End(self, loop, machine), End(self, found.loop, found.machine)
        near.other, far.other = far, near
        self._open[near] = self._open[far] = None
        self.world.timer(found.loop, self.world.now, found.accept, (far, hello), None)
        self._later(loop, _establish, caller, near)

    def _is_cut(self, one: int, other: int) -> bool:
        return (one, other) in self.cuts or (other, one) in self.cuts

    def _later(self, loop: ProcessLoop, callback: Callable[..., None], *args: Any) -> None:
        delay = self.rng.uniform(*self.conditions.latency)
        self.world.timer(loop, self.world.now + delay, callback, args, None)

    # -- sending ----------------------------------------------------------------------------------

    def send(self, sender: End, data: bytes | None) -> None:
        """Let it arrive on the other side."""
        receiver = sender.other
        if (sender.machine, receiver.machine) in self.cuts:
            sender.hold(data)
            return
        world = self.world
        low, high = self.conditions.latency
        arrival = world.now + low + (high - low) * self.rng.random()
        arrival = max(arrival, sender.arrival)  # nothing overtakes
        sender.arrival = arrival
        if receiver.silent:
            return
        if receiver.closed:
            # Whoever lives on that machine now does not know the connection.
            world.timer(sender.loop, arrival, sender.lose, (), None)
        else:
            world.timer(receiver.loop, arrival, receiver.arrive, (data,), None)

    def closing(self, end: End) -> None:
        """One side is gone; the other hears of it at once, or when it notices the silence."""
        self.forget(end)
        if (end.machine, end.other.machine) in self.cuts:
            self._fall_silent(end)
        else:
            self.send(end, None)

    def _fall_silent(self, end: End) -> None:
        when = self.world.now + self.rng.uniform(0.5, 1.0) * self.conditions.dead_after
        self.world.timer(end.other.loop, when, end.other.lose, (), None)

    def forget(self, end: End) -> None:
        """This side knows that the connection is gone."""
        self._open.pop(end, None)

    # -- faults -----------------------------------------------------------------------------------

    def cut(self, sender: int, receiver: int) -> None:
        """From now on nothing gets from one machine to the other."""
        self.cuts.add((sender, receiver))
        when = self.world.now + self.conditions.dead_after
        for end in self._between(sender, receiver):
            self.world.call_at(when, self._give_up, end)

    def mend(self, sender: int, receiver: int) -> None:
        """What waited goes on its way."""
        self.cuts.discard((sender, receiver))
        for end in self._between(sender, receiver):
            for data in end.take_held():
                self.send(end, data)

    def mend_all(self) -> None:
        """Undo every cut."""
        for direction in sorted(self.cuts):
            self.mend(*direction)

    def reset(self, one: int, other: int) -> None:
        """Break every connection between two machines."""
        for end in self._between(one, other):
            end.other.take_held()
            self._reset(end)
            self._reset(end.other)

    def process_died(self, loop: ProcessLoop, *, silently: bool) -> None:
        """Its connections end; nobody is told by a machine that lost its power."""
        for address, found in tuple(self._listening.items()):
            if found.loop is loop:
                del self._listening[address]
        for end in [end for end in self._open if end.loop is loop]:
            end.closed = True
            if silently:
                end.silent = True
                self.forget(end)
                self._fall_silent(end)
            else:
                self.closing(end)

    def _reset(self, end: End) -> None:
        delay = self.rng.uniform(*self.conditions.notice)
        self.world.timer(end.loop, self.world.now + delay, end.lose, (), None)

    def _between(self, sender: int, receiver: int) -> list[End]:
        return [end for end in self._open if end.machine == sender and end.other.machine == receiver]

    def _give_up(self, end: End) -> None:
        if (end.machine, end.other.machine) in self.cuts and end in self._open:
            self._reset(end)
            self._reset(end.other)


def _refuse(caller: asyncio.Future[End], address: Address) -> None:
    if not caller.done():
        caller.set_exception(ConnectionRefusedError(f"nobody listens at {address[0]}:{address[1]}"))


def _establish(caller: asyncio.Future[End], end: End) -> None:
    if caller.done():
        end.close()
    else:
        caller.set_result(end)


class StreamTransport(asyncio.Transport):
    """The asyncio transport of one end, for a BufferedProtocol."""

    def __init__(self, end: End, protocol: asyncio.BufferedProtocol, peer: Address) -> None:
        super().__init__({"peername": peer})
        self._end = end
        self._protocol = protocol
        self._reading = True
        self._unread: list[bytes] = []
        protocol.connection_made(self)
        end.receive(self._received, self._lost)

    def _received(self, data: bytes) -> None:
        if not self._reading:
            self._unread.append(data)
            return
        protocol = self._protocol
        left = memoryview(data)
        while left and not self._end.closed:
            buffer = memoryview(protocol.get_buffer(len(left)))
            count = min(len(buffer), len(left))
            buffer[:count] = left[:count]
            protocol.buffer_updated(count)
            left = left[count:]
            if not self._reading and left:
                self._unread.append(bytes(left))
                return

    def _lost(self) -> None:
        self._protocol.connection_lost(ConnectionResetError("the connection was reset"))

    def write(self, data: Any) -> None:
        self._end.send(bytes(data))

    def is_closing(self) -> bool:
        return self._end.closed

    def close(self) -> None:
        if not self._end.closed:
            self._end.close()
            self._end.loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        unread, self._unread = self._unread, []
        for data in unread:
            self._received(data)

    def is_reading(self) -> bool:
        return self._reading
