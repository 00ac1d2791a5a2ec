"""Keys land on the partitions on which Java puts them, and are not remembered whatever they are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from kraft.coordinator.group.formats import decode_key, encode_group_key, encode_offset_key
from kraft.coordinator.placement import java_hash, partition_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("a", 97),
        ("hello", 99162322),
        ("polygenelubricants", -2147483648),
        ("ü", 252),
        ("😀", 1772899),
    ],
)
def test_the_hash_is_javas(text: str, expected: int) -> None:
    assert java_hash(text) == expected


def test_the_smallest_number_has_no_absolute_value() -> None:
    assert partition_of("polygenelubricants", 50) == 0


def test_a_negative_hash_counts_by_its_absolute_value() -> None:
    key = next(
        f"transactional-id-{number}"
        for number in range(100_000)
        if java_hash(f"transactional-id-{number}") < 0
    )
    assert partition_of(key, 7) == -java_hash(key) % 7


@pytest.mark.parametrize(
    "look",
    [
        lambda name: partition_of(name, 50),
        lambda name: decode_key(encode_offset_key(name, "t", 0)),
        lambda name: decode_key(encode_group_key(name)),
    ],
)
def test_long_names_are_not_remembered(look: Callable[[str], object]) -> None:
    count, length = 100, 20_000
    tracemalloc.start()
    try:
        for number in range(count):
            look(f"{number:0{length}}")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 0.1 * count * length
