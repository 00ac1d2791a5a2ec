"""The newest offset of every key in a part of a log, in bounded memory.

Keys are remembered by a hash of 128 bits, so that their length does not matter and nobody finds two that are
taken for one. Source: `org.apache.kafka.storage.internals.log.SkimpyOffsetMap`.
"""

from __future__ import annotations

from hashlib import blake2b

ENTRY_BYTES = 200
"""Memory that one key takes: the hash and the offset as objects, and their place in the table."""
_HASH_BYTES = 16


class KeyOffsets:
    """At most `memory` bytes of keys, one key at least. What was counted in ends before `end`."""

    __slots__ = ("_capacity", "_offsets", "end")

    def __init__(self, memory: int, end: int) -> None:
        self._capacity = max(1, memory // ENTRY_BYTES)
        self._offsets: dict[bytes, int] = {}
        self.end = end
        """Every record before it, and from where the counting began, was counted in."""

    def __len__(self) -> int:
        return len(self._offsets)

    def add(self, key: bytes, offset: int) -> bool:
        """Note that `key` stands at `offset`, which is past all before; False if there is no room for it."""
        offsets = self._offsets
        hashed = blake2b(key, digest_size=_HASH_BYTES).digest()
        if len(offsets) >= self._capacity and hashed not in offsets:
            return False
        offsets[hashed] = offset
        self.end = offset + 1
        return True

    def newest(self, key: bytes) -> int:
        """The last offset that was noted for `key`, -1 if none was."""
        return self._offsets.get(blake2b(key, digest_size=_HASH_BYTES).digest(), -1)
