"""ListOffsets and OffsetForLeaderEpoch."""

from __future__ import annotations

import time
from typing import Any

import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.records import build_batch

START = 1_700_000_000_000


def list_offset(wire: Any, topic: str, timestamp: int, *, version: int = 11, **asked: Any) -> Any:
    response = wire.call(
        ApiKey.LIST_OFFSETS,
        version,
        replica_id=-1,
        isolation_level=asked.pop("isolation_level", 0),
        topics=[{"name": topic, "partitions": [{"partition_index": 0, "timestamp": timestamp} | asked]}],
        timeout_ms=1000,
    )
    return response.topics[0].partitions[0]


@pytest.fixture
def filled(wire: Any, topic: str) -> str:
    """Offsets 0 to 9 with timestamps START + 10, + 20, …, but 4 and 5 the other way round."""
    for first in range(0, 10, 2):
        times = [START + 10 * (offset + 1) for offset in (first, first + 1)]
        if first == 4:
            times.reverse()
        wire.produce(topic, build_batch([(each, None, b"x") for each in times]))
    return topic


@pytest.mark.parametrize("version", range(1, 12))
def test_the_ends_of_the_log(wire: Any, filled: str, version: int) -> None:
    latest = list_offset(wire, filled, -1, version=version)
    earliest = list_offset(wire, filled, -2, version=version)
    assert (latest.error_code, latest.offset, latest.timestamp) == (ErrorCode.NONE, 10, -1)
    assert (earliest.error_code, earliest.offset, earliest.timestamp) == (ErrorCode.NONE, 0, -1)
    if version >= 4:
        assert latest.leader_epoch == earliest.leader_epoch == 0


@pytest.mark.parametrize(
    ("timestamp", "offset", "found_at"),
    [
        (0, 0, START + 10),
        (START + 10, 0, START + 10),
        (START + 11, 1, START + 20),
        (START + 45, 4, START + 60),
        (START + 55, 4, START + 60),
        (START + 100, 9, START + 100),
        (START + 101, -1, -1),
    ],
)
def test_by_time_the_first_record_at_or_after_it(
    wire: Any, filled: str, timestamp: int, offset: int, found_at: int
) -> None:
    """Never an offset with a timestamp of -1: Java's consumer throws at that."""
    found = list_offset(wire, filled, timestamp)
    assert (found.error_code, found.offset, found.timestamp) == (ErrorCode.NONE, offset, found_at)


def test_the_largest_timestamp(wire: Any, topic: str) -> None:
    nothing = list_offset(wire, topic, -3)
    assert (nothing.error_code, nothing.offset, nothing.timestamp) == (ErrorCode.NONE, -1, -1)
    for offset in (5, 99, 7):
        wire.produce(topic, build_batch([(START + offset, None, b"x")]))
    found = list_offset(wire, topic, -3)
    assert (found.offset, found.timestamp) == (1, START + 99)


def test_tiers_there_are_none(wire: Any, filled: str) -> None:
    assert list_offset(wire, filled, -4).offset == 0
    for timestamp in (-5, -6):
        nothing = list_offset(wire, filled, timestamp)
        assert (nothing.error_code, nothing.offset) == (ErrorCode.NONE, -1)


@pytest.mark.parametrize(
    ("timestamp", "version"),
    [(-3, 6), (-4, 7), (-5, 8), (-6, 10), (-7, 11), (-100, 11), (-(2**63), 11)],
)
def test_positions_that_a_version_does_not_know(wire: Any, filled: str, timestamp: int, version: int) -> None:
    found = list_offset(wire, filled, timestamp, version=version)
    assert (found.error_code, found.offset) == (ErrorCode.UNSUPPORTED_VERSION, -1)
    if timestamp >= -6:
        assert list_offset(wire, filled, timestamp, version=version + 1).error_code == ErrorCode.NONE


def test_read_committed_ends_where_read_uncommitted_does_without_transactions(wire: Any, filled: str) -> None:
    assert list_offset(wire, filled, -1, isolation_level=1).offset == 10


def test_offsets_of_what_is_not_there(wire: Any, filled: str) -> None:
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert list_offset(wire, "never-made", -1).error_code == unknown
    assert list_offset(wire, filled, -1, partition_index=1).error_code == unknown
    assert list_offset(wire, filled, -1, current_leader_epoch=9).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH


def test_a_partition_that_is_named_twice_is_refused(wire: Any, filled: str) -> None:
    asked = {"name": filled, "partitions": [{"partition_index": 0, "timestamp": each} for each in (-1, -2)]}
    for topics in ([asked], [asked | {"partitions": [each]} for each in asked["partitions"]]):
        answer = wire.call(ApiKey.LIST_OFFSETS, 11, replica_id=-1, isolation_level=0, topics=topics)
        told = [(topic.name, part) for topic in answer.topics for part in topic.partitions]
        assert [(name, part.partition_index, part.error_code, part.offset) for name, part in told] == [
            (filled, 0, ErrorCode.INVALID_REQUEST, -1)
        ]


def epoch_end(wire: Any, topic: str, epoch: int, *, version: int = 4, **asked: Any) -> Any:
    partition = {"partition": 0, "current_leader_epoch": -1, "leader_epoch": epoch} | asked
    response = wire.call(
        ApiKey.OFFSET_FOR_LEADER_EPOCH,
        version,
        replica_id=-1,
        topics=[{"topic": topic, "partitions": [partition]}],
    )
    return response.topics[0].partitions[0]


@pytest.mark.parametrize("version", [2, 3, 4])
def test_where_an_epoch_ends(wire: Any, filled: str, version: int) -> None:
    found = epoch_end(wire, filled, 0, version=version)
    assert (found.error_code, found.leader_epoch, found.end_offset) == (ErrorCode.NONE, 0, 10)


def test_epochs_of_what_is_not_there(wire: Any, filled: str) -> None:
    later = epoch_end(wire, filled, 5)
    assert (later.error_code, later.leader_epoch, later.end_offset) == (ErrorCode.NONE, -1, -1)
    assert epoch_end(wire, "never-made", 0).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert epoch_end(wire, filled, 0, partition=3).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    ahead = epoch_end(wire, filled, 0, current_leader_epoch=1)
    assert ahead.error_code == ErrorCode.UNKNOWN_LEADER_EPOCH


def test_what_is_appended_now_has_a_time_of_now(wire: Any, topic: str, batch: Any) -> None:
    before = time.time_ns() // 1_000_000
    wire.produce(topic, batch(b"x"))
    assert list_offset(wire, topic, before).offset == 0
