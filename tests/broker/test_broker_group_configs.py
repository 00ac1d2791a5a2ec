"""What single groups are given, and what members of KIP-848 groups notice of it."""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode

GROUP, SET, DELETE = 32, 0, 1
DYNAMIC_GROUP, DEFAULT = 8, 5
SESSION, HEARTBEAT = "consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"


def alter(wire: Any, name: str, *changes: tuple[str, int, str | None]) -> ErrorCode:
    configs = [
        {"name": key, "config_operation": operation, "value": value} for key, operation, value in changes
    ]
    resource = {"resource_type": GROUP, "resource_name": name, "configs": configs}
    response = wire.call(ApiKey.INCREMENTAL_ALTER_CONFIGS, 1, resources=[resource], validate_only=False)
    return ErrorCode(response.responses[0].error_code)


def described(wire: Any, name: str) -> Any:
    resource = {"resource_type": GROUP, "resource_name": name, "configuration_keys": None}
    response = wire.call(
        ApiKey.DESCRIBE_CONFIGS, 4, resources=[resource], include_synonyms=True, include_documentation=True
    )
    return response.results[0]


def listed(wire: Any) -> set[str]:
    found = wire.call(ApiKey.LIST_CONFIG_RESOURCES, 1, resource_types=[GROUP]).config_resources
    return {each.resource_name for each in found}


def values(wire: Any, name: str) -> dict[str, tuple[str, int]]:
    return {each.name: (each.value, each.config_source) for each in described(wire, name).configs}


def beat(wire: Any, group: str) -> Any:
    reply = wire.call(
        ApiKey.CONSUMER_GROUP_HEARTBEAT,
        1,
        group_id=group,
        member_id="m",
        member_epoch=0,
        instance_id=None,
        rack_id=None,
        rebalance_timeout_ms=30_000,
        subscribed_topic_names=["none"],
        subscribed_topic_regex=None,
        server_assignor=None,
        topic_partitions=[],
    )
    assert reply.error_code == ErrorCode.NONE
    return reply


def test_a_group_has_values_of_its_own(wire: Any) -> None:
    assert values(wire, "own") == {SESSION: ("45000", DEFAULT), HEARTBEAT: ("5000", DEFAULT)}
    assert alter(wire, "own", (HEARTBEAT, SET, "7000")) is ErrorCode.NONE
    assert values(wire, "own") == {SESSION: ("45000", DEFAULT), HEARTBEAT: ("7000", DYNAMIC_GROUP)}
    assert values(wire, "another")[HEARTBEAT] == ("5000", DEFAULT)
    synonyms = {each.name: [one.value for one in each.synonyms] for each in described(wire, "own").configs}
    assert synonyms == {SESSION: ["45000"], HEARTBEAT: ["7000", "5000"]}
    assert "own" in listed(wire)
    assert "another" not in listed(wire)
    assert alter(wire, "own", (HEARTBEAT, DELETE, None)) is ErrorCode.NONE
    assert "own" not in listed(wire)


def test_what_a_group_cannot_be_given(wire: Any) -> None:
    assert alter(wire, "g", (SESSION, SET, "1000")) is ErrorCode.INVALID_CONFIG
    assert alter(wire, "g", ("session.timeout.ms", SET, "50000")) is ErrorCode.INVALID_CONFIG
    assert alter(wire, "", (SESSION, SET, "50000")) is ErrorCode.INVALID_REQUEST
    assert described(wire, "").error_code == ErrorCode.INVALID_REQUEST


def test_members_are_told_of_their_groups_heartbeat_interval(wire: Any) -> None:
    found = wire.call(ApiKey.FIND_COORDINATOR, 4, key_type=0, coordinator_keys=["told"])
    assert found.coordinators[0].error_code == ErrorCode.NONE
    assert beat(wire, "told").heartbeat_interval_ms == 5000
    assert alter(wire, "told", (HEARTBEAT, SET, "9000")) is ErrorCode.NONE
    assert beat(wire, "told").heartbeat_interval_ms == 9000
