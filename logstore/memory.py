"""A storage that forgets on a crash what was never synced, tears writes, fails and fills up.

What survives a crash: every directory, file name, rename and removal, at once (as on a journalling file
system that commits its metadata in order), but of a file's *bytes* only what `sync` covered. Of the writes
and truncations after the last sync, `crash` keeps all, none, a prefix that may end inside a write, or any of
their 512-byte sectors. `kill` is the other way to die: a process that is killed loses nothing it wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

from logstore.storage import Buffer, StorageError, StorageFullError

SECTOR = 512


class Randomness(Protocol):
    """The part of `random.Random` that decides what a crash leaves behind."""

    def random(self) -> float: ...

    def randrange(self, stop: int, /) -> int: ...


class _Fate(Enum):
    """What a crash does to one change of a file."""

    PENDING = auto()
    """Not synced: it may survive in any part."""
    ABANDONED = auto()
    """The sync that should have covered it failed, and no later one covers it (Rebello et al., ATC'20)."""
    DURABLE = auto()
    """Synced, but kept on the list because an abandoned change lies before it."""


class _Change:
    """One write or truncation: enough to undo it and to do all or part of it again."""

    __slots__ = ("after", "before", "fate", "position", "size_after", "size_before")

    def __init__(self, position: int, before: bytes, after: bytes, size_before: int, size_after: int) -> None:
        self.position = position
        self.before = before
        self.after = after
        self.size_before = size_before
        self.size_after = size_after
        self.fate = _Fate.PENDING

    def undo(self, content: bytearray) -> None:
        del content[self.size_before :]
        content[self.position : self.position + len(self.before)] = self.before
        content.extend(bytes(self.size_before - len(content)))

    def redo(self, content: bytearray, start: int, stop: int) -> None:
        """Do again what concerns the bytes `start:stop` of the change; a truncation goes with `start` 0."""
        if self.size_after < self.size_before:
            if start == 0:
                del content[self.size_after :]
            return
        end = self.position + stop
        content.extend(bytes(max(0, end - len(content))))
        content[self.position + start : end] = self.after[start:stop]


class _Inode:
    """The content of a file, apart from its name: a removed or renamed file lives on in its open handles."""

    __slots__ = ("changes", "content", "named")

    def __init__(self) -> None:
        self.content = bytearray()
        self.named = True
        self.changes: list[_Change] = []

    def write(self, position: int, data: bytes) -> None:
        size = len(self.content)
        end = position + len(data)
        before = bytes(self.content[position:end])
        if position > size:
            self.content.extend(bytes(position - size))
        self.content[position:end] = data
        self.changes.append(_Change(position, before, data, size, len(self.content)))

    def truncate(self, size: int) -> None:
        old = len(self.content)
        if size >= old:
            if size > old:
                self.write(old, bytes(size - old))
            return
        self.changes.append(_Change(size, bytes(self.content[size:]), b"", old, size))
        del self.content[size:]

    def sync(self) -> None:
        if all(change.fate is _Fate.PENDING for change in self.changes):
            self.changes.clear()
            return
        for change in self.changes:
            if change.fate is _Fate.PENDING:
                change.fate = _Fate.DURABLE

    def abandon(self) -> None:
        for change in self.changes:
            if change.fate is _Fate.PENDING:
                change.fate = _Fate.ABANDONED

    def crash(self, rng: Randomness) -> None:
        """Go back to what was synced, then do again what the crash happens to have left of the rest."""
        if not self.changes:
            return
        content = self.content
        for change in reversed(self.changes):
            change.undo(content)
        lost_from, torn_at, by_sector = self._draw(rng)
        for number, change in enumerate(self.changes):
            whole = len(change.after)
            if change.fate is _Fate.DURABLE or number < lost_from:
                change.redo(content, 0, whole)
            elif number == lost_from and torn_at:
                change.redo(content, 0, torn_at)
            elif by_sector:
                for start in range(0, max(whole, 1), SECTOR):
                    if rng.random() < 0.5:
                        change.redo(content, start, min(start + SECTOR, whole))
        self.changes.clear()

    def _draw(self, rng: Randomness) -> tuple[int, int, bool]:
        """How many changes are whole, how many bytes of the next one are there, whether sectors survive."""
        count = len(self.changes)
        kind = rng.randrange(4)
        if kind == 0:
            return 0, 0, False
        if kind == 1:
            return count, 0, False
        if kind == 2:
            number = rng.randrange(count)
            return number, rng.randrange(len(self.changes[number].after) + 1), False
        return 0, 0, True


class MemoryFile:
    """A handle on a file of a `MemoryStorage`; see `logstore.storage.File`."""

    def __init__(self, storage: MemoryStorage, path: str, inode: _Inode) -> None:
        self._storage = storage
        self._path = path
        self._inode = inode
        self._lifetime = storage.lifetime
        self._closed = False

    @property
    def path(self) -> str:
        return self._path

    def _check(self) -> None:
        if self._closed:
            raise ValueError(f"{self._path} is closed")
        if self._lifetime != self._storage.lifetime:
            raise StorageError(self._path, "opened before the crash")

    def write_at(self, position: int, data: Buffer) -> None:
        self._check()
        self._storage.write(self._path, self._inode, position, bytes(data))

    def read_at(self, position: int, size: int) -> bytes:
        self._check()
        self._storage.read_failure(self._path)
        return bytes(self._inode.content[position : position + size])

    def size(self) -> int:
        self._check()
        return len(self._inode.content)

    def truncate(self, size: int) -> None:
        self._check()
        self._storage.truncate(self._path, self._inode, size)

    def sync(self) -> None:
        self._check()
        self._storage.sync(self._path, self._inode)

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self._closed = True


class MemoryStorage:
    """See `logstore.storage.Storage`; `rng` decides what a crash leaves of the changes that were not synced.

    `capacity` bounds the bytes of all files together: a write beyond it writes what fits and then raises
    StorageFullError, as a full disk does. `lifetime` counts crashes; handles of an earlier one only fail.
    """

    def __init__(self, rng: Randomness, *, capacity: int | None = None) -> None:
        self._rng = rng
        self.capacity = capacity
        self.lifetime = 0
        self._files: dict[str, _Inode] = {}
        self._directories: dict[str, set[str]] = {"": set()}
        self._used = 0
        self._failing_writes = 0
        self._failing_syncs = 0
        self._failing_reads = 0
        self._failing_path = ""

    # What a test does to the disk.

    def crash(self) -> None:
        """Lose power: unsynced bytes are kept, dropped or torn; every open handle is dead."""
        self.lifetime += 1
        for path in sorted(self._files):
            self._files[path].crash(self._rng)
        self._count_used()

    def kill(self) -> None:
        """Lose the process only: every byte stays (synced or not), every open handle is dead."""
        self.lifetime += 1

    def fail_writes(self, count: int = 1, *, path: str = "") -> None:
        """The next `count` writes and truncations of files whose path contains `path` raise StorageError."""
        self._failing_writes, self._failing_path = count, path

    def fail_syncs(self, count: int = 1, *, path: str = "") -> None:
        """The next `count` syncs fail; what they should have covered is never durable again."""
        self._failing_syncs, self._failing_path = count, path

    def fail_reads(self, count: int = 1, *, path: str = "") -> None:
        """The next `count` reads raise StorageError."""
        self._failing_reads, self._failing_path = count, path

    def flip_bit(self, path: str, bit: int) -> None:
        """Rot: invert bit number `bit` of the file, counted from its first byte's highest bit."""
        self._files[path].content[bit // 8] ^= 0x80 >> (bit % 8)

    @property
    def used(self) -> int:
        """Bytes in all files that have a name."""
        return self._used

    # What a file asks of its disk.

    def write(self, path: str, inode: _Inode, position: int, data: bytes) -> None:
        """Write within the capacity, or as much as fits and then raise StorageFullError."""
        if self._failing_writes and self._failing_path in path:
            self._failing_writes -= 1
            half = data[: self._rng.randrange(len(data) + 1)]
            self._grow(inode, position, half)
            raise StorageError(path, "Input/output error")
        if self.capacity is not None:
            growth = max(0, position + len(data) - len(inode.content))
            room = max(0, self.capacity - self._used)
            if growth > room:
                self._grow(inode, position, data[: max(0, len(data) - (growth - room))])
                raise StorageFullError(path, "No space left on device")
        self._grow(inode, position, data)

    def _grow(self, inode: _Inode, position: int, data: bytes) -> None:
        if data:
            before = len(inode.content)
            inode.write(position, data)
            self._account(inode, len(inode.content) - before)

    def _account(self, inode: _Inode, growth: int) -> None:
        if inode.named:
            self._used += growth

    def truncate(self, path: str, inode: _Inode, size: int) -> None:
        """Cut or extend the file."""
        if self._failing_writes and self._failing_path in path:
            self._failing_writes -= 1
            raise StorageError(path, "Input/output error")
        before = len(inode.content)
        inode.truncate(size)
        self._account(inode, len(inode.content) - before)

    def sync(self, path: str, inode: _Inode) -> None:
        """Make every earlier change of the file durable, unless an injected failure abandons them."""
        if self._failing_syncs and self._failing_path in path:
            self._failing_syncs -= 1
            inode.abandon()
            raise StorageError(path, "Input/output error")
        inode.sync()

    def read_failure(self, path: str) -> None:
        """Raise the injected read failure, if one is due."""
        if self._failing_reads and self._failing_path in path:
            self._failing_reads -= 1
            raise StorageError(path, "Input/output error")

    # The contract of `Storage`.

    def open(self, path: str, *, create: bool = False) -> MemoryFile:
        inode = self._files.get(path)
        if inode is None:
            if not create:
                raise FileNotFoundError(path)
            parent, name = _split(path)
            if parent not in self._directories:
                raise FileNotFoundError(path)
            inode = self._files[path] = _Inode()
            self._directories[parent].add(name)
        return MemoryFile(self, path, inode)

    def exists(self, path: str) -> bool:
        return path in self._files or path in self._directories

    def list(self, directory: str) -> Sequence[str]:
        return sorted(self._directories.get(directory, ()))

    def make_directory(self, directory: str) -> None:
        if directory in self._directories:
            return
        parent, name = _split(directory)
        self.make_directory(parent)
        self._directories[directory] = set()
        self._directories[parent].add(name)

    def remove(self, path: str) -> None:
        inode = self._files.pop(path, None)
        if inode is not None:
            self._used -= len(inode.content)
            inode.named = False
            parent, name = _split(path)
            self._directories[parent].discard(name)

    def remove_directory(self, directory: str) -> None:
        for name in self.list(directory):
            path = f"{directory}/{name}"
            if path in self._directories:
                self.remove_directory(path)
            else:
                self.remove(path)
        if self._directories.pop(directory, None) is not None:
            parent, name = _split(directory)
            self._directories[parent].discard(name)

    def rename(self, old: str, new: str) -> None:
        if old in self._directories:
            self._rename_directory(old, new)
            return
        if old not in self._files:
            raise StorageError(old, "No such file or directory")
        self.remove(new)
        inode = self._files.pop(old)
        self._directories[_split(old)[0]].discard(_split(old)[1])
        self._files[new] = inode
        self._directories[_split(new)[0]].add(_split(new)[1])

    def _rename_directory(self, old: str, new: str) -> None:
        if self._directories.get(new):
            raise StorageError(old, "Directory not empty")
        inside = f"{old}/"
        self._files = {_moved(path, inside, f"{new}/"): inode for path, inode in self._files.items()}
        self._directories = {
            new if path == old else _moved(path, inside, f"{new}/"): names
            for path, names in self._directories.items()
        }
        self._directories[_split(old)[0]].discard(_split(old)[1])
        self._directories[_split(new)[0]].add(_split(new)[1])

    def read_text(self, path: str) -> str | None:
        inode = self._files.get(path)
        if inode is None:
            return None
        self.read_failure(path)
        return inode.content.decode("utf-8", errors="replace")

    def write_text_atomically(self, path: str, text: str, *, durable: bool = True) -> None:
        temporary = f"{path}.tmp"
        file = self.open(temporary, create=True)
        file.truncate(0)
        file.write_at(0, text.encode())
        if durable:
            file.sync()
        file.close()
        self.rename(temporary, path)

    def sync_directory(self, directory: str) -> None:
        """Names are durable at once here."""

    def _count_used(self) -> None:
        self._used = sum(len(inode.content) for inode in self._files.values())


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rpartition("/")
    return parent, name


def _moved(path: str, inside: str, to: str) -> str:
    return to + path[len(inside) :] if path.startswith(inside) else path
