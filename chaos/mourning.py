"""How much power cuts may take where records are not synced before they are acknowledged: min.insync.replicas
- 1 brokers at a time, and nobody else dies until all is whole again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from metadata.image import MetadataImage


class Mourning:
    """`image` is what the controllers committed; `running` the incarnation of each broker's process, None
    where none runs; `whole` tells whether all that a disk has damaged is mended."""

    def __init__(
        self,
        min_isr: int,
        image: Callable[[], MetadataImage],
        running: Callable[[], Mapping[int, UUID | None]],
        whole: Callable[[], bool] = lambda: True,
    ) -> None:
        self._min_isr = min_isr
        self._image = image
        self._running = running
        self._whole = whole
        self._goes_on = False

    def begin(self) -> None:
        """A power cut took all that it may."""
        self._goes_on = True

    def goes_on(self) -> bool:
        """Whether every broker has to be spared."""
        if self._goes_on and self._all_registered() and self._all_in_sync() and self._whole():
            self._goes_on = False
        return self._goes_on

    def may_lose_power(self, victim: int) -> bool:
        """Whether min.insync.replicas - 1 is one at least, and the victim is not the only one to miss
        something."""
        needed = any(
            victim in (*entry.partition.isr, *entry.partition.elr) or not entry.partition.has_leader
            for entry in self._image().topics.partitions()
        )
        return self._min_isr > 1 and self._all_registered() and (not needed or self._all_in_sync())

    def _all_in_sync(self) -> bool:
        return all(
            len(entry.partition.isr) == len(entry.partition.replicas)
            for entry in self._image().topics.partitions()
        )

    def _all_registered(self) -> bool:
        """Whether a process of every broker runs, and the controllers know that one."""
        known = self._image().brokers
        return all(
            incarnation is not None and broker_id in known and known[broker_id].incarnation == incarnation
            for broker_id, incarnation in self._running().items()
        )
