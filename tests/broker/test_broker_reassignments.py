"""Elections and reassignments that are asked of one broker, and every reason to refuse them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from metadata.controller.commands import AlterConfigOp
from metadata.records import ConfigResourceType

PREFERRED, UNCLEAN = 0, 1


def elect(wire: Any, *partitions: tuple[str, int], kind: int = PREFERRED, version: int = 2) -> Any:
    topics = [{"topic": topic, "partitions": [index]} for topic, index in partitions]
    return wire.call(
        ApiKey.ELECT_LEADERS,
        version,
        election_type=kind,
        topic_partitions=topics or None,
        timeout_ms=5000,
    )


@pytest.mark.parametrize("version", [0, 1, 2])
def test_leaders_that_lead_need_no_election(wire: Any, topic: str, version: int) -> None:
    response = elect(wire, (topic, 0), (topic, 5), ("never-made", 0), version=version)
    assert response.error_code in (None, ErrorCode.NONE)
    found = {
        (each.topic, one.partition_id): one.error_code
        for each in response.replica_election_results
        for one in each.partition_result
    }
    assert found == {
        (topic, 0): ErrorCode.ELECTION_NOT_NEEDED,
        (topic, 5): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ("never-made", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }
    assert elect(wire, version=version).replica_election_results == []


def test_an_unclean_election_needs_a_partition_without_a_leader(wire: Any, topic: str) -> None:
    response = elect(wire, (topic, 0), kind=UNCLEAN)
    assert response.replica_election_results[0].partition_result[0].error_code == (
        ErrorCode.ELECTION_NOT_NEEDED
    )


@pytest.mark.parametrize("kind", [2, -1, 127])
def test_an_election_of_no_kind(wire: Any, topic: str, kind: int) -> None:
    response = elect(wire, (topic, 0), kind=kind)
    assert response.error_code == ErrorCode.INVALID_REQUEST
    (result,) = response.replica_election_results[0].partition_result
    assert result.error_code == ErrorCode.INVALID_REQUEST


def reassign(
    wire: Any, topic: str, replicas: list[int] | None, *, index: int = 0, version: int = 1, **options: Any
) -> Any:
    partition = {"partition_index": index, "replicas": replicas}
    response = wire.call(
        ApiKey.ALTER_PARTITION_REASSIGNMENTS,
        version,
        timeout_ms=5000,
        topics=[{"name": topic, "partitions": [partition]}],
        **options,
    )
    assert response.error_code == ErrorCode.NONE
    ((result,),) = [each.partitions for each in response.responses]
    assert (response.responses[0].name, result.partition_index) == (topic, index)
    return result


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    ("replicas", "index", "code"),
    [
        ([1], 0, ErrorCode.NONE),
        ([], 0, ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ([1, 1], 0, ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ([1, 2], 0, ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ([-1], 0, ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ([1], 7, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (None, 0, ErrorCode.NO_REASSIGNMENT_IN_PROGRESS),
        (None, -1, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)
def test_what_a_partition_can_be_moved_to(
    wire: Any, unharmed: str, replicas: list[int] | None, index: int, code: ErrorCode, version: int
) -> None:
    result = reassign(wire, unharmed, replicas, index=index, version=version)
    assert result.error_code == code
    assert (result.error_message is None) == (code is ErrorCode.NONE)


def test_a_topic_that_is_not_there_is_not_moved(wire: Any) -> None:
    assert reassign(wire, "never-made", [1]).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_nothing_moves(wire: Any, make_topic: Callable[..., str]) -> None:
    topic = make_topic(partitions=2)
    asked = [
        {"name": topic, "partition_indexes": [0, 1, 9, -1]},
        {"name": "never-made", "partition_indexes": [0]},
    ]
    for topics in (None, asked, []):
        response = wire.call(ApiKey.LIST_PARTITION_REASSIGNMENTS, 0, timeout_ms=5000, topics=topics)
        assert (response.error_code, response.topics) == (ErrorCode.NONE, [])


THROTTLES = (
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
)


def throttle(wire: Any, op: AlterConfigOp, value: str | None) -> Any:
    """What kafka-reassign-partitions asks for each broker, before a move and after it."""
    configs = [{"name": name, "config_operation": op, "value": value} for name in THROTTLES]
    resource = {"resource_type": ConfigResourceType.BROKER, "resource_name": "1", "configs": configs}
    asked = {"resources": [resource], "validate_only": False}
    (answer,) = wire.call(ApiKey.INCREMENTAL_ALTER_CONFIGS, 1, **asked).responses
    return answer.error_code


def throttles(wire: Any) -> list[str]:
    asked = {"resource_type": ConfigResourceType.BROKER, "resource_name": "1", "configuration_keys": None}
    (result,) = wire.call(ApiKey.DESCRIBE_CONFIGS, 4, resources=[asked]).results
    values = {each.name: each.value for each in result.configs}
    return [values[name] for name in THROTTLES]


def test_throttles_of_a_move_can_be_set_and_removed(wire: Any) -> None:
    unlimited = [str(2**63 - 1)] * len(THROTTLES)
    assert throttle(wire, AlterConfigOp.DELETE, None) == ErrorCode.NONE
    assert throttles(wire) == unlimited
    assert throttle(wire, AlterConfigOp.SET, "1000000") == ErrorCode.NONE
    assert throttles(wire) == ["1000000"] * len(THROTTLES)
    assert throttle(wire, AlterConfigOp.SET, "-1") == ErrorCode.INVALID_CONFIG
    assert throttle(wire, AlterConfigOp.DELETE, None) == ErrorCode.NONE
    assert throttles(wire) == unlimited
