"""IncrementalAlterConfigs: operations, limits, errors."""

from __future__ import annotations

import pytest

from kafkawire.errors import ErrorCode
from metadata.controller.commands import (
    AlterConfigOp,
    AlterConfigsResource,
    AlterConfigsResult,
    ConfigAlteration,
    IncrementalAlterConfigs,
    IncrementalAlterConfigsReply,
)
from metadata.records import ConfigRecord, ConfigResourceType

TOPIC, BROKER, GROUP = 2, 4, 32
SET, DELETE, APPEND, SUBTRACT = AlterConfigOp


def alter(
    cluster, *resources: AlterConfigsResource, validate_only: bool = False
) -> tuple[AlterConfigsResult, ...]:
    reply = cluster.ask(IncrementalAlterConfigs(resources, validate_only))
    assert isinstance(reply, IncrementalAlterConfigsReply)
    return reply.resources


def on_topic(*ops: ConfigAlteration) -> AlterConfigsResource:
    return AlterConfigsResource(TOPIC, "t", ops)


def on_group(*ops: ConfigAlteration) -> AlterConfigsResource:
    return AlterConfigsResource(GROUP, "g", ops)


@pytest.fixture
def scene(cluster):
    cluster.create("t", (1,), retention_ms="1000")
    return cluster


def test_set_and_delete(scene):
    alter(scene, on_topic(ConfigAlteration("segment.bytes", SET, "2000000")))
    assert scene.image.configs.topic("t") == {"retention.ms": "1000", "segment.bytes": "2000000"}
    alter(scene, on_topic(ConfigAlteration("retention.ms", DELETE), ConfigAlteration("flush.ms", SET, "5")))
    assert scene.image.configs.topic("t") == {"segment.bytes": "2000000", "flush.ms": "5"}


def test_what_changes_nothing_leaves_no_record(scene):
    before = scene.image
    alter(
        scene, on_topic(ConfigAlteration("retention.ms", SET, "1000"), ConfigAlteration("flush.ms", DELETE))
    )
    assert scene.image is before


def test_append_and_subtract_start_from_the_value_in_effect(scene):
    alter(scene, on_topic(ConfigAlteration("cleanup.policy", APPEND, "compact")))
    assert scene.image.configs.topic("t")["cleanup.policy"] == "delete,compact"
    alter(scene, on_topic(ConfigAlteration("cleanup.policy", APPEND, "compact")))
    assert scene.image.configs.topic("t")["cleanup.policy"] == "delete,compact"
    alter(scene, on_topic(ConfigAlteration("cleanup.policy", SUBTRACT, "delete")))
    assert scene.image.configs.topic("t")["cleanup.policy"] == "compact"
    alter(scene, on_topic(ConfigAlteration("cleanup.policy", SUBTRACT, "compact")))
    assert scene.image.configs.topic("t")["cleanup.policy"] == ""


def test_one_bad_key_spoils_its_resource_and_no_other(scene):
    bad = on_topic(ConfigAlteration("flush.ms", SET, "5"), ConfigAlteration("segment.bytes", SET, "1"))
    good = AlterConfigsResource(BROKER, "", (ConfigAlteration("log.retention.ms", SET, "77"),))
    results = alter(scene, bad, good)
    assert [each.error_code for each in results] == [ErrorCode.INVALID_CONFIG, ErrorCode.NONE]
    assert scene.image.configs.topic("t") == {"retention.ms": "1000"}
    assert scene.image.configs.cluster_defaults["log.retention.ms"] == "77"


def test_validation_alone_changes_nothing(scene):
    before = scene.image
    results = alter(scene, on_topic(ConfigAlteration("flush.ms", SET, "5")), validate_only=True)
    assert results[0].error_code is ErrorCode.NONE
    assert scene.image is before


def test_configs_of_one_broker(scene):
    alter(scene, AlterConfigsResource(BROKER, "2", (ConfigAlteration("message.max.bytes", SET, "9000"),)))
    assert scene.image.configs.broker(2) == {"message.max.bytes": "9000"}
    assert scene.image.configs.broker(1) == {}


@pytest.mark.parametrize(
    "name",
    [
        *("background.threads", "log.cleaner.threads", "num.io.threads", "num.network.threads"),
        *("num.recovery.threads.per.data.dir", "num.replica.fetchers"),
        *("log.cleaner.backoff.ms", "log.cleaner.dedupe.buffer.size", "log.cleaner.io.buffer.size"),
        *("log.cleaner.io.max.bytes.per.second", "log.cleaner.io.buffer.load.factor"),
    ],
)
def test_threads_and_compaction_are_tuned_while_brokers_run_as_in_kafka(scene, name):
    for broker in ("1", ""):
        (result,) = alter(scene, AlterConfigsResource(BROKER, broker, (ConfigAlteration(name, SET, "5"),)))
        assert result.error_code is ErrorCode.NONE, result.error_message
    assert scene.image.configs.broker(1)[name] == scene.image.configs.cluster_defaults[name] == "5"


def test_all_brokers_and_the_controller_have_one_minimum_of_replicas(scene):
    change = ConfigAlteration("min.insync.replicas", SET, "2")
    (result,) = alter(scene, AlterConfigsResource(BROKER, "", (change,)))
    assert result.error_code is ErrorCode.NONE
    (result,) = alter(scene, AlterConfigsResource(BROKER, "1", (ConfigAlteration(change.name, DELETE),)))
    assert result.error_code is ErrorCode.NONE, "an earlier release may have left one"


def test_the_active_controllers_minimum_of_replicas_is_the_clusters_until_somebody_changes_it(make_cluster):
    cluster = make_cluster(static={"min.insync.replicas": "2"})
    assert cluster.image.configs.cluster_defaults == {"min.insync.replicas": "2"}
    before = cluster.image
    cluster.take_over(static={"min.insync.replicas": "3"})
    assert cluster.image is before
    change = ConfigAlteration("min.insync.replicas", SET, "1")
    alter(cluster, AlterConfigsResource(BROKER, "", (change,)))
    cluster.take_over()
    assert cluster.image.configs.cluster_defaults == {"min.insync.replicas": "1"}


def test_a_controller_takes_up_what_an_earlier_release_left_behind(make_cluster):
    cluster = make_cluster(static={"min.insync.replicas": "2"})
    cluster.start(1, 2)
    cluster.create("t", (1, 2))
    cluster.fence(2)
    assert cluster.partition().elr == (2,)
    cluster.inherit(
        ConfigRecord(ConfigResourceType.BROKER, "", "min.insync.replicas", None),
        ConfigRecord(ConfigResourceType.BROKER, "1", "min.insync.replicas", "1"),
        ConfigRecord(ConfigResourceType.BROKER, "1", "message.max.bytes", "9000"),
    )
    cluster.take_over(static={})
    assert cluster.image.configs.cluster_defaults == {"min.insync.replicas": "1"}
    assert cluster.image.configs.broker(1) == {"message.max.bytes": "9000"}
    assert cluster.partition().elr == (), "the leader may commit alone"


def test_a_group_has_configs_before_anybody_is_in_it(scene):
    change = ConfigAlteration("consumer.session.timeout.ms", SET, "50000")
    assert alter(scene, on_group(change))[0].error_code is ErrorCode.NONE
    assert scene.image.configs.group("g") == {"consumer.session.timeout.ms": "50000"}
    alter(scene, on_group(ConfigAlteration(change.name, DELETE)))
    assert scene.image.configs.group("g") == {}


def test_a_groups_times_are_judged_together(make_cluster):
    cluster = make_cluster(static={"group.consumer.min.session.timeout.ms": "100"})
    change = ConfigAlteration("consumer.session.timeout.ms", SET, "5000")
    (result,) = alter(cluster, on_group(change))
    assert result.error_code is ErrorCode.INVALID_CONFIG
    assert result.error_message == f"{change.name} must be greater than consumer.heartbeat.interval.ms"
    (result,) = alter(cluster, on_group(ConfigAlteration(change.name, SET, "5001")))
    assert result.error_code is ErrorCode.NONE


@pytest.mark.parametrize("replace", [False, True])
def test_the_clusters_minimum_of_replicas_is_never_gone(scene, replace):
    before = scene.image
    ops = () if replace else (ConfigAlteration("min.insync.replicas", DELETE),)
    command = IncrementalAlterConfigs((AlterConfigsResource(BROKER, "", ops),), replace=replace)
    (result,) = scene.ask(command).resources
    assert result.error_code is ErrorCode.INVALID_CONFIG
    assert "Cluster-level min.insync.replicas" in result.error_message
    assert scene.image is before


@pytest.mark.parametrize(
    ("resource", "code", "message"),
    [
        (AlterConfigsResource(TOPIC, "unknown"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "unknown"),
        (AlterConfigsResource(BROKER, "9"), ErrorCode.BROKER_ID_NOT_REGISTERED, "9"),
        (AlterConfigsResource(BROKER, "x"), ErrorCode.INVALID_REQUEST, "x"),
        (AlterConfigsResource(BROKER, "²"), ErrorCode.INVALID_REQUEST, "²"),
        (AlterConfigsResource(BROKER, "1" * 5000), ErrorCode.BROKER_ID_NOT_REGISTERED, ""),
        (
            on_group(ConfigAlteration("consumer.session.timeout.ms", SET, "44999")),
            ErrorCode.INVALID_CONFIG,
            "min",
        ),
        (
            on_group(ConfigAlteration("consumer.session.timeout.ms", SET, "60001")),
            ErrorCode.INVALID_CONFIG,
            "max",
        ),
        (
            on_group(ConfigAlteration("consumer.session.timeout.ms", SET, "soon")),
            ErrorCode.INVALID_CONFIG,
            "soon",
        ),
        (
            on_group(ConfigAlteration("consumer.heartbeat.interval.ms", SET, "4999")),
            ErrorCode.INVALID_CONFIG,
            "consumer.heartbeat.interval.ms must be greater than or equal to "
            "group.consumer.min.heartbeat.interval.ms",
        ),
        (
            on_group(ConfigAlteration("retention.ms", SET, "1")),
            ErrorCode.INVALID_CONFIG,
            "Unknown group config name: retention.ms",
        ),
        (AlterConfigsResource(GROUP, ""), ErrorCode.INVALID_REQUEST, "Default group resources"),
        (AlterConfigsResource(8, "1"), ErrorCode.INVALID_REQUEST, "8"),
        (AlterConfigsResource(77, "1"), ErrorCode.INVALID_REQUEST, "77"),
        (on_topic(ConfigAlteration("nonsense", SET, "1")), ErrorCode.INVALID_CONFIG, "nonsense"),
        (on_topic(ConfigAlteration("flush.ms", SET, "soon")), ErrorCode.INVALID_CONFIG, "flush.ms"),
        (on_topic(ConfigAlteration("flush.ms", SET, "-1")), ErrorCode.INVALID_CONFIG, "at least 0"),
        (on_topic(ConfigAlteration("flush.ms", SET, None)), ErrorCode.INVALID_REQUEST, "flush.ms"),
        (on_topic(ConfigAlteration("flush.ms", 9, "1")), ErrorCode.INVALID_REQUEST, "9"),
        (on_topic(ConfigAlteration("flush.ms", APPEND, "1")), ErrorCode.INVALID_CONFIG, "not LIST"),
        (
            on_topic(ConfigAlteration("flush.ms", SET, "1"), ConfigAlteration("flush.ms", SET, "2")),
            ErrorCode.INVALID_REQUEST,
            "duplicate",
        ),
        (
            on_topic(
                ConfigAlteration("min.compaction.lag.ms", SET, "10"),
                ConfigAlteration("max.compaction.lag.ms", SET, "9"),
            ),
            ErrorCode.INVALID_CONFIG,
            "max.compaction.lag.ms",
        ),
        (
            AlterConfigsResource(BROKER, "1", (ConfigAlteration("node.id", SET, "5"),)),
            ErrorCode.INVALID_REQUEST,
            "Cannot update these configs dynamically: node.id",
        ),
        (
            AlterConfigsResource(BROKER, "1", (ConfigAlteration("min.insync.replicas", SET, "1"),)),
            ErrorCode.INVALID_CONFIG,
            "Broker-level min.insync.replicas",
        ),
        (
            AlterConfigsResource(BROKER, "", (ConfigAlteration("nonsense", SET, "5"),)),
            ErrorCode.INVALID_CONFIG,
            "nonsense",
        ),
    ],
)
def test_what_cannot_be_is_refused(scene, resource, code, message):
    before = scene.image
    (result,) = alter(scene, resource)
    assert result.error_code is code
    assert message in (result.error_message or "")
    assert scene.image is before


def test_a_resource_stands_once(scene):
    before = scene.image
    change = on_topic(ConfigAlteration("flush.ms", SET, "5"))
    assert {each.error_code for each in alter(scene, change, change)} == {ErrorCode.INVALID_REQUEST}
    assert scene.image is before
