"""Creating, deleting and growing topics: results, limits, and the errors that Kafka gives."""

from __future__ import annotations

from uuid import UUID

import pytest

from kafkawire.errors import ErrorCode
from metadata.config_keys import ConfigSource
from metadata.controller.commands import (
    ConfigEntry,
    CreatePartitions,
    CreatePartitionsReply,
    CreateTopicResult,
    CreateTopics,
    CreateTopicsReply,
    DeleteTopics,
    DeleteTopicsReply,
    NewPartitions,
    NewTopic,
    ReplicaAssignment,
)
from tests.counted_calls import calls_of


def assigned(*replicas: tuple[int, ...]) -> tuple[ReplicaAssignment, ...]:
    return tuple(ReplicaAssignment(number, each) for number, each in enumerate(replicas))


def create(cluster, *topics: NewTopic, **flags: bool) -> tuple[CreateTopicResult, ...]:
    before = cluster.image
    reply = cluster.ask(CreateTopics(topics, **flags))
    assert isinstance(reply, CreateTopicsReply)
    if all(each.error_code is not ErrorCode.NONE for each in reply.topics):
        assert cluster.image is before, "a refused topic leaves no records"
    return reply.topics


def test_a_topic_is_created_with_its_partitions_and_configs(cluster):
    topic = NewTopic("t", 4, 3, configs=(ConfigEntry("retention.ms", "1000"),))
    (result,) = create(cluster, topic)
    assert (result.error_code, result.num_partitions, result.replication_factor) == (ErrorCode.NONE, 4, 3)
    configs = {each.name: each for each in result.configs}
    assert (configs["retention.ms"].value, configs["retention.ms"].source) == (
        "1000",
        ConfigSource.DYNAMIC_TOPIC_CONFIG,
    )
    assert configs["segment.bytes"].source == ConfigSource.DEFAULT_CONFIG
    image = cluster.image.topics.by_name["t"]
    assert image is cluster.image.topics.by_id[result.topic_id]
    assert image.topic_id.version == 4
    assert len(image.partitions) == 4
    for partition in image.partitions:
        assert partition.isr == partition.replicas
        assert partition.leader == partition.preferred_leader
        assert (partition.leader_epoch, partition.partition_epoch) == (0, 0)
    assert cluster.image.configs.topic("t") == {"retention.ms": "1000"}


def test_many_topics_at_once_are_compared_with_the_others_in_one_pass(cluster):
    create(cluster, *(NewTopic(f"old.{number:04d}", 1, 1) for number in range(300)))
    results = []
    looks = calls_of(
        lambda: results.extend(
            create(cluster, *(NewTopic(f"new.{number:04d}", 1, 1) for number in range(100)))
        ),
        builtin="replace",
    )
    assert {result.error_code for result in results} == {ErrorCode.NONE}
    assert looks < 1000, "the quorum would wait for its leader until it elects another one"
    (refused,) = create(cluster, NewTopic("new_0099", 1, 1))
    assert refused.error_message is not None
    assert "new.0099" in refused.error_message


def test_topics_of_one_request_that_ask_for_the_same_share_what_is_told_of_their_configs(cluster):
    configs = (ConfigEntry("retention.ms", "1000"),)
    first, second, other = create(
        cluster, NewTopic("a", 1, 1, (), configs), NewTopic("b", 1, 1, (), configs), NewTopic("c", 1, 1)
    )
    assert first.configs is second.configs
    told = [{each.name: each.value for each in result.configs} for result in (first, other)]
    assert [each["retention.ms"] for each in told] == ["1000", "604800000"]


def test_names_that_come_together_do_not_collide_either(cluster):
    first, second = create(cluster, NewTopic("a.b", 1, 1), NewTopic("a_b", 1, 1))
    assert (first.error_code, second.error_code) == (ErrorCode.NONE, ErrorCode.INVALID_TOPIC_EXCEPTION)


def test_the_clusters_defaults_fill_in(make_cluster):
    cluster = make_cluster(num_partitions=3, default_replication_factor=2)
    cluster.start(1, 2)
    (result,) = create(cluster, NewTopic("t"))
    assert (result.num_partitions, result.replication_factor) == (3, 2)


def test_validation_alone_creates_nothing_and_finds_what_is_wrong(cluster):
    before = cluster.image
    good, bad = create(cluster, NewTopic("t", 2, 2), NewTopic("u", 2, 9), validate_only=True)
    assert cluster.image is before
    assert (good.error_code, good.num_partitions, good.topic_id) == (ErrorCode.NONE, 2, None)
    assert bad.error_code is ErrorCode.INVALID_REPLICATION_FACTOR


@pytest.mark.parametrize(
    ("topic", "code", "message"),
    [
        (NewTopic(""), ErrorCode.INVALID_TOPIC_EXCEPTION, "empty"),
        (NewTopic("."), ErrorCode.INVALID_TOPIC_EXCEPTION, "'.' is not allowed"),
        (NewTopic(".."), ErrorCode.INVALID_TOPIC_EXCEPTION, "'..' is not allowed"),
        (NewTopic("a b"), ErrorCode.INVALID_TOPIC_EXCEPTION, "ASCII"),
        (NewTopic("größe"), ErrorCode.INVALID_TOPIC_EXCEPTION, "ASCII"),
        (NewTopic("a\n"), ErrorCode.INVALID_TOPIC_EXCEPTION, "ASCII"),
        (NewTopic("a/../b"), ErrorCode.INVALID_TOPIC_EXCEPTION, "ASCII"),
        (NewTopic("x" * 250), ErrorCode.INVALID_TOPIC_EXCEPTION, "249"),
        (NewTopic("there"), ErrorCode.TOPIC_ALREADY_EXISTS, "Topic 'there' already exists."),
        (NewTopic("a_b"), ErrorCode.INVALID_TOPIC_EXCEPTION, "collides with existing topic: a.b"),
        (NewTopic("__consumer_offsets"), ErrorCode.INVALID_TOPIC_EXCEPTION, "internal"),
        (NewTopic("__transaction_state"), ErrorCode.INVALID_TOPIC_EXCEPTION, "internal"),
        (NewTopic("t", 0, 1), ErrorCode.INVALID_PARTITIONS, "non-positive"),
        (NewTopic("t", -2, 1), ErrorCode.INVALID_PARTITIONS, "non-positive"),
        (NewTopic("t", 1, 0), ErrorCode.INVALID_REPLICATION_FACTOR, "non-positive"),
        (
            NewTopic("t", 1, 4),
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Unable to replicate the partition 4 time(s): The target replication factor of 4 cannot be "
            "reached because only 3 broker(s) are registered.",
        ),
        (NewTopic("t", 1, 1, (), (ConfigEntry("nonsense", "1"),)), ErrorCode.INVALID_CONFIG, "nonsense"),
        (
            NewTopic("t", 1, 1, (), (ConfigEntry("retention.ms", "x"),)),
            ErrorCode.INVALID_CONFIG,
            "retention.ms",
        ),
        (NewTopic("t", 1, 1, (), (ConfigEntry("retention.ms", None),)), ErrorCode.INVALID_CONFIG, "Null"),
        (NewTopic("t", 1, -1, assigned((1,))), ErrorCode.INVALID_REQUEST, "numPartitions"),
        (NewTopic("t", -1, 1, assigned((1,))), ErrorCode.INVALID_REQUEST, "replication factor"),
        (NewTopic("t", assignments=assigned(())), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "empty replica list"),
        (NewTopic("t", assignments=assigned((1, 1))), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "more than once"),
        (NewTopic("t", assignments=assigned((1, 9))), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "broker 9"),
        (
            NewTopic("t", assignments=assigned((1, 2), (1,))),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "consistent",
        ),
        (
            NewTopic("t", assignments=(ReplicaAssignment(1, (1,)),)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "consecutive",
        ),
        (
            NewTopic("t", assignments=(ReplicaAssignment(0, (1,)), ReplicaAssignment(0, (2,)))),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "multiple",
        ),
    ],
)
def test_a_topic_that_cannot_be_is_refused(cluster, topic, code, message):
    cluster.create("there", (1,))
    cluster.create("a.b", (1,))
    (result,) = create(cluster, topic)
    assert result.error_code is code
    assert message in (result.error_message or "")


@pytest.mark.parametrize("name", ["x" * 249, "a", "A.b-C_9", "..."])
def test_names_that_are_allowed(cluster, name):
    (result,) = create(cluster, NewTopic(name, 1, 1))
    assert result.error_code is ErrorCode.NONE


def test_topics_of_one_command_are_judged_one_by_one(cluster):
    results = create(
        cluster,
        NewTopic("good", 1, 1),
        NewTopic("twice", 1, 1),
        NewTopic("bad name", 1, 1),
        NewTopic("twice", 2, 1),
        NewTopic("a.b", 1, 1),
        NewTopic("a_b", 1, 1),
    )
    assert [each.error_code for each in results] == [
        ErrorCode.NONE,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.NONE,
        ErrorCode.INVALID_TOPIC_EXCEPTION,
    ]
    assert set(cluster.image.topics.by_name) == {"good", "a.b"}


def test_the_cluster_itself_creates_internal_topics_and_nobody_else_changes_them(cluster):
    name = "__consumer_offsets"
    (result,) = create(cluster, NewTopic(name, 2, 3), internal=True)
    assert result.error_code is ErrorCode.NONE
    assert cluster.image.topics.by_name[name].internal
    deleted = cluster.ask(DeleteTopics((name,)))
    grown = cluster.ask(CreatePartitions((NewPartitions(name, 5),)))
    assert isinstance(deleted, DeleteTopicsReply)
    assert isinstance(grown, CreatePartitionsReply)
    assert deleted.topics[0].error_code is ErrorCode.INVALID_TOPIC_EXCEPTION
    assert grown.topics[0].error_code is ErrorCode.INVALID_TOPIC_EXCEPTION
    assert len(cluster.image.topics.by_name[name].partitions) == 2


def test_fenced_brokers_are_used_only_when_there_are_no_others(cluster):
    cluster.start(4)
    cluster.fence(2)
    create(cluster, NewTopic("three", 8, 3), NewTopic("four", 8, 4))
    for partition in cluster.image.topics.by_name["three"].partitions:
        assert set(partition.replicas) == {1, 3, 4}
    for partition in cluster.image.topics.by_name["four"].partitions:
        assert set(partition.isr) == {1, 3, 4}
        assert partition.leader != 2
        assert partition.preferred_leader != 2


def test_nothing_is_created_while_every_broker_is_fenced(cluster):
    cluster.fence(1, 2, 3)
    (placed,) = create(cluster, NewTopic("t", 1, 2))
    assert placed.error_code is ErrorCode.INVALID_REPLICATION_FACTOR
    assert "All brokers are currently fenced" in (placed.error_message or "")
    (chosen,) = create(cluster, NewTopic("t", assignments=assigned((1, 2))))
    assert chosen.error_code is ErrorCode.INVALID_REPLICA_ASSIGNMENT


def test_the_far_side_of_the_limit_on_partitions(cluster):
    at_limit = CreateTopics((NewTopic("t", 9_999, 1), NewTopic("u", 1, 1)), validate_only=True)
    cluster.ask(at_limit)
    beyond = CreateTopics((NewTopic("t", 9_999, 1), NewTopic("u", 2, 1)))
    assert cluster.refused(beyond).code is ErrorCode.POLICY_VIOLATION
    cluster.create("v", (1,))
    grow = CreatePartitions((NewPartitions("v", 10_002),))
    assert cluster.refused(grow).code is ErrorCode.POLICY_VIOLATION


def test_topics_are_deleted_by_name_and_by_id(cluster):
    kept = cluster.create("kept", (1,))
    one = cluster.create("one", (1,), retention_ms="5")
    two = cluster.create("two", (1,))
    reply = cluster.ask(DeleteTopics(("one", "unknown"), (two.topic_id, UUID(int=1))))
    assert isinstance(reply, DeleteTopicsReply)
    assert [(each.name, each.topic_id, each.error_code) for each in reply.topics] == [
        ("one", one.topic_id, ErrorCode.NONE),
        ("unknown", None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ("two", two.topic_id, ErrorCode.NONE),
        (None, UUID(int=1), ErrorCode.UNKNOWN_TOPIC_ID),
    ]
    assert set(cluster.image.topics.by_id) == {kept.topic_id}
    assert cluster.image.configs.topic("one") == {}, "the configs go with the topic"


def test_deleting_one_topic_twice_in_a_command_deletes_nothing(cluster):
    topic = cluster.create("t", (1,))
    before = cluster.image
    reply = cluster.ask(DeleteTopics(("t",), (topic.topic_id,)))
    assert isinstance(reply, DeleteTopicsReply)
    assert {each.error_code for each in reply.topics} == {ErrorCode.INVALID_REQUEST}
    assert cluster.image is before


def test_deletion_can_be_switched_off(make_cluster):
    cluster = make_cluster(delete_topic_enable=False)
    cluster.start(1)
    cluster.create("t", (1,))
    assert cluster.refused(DeleteTopics(("t",))).code is ErrorCode.TOPIC_DELETION_DISABLED


def test_a_topic_grows(cluster):
    cluster.create("t", (1, 2), (2, 3))
    before = cluster.image.topics.by_name["t"].partitions
    reply = cluster.ask(CreatePartitions((NewPartitions("t", 6),)))
    assert reply == CreatePartitionsReply((reply.topics[0],))  # type: ignore[union-attr]
    after = cluster.image.topics.by_name["t"].partitions
    assert after[:2] == before
    leaders = [partition.leader for partition in after]
    assert sorted(leaders.count(broker) for broker in (1, 2, 3)) == [2, 2, 2], "evenly with those it had"


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (NewPartitions("unknown", 3), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "does not host"),
        (NewPartitions("t", 2), ErrorCode.INVALID_PARTITIONS, "Topic already has 2 partition(s)."),
        (NewPartitions("t", 1), ErrorCode.INVALID_PARTITIONS, "1 would not be an increase"),
        (NewPartitions("t", -1), ErrorCode.INVALID_PARTITIONS, "would not be an increase"),
        (
            NewPartitions("t", 4, assigned((1, 2))),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (NewPartitions("t", 3, ()), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "only 0 assignment(s)"),
        (NewPartitions("t", 3, assigned((1,))), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "not consistent"),
        (NewPartitions("t", 3, assigned((1, 8))), ErrorCode.INVALID_REPLICA_ASSIGNMENT, "broker 8"),
    ],
)
def test_growth_that_cannot_be_is_refused(cluster, change, code, message):
    cluster.create("t", (1, 2), (2, 3))
    before = cluster.image
    reply = cluster.ask(CreatePartitions((change,)))
    assert isinstance(reply, CreatePartitionsReply)
    assert reply.topics[0].error_code is code
    assert message in (reply.topics[0].error_message or "")
    assert cluster.image is before


def test_growth_by_the_clients_choice_and_its_mere_validation(cluster):
    cluster.create("t", (1, 2))
    growth = NewPartitions("t", 3, (ReplicaAssignment(-1, (3, 1)), ReplicaAssignment(-1, (2, 3))))
    before = cluster.image
    cluster.ask(CreatePartitions((growth,), validate_only=True))
    assert cluster.image is before
    reply = cluster.ask(CreatePartitions((growth, growth)))
    assert {each.error_code for each in reply.topics} == {ErrorCode.INVALID_REQUEST}  # type: ignore[union-attr]
    cluster.ask(CreatePartitions((growth,)))
    replicas = [partition.replicas for partition in cluster.image.topics.by_name["t"].partitions]
    assert replicas == [(1, 2), (3, 1), (2, 3)]


def test_topics_of_one_partition_spread_too(cluster):
    for number in range(30):
        create(cluster, NewTopic(f"t{number}", 1, 1))
    leaders = [entry.partition.leader for entry in cluster.image.topics.partitions()]
    assert [leaders.count(broker) for broker in (1, 2, 3)] == [10, 10, 10]


def test_a_thousand_partitions_change_in_one_decision_each(cluster):
    create(cluster, NewTopic("t", 1000, 3))
    created = len(cluster.controller.log)
    before = cluster.image.topics.by_name["t"].partitions
    cluster.fence(1)
    assert len(cluster.controller.log) - created == 1 + 1000
    after = cluster.image.topics.by_name["t"].partitions
    moved = [new for old, new in zip(before, after, strict=True) if old.leader == 1]
    assert {partition.leader for partition in moved} == {2, 3}
    assert all(partition.leader_epoch == 1 for partition in moved)
    assert sum(partition.leader_epoch for partition in after) == len(moved), "only where the leader changed"
