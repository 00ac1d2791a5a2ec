"""Every limit between two nodes, in one value."""

from __future__ import annotations

import msgspec

MIB = 1 << 20


class Limits(msgspec.Struct, frozen=True):
    """Sizes are bytes, times are seconds. Both sides of a connection are expected to run with the same
    limits.
    """

    max_header: int = 16 * MIB
    """The CBOR header of one message. Large because a metadata snapshot travels in it."""

    max_payload: int = 64 * MIB
    """The raw bytes after the header: record batches."""

    outgoing_bytes: int = 64 * MIB
    """Bytes that wait to be written on one link. A message that finds more than this waiting closes the link.
    """

    stream_window: int = 1 * MIB
    """Bytes of one stream that its consumer has not taken yet; one item may lie beyond. Each item counts 512
    more.
    """

    calls_per_link: int = 4096
    """Calls and streams that one peer may have unanswered on one link; one more closes the link."""

    bulk_connections: int = 4
    """HTTP connections that one peer opens to another for bulk calls, beside the link."""

    handshake_bytes: int = 1024
    """The body of a handshake request or answer; nothing else is read from a side that is not authenticated.
    """

    handshake_seconds: float = 5.0
    """From a connection's first byte, or a challenge, to what has to follow."""

    pending_handshakes: int = 1024
    """Challenges and sessions that wait for their next step. The oldest gives way to a new one."""

    dead_after: float = 3.0
    """Silence after which a link is closed; a ping goes out at two thirds of it."""

    @property
    def max_message(self) -> int:
        """A whole message: size, header and payload."""
        return 4 + self.max_header + self.max_payload

    @property
    def heartbeat(self) -> float:
        """aiohttp's heartbeat: it pings after this much silence and waits half as long again for the pong."""
        return self.dead_after * 2 / 3


DEFAULT_LIMITS = Limits()
