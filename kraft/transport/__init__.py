"""One node talks to another: calls, streams and notifications over one HTTP port (aiohttp, CBOR).

`Peer` is the side that dials, `NodeServer` the side that answers, `Link` how it sees a peer.
`handshake` says how the two trust each other, `messages` what they send.
"""

from kraft.transport.client import Peer, PeerOptions
from kraft.transport.errors import (
    AuthenticationError,
    PeerError,
    PeerTimeout,
    PeerUnavailable,
    ProtocolError,
)
from kraft.transport.limits import DEFAULT_LIMITS, Limits
from kraft.transport.link import Link
from kraft.transport.messages import FileSlice, Payload, Reply, Response
from kraft.transport.server import NodeServer

__all__ = [
    "DEFAULT_LIMITS",
    "AuthenticationError",
    "FileSlice",
    "Limits",
    "Link",
    "NodeServer",
    "Payload",
    "Peer",
    "PeerError",
    "PeerOptions",
    "PeerTimeout",
    "PeerUnavailable",
    "ProtocolError",
    "Reply",
    "Response",
]
