"""Segments that are deleted but not yet gone: somebody may still be sending their files."""

from __future__ import annotations

from logstore.files import (
    ABORTED_INDEX,
    DELETED,
    LOG,
    OFFSET_INDEX,
    PRODUCER_SNAPSHOT,
    TIME_INDEX,
)
from logstore.segment import Segment
from logstore.storage import File, Storage

_SUFFIXES = (OFFSET_INDEX, TIME_INDEX, ABORTED_INDEX)


class DeletedSegments:
    """Renames the files of a segment at once; closes and removes them after a delay."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        # (when it may go in ms, None until the next look at the clock; the open file; its path)
        self._waiting: list[tuple[int | None, File, str]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, segment: Segment, *, keep_snapshot: bool = False) -> None:
        """Take the segment out of the log's directory listing; raises StorageError.

        The log file goes first: without it the other files are leftovers, which the next start removes. The
        producers' snapshot stays for a segment that takes the same place.
        """
        path = segment.path(LOG)
        self._storage.rename(path, path + DELETED)
        if not keep_snapshot:
            self._storage.remove(segment.path(PRODUCER_SNAPSHOT))
        for suffix in _SUFFIXES:
            self._storage.remove(segment.path(suffix))
        self._waiting.append((None, segment.file, path + DELETED))

    def expire(self, now_ms: int, delay_ms: int) -> int:
        """Close and remove those that were deleted `delay_ms` ago; returns how many. Raises StorageError.

        The delay counts from the first call after the deletion.
        """
        waiting = self._waiting
        self._waiting = []
        gone = 0
        for due, file, path in waiting:
            due_ms = now_ms + delay_ms if due is None else due
            if due_ms > now_ms:
                self._waiting.append((due_ms, file, path))
                continue
            file.close()
            self._storage.remove(path)
            gone += 1
        return gone

    def close(self) -> None:
        """Close all of them; what is left of the files is removed at the next start."""
        for _, file, _ in self._waiting:
            file.close()
        self._waiting.clear()
