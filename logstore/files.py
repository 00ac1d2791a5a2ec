"""Names of the files of one log, and whole small files read and written at once.

A log is a directory. Its segments are named after their first offset in twenty digits:
`00000000000000368769.log` with `.index`, `.timeindex`, `.txnindex` and `.snapshot` beside it. Source:
`org.apache.kafka.storage.internals.log.LogFileUtils`.
"""

from __future__ import annotations

import contextlib

from logstore.storage import Buffer, Storage

LOG = ".log"
OFFSET_INDEX = ".index"
TIME_INDEX = ".timeindex"
ABORTED_INDEX = ".txnindex"
PRODUCER_SNAPSHOT = ".snapshot"
DELETED = ".deleted"
"""Behind the name of a file that is to go once nobody can be reading it any more."""

CLEANED = ".cleaned"
"""Behind the names of a segment that compaction writes."""
SWAP = ".swap"
"""Behind the names of one that is complete, and takes the place of others."""

LEFTOVERS = (DELETED, ".tmp")
"""Ends of names that a stopped node may leave behind; whatever was to replace something is still there."""

_DIGITS = 20


def path_of(directory: str, offset: int, suffix: str) -> str:
    """`directory/<offset in twenty digits><suffix>`."""
    return f"{directory}/{offset:0{_DIGITS}d}{suffix}"


def offset_in_name(name: str, suffix: str) -> int | None:
    """The offset that a file is named after, None if it is no file of that kind."""
    stem = name[:_DIGITS]
    if name[_DIGITS:] == suffix and len(stem) == _DIGITS and stem.isascii() and stem.isdigit():
        return int(stem)
    return None


def read_whole(storage: Storage, path: str) -> bytes | None:
    """The bytes of a file, None if it is not there; raises StorageError."""
    try:
        file = storage.open(path)
    except FileNotFoundError:
        return None
    with contextlib.closing(file):
        return file.read_at(0, file.size())


def write_whole(storage: Storage, path: str, data: Buffer, *, durable: bool = False) -> None:
    """Make `data` the content of a file whose reader can tell damage; raises StorageError.

    The file is not replaced but overwritten: a crash may leave any mixture of old and new bytes.
    """
    with contextlib.closing(storage.open(path, create=True)) as file:
        file.truncate(0)
        file.write_at(0, data)
        if durable:
            file.sync()
