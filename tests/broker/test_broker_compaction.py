"""A compacted topic on a real broker: what is replaced goes, and what cannot be compacted is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kafkawire.compression import Compression
from kafkawire.errors import ErrorCode
from kafkawire.records import Record, build_batch

TIMEOUT = 15.0
EARLIER_MS = time.time_ns() // 1_000_000 - 1_000_000


def put(wire: Any, topic: str, number: int, *pairs: tuple[bytes, bytes | None], **options: Any) -> None:
    """Each batch is a second younger than the one before, so that it begins a segment."""
    when = EARLIER_MS + 1000 * number
    result = wire.produce(topic, build_batch([(when, key, value) for key, value in pairs], **options))
    assert result.error_code == ErrorCode.NONE, result


def read_all(wire: Any, topic: str, end: int) -> list[Record]:
    """What a consumer that begins at 0 reads: it goes on behind the last batch, gaps or not."""
    found: list[Record] = []
    while not found or found[-1].offset < end - 1:
        found += wire.read(topic, found[-1].offset + 1 if found else 0)
    return found


def test_old_values_go_and_the_newest_stay_where_they_are(wire: Any, make_topic: Callable[..., str]) -> None:
    topic = make_topic(cleanup_policy="compact", segment_ms="500", min_cleanable_dirty_ratio="0.01")
    for number in range(10):
        put(wire, topic, number, (b"a", b"%d" % number), (b"b", b"%d" % number), compression=Compression.LZ4)
    put(wire, topic, 10, (b"a", None), (b"c", b"last"))
    put(wire, topic, 11, (b"d", b"in the active segment"))
    expected = [(19, b"b", b"9"), (20, b"a", None), (21, b"c", b"last"), (22, b"d", b"in the active segment")]
    deadline = time.monotonic() + TIMEOUT
    while (found := read_all(wire, topic, 23)) and len(found) > len(expected):
        assert time.monotonic() < deadline, f"still there: {found}"
    assert [(record.offset, record.key, record.value) for record in found] == expected
    assert wire.fetch_one(topic, 3).error_code == ErrorCode.NONE, "an offset in a gap can be asked for"


def test_a_record_without_a_key_is_refused(wire: Any, make_topic: Callable[..., str], batch: Any) -> None:
    topic = make_topic(cleanup_policy="compact,delete")
    result = wire.produce(topic, batch(b"no key"))
    assert result.error_code == ErrorCode.INVALID_RECORD
    assert "key" in result.error_message
    assert wire.fetch_one(topic, 0).high_watermark == 0
