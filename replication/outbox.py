"""What partitions want of their shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replication.partition import Partition


class Outbox:
    """What partitions want of their shell: ISR changes to send, logs to sync. `wake` is called when it
    fills."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.isr_changes: dict[Partition, None] = {}
        self.unsynced: dict[Partition, None] = {}
        self._wake = wake

    def want_isr_change(self, partition: Partition) -> None:
        self.isr_changes[partition] = None
        self._wake()

    def want_sync(self, partition: Partition) -> None:
        self.unsynced[partition] = None
        self._wake()
