"""Who may do everything is told so, where a client asks what it may do."""

from __future__ import annotations

from typing import Any

import pytest

from kafkawire.apis import ApiKey
from kafkawire.authorized_operations import ON_CLUSTER, ON_GROUP, ON_TOPIC, bits
from kafkawire.errors import ErrorCode


@pytest.mark.parametrize("asked", [True, False])
def test_of_topics_and_the_cluster(wire: Any, topic: str, asked: bool) -> None:
    wanted = {"include_topic_authorized_operations": asked, "include_cluster_authorized_operations": asked}
    for version in (8, 10):
        answer = wire.call(ApiKey.METADATA, version, topics=[{"name": topic}], **wanted)
        assert answer.authorized_operations == (ON_CLUSTER if asked else None)
        assert answer.topics[0].authorized_operations == (ON_TOPIC if asked else None)
    answer = wire.call(ApiKey.DESCRIBE_CLUSTER, 1, include_cluster_authorized_operations=asked)
    assert answer.authorized_operations == (ON_CLUSTER if asked else None)


@pytest.fixture
def coordinated(wire: Any) -> None:
    """There is a coordinator for groups."""
    found = wire.call(ApiKey.FIND_COORDINATOR, 4, key_type=0, coordinator_keys=["any group"])
    assert found.coordinators[0].error_code == ErrorCode.NONE


@pytest.mark.usefixtures("coordinated")
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("version", [3, 6])
def test_of_groups(wire: Any, version: int, asked: bool) -> None:
    """Version 6 tells an error of a group that is not there."""
    (found,) = wire.call(
        ApiKey.DESCRIBE_GROUPS, version, groups=["not there"], include_authorized_operations=asked
    ).groups
    assert found.error_code == (ErrorCode.NONE if version < 6 else ErrorCode.GROUP_ID_NOT_FOUND)
    assert found.authorized_operations == (ON_GROUP if asked and version < 6 else None)


@pytest.mark.usefixtures("coordinated")
def test_where_a_message_has_a_number(wire: Any, topic: str) -> None:
    joined = wire.call(
        ApiKey.CONSUMER_GROUP_HEARTBEAT,
        1,
        group_id="described-group",
        member_id="one",
        member_epoch=0,
        rebalance_timeout_ms=10_000,
        subscribed_topic_names=[topic],
        topic_partitions=[],
    )
    assert joined.error_code == ErrorCode.NONE
    asked = {"topics": [{"name": topic}], "response_partition_limit": 10, "cursor": None}
    (described,) = wire.call(ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, **asked).topics
    assert (described.error_code, described.topic_authorized_operations) == (ErrorCode.NONE, bits(ON_TOPIC))
    for include, expected in ((True, bits(ON_GROUP)), (False, -(2**31))):
        (group,) = wire.call(
            ApiKey.CONSUMER_GROUP_DESCRIBE,
            1,
            group_ids=["described-group"],
            include_authorized_operations=include,
        ).groups
        assert group.error_code == ErrorCode.NONE
        assert group.authorized_operations == expected
