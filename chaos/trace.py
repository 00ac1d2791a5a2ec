"""What happened in a history, summed up: two runs of one seed must have the same sum."""

from __future__ import annotations

import zlib

from chaos.virtual_time import Scheduler


class Trace:
    """Everything that happened, as lines that are summed up and may be printed."""

    def __init__(self, scheduler: Scheduler, *, printed: bool = False, details: bool = True) -> None:
        self._scheduler = scheduler
        self._printed = printed
        self._details = details
        self.checksum = 0

    def note(self, *words: object) -> None:
        """Add a line: the time and the words."""
        line = f"{self._scheduler.time():.6f} {' '.join(map(str, words))}"
        self.checksum = zlib.crc32(line.encode(), self.checksum)
        if self._printed:
            print(line)

    def detail(self, text: str, *values: object) -> None:
        """Add a line with `values` in it, which is left out of the sum, and for the most part not even
        written, where `details` follow from what is summed up anyway."""
        if self._details:
            self.note(text.format(*values))
        elif self._printed:
            print(f"{self._scheduler.time():.6f} {text.format(*values)}")

    def add(self, place: int, data: bytes) -> None:
        """Something happened at a place that is not worth a line."""
        self.checksum = zlib.crc32(data, self.checksum ^ place)
