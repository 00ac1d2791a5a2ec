"""The port to a disk: what a log needs of files, and no more.

`LocalStorage` is the disk of this machine. `logstore.memory` keeps the same contract and forgets, on a crash,
what was never synced. Everything here is synchronous; a shell runs `File.sync` in a thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from typing import Protocol

Buffer = bytes | bytearray | memoryview


class StorageError(Exception):
    """The world's failure: the disk said no. `path` names the file, `reason` what the system said."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class StorageFullError(StorageError):
    """No space is left. Nothing of the write may be relied on."""


class Syncable(Protocol):
    """Something whose changes a shell makes durable in a thread: a file, or the names in a directory."""

    def sync(self) -> None:
        """Return when every earlier change survives a power cut.

        A failure is final, a second try proves nothing (Rebello et al., ATC'20).
        """


class File(Syncable, Protocol):
    """An open file. Positions and sizes are bytes."""

    @property
    def path(self) -> str: ...

    def write_at(self, position: int, data: Buffer) -> None:
        """Write all of `data` at `position`; raises StorageError, StorageFullError."""

    def read_at(self, position: int, size: int) -> bytes:
        """Up to `size` bytes from `position`; fewer at the end of the file."""

    def size(self) -> int: ...

    def truncate(self, size: int) -> None: ...

    def fileno(self) -> int:
        """The descriptor for sendfile, or -1 where there is none."""

    def close(self) -> None: ...


class Storage(Protocol):
    """A tree of directories and files, addressed by `/`-joined paths."""

    def open(self, path: str, *, create: bool = False) -> File:
        """Open for reading and writing; FileNotFoundError if it is not there and `create` is false."""

    def exists(self, path: str) -> bool: ...

    def list(self, directory: str) -> Sequence[str]:
        """Names in `directory`, sorted; empty if it is not there."""

    def make_directory(self, directory: str) -> None:
        """Create it and its parents; nothing happens if it is there."""

    def remove(self, path: str) -> None:
        """Remove a file; nothing happens if it is not there."""

    def remove_directory(self, directory: str) -> None:
        """Remove it and everything in it."""

    def rename(self, old: str, new: str) -> None:
        """Atomically replace `new` by `old` (a file or a directory)."""

    def read_text(self, path: str) -> str | None:
        """The whole of a small file, or None if it is not there; bytes that are not UTF-8 are replaced."""

    def write_text_atomically(self, path: str, text: str, *, durable: bool = True) -> None:
        """Write beside it, sync, rename, sync the directory: a reader sees the old text or the new one.

        Without `durable` nothing is synced, so that a power cut may leave a damaged text; a killed process
        still leaves the old text or the new one.
        """

    def sync_directory(self, directory: str) -> None:
        """Make its names durable; nothing happens if it is gone by now, renamed or removed."""


def _storage_error(error: OSError, path: str) -> StorageError:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFullError(path, reason)
    return StorageError(path, reason)


class LocalFile:
    """A file of the operating system; see `File`."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @property
    def path(self) -> str:
        return self._path

    def write_at(self, position: int, data: Buffer) -> None:
        try:
            written = os.pwrite(self._descriptor, data, position)
            if written == len(data):
                return
            view = memoryview(data)
            while written < len(view):
                written += os.pwrite(self._descriptor, view[written:], position + written)
        except OSError as error:
            raise _storage_error(error, self._path) from error

    def read_at(self, position: int, size: int) -> bytes:
        try:
            return os.pread(self._descriptor, size, position)
        except OSError as error:
            raise _storage_error(error, self._path) from error

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise _storage_error(error, self._path) from error

    def sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise _storage_error(error, self._path) from error

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class LocalStorage:
    """The disk of this machine; see `Storage`."""

    def open(self, path: str, *, create: bool = False) -> LocalFile:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        try:
            return LocalFile(path, os.open(path, flags, 0o644))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _storage_error(error, path) from error

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def list(self, directory: str) -> Sequence[str]:
        try:
            return sorted(os.listdir(directory))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise _storage_error(error, directory) from error

    def make_directory(self, directory: str) -> None:
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as error:
            raise _storage_error(error, directory) from error

    def remove(self, path: str) -> None:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
        except OSError as error:
            raise _storage_error(error, path) from error

    def remove_directory(self, directory: str) -> None:
        for name in self.list(directory):
            path = f"{directory}/{name}"
            if os.path.isdir(path) and not os.path.islink(path):
                self.remove_directory(path)
            else:
                self.remove(path)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(directory)
        except OSError as error:
            raise _storage_error(error, directory) from error

    def rename(self, old: str, new: str) -> None:
        try:
            os.replace(old, new)
        except OSError as error:
            raise _storage_error(error, old) from error

    def read_text(self, path: str) -> str | None:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _storage_error(error, path) from error

    def write_text_atomically(self, path: str, text: str, *, durable: bool = True) -> None:
        temporary = f"{path}.tmp"
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            raise _storage_error(error, path) from error
        if durable:
            self.sync_directory(os.path.dirname(path) or ".")

    def sync_directory(self, directory: str) -> None:
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _storage_error(error, directory) from error


class DirectoryNames:
    """The names in a directory as something to sync: files that were created, renamed or removed."""

    def __init__(self, storage: Storage, directory: str) -> None:
        self._storage = storage
        self._directory = directory

    def sync(self) -> None:
        """See `Syncable`; raises StorageError."""
        self._storage.sync_directory(self._directory)
