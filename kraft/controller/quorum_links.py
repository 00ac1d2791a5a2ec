"""The quorum's connections over the node-to-node transport (see `kraft.quorum.links`).

Each voter keeps a link to every other and sends on its own; what a voter receives comes on the other's. A
peer counts as connected while our link to it stands, so a cut in one direction is seen by the side that can
no longer send.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from kraft.quorum.links import Message
from kraft.transport.client import Peer
from kraft.transport.handlers import Handlers
from kraft.transport.link import Link

RAFT = "raft.message"


def _ignore_peer(peer_id: int) -> None:
    """Before a driver has taken the links over."""


def _ignore_message(peer_id: int, message: Message) -> None:
    """Before a driver has taken the links over."""


class TransportLinks:
    """Implements `QuorumLinks`. `peers` are the other voters; wire `opened` and `closed` to their
    callbacks."""

    def __init__(self) -> None:
        self.on_connected: Callable[[int], None] = _ignore_peer
        self.on_disconnected: Callable[[int], None] = _ignore_peer
        self.on_message: Callable[[int, Message], None] = _ignore_message
        self.peers: dict[int, Peer] = {}
        self._incoming: dict[int, Link] = {}
        self._left: set[Link] = set()
        """Links that their peers have left for another, not closed yet."""

    def register(self, handlers: Handlers) -> None:
        """Take what other voters send."""
        handlers.handle_notify(RAFT, self._received)

    def opened(self, peer_id: int) -> None:
        """Our link to a peer stands."""
        self.on_connected(peer_id)

    def closed(self, peer_id: int) -> None:
        """Our link to a peer is gone."""
        self.on_disconnected(peer_id)

    def send(self, peer_id: int, message: Message) -> bool:
        """See `QuorumLinks`."""
        return self.peers[peer_id].notify(RAFT, message)

    def connected(self) -> set[int]:
        """See `QuorumLinks`."""
        return {peer_id for peer_id, peer in self.peers.items() if peer.connected}

    def disconnect(self, peer_id: int) -> None:
        """See `QuorumLinks`."""
        link = self._incoming.get(peer_id)
        if link is not None:
            link.close()

    def _received(self, link: Link, value: Any) -> None:
        if link in self._left:
            return
        known = self._incoming.get(link.peer_id)
        if known is not link:
            # A peer that dialled anew speaks on its new link; whatever is left in the old one is out of
            # order.
            if known is not None and not known.closed:
                self._left.add(known)
                known.on_close(partial(self._left.discard, known))
                known.close()
            self._incoming[link.peer_id] = link
        self.on_message(link.peer_id, value)
