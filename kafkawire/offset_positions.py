"""What a negative timestamp asks ListOffsets for (Kafka's `ListOffsetsRequest`)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

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


def means_something(version: int, timestamp: int) -> bool:
    """Whether a request of this version may ask for `timestamp`: any time, or a position that it knows."""
    return timestamp >= 0 or version >= _FIRST_VERSION.get(timestamp, version + 1)
