"""What a negative timestamp asks ListOffsets for (Kafka's `ListOffsetsRequest`), and what an old client does
not know of the answers."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from kafkawire.errors import ErrorCode

LATEST: Final = -1
EARLIEST: Final = -2
MAX_TIMESTAMP: Final = -3
EARLIEST_LOCAL: Final = -4
LATEST_TIERED: Final = -5
EARLIEST_PENDING_UPLOAD: Final = -6

_FIRST_VERSION: Final = MappingProxyType(
    {
        LATEST: 1,
        EARLIEST: 1,
        MAX_TIMESTAMP: 7,
        EARLIEST_LOCAL: 8,
        LATEST_TIERED: 9,
        EARLIEST_PENDING_UPLOAD: 11,
    }
)

_KNOWS_NOT_AVAILABLE: Final = 5


def means_something(version: int, timestamp: int) -> bool:
    """Whether a request of this version may ask for `timestamp`: any time, or a position that it knows."""
    return timestamp >= 0 or version >= _FIRST_VERSION.get(timestamp, version + 1)


def known_code(version: int, code: ErrorCode) -> ErrorCode:
    """The error as a client of this version knows it: OFFSET_NOT_AVAILABLE is of version 5 (KIP-207)."""
    if code is ErrorCode.OFFSET_NOT_AVAILABLE and version < _KNOWS_NOT_AVAILABLE:
        return ErrorCode.LEADER_NOT_AVAILABLE
    return code
