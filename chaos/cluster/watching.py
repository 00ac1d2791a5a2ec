"""Tells the invariants which partitions a process has just done something to.

A history looks at every replica after every event, which would be most of its work if it looked at all of
them. So what changes a `Partition` notes it, for as long as the history runs; the product knows nothing of
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from chaos.replication.invariants import ReplicationInvariants, ViolationError
from replication.leader import Leader
from replication.partition import Partition

CHANGING = (
    "update",
    "append",
    "fetched_by",
    "isr_change",
    "isr_changed",
    "isr_change_refused",
    "synced",
    "replicate",
    "truncate_to_agreement",
    "restart_at",
)
"""The methods of `Partition` after which an invariant may be broken."""
WATCHED = (*CHANGING, "_advance", "latest_offset")


class Watch:
    """Looks at partitions as soon as the callback that changed them is over."""

    def __init__(
        self,
        checks: list[Callable[[], None]],
        invariants: ReplicationInvariants,
        came_from_power_cut: Callable[[Partition], bool | None],
    ) -> None:
        self._checks = checks
        self._invariants = invariants
        self._came_from_power_cut = came_from_power_cut
        self._changed: dict[Partition, None] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While inside, whatever happens to any partition is looked at."""
        originals: dict[str, Callable[..., Any]] = {name: Partition.__dict__[name] for name in WATCHED}
        for name in CHANGING:
            setattr(Partition, name, self._noting(originals[name]))
        others = (
            ("append", self._appending),
            ("latest_offset", self._telling),
            ("_advance", self._advancing),
        )
        for name, watch in others:
            setattr(Partition, name, watch(getattr(Partition, name)))
        try:
            yield
        finally:
            for name, method in originals.items():
                setattr(Partition, name, method)

    def _look(self) -> None:
        changed, self._changed = self._changed, {}
        for partition in changed:
            after_power_cut = self._came_from_power_cut(partition)
            if after_power_cut is not None:
                self._invariants.observe((partition,), after_power_cut=after_power_cut)

    def _note(self, partition: Partition) -> None:
        if not self._changed:
            self._checks.append(self._look)
        self._changed[partition] = None

    def _look_in_between(self) -> None:
        try:
            self._look()
        except ViolationError as error:
            violation = error

            def broken() -> None:
                raise violation

            self._checks.append(broken)

    def _noting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def noting(partition: Partition, *args: Any, **options: Any) -> Any:
            if partition in self._changed and isinstance(partition.role, Leader):
                # It may be none after this, and what it called committed stays so.
                self._look_in_between()
            self._note(partition)
            return method(partition, *args, **options)

        return noting

    def _advancing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def advancing(partition: Partition, *args: Any) -> None:
            before = partition.high_watermark
            method(partition, *args)
            if partition.high_watermark != before:
                self._note(partition)

        return advancing

    def _appending(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def appending(partition: Partition, *args: Any, **options: Any) -> Any:
            appended = method(partition, *args, **options)
            self._checks.append(partial(self._invariants.appended, partition))
            return appended

        return appending

    def _telling(self, method: Callable[..., int]) -> Callable[..., int]:
        def telling(partition: Partition, *, read_committed: bool, claimed_epoch: int = -1) -> int:
            end = method(partition, read_committed=read_committed, claimed_epoch=claimed_epoch)
            if not read_committed:
                self._checks.append(partial(self._invariants.told_end, partition, end))
            return end

        return telling
