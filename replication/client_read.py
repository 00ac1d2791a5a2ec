"""What a leader shows to a consumer."""

from __future__ import annotations

from typing import NamedTuple

from logstore.log import LogSlice


class ClientRead(NamedTuple):
    """What a consumer may see: `records` ends below the high watermark or the last stable offset."""

    records: LogSlice
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    aborted: list[tuple[int, int]] | None
