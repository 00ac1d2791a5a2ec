"""What an append did."""

from __future__ import annotations

from typing import NamedTuple


class Append(NamedTuple):
    """What an append did. An empty one has `last_offset` before `first_offset`."""

    first_offset: int
    last_offset: int
    log_append_time_ms: int
    """The time that the broker set, -1 where records keep their own."""
    log_start_offset: int
    duplicate: bool
    """True if the batch was there already, at these offsets, and nothing was written."""
