"""Names with their length, whose encodings are kept."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from kafkawire.primitives import compact_string, plain_string


def test_names_follow_their_length_in_bytes() -> None:
    for _ in range(2):
        assert plain_string("tópico") == b"\x00\x07t\xc3\xb3pico"
        assert compact_string("tópico") == b"\x08t\xc3\xb3pico"


@pytest.mark.parametrize("encode", [plain_string, compact_string])
@pytest.mark.parametrize(("count", "length", "most"), [(100, 30_000, 300_000), (60_000, 50, 8_000_000)])
def test_what_is_kept_of_names_is_bounded(
    encode: Callable[[str], bytes], count: int, length: int, most: int
) -> None:
    tracemalloc.start()
    try:
        for number in range(count):
            encode(f"{number:0{length}}")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < most
