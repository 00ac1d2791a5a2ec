"""What partitions want of their shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replication.partition import Partition


def _nobody(partition: Partition) -> None:
    """Where logs are not kept beyond the process nobody has to know that one was cut."""


class Outbox:
    """What partitions want of their shell: ISR changes to send, logs to sync.

    `wake` is called when it fills. `was_cut` is called at once when a log became shorter, before anything is
    appended in the place of its end.
    """

    def __init__(self, wake: Callable[[], None], was_cut: Callable[[Partition], None] = _nobody) -> None:
        self.isr_changes: dict[Partition, None] = {}
        self.unsynced: dict[Partition, None] = {}
        self._wake = wake
        self.was_cut = was_cut

    def want_isr_change(self, partition: Partition) -> None:
        self.isr_changes[partition] = None
        self._wake()

    def want_sync(self, partition: Partition) -> None:
        self.unsynced[partition] = None
        self._wake()
