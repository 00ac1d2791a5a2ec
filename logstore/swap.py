"""How a cleaned segment takes the place of those that it was made of, so that a stop at any point leaves one
or the other.

The files of the new segment are written as `….log.cleaned`, `….index.cleaned` and so on, and synced, names
included. Then all are renamed to `.swap`; with the last of them the swap is decided. The segments in its
place are removed, the indexes renamed to what they are, and then the log. A start that finds a `.log.swap`
and no `.cleaned` goes on from there, else it removes both. What a power cut leaves of renames is taken to be
their beginning, as journals keep it. Source: `LocalLog.replaceSegments` and Kafka's `LogLoader`.
"""

from __future__ import annotations

import contextlib
from typing import Final

from logstore.files import (
    ABORTED_INDEX,
    CLEANED,
    LOG,
    OFFSET_INDEX,
    PRODUCER_SNAPSHOT,
    SWAP,
    TIME_INDEX,
    offset_in_name,
    path_of,
)
from logstore.scan import scan_headers
from logstore.storage import Storage

_INDEXES: Final = (OFFSET_INDEX, TIME_INDEX, ABORTED_INDEX)
_ALL: Final = (*_INDEXES, LOG)


def decide(storage: Storage, directory: str, base_offset: int) -> None:
    """The cleaned segment is complete and synced: from now on it counts. Raises StorageError."""
    for suffix in _ALL:
        path = path_of(directory, base_offset, suffix)
        storage.rename(path + CLEANED, path + SWAP)


def complete(storage: Storage, directory: str, base_offset: int) -> None:
    """Give the files their names, once the old segments are out of the way. Raises StorageError."""
    for suffix in _ALL:
        path = path_of(directory, base_offset, suffix)
        if storage.exists(path + SWAP):
            storage.rename(path + SWAP, path)


def discard(storage: Storage, directory: str, base_offset: int) -> None:
    """Remove a cleaned segment that was not decided on; nothing happens where there is none."""
    for suffix in _ALL:
        storage.remove(path_of(directory, base_offset, suffix) + CLEANED)


def finish_swap(storage: Storage, directory: str) -> None:
    """Bring to its end what a stop interrupted; leaves no `.cleaned` and no `.swap`. Raises StorageError,
    KafkaError."""
    names = storage.list(directory)
    found = (offset_in_name(name, LOG + SWAP) for name in names)
    bases = [base for base in found if base is not None]
    if any(name.endswith(CLEANED) for name in names):
        _remove(storage, directory, [name for name in names if name.endswith(LOG + SWAP)])
        _remove(storage, directory, [name for name in names if name.endswith((SWAP, CLEANED))])
        return
    for base in bases:
        end = _end_of(storage, directory, base)
        for name in names:
            for suffix in (LOG, *_INDEXES, PRODUCER_SNAPSHOT):
                offset = offset_in_name(name, suffix)
                if offset is not None and base < offset < end:
                    storage.remove(f"{directory}/{name}")
        complete(storage, directory, base)
    if bases:
        storage.sync_directory(directory)
    _remove(storage, directory, [name for name in storage.list(directory) if name.endswith(SWAP)])


def _end_of(storage: Storage, directory: str, base_offset: int) -> int:
    """Where the swapped segment ends: its last batch is there, since compaction leaves it."""
    end = base_offset
    with contextlib.closing(storage.open(path_of(directory, base_offset, LOG) + SWAP)) as file:
        for _, header in scan_headers(file, 0, file.size()):
            end = header.next_offset
    return end


def _remove(storage: Storage, directory: str, names: list[str]) -> None:
    for name in names:
        storage.remove(f"{directory}/{name}")
