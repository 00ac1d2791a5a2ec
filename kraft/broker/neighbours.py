"""The other brokers: a link to each, and which of them are probably dead a moment before the controller
says so.

A killed process takes its links with it at once, while the controller waits for a grace before it fences
the broker. A client that asks for metadata in between would be sent to the dead leader, and several come
back only after a second. So the leaders are asked whether they are there before a client is told of them
(`suspected_leaders`). Suspicion ends by itself: if only the link between two brokers is cut, clients are not
to suffer for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from kraft.transport.client import Peer
from kraft.transport.errors import PeerTimeout, PeerUnavailable
from metadata.image import MetadataImage

PING = "broker.ping"
PING_TIMEOUT = 0.1
"""Seconds; who has a link but does not answer in this time is slow, or paused, and not suspected for it."""

MakePeer = Callable[[int, tuple[str, int], Callable[[], None], Callable[[], None]], Peer]
"""(node id, address, called when the link is up, called when it is down) -> a link, not started."""


class Neighbours:
    """Keeps one link to every other registered broker. `suspicion` is how long a lost link counts, in
    seconds."""

    def __init__(
        self, local_id: int, make_peer: MakePeer, suspicion: float, monotonic: Callable[[], float]
    ) -> None:
        self._local_id = local_id
        self._make_peer = make_peer
        self._suspicion = suspicion
        self._monotonic = monotonic
        self._peers: dict[int, Peer] = {}
        self._lost_at: dict[int, float] = {}
        self._parting: set[asyncio.Task[None]] = set()

    def peer(self, broker_id: int) -> Peer | None:
        """The link to a broker, if it is registered."""
        return self._peers.get(broker_id)

    def meet(self, image: MetadataImage) -> None:
        """Follow who is registered, and where."""
        for broker_id, broker in image.brokers.items():
            if broker_id == self._local_id:
                continue
            address = (broker.node_endpoint.host, broker.node_endpoint.port)
            peer = self._peers.get(broker_id)
            if peer is None:
                peer = self._make_peer(
                    broker_id, address, partial(self._back, broker_id), partial(self._lost, broker_id)
                )
                self._peers[broker_id] = peer
                peer.start()
            else:
                peer.address = address
        for broker_id in sorted(self._peers.keys() - image.brokers.keys()):
            self._part_with(broker_id)

    def _part_with(self, broker_id: int) -> None:
        """It was unregistered; who comes back under its id is met anew."""
        self._lost_at.pop(broker_id, None)
        task = asyncio.ensure_future(self._peers.pop(broker_id).close())
        self._parting.add(task)
        task.add_done_callback(self._parting.discard)

    def _lost(self, broker_id: int) -> None:
        if broker_id in self._peers:
            self._lost_at.setdefault(broker_id, self._monotonic())

    def _back(self, broker_id: int) -> None:
        self._lost_at.pop(broker_id, None)

    def lost_at(self, broker_id: int) -> float | None:
        """When a broker was lost that is probably dead, though the metadata do not say so yet; None for one
        of which that is not to be thought."""
        lost_at = self._lost_at.get(broker_id)
        return None if lost_at is None or self._monotonic() - lost_at >= self._suspicion else lost_at

    async def look_at(self, broker_ids: Iterable[int]) -> None:
        """Ask these brokers whether they are there, so that `lost_at` knows."""
        peers = [self._peers[each] for each in broker_ids if each in self._peers]
        await asyncio.gather(*(self._ping(peer) for peer in peers if peer.connected))

    async def _ping(self, peer: Peer) -> None:
        try:
            await peer.call(PING, None, timeout=PING_TIMEOUT)
        except PeerUnavailable:
            self._lost(peer.peer_id)
        except PeerTimeout:
            return

    async def close(self) -> None:
        """Close every link."""
        for peer in self._peers.values():
            await peer.close()
        if self._parting:
            await asyncio.wait(self._parting)
