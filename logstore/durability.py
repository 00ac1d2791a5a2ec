"""How far a log is synced, and what has to be synced to get further."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from logstore.checkpoints import LEADER_EPOCHS
from logstore.segments import Segments
from logstore.storage import DirectoryNames, File, Storage, Syncable


class _Sync(NamedTuple):
    """A sync under way: it was asked for when the log ended at `end`."""

    end: int
    opened: list[File]


class Durability:
    """Everything before `recovery_point` survives a power cut."""

    __slots__ = (
        "_bounds",
        "_directory",
        "_storage",
        "_syncs",
        "epochs_changed",
        "names_changed",
        "recovery_point",
        "unsynced",
    )

    def __init__(self, storage: Storage, directory: str, recovery_point: int) -> None:
        self._storage = storage
        self._directory = directory
        self.recovery_point = recovery_point
        self.names_changed = True
        """Files were created, renamed or removed since the directory was last synced."""
        self.epochs_changed = True
        """The epochs' checkpoint was written since it was last synced."""
        self.unsynced: list[str] = []
        """Paths of further files that were written and not synced: indexes, snapshots."""
        self._syncs: list[_Sync] = []
        self._bounds: list[int] = []  # how much each of them can at most prove

    def behind(self, segments: Segments) -> bool:
        """Whether anything of a closed segment is not synced."""
        return bool(self.unsynced) or segments.active.base_offset > self.recovery_point

    def files(self, segments: Segments, end_offset: int) -> list[Syncable]:
        """What to sync so that everything before `end_offset` is durable; raises StorageError.

        `synced_to` has to follow, unless the sync fails, which is the end of the log.
        """
        opened: list[File] = []
        files: list[Syncable] = [segments.active.file]
        if segments.active.base_offset > self.recovery_point:
            for segment in reversed(segments.all[:-1]):
                if segment.next_offset <= self.recovery_point:
                    break
                files.append(segment.file)
        for path in self.unsynced:
            self._open(path, opened)
        self.unsynced.clear()
        if self.epochs_changed:
            self.epochs_changed = False
            self._open(f"{self._directory}/{LEADER_EPOCHS}", opened)
        files.extend(opened)
        if self.names_changed:
            self.names_changed = False
            files.append(DirectoryNames(self._storage, self._directory))
        self._syncs.append(_Sync(end_offset, opened))
        self._bounds.append(end_offset)
        return files

    def _open(self, path: str, opened: list[File]) -> None:
        with contextlib.suppress(FileNotFoundError):
            opened.append(self._storage.open(path))

    def synced_to(self, offset: int) -> None:
        """The files were synced that were asked for when the log ended at `offset`."""
        for number, sync in enumerate(self._syncs):
            if sync.end == offset:
                self.recovery_point = max(self.recovery_point, self._bounds[number])
                for file in sync.opened:
                    file.close()
                del self._syncs[number], self._bounds[number]
                return
        raise ValueError(f"no sync to {offset} is under way")

    def close(self) -> None:
        """Close what was opened for syncs whose end nobody has told: the replica left meanwhile."""
        for sync in self._syncs:
            for file in sync.opened:
                file.close()
        self._syncs.clear()
        self._bounds.clear()

    def lower(self, offset: int) -> None:
        """Nothing past `offset` counts any more, nor what a sync under way may prove of it."""
        self.recovery_point = min(self.recovery_point, offset)
        self._bounds = [min(bound, offset) for bound in self._bounds]
