"""A tree of files in memory that knows what of it would survive a power cut.

What was written is there for everybody at once, as in a page cache; what was not synced since may be gone
after `power_cut`. A file's content is durable after fsync of the file, its name after fsync of the directory:
as strict as POSIX is, and stricter than most file systems. Pure: time and chance are passed in.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

ROOT = 1


class VolumeError(Exception):
    """What a system call would fail with: an errno."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode[number])
        self.number = number


class Change(NamedTuple):
    """How to undo one write or truncation: `old` was at `offset`, and the file was `size` bytes long."""

    offset: int
    old: bytes
    size: int


@dataclass(slots=True)
class Node:
    """A file or a directory. `names` are those of a directory; `unsynced` the changes of a file, in order."""

    number: int
    mode: int
    is_directory: bool
    changed_at: float
    data: bytearray = field(default_factory=bytearray)
    unsynced: list[Change] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    durable_names: dict[str, int] = field(default_factory=dict)
    links: int = 0
    opens: int = 0

    def sync(self) -> None:
        """Everything up to now survives."""
        self.unsynced.clear()
        self.durable_names = dict(self.names)


class Volume:
    """The tree. `capacity` is in bytes; beyond it writes fail with ENOSPC."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self.nodes: dict[int, Node] = {ROOT: Node(ROOT, 0o755, is_directory=True, changed_at=0.0)}
        self._next = ROOT + 1

    def node(self, number: int) -> Node:
        """By its number; raises VolumeError(ESTALE)."""
        node = self.nodes.get(number)
        if node is None:
            raise VolumeError(errno.ESTALE)
        return node

    def look_up(self, parent: int, name: str) -> Node:
        """A name in a directory; raises VolumeError(ENOENT)."""
        number = self._directory(parent).names.get(name)
        if number is None:
            raise VolumeError(errno.ENOENT)
        return self.node(number)

    def _directory(self, number: int) -> Node:
        node = self.node(number)
        if not node.is_directory:
            raise VolumeError(errno.ENOTDIR)
        return node

    def create(self, parent: int, name: str, mode: int, now: float, *, directory: bool = False) -> Node:
        """A new empty file or directory; raises VolumeError(EEXIST)."""
        into = self._directory(parent)
        if name in into.names:
            raise VolumeError(errno.EEXIST)
        node = Node(self._next, mode, is_directory=directory, changed_at=now)
        self.nodes[node.number] = node
        self._next += 1
        self._link(into, name, node)
        return node

    def _link(self, into: Node, name: str, node: Node) -> None:
        into.names[name] = node.number
        node.links += 1
        if into.number == ROOT:
            into.durable_names[name] = node.number  # what is mounted was there before the power came

    def remove(self, parent: int, name: str, *, directory: bool = False) -> None:
        """Take a name away; raises VolumeError(ENOENT, ENOTEMPTY, EISDIR, ENOTDIR)."""
        node = self.look_up(parent, name)
        if directory != node.is_directory:
            raise VolumeError(errno.ENOTDIR if directory else errno.EISDIR)
        if node.names:
            raise VolumeError(errno.ENOTEMPTY)
        del self._directory(parent).names[name]
        node.links -= 1

    def rename(self, parent: int, name: str, target: int, new_name: str) -> None:
        """Replace `new_name` by `name`; raises VolumeError(ENOENT, ENOTEMPTY, EISDIR)."""
        node = self.look_up(parent, name)
        into = self._directory(target)
        if into.names.get(new_name) == node.number:
            return
        if new_name in into.names:
            self.remove(target, new_name, directory=node.is_directory)
        del self._directory(parent).names[name]
        node.links -= 1
        self._link(into, new_name, node)

    def write(self, number: int, offset: int, data: bytes | memoryview, now: float) -> None:
        """Write to a file; raises VolumeError(ENOSPC). Without bytes nothing changes, as in pwrite(2)."""
        node = self.node(number)
        if not data:
            return
        size, end = len(node.data), offset + len(data)
        self._take(max(0, end - size))
        node.unsynced.append(Change(min(offset, size), bytes(node.data[offset:end]), size))
        if offset > size:
            node.data.extend(bytes(offset - size))
        node.data[offset:end] = data
        node.changed_at = now

    def truncate(self, number: int, size: int, now: float) -> None:
        """Make a file that long; raises VolumeError(ENOSPC)."""
        node = self.node(number)
        before = len(node.data)
        if size == before:
            return
        self._take(size - before)
        node.unsynced.append(Change(min(size, before), bytes(node.data[size:]), before))
        if size < before:
            del node.data[size:]
        else:
            node.data.extend(bytes(size - before))
        node.changed_at = now

    def _take(self, size: int) -> None:
        if size > 0 and self.used + size > self.capacity:
            raise VolumeError(errno.ENOSPC)
        self.used += size

    def collect(self) -> None:
        """Forget what neither has a name, nor had one that is durable, nor is open."""
        durable = {number for node in self.nodes.values() for number in node.durable_names.values()}
        for node in list(self.nodes.values()):
            if node.number != ROOT and not node.links and not node.opens and node.number not in durable:
                self.used -= len(node.data)
                del self.nodes[node.number]

    def power_cut(self, name: str, rng: Random) -> int:
        """All below `name` in the root is as it would be found afterwards; returns how many changes are gone.

        Of each file's unsynced changes all, or the later ones, are lost; the first lost one may be torn.
        """
        lost = 0
        for node in list(self._below(self.look_up(ROOT, name))):
            lost += self._lose_names(node) if node.is_directory else self._lose_changes(node, rng)
            node.opens = 0
        self._count_links()
        self.collect()
        return lost

    def _below(self, node: Node) -> Iterator[Node]:
        yield node
        for number in {*node.names.values(), *node.durable_names.values()}:
            if number in self.nodes:
                yield from self._below(self.nodes[number])

    def _lose_names(self, node: Node) -> int:
        lost = len(node.names.items() ^ node.durable_names.items())
        node.names = dict(node.durable_names)
        return lost

    def _lose_changes(self, node: Node, rng: Random) -> int:
        changes = node.unsynced
        kept = rng.choice([0, 0, rng.randint(0, len(changes))])
        torn = kept < len(changes) and rng.random() < 0.3
        after = bytes(node.data)
        self.used -= len(node.data)
        for change in reversed(changes[kept:]):
            after = bytes(node.data)
            node.data[change.offset : change.offset + len(change.old)] = change.old
            del node.data[change.size :]
        if torn and len(after) > len(node.data):
            # The first change that is lost was on its way: its beginning is there, and some of what it added.
            size = rng.randint(len(node.data), len(after))
            if size > len(node.data):
                node.data[:] = after[:size]
        self.used += len(node.data)
        lost = len(changes) - kept
        node.unsynced.clear()
        return lost

    def _count_links(self) -> None:
        for node in self.nodes.values():
            node.links = 0
        for node in list(self.nodes.values()):
            for number in node.names.values():
                self.nodes[number].links += 1
