"""A disk in memory that takes its time, and loses power in the middle of a write."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chaos.virtual_time import Randomness, Scheduler
from logstore.memory import MemoryStorage
from logstore.storage import StorageError

Work = Callable[[], None]
Done = Callable[[StorageError | None], None]


class PowerCutError(Exception):
    """The machine is gone; nobody handles this but the simulation."""


class CuttableStorage(MemoryStorage):
    """A MemoryStorage that can lose power after so many more operations."""

    def __init__(self, rng: Randomness) -> None:
        super().__init__(rng)
        self._operations_left: int | None = None

    def cut_power_after(self, operations: int) -> None:
        """Let so many operations through; the next one raises PowerCutError."""
        self._operations_left = operations

    def crash(self) -> None:
        self._operations_left = None
        super().crash()

    def kill(self) -> None:
        self._operations_left = None
        super().kill()

    def write(self, path: str, inode: Any, position: int, data: bytes) -> None:
        self._count()
        super().write(path, inode, position, data)

    def truncate(self, path: str, inode: Any, size: int) -> None:
        self._count()
        super().truncate(path, inode, size)

    def sync(self, path: str, inode: Any) -> None:
        self._count()
        super().sync(path, inode)

    def rename(self, old: str, new: str) -> None:
        self._count()
        super().rename(old, new)

    def remove(self, path: str) -> None:
        self._count()
        super().remove(path)

    def _count(self) -> None:
        if self._operations_left is not None:
            self._operations_left -= 1
            if self._operations_left < 0:
                raise PowerCutError


@dataclass(slots=True)
class DiskConditions:
    """`delay` of one piece of work in seconds, drawn evenly; `stall` is added while it is not 0."""

    delay: tuple[float, float] = (0.0003, 0.003)
    stall: float = 0.0


@dataclass(slots=True)
class _Job:
    work: Work
    done: Done
    begun: bool = False
    error: StorageError | None = None


class SimulatedDisk:
    """Does work in order, each after a delay; the bytes reach the storage at the beginning of it or at the
    end.
    """

    def __init__(
        self, scheduler: Scheduler, rng: Randomness, storage: CuttableStorage, conditions: DiskConditions
    ) -> None:
        self._scheduler = scheduler
        self._rng = rng
        self.storage = storage
        self.conditions = conditions
        self._jobs: deque[_Job] = deque()
        self._lifetime = 0

    def run(self, work: Work, done: Done) -> None:
        """Do `work` later, then call `done`."""
        self._jobs.append(_Job(work, done))
        if len(self._jobs) == 1:
            self._begin()

    def crash(self, *, power_lost: bool) -> None:
        """Drop what has not begun; what has begun may be done in part.

        With the power go the bytes that were not synced.
        """
        self._lifetime += 1
        job = self._jobs[0] if self._jobs else None
        self._jobs.clear()
        if job is not None and not job.begun:
            self.storage.cut_power_after(self._rng.randrange(0, 12))
            # Nobody is left to hear that the disk refused.
            with contextlib.suppress(PowerCutError, StorageError):
                job.work()
        if power_lost:
            self.storage.crash()
        else:
            self.storage.kill()

    def _begin(self) -> None:
        delay = self._rng.uniform(*self.conditions.delay) + self.conditions.stall
        if self._rng.random() < 0.5:
            self._do(self._jobs[0])
        self._scheduler.call_at(self._scheduler.time() + delay, self._finish, self._lifetime)

    def _finish(self, lifetime: int) -> None:
        if lifetime != self._lifetime:
            return
        job = self._jobs.popleft()
        if not job.begun:
            self._do(job)
        if self._jobs:
            self._begin()
        job.done(job.error)

    def _do(self, job: _Job) -> None:
        job.begun = True
        try:
            job.work()
        except StorageError as error:
            job.error = error
