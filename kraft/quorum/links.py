"""The port to the network: what a quorum needs of the connections to its peers.

Messages are dicts of plain values that CBOR knows (dict, list, int, str, bytes, bool, None). A link delivers
them in order and at most once; what was under way when it closed is lost. Every callback is called from the
event loop that the driver lives on, and may be called while the driver is inside `send`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Message = dict[str, Any]


class QuorumLinks(Protocol):
    """Connections to the other voters, opened and reopened by whoever implements this."""

    on_connected: Callable[[int], None]
    """Set by the driver; called with a peer's id when messages can be sent to it and will be received from
    it.
    """
    on_disconnected: Callable[[int], None]
    on_message: Callable[[int, Message], None]

    def send(self, peer_id: int, message: Message) -> bool:
        """Queue a message; False when `peer_id` is not connected or its queue is full. Never blocks."""

    def connected(self) -> set[int]:
        """The peers that are connected now."""

    def disconnect(self, peer_id: int) -> None:
        """Close the link to a peer that broke the rules; it may be opened again later."""
