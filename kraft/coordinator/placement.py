"""Which partition of an internal topic a group or a transactional id belongs to: the same one as in Kafka, so
that its tools look in the right place."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_KNOWN_KEYS: Final = 16_384
_LONGEST_KNOWN: Final = 512
"""Keys whose partition is remembered, and characters of the longest: clients choose them."""


def java_hash(text: str) -> int:
    """`String.hashCode`: over UTF-16 units, as a signed 32-bit number."""
    encoded = text.encode("utf-16-be", "surrogatepass")
    value = 0
    for high, low in zip(encoded[::2], encoded[1::2], strict=True):
        value = (31 * value + (high << 8 | low)) & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def partition_of(key: str, count: int) -> int:
    """The partition of `key` in a topic of `count` partitions (`Utils.abs(key.hashCode()) % count`)."""
    return _known(key, count) if len(key) <= _LONGEST_KNOWN else _hashed(key, count)


def _hashed(key: str, count: int) -> int:
    value = java_hash(key)
    return 0 if value == -(1 << 31) else abs(value) % count


_known = lru_cache(_KNOWN_KEYS)(_hashed)
