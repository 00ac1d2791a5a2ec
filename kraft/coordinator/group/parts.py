"""Much that a shard does by itself, cut into decisions whose records fit into a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

BYTES_AT_ONCE: Final = 250_000
"""Bytes of keys that one decision takes back at most, if the topic has so much room."""


def tombstone_size(*names: str) -> int:
    """Bytes, at most, of a record that takes back what was said of a key with these names in it."""
    # A character takes up to four bytes, a record some more.
    return 4 * sum(map(len, names)) + 64


def in_parts(items: Sequence[T], size: Callable[[T], int], largest: int) -> Iterator[Sequence[T]]:
    """`items` in parts of up to `largest` bytes, or of one that is larger."""
    start = taken = 0
    for index, each in enumerate(map(size, items)):
        if taken and taken + each > largest:
            yield items[start:index]
            start, taken = index, 0
        taken += each
    if taken:
        yield items[start:]
