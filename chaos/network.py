"""A network in memory: links between nodes that delay, stall, break, and come up again.

Each node dials each other, and sends on the link that it dialled: two nodes share two links, one for each
direction, as on the transport between real nodes. A link is in order, and what was under way when it closed
is lost. A cut link holds what is sent until it is mended; one that stays cut for `dead_after` closes, as a
keep-alive would see to. Only the sender is told of a link's state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from chaos.virtual_time import Randomness, Scheduler


@dataclass(slots=True)
class NetworkConditions:
    """Delays in seconds, drawn evenly from (low, high)."""

    latency: tuple[float, float] = (0.0002, 0.003)
    reconnect: tuple[float, float] = (0.01, 0.2)
    notice: tuple[float, float] = (0.0, 0.005)
    """From a link's end to when its sender knows."""
    dead_after: float = 3.0


class Endpoint(Protocol):
    """A node on the network."""

    def connected(self, peer: int) -> None: ...
    def disconnected(self, peer: int) -> None: ...
    def received(self, peer: int, payload: Any) -> None: ...


Direction = tuple[int, int]
"""Sender, receiver."""


@dataclass(slots=True)
class _Link:
    """One link, from its opening to its end."""

    usable: bool = False
    """Whether the sender knows that it is open."""
    closed: bool = False
    last_arrival: float = 0.0
    """When the newest message arrives: nothing overtakes it."""
    held: list[Any] = field(default_factory=list)
    """What waits for the cut to be mended."""


class Network:
    """Everybody who joined is linked to everybody, but for what is cut."""

    def __init__(self, scheduler: Scheduler, rng: Randomness, conditions: NetworkConditions) -> None:
        self._scheduler = scheduler
        self._rng = rng
        self.conditions = conditions
        self._endpoints: dict[int, Endpoint] = {}
        self._links: dict[Direction, _Link] = {}
        self._cut: set[Direction] = set()
        self.on_send: Callable[[int, int, Any], None] = lambda *_: None

    def join(self, node: int, endpoint: Endpoint) -> None:
        """Bring a node up; links to and from it open after a moment."""
        self._endpoints[node] = endpoint
        for peer in sorted(self._endpoints):
            if peer != node:
                self._dial_later((node, peer))
                self._dial_later((peer, node))

    def leave(self, node: int) -> None:
        """The node's process is gone: its links close, and it is told nothing."""
        del self._endpoints[node]
        for direction in sorted(self._links):
            if node in direction:
                self._close(direction)

    def send(self, sender: int, receiver: int, payload: Any) -> bool:
        """False if the sender knows of no open link."""
        link = self._links.get((sender, receiver))
        if link is None or not link.usable:
            return False
        self.on_send(sender, receiver, payload)
        if (sender, receiver) in self._cut:
            link.held.append(payload)
        else:
            self._dispatch(link, (sender, receiver), payload)
        return True

    def connected(self, node: int) -> set[int]:
        """The peers that `node` can send to, as far as it knows."""
        return {to for (sender, to), link in self._links.items() if sender == node and link.usable}

    def cut(self, sender: int, receiver: int) -> None:
        """From now on nothing gets from one to the other."""
        direction = (sender, receiver)
        self._cut.add(direction)
        link = self._links.get(direction)
        if link is not None:
            when = self._scheduler.time() + self.conditions.dead_after
            self._scheduler.call_at(when, self._give_up, direction, link)

    def mend(self, sender: int, receiver: int) -> None:
        """What waited goes on its way."""
        direction = (sender, receiver)
        self._cut.discard(direction)
        link = self._links.get(direction)
        if link is not None:
            held, link.held = link.held, []
            for payload in held:
                self._dispatch(link, direction, payload)

    def mend_all(self) -> None:
        """Undo every cut."""
        for direction in sorted(self._cut):
            self.mend(*direction)

    def reset(self, sender: int, receiver: int) -> None:
        """Close a link; it comes back after a moment."""
        self._close((sender, receiver))

    # How it happens.

    def _later(self, delay: tuple[float, float], callback: Callable[..., object], *args: Any) -> None:
        self._scheduler.call_at(self._scheduler.time() + self._rng.uniform(*delay), callback, *args)

    def _dial_later(self, direction: Direction) -> None:
        self._later(self.conditions.reconnect, self._dial, direction)

    def _dial(self, direction: Direction) -> None:
        sender, receiver = direction
        if direction in self._links or sender not in self._endpoints or receiver not in self._endpoints:
            return
        if direction in self._cut or (receiver, sender) in self._cut:
            self._dial_later(direction)  # a handshake needs both directions
            return
        link = self._links[direction] = _Link()
        self._later(self.conditions.latency, self._opened, direction, link)

    def _opened(self, direction: Direction, link: _Link) -> None:
        if not link.closed:
            link.usable = True
            self._endpoints[direction[0]].connected(direction[1])

    def _close(self, direction: Direction) -> None:
        link = self._links.pop(direction, None)
        if link is None:
            return
        link.closed = True
        sender, receiver = direction
        if link.usable and sender in self._endpoints:
            self._later(self.conditions.notice, self._closed, self._endpoints[sender], sender, receiver)
        self._dial_later(direction)

    def _closed(self, endpoint: Endpoint, sender: int, receiver: int) -> None:
        if self._endpoints.get(sender) is endpoint:
            endpoint.disconnected(receiver)

    def _give_up(self, direction: Direction, link: _Link) -> None:
        if direction in self._cut and self._links.get(direction) is link:
            self._close(direction)

    def _dispatch(self, link: _Link, direction: Direction, payload: Any) -> None:
        arrival = self._scheduler.time() + self._rng.uniform(*self.conditions.latency)
        link.last_arrival = max(arrival, link.last_arrival)
        self._scheduler.call_at(link.last_arrival, self._arrive, link, direction, payload)

    def _arrive(self, link: _Link, direction: Direction, payload: Any) -> None:
        if link.closed:
            return
        if direction in self._cut:
            link.held.append(payload)
            return
        sender, receiver = direction
        self._endpoints[receiver].received(sender, payload)
