"""Fetch: positions, limits, waiting, sessions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from kafkawire.apis import ApiKey
from kafkawire.compression import Compression
from kafkawire.errors import ErrorCode
from kafkawire.offset_positions import EARLIEST
from kafkawire.records import headers

Batch = Callable[..., bytes]
NEW_SESSION = (0, 0)


@pytest.mark.parametrize("version", range(4, 19))
def test_every_version_of_fetch(wire: Any, unharmed: str, version: int) -> None:
    topic = wire.topic_id(unharmed) if version >= 13 else unharmed
    result = wire.fetch_one(topic, 0, version=version)
    assert result.topic == topic
    assert (result.error_code, result.high_watermark, result.last_stable_offset) == (0, 1, 1)
    assert [record.value for record in wire.records_of(result)] == [b"before"]


@pytest.mark.parametrize("offset", [2, 1000, 2**62, -1, -2, -(2**63)])
def test_beyond_the_log_is_out_of_range(wire: Any, unharmed: str, offset: int) -> None:
    result = wire.fetch_one(unharmed, offset, max_wait_ms=60_000)
    assert (result.error_code, result.high_watermark) == (ErrorCode.OFFSET_OUT_OF_RANGE, -1)


def test_the_end_of_the_log_is_empty(wire: Any, unharmed: str) -> None:
    result = wire.fetch_one(unharmed, 1)
    assert (result.error_code, result.high_watermark, result.records.size) == (ErrorCode.NONE, 1, 0)


def test_unknown_topics_and_partitions(wire: Any, unharmed: str) -> None:
    parts = [("never-made", 0, 0), (unharmed, 7, 0), (unharmed, -1, 0), (unharmed, 0, 0)]
    results = wire.fetch(*parts, max_wait_ms=60_000).results
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert [result.error_code for result in results] == [unknown, unknown, unknown, ErrorCode.NONE]
    assert results[3].records.size > 0


@pytest.mark.parametrize(
    ("epoch", "code"),
    [(-1, ErrorCode.NONE), (0, ErrorCode.NONE), (1, ErrorCode.UNKNOWN_LEADER_EPOCH)],
)
def test_the_claimed_leader_epoch_is_checked(wire: Any, unharmed: str, epoch: int, code: ErrorCode) -> None:
    assert wire.fetch_one(unharmed, 0, epoch=epoch, version=9).error_code == code


@pytest.mark.parametrize("replica_id", [0, 1, 5, 2**31 - 1])
def test_who_pretends_to_be_a_replica_is_refused(
    connect: Any, unharmed: str, batch: Batch, replica_id: int
) -> None:
    """It would move the high watermark."""
    wire = connect()
    wire.send_fetch([(unharmed, 0, 1)], replica_id=replica_id)
    assert wire.is_closed()


def test_a_fetch_from_inside_a_batch_brings_the_whole(wire: Any, topic: str, batch: Batch) -> None:
    wire.produce(topic, batch(b"0", b"1", b"2"))
    wire.produce(topic, batch(b"3"))
    assert [record.offset for record in wire.read(topic, 2)] == [0, 1, 2, 3]


# -- limits ---------------------------------------------------------------------------------------


def test_at_least_one_batch_comes_however_large(wire: Any, topic: str, batch: Batch) -> None:
    for letter in (b"a", b"b"):
        wire.produce(topic, batch(letter * 5000))
    for limits in ({"partition_max_bytes": 1}, {"max_bytes": 1}, {"max_bytes": 0, "partition_max_bytes": 0}):
        assert [record.value for record in wire.read(topic, **limits)] == [b"a" * 5000]


def test_max_bytes_counts_over_all_partitions(wire: Any, make_topic: Any, batch: Batch) -> None:
    topic = make_topic(partitions=3)
    size = len(batch(bytes(5000)))
    for partition in range(3):
        wire.produce(topic, batch(bytes(5000)), partition=partition)
        wire.produce(topic, batch(bytes(5000)), partition=partition)
    parts = [(topic, partition, 0) for partition in range(3)]

    def sizes(**limits: int) -> list[int]:
        return [result.records.size // size for result in wire.fetch(*parts, **limits).results]

    assert sizes() == [2, 2, 2]
    assert sizes(max_bytes=size * 3) == [2, 1, 0]
    assert sizes(partition_max_bytes=size) == [1, 1, 1]
    assert sizes(partition_max_bytes=size - 1) == [1, 0, 0]
    assert sizes(max_bytes=1) == [1, 0, 0]


def test_fetch_max_bytes_bounds_what_a_client_may_ask(wire: Any, topic: str, batch: Batch) -> None:
    """The broker under test gives 4,000,000 bytes at most."""
    for _ in range(8):
        wire.produce(topic, batch(bytes(900_000)))
    asked = 2**31 - 1
    result = wire.fetch_one(topic, 0, max_bytes=asked, partition_max_bytes=asked)
    assert result.records.size == 4 * len(batch(bytes(900_000)))


# -- waiting --------------------------------------------------------------------------------------


def test_an_empty_fetch_waits_for_max_wait(wire: Any, topic: str) -> None:
    began = time.monotonic()
    assert wire.fetch_one(topic, 0, max_wait_ms=300).records.size == 0
    assert 0.29 <= time.monotonic() - began < 10


def look_up_both(wire: Any, topic: str) -> None:
    """Ask where the topic's two partitions begin."""
    partitions = [{"partition_index": index, "timestamp": EARLIEST} for index in range(2)]
    asked = [{"name": topic, "partitions": partitions}]
    wire.call(ApiKey.LIST_OFFSETS, 7, replica_id=-1, isolation_level=0, topics=asked)


def test_a_fetch_of_some_of_the_partitions_looked_up_does_not_hold_up_the_others(
    wire: Any, make_topic: Any
) -> None:
    topic = make_topic(partitions=2)
    look_up_both(wire, topic)
    # The client has its answer for partition 0 first; nothing is ever written there.
    assert wire.fetch_one(topic, 0, max_wait_ms=60_000).records.size == 0
    began = time.monotonic()
    assert wire.fetch_one(topic, 0, max_wait_ms=300).records.size == 0, "it is said once"
    assert 0.29 <= time.monotonic() - began < 10
    look_up_both(wire, topic)
    began = time.monotonic()
    assert len(wire.fetch((topic, 0, 0), (topic, 1, 0), max_wait_ms=300).results) == 2, "it has them all"
    assert 0.29 <= time.monotonic() - began < 10


def test_a_waiting_fetch_is_answered_by_an_append(connect: Any, topic: str, batch: Batch) -> None:
    reader, writer = connect(), connect()
    number = reader.send_fetch([(topic, 0, 0)], max_wait_ms=60_000)
    writer.produce(topic, batch(b"news"))
    (result,) = reader.fetched(number).results
    assert [record.value for record in reader.records_of(result)] == [b"news"]


def test_min_bytes_gathers(connect: Any, topic: str, batch: Batch) -> None:
    reader, writer = connect(), connect()
    number = reader.send_fetch([(topic, 0, 0)], max_wait_ms=60_000, min_bytes=4000)
    for _ in range(5):
        writer.produce(topic, batch(bytes(900)))
    (result,) = reader.fetched(number).results
    assert 4000 <= result.records.size <= 5 * len(batch(bytes(900)))


def test_min_bytes_gives_up_after_max_wait(wire: Any, topic: str, batch: Batch) -> None:
    wire.produce(topic, batch(b"little"))
    began = time.monotonic()
    assert wire.fetch_one(topic, 0, max_wait_ms=200, min_bytes=1_000_000).records.size > 0
    assert time.monotonic() - began >= 0.19


@pytest.mark.parametrize(
    "limits",
    [
        {"min_bytes": 1_000_000, "partition_max_bytes": 1_000_000},
        {"min_bytes": 3_000_000, "max_bytes": 1_000_000},
        {"min_bytes": 2**31 - 1, "max_bytes": 2**31 - 1, "partition_max_bytes": 2**31 - 1},
        {"min_bytes": 2**31 - 1, "max_bytes": 1},
    ],
)
@pytest.mark.parametrize("isolation_level", [0, 1])
def test_nobody_waits_for_more_than_may_be_answered(
    wire: Any, topic: str, batch: Batch, limits: dict[str, int], isolation_level: int
) -> None:
    """Batches of 700,000 bytes never fill a limit of 1,000,000, or the 4,000,000 of the broker under test."""
    for _ in range(6):
        wire.produce(topic, batch(bytes(700_000)))
    result = wire.fetch_one(topic, 0, max_wait_ms=60_000, isolation_level=isolation_level, **limits)
    assert result.records.size >= 700_000


def test_min_bytes_gathers_from_all_partitions(wire: Any, make_topic: Any, batch: Batch) -> None:
    topic = make_topic(partitions=2)
    for partition in range(2):
        wire.produce(topic, batch(bytes(600)), partition=partition)
        wire.produce(topic, batch(bytes(600)), partition=partition)
    parts = [(topic, partition, 0) for partition in range(2)]
    assert wire.fetch(*parts, max_wait_ms=60_000, min_bytes=2000, partition_max_bytes=1000).results
    began = time.monotonic()
    assert wire.fetch(*parts, max_wait_ms=200, min_bytes=2001, partition_max_bytes=1000).results
    assert time.monotonic() - began >= 0.19


def test_a_waiting_fetch_ends_when_its_topic_is_deleted(
    connect: Any, topic: str, delete_topic: Callable[[str], None]
) -> None:
    reader = connect()
    number = reader.send_fetch([(topic, 0, 0)], max_wait_ms=60_000)
    delete_topic(topic)
    (result,) = reader.fetched(number).results
    assert result.error_code in (
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
    )


def test_a_reader_that_goes_away_while_it_waits(connect: Any, unharmed: str, batch: Batch) -> None:
    for _ in range(20):
        reader = connect()
        reader.send_fetch([(unharmed, 0, 1)], max_wait_ms=2**31 - 1)
        reader.close()
    assert connect().produce(unharmed, batch(b"x")).error_code == ErrorCode.NONE


# -- sessions (KIP-227) ---------------------------------------------------------------------------


def test_a_session_tells_only_what_is_new(connect: Any, make_topic: Any, batch: Batch) -> None:
    wire, writer = connect(), connect()
    topic = make_topic(partitions=3)
    first = wire.fetch(*[(topic, partition, 0) for partition in range(3)], session=NEW_SESSION)
    assert first.session_id != 0
    assert [result.partition for result in first.results] == [0, 1, 2]
    assert wire.fetch(session=(first.session_id, 1)).results == []
    writer.produce(topic, batch(b"x"), partition=1)
    third = wire.fetch(session=(first.session_id, 2))
    assert [(result.partition, result.records.size > 0) for result in third.results] == [(1, True)]
    again = wire.fetch(session=(first.session_id, 3))
    assert [result.partition for result in again.results] == [1], "still wanted from where it was"
    assert wire.fetch((topic, 1, 1), session=(first.session_id, 4)).results == []


def test_forgotten_partitions_are_not_told_of(connect: Any, make_topic: Any, batch: Batch) -> None:
    wire, writer = connect(), connect()
    topic = make_topic(partitions=2)
    opened = wire.fetch((topic, 0, 0), (topic, 1, 0), session=NEW_SESSION)
    for partition in (0, 1):
        writer.produce(topic, batch(b"x"), partition=partition)
    told = wire.fetch(session=(opened.session_id, 1), forgotten=[(topic, 0)])
    assert [result.partition for result in told.results] == [1]


def test_a_wrong_epoch_or_id_is_told(wire: Any, unharmed: str) -> None:
    opened = wire.fetch((unharmed, 0, 0), session=NEW_SESSION)
    wrong = wire.fetch(session=(opened.session_id, 5))
    assert (wrong.error_code, wrong.results) == (ErrorCode.INVALID_FETCH_SESSION_EPOCH, [])
    unknown = wire.fetch(session=(opened.session_id + 1_000_000, 1))
    assert unknown.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert wire.fetch(session=(opened.session_id, 1)).error_code == ErrorCode.NONE, "it is still there"


def test_a_closed_session_is_gone(wire: Any, unharmed: str) -> None:
    opened = wire.fetch((unharmed, 0, 0), session=NEW_SESSION)
    closing = wire.fetch((unharmed, 0, 0), session=(opened.session_id, -1))
    assert (closing.error_code, closing.session_id, len(closing.results)) == (ErrorCode.NONE, 0, 1)
    after = wire.fetch(session=(opened.session_id, 1))
    assert after.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_without_a_session_everything_is_told(wire: Any, unharmed: str) -> None:
    for _ in range(2):
        told = wire.fetch((unharmed, 0, 1))
        assert (told.session_id, len(told.results)) == (0, 1)


def test_a_topic_stores_what_its_compression_type_says(wire: Any, make_topic: Any, batch: Batch) -> None:
    name = make_topic(compression_type="zstd")
    assert wire.produce(name, batch(b"plain")).error_code == ErrorCode.NONE
    assert wire.produce(name, batch(b"gzipped", compression=Compression.GZIP)).error_code == ErrorCode.NONE
    result = wire.fetch_one(name, 0, version=10)
    assert [header.compression for _, header in headers(result.records.view)] == [Compression.ZSTD] * 2
    assert [record.value for record in wire.records_of(result)] == [b"plain", b"gzipped"]


@pytest.mark.parametrize("version", [4, 9])
def test_versions_from_before_zstd_bring_it_as_others_do(
    wire: Any, make_topic: Any, batch: Batch, version: int
) -> None:
    name = make_topic(compression_type="zstd")
    assert wire.produce(name, batch(b"plain")).error_code == ErrorCode.NONE
    result = wire.fetch_one(name, 0, version=version)
    assert result.error_code == ErrorCode.NONE
    assert [header.compression for _, header in headers(result.records.view)] == [Compression.ZSTD]
