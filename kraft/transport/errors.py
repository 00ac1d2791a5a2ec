"""What can go wrong between two nodes. All of it is the peer's or the world's doing, never a bug of ours."""

from __future__ import annotations


class PeerError(Exception):
    """A call to another node did not succeed. Whether it took effect there is unknown."""


class PeerUnavailable(PeerError):  # noqa: N818 - it names a state of the peer
    """There is no connection to the peer, or it was lost before the answer came."""


class PeerTimeout(PeerError):  # noqa: N818 - as TimeoutError's short form
    """The peer is connected and did not answer in time."""


class AuthenticationError(PeerError):
    """The two sides do not belong together: another secret, cluster id or node id than expected."""


class ProtocolError(PeerError):
    """The other side sent what the protocol does not allow; the connection is closed."""
