"""What administrators ask of a broker: records deleted, configs replaced, features, brokers forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
DYNAMIC_TOPIC, DEFAULT = 1, 5


def delete(wire: Any, *wanted: tuple[str, int, int], version: int = 2) -> list[tuple[int, int]]:
    """(error, low watermark) for each of (topic, partition, offset)."""
    topics = [
        {"name": name, "partitions": [{"partition_index": index, "offset": offset}]}
        for name, index, offset in wanted
    ]
    response = wire.call(ApiKey.DELETE_RECORDS, version, topics=topics, timeout_ms=5000)
    return [(each.error_code, each.low_watermark) for topic in response.topics for each in topic.partitions]


# -- DeleteRecords --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1, 2])
def test_records_are_deleted(wire: Any, topic: str, batch: Callable[..., bytes], version: int) -> None:
    for value in (b"a", b"b", b"c"):
        wire.produce(topic, batch(value))
    assert delete(wire, (topic, 0, 2), version=version) == [(ErrorCode.NONE, 2)]
    assert [record.value for record in wire.read(topic, 2)] == [b"c"]
    assert wire.fetch_one(topic, 1).error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert delete(wire, (topic, 0, 1), version=version) == [(ErrorCode.NONE, 2)]
    assert delete(wire, (topic, 0, -1), version=version) == [(ErrorCode.NONE, 3)]
    earliest = wire.call(
        ApiKey.LIST_OFFSETS,
        5,
        topics=[{"name": topic, "partitions": [{"partition_index": 0, "timestamp": -2}]}],
    )
    assert earliest.topics[0].partitions[0].offset == 3
    assert wire.produce(topic, batch(b"d")).base_offset == 3


def test_the_last_offset_for_a_partition_counts(wire: Any, topic: str, batch: Callable[..., bytes]) -> None:
    for value in (b"a", b"b", b"c"):
        wire.produce(topic, batch(value))
    assert delete(wire, (topic, 0, 3), (topic, 0, 1)) == [(ErrorCode.NONE, 1)]


@pytest.mark.parametrize("offset", [2, -2, 2**63 - 1, -(2**63)])
def test_an_offset_that_is_not_there(wire: Any, unharmed: str, offset: int) -> None:
    assert delete(wire, (unharmed, 0, offset)) == [(ErrorCode.OFFSET_OUT_OF_RANGE, -1)]


def test_partitions_are_deleted_from_each_on_its_own(
    wire: Any, topic: str, make_topic: Callable[..., str], batch: Callable[..., bytes]
) -> None:
    wire.produce(topic, batch(b"a"))
    compacted = make_topic(cleanup_policy="compact")
    answers = delete(
        wire, (topic, 0, 1), (topic, 7, 0), ("never-made", 0, 0), (compacted, 0, 0), (topic, -1, 0)
    )
    assert sorted(answers) == [
        (ErrorCode.NONE, 1),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        (ErrorCode.POLICY_VIOLATION, -1),
    ]


def test_internal_topics_keep_their_records(wire: Any) -> None:
    wire.call(ApiKey.FIND_COORDINATOR, 4, key_type=0, coordinator_keys=["any"])
    assert delete(wire, ("__consumer_offsets", 0, -1)) == [(ErrorCode.INVALID_TOPIC_EXCEPTION, -1)]


# -- AlterConfigs ---------------------------------------------------------------------------------


def alter(
    wire: Any,
    kind: int,
    name: str,
    *configs: tuple[str, str | None],
    version: int = 2,
    validate_only: bool = False,
) -> Any:
    resource = {
        "resource_type": kind,
        "resource_name": name,
        "configs": [{"name": key, "value": value} for key, value in configs],
    }
    response = wire.call(ApiKey.ALTER_CONFIGS, version, resources=[resource], validate_only=validate_only)
    (result,) = response.responses
    return result


def overridden(wire: Any, name: str) -> dict[str, str]:
    asked = [{"resource_type": TOPIC, "resource_name": name, "configuration_keys": None}]
    (result,) = wire.call(ApiKey.DESCRIBE_CONFIGS, 4, resources=asked).results
    return {each.name: each.value for each in result.configs if each.config_source == DYNAMIC_TOPIC}


@pytest.mark.parametrize("version", [0, 1, 2])
def test_configs_are_replaced_as_a_whole(wire: Any, make_topic: Callable[..., str], version: int) -> None:
    topic = make_topic(retention_ms="1000", segment_ms="5000")
    assert alter(wire, TOPIC, topic, ("retention.ms", "2000"), version=version).error_code == ErrorCode.NONE
    assert overridden(wire, topic) == {"retention.ms": "2000"}
    result = alter(wire, TOPIC, topic, version=version, validate_only=True)
    assert result.error_code == ErrorCode.NONE
    assert overridden(wire, topic) == {"retention.ms": "2000"}
    assert alter(wire, TOPIC, topic, version=version).error_code == ErrorCode.NONE
    assert overridden(wire, topic) == {}


@pytest.mark.parametrize(
    ("kind", "name", "configs", "code"),
    [
        (TOPIC, None, [("retention.ms", "soon")], ErrorCode.INVALID_CONFIG),
        (TOPIC, None, [("no.such.key", "1")], ErrorCode.INVALID_CONFIG),
        (TOPIC, None, [("retention.ms", None)], ErrorCode.INVALID_REQUEST),
        (TOPIC, None, [("retention.ms", "1"), ("retention.ms", "2")], ErrorCode.INVALID_REQUEST),
        (TOPIC, "never-made", [("retention.ms", "1")], ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (BROKER, "1", [("node.id", "5")], ErrorCode.INVALID_REQUEST),
        (BROKER, "one", [], ErrorCode.INVALID_REQUEST),
        (77, "x", [], ErrorCode.INVALID_REQUEST),
    ],
)
def test_what_configs_cannot_be(
    wire: Any,
    make_topic: Callable[..., str],
    kind: int,
    name: str | None,
    configs: list[tuple[str, str | None]],
    code: ErrorCode,
) -> None:
    topic = make_topic(segment_ms="5000")
    result = alter(wire, kind, topic if name is None else name, *configs)
    assert result.error_code == code
    assert result.error_message
    assert overridden(wire, topic) == {"segment.ms": "5000"}


def test_a_resource_that_is_named_twice(wire: Any, topic: str) -> None:
    resource = {"resource_type": TOPIC, "resource_name": topic, "configs": []}
    response = wire.call(ApiKey.ALTER_CONFIGS, 2, resources=[resource] * 2, validate_only=False)
    assert [each.error_code for each in response.responses] == [ErrorCode.INVALID_REQUEST] * 2


# -- ListConfigResources --------------------------------------------------------------------------


def resources(wire: Any, *kinds: int, version: int = 1) -> set[tuple[int, str]]:
    response = wire.call(ApiKey.LIST_CONFIG_RESOURCES, version, resource_types=list(kinds))
    assert response.error_code == ErrorCode.NONE
    return {(each.resource_type, each.resource_name) for each in response.config_resources}


def test_resources_with_configs_are_listed(wire: Any, topic: str) -> None:
    everything = resources(wire)
    assert {(TOPIC, topic), (BROKER, "1"), (LOGGER, "1")} <= everything
    assert resources(wire, BROKER) == {(BROKER, "1")}
    assert resources(wire, TOPIC) == {each for each in everything if each[0] == TOPIC}
    assert resources(wire, METRICS, METRICS) == set()
    assert resources(wire, version=0) == set()


@pytest.mark.parametrize("kind", [0, 3, 64, -1, 127])
def test_a_kind_of_resource_that_there_is_not(wire: Any, kind: int) -> None:
    response = wire.call(ApiKey.LIST_CONFIG_RESOURCES, 1, resource_types=[TOPIC, kind])
    assert (response.error_code, response.config_resources) == (ErrorCode.UNSUPPORTED_VERSION, [])


# -- features and brokers -------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1, 2])
def test_no_feature_can_be_finalized(wire: Any, version: int) -> None:
    asked = [{"feature": "no.such.version", "max_version_level": 1}]
    response = wire.call(ApiKey.UPDATE_FEATURES, version, timeout_ms=5000, feature_updates=asked)
    assert response.error_code == ErrorCode.INVALID_UPDATE_VERSION
    assert "no.such.version" in response.error_message
    nothing = wire.call(ApiKey.UPDATE_FEATURES, version, timeout_ms=5000, feature_updates=[])
    assert nothing.error_code == ErrorCode.NONE


@pytest.mark.parametrize("broker_id", [2, -1, 2**31 - 1])
def test_a_broker_that_is_not_registered_cannot_be_forgotten(wire: Any, broker_id: int) -> None:
    response = wire.call(ApiKey.UNREGISTER_BROKER, 0, broker_id=broker_id)
    assert response.error_code == ErrorCode.BROKER_ID_NOT_REGISTERED
    assert str(broker_id) in response.error_message


def test_no_fenced_broker_is_described(wire: Any) -> None:
    for asked in (False, True):
        response = wire.call(ApiKey.DESCRIBE_CLUSTER, 2, include_fenced_brokers=asked)
        assert [(each.broker_id, each.is_fenced) for each in response.brokers] == [(1, False)]


# -- AlterReplicaLogDirs --------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_replicas_lie_where_they_are(wire: Any, topic: str, version: int) -> None:
    (here,) = (each.log_dir for each in wire.call(ApiKey.DESCRIBE_LOG_DIRS, 1, topics=[]).results)

    def place(path: str, name: str, *indexes: int) -> list[int]:
        asked = [{"path": path, "topics": [{"name": name, "partitions": list(indexes)}]}]
        response = wire.call(ApiKey.ALTER_REPLICA_LOG_DIRS, version, dirs=asked)
        assert [each.topic_name for each in response.results] == [name]
        return [each.error_code for each in response.results[0].partitions]

    assert place(here, topic, 0, 1) == [ErrorCode.NONE, ErrorCode.REPLICA_NOT_AVAILABLE]
    assert place(here, "never-made", 0) == [ErrorCode.REPLICA_NOT_AVAILABLE]
    assert place("/no/such/directory", topic, 0) == [ErrorCode.LOG_DIR_NOT_FOUND]
    assert place("", topic, 0) == [ErrorCode.LOG_DIR_NOT_FOUND]
