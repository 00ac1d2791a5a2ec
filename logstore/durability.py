"""How far a log is synced, and what has to be synced to get further."""

from __future__ import annotations

import contextlib

from logstore.checkpoints import LEADER_EPOCHS
from logstore.files import OFFSET_INDEX, PRODUCER_SNAPSHOT, TIME_INDEX, path_of
from logstore.segments import Segments
from logstore.storage import DirectoryNames, File, Storage, Syncable


class Durability:
    """Everything before `recovery_point` survives a power cut. One sync at a time."""

    __slots__ = (
        "_bound",
        "_directory",
        "_opened",
        "_storage",
        "epochs_changed",
        "names_changed",
        "recovery_point",
    )

    def __init__(self, storage: Storage, directory: str, recovery_point: int) -> None:
        self._storage = storage
        self._directory = directory
        self.recovery_point = recovery_point
        self.names_changed = True
        self.epochs_changed = False
        self._bound = recovery_point
        self._opened: list[File] = []

    def files(self, segments: Segments, end_offset: int) -> list[Syncable]:
        """What to sync so that everything before `end_offset` is durable; raises StorageError."""
        self._bound = end_offset
        files: list[Syncable] = [segments.active.file]
        if segments.active.base_offset > self.recovery_point:
            self._add_closed(segments, files)
        if self.epochs_changed:
            self.epochs_changed = False
            self._add(f"{self._directory}/{LEADER_EPOCHS}", files)
        if self.names_changed:
            self.names_changed = False
            files.append(DirectoryNames(self._storage, self._directory))
        return files

    def _add_closed(self, segments: Segments, files: list[Syncable]) -> None:
        for segment in reversed(segments.all[:-1]):
            if segment.next_offset <= self.recovery_point:
                break
            files.append(segment.file)
            self._add(segment.path(OFFSET_INDEX), files)
            self._add(segment.path(TIME_INDEX), files)
            self._add(path_of(self._directory, segment.next_offset, PRODUCER_SNAPSHOT), files)

    def _add(self, path: str, files: list[Syncable]) -> None:
        with contextlib.suppress(FileNotFoundError):
            file = self._storage.open(path)
            self._opened.append(file)
            files.append(file)

    def synced_to(self, offset: int) -> None:
        """The files were synced after `end_offset` had been `offset`."""
        for file in self._opened:
            file.close()
        self._opened.clear()
        self.recovery_point = max(self.recovery_point, min(offset, self._bound))

    def lower(self, offset: int) -> None:
        """Nothing past `offset` counts any more, whatever a sync that is under way covers."""
        self.recovery_point = min(self.recovery_point, offset)
        self._bound = min(self._bound, offset)
