"""Topics, configuration and descriptions of the cluster."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID, uuid4

import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode

TOPIC, BROKER, GROUP = 2, 4, 32
DYNAMIC_TOPIC, DYNAMIC_DEFAULT, STATIC_BROKER, DEFAULT = 1, 3, 4, 5
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3


def create(wire: Any, name: str, *, version: int = 7, validate_only: bool = False, **asked: Any) -> Any:
    topic = {"name": name, "num_partitions": 1, "replication_factor": 1} | asked
    response = wire.call(
        ApiKey.CREATE_TOPICS, version, topics=[topic], timeout_ms=5000, validate_only=validate_only
    )
    (result,) = response.topics
    return result


def metadata(wire: Any, *names: str, version: int = 12, auto_create: bool = False) -> Any:
    return wire.call(
        ApiKey.METADATA,
        version,
        topics=[{"name": name, "topic_id": None} for name in names],
        allow_auto_topic_creation=auto_create,
    )


@pytest.mark.parametrize("version", [10, 11])
def test_metadata_by_id_is_refused_by_versions_without_it(wire: Any, topic: str, version: int) -> None:
    """Their requests have the field, their answers no topic without a name."""
    topic_id = metadata(wire, topic).topics[0].topic_id
    for asked in ({"name": None, "topic_id": topic_id}, {"name": topic, "topic_id": topic_id}):
        answer = wire.call(ApiKey.METADATA, version, topics=[asked], allow_auto_topic_creation=False)
        (told,) = answer.topics
        assert (told.name, told.error_code) == (asked["name"] or "", ErrorCode.INVALID_REQUEST)


def test_a_topic_that_is_asked_for_twice_is_told_once(wire: Any, topic: str) -> None:
    told = metadata(wire, topic, "never-made", topic, "never-made").topics
    assert [each.name for each in told] == [topic, "never-made"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", ErrorCode.INVALID_TOPIC_EXCEPTION),
        (".", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("..", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("a/b", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("a b", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("ä", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("a\x00", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("x" * 250, ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("__consumer_offsets", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("__cluster_metadata", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("x" * 249, ErrorCode.NONE),
        ("A.b-c_0", ErrorCode.NONE),
        ("A_b.c_0", ErrorCode.NONE),
    ],
)
def test_names_of_topics(wire: Any, name: str, code: ErrorCode) -> None:
    assert create(wire, name, validate_only=True).error_code == code


def test_names_that_differ_by_dot_and_underscore_collide(wire: Any) -> None:
    assert create(wire, "colliding.name").error_code == ErrorCode.NONE
    assert create(wire, "colliding_name").error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"replication_factor": 2}, ErrorCode.INVALID_REPLICATION_FACTOR),
        ({"replication_factor": 0}, ErrorCode.INVALID_REPLICATION_FACTOR),
        ({"replication_factor": -2}, ErrorCode.INVALID_REPLICATION_FACTOR),
        ({"num_partitions": 0}, ErrorCode.INVALID_PARTITIONS),
        ({"num_partitions": -5}, ErrorCode.INVALID_PARTITIONS),
        ({"configs": [{"name": "no.such.key", "value": "1"}]}, ErrorCode.INVALID_CONFIG),
        ({"configs": [{"name": "retention.ms", "value": "soon"}]}, ErrorCode.INVALID_CONFIG),
        ({"configs": [{"name": "max.message.bytes", "value": "-1"}]}, ErrorCode.INVALID_CONFIG),
        (
            {
                "num_partitions": -1,
                "replication_factor": -1,
                "assignments": [{"partition_index": 0, "broker_ids": [1, 2]}],
            },
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ),
        (
            {
                "num_partitions": -1,
                "replication_factor": -1,
                "assignments": [{"partition_index": 1, "broker_ids": [1]}],
            },
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ),
        ({"num_partitions": -1, "replication_factor": -1}, ErrorCode.NONE),
    ],
)
def test_what_a_topic_may_be(wire: Any, asked: dict[str, Any], code: ErrorCode) -> None:
    name = f"asked-{uuid4()}"
    result = create(wire, name, **asked)
    assert ErrorCode(result.error_code) == code, result
    (described,) = metadata(wire, name).topics
    assert described.error_code == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if code else ErrorCode.NONE)


def test_a_topic_is_made_once(wire: Any, topic: str) -> None:
    assert create(wire, topic).error_code == ErrorCode.TOPIC_ALREADY_EXISTS
    twice = [{"name": "twice", "num_partitions": 1, "replication_factor": 1}] * 2
    response = wire.call(ApiKey.CREATE_TOPICS, 5, topics=twice, timeout_ms=1000)
    assert [each.error_code for each in response.topics] == [ErrorCode.INVALID_REQUEST]


def test_validation_creates_nothing(wire: Any) -> None:
    assert create(wire, "only-validated", validate_only=True).error_code == ErrorCode.NONE
    assert metadata(wire, "only-validated").topics[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("version", range(2, 8))
def test_every_version_of_create_topics(wire: Any, version: int) -> None:
    result = create(wire, f"version-{uuid4()}", version=version, num_partitions=2)
    assert result.error_code == ErrorCode.NONE
    if version >= 5:
        assert (result.num_partitions, result.replication_factor) == (2, 1)
        assert {config.name for config in result.configs} >= {"retention.ms", "cleanup.policy"}
    if version >= 7:
        assert isinstance(result.topic_id, UUID)


@pytest.mark.parametrize("version", range(13))
def test_every_version_of_metadata(wire: Any, topic: str, version: int) -> None:
    response = metadata(wire, topic, version=version, auto_create=True)
    (broker,) = response.brokers
    (described,) = response.topics
    (partition,) = described.partitions
    assert (described.name, described.error_code) == (topic, ErrorCode.NONE)
    assert (partition.leader_id, list(partition.replica_nodes), list(partition.isr_nodes)) == (1, [1], [1])
    assert broker.node_id == 1
    if version >= 1:
        assert response.controller_id == 1


def test_metadata_makes_topics_unless_that_is_forbidden(wire: Any, batch: Any) -> None:
    name = f"auto-{uuid4()}"
    assert metadata(wire, name).topics[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    made = metadata(wire, name, auto_create=True).topics[0]
    assert (made.error_code, [each.leader_id for each in made.partitions]) == (ErrorCode.NONE, [1])
    assert wire.produce(name, batch(b"at once")).error_code == ErrorCode.NONE
    bad = metadata(wire, "no/topic", auto_create=True).topics[0]
    assert bad.error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_metadata_by_id(wire: Any, topic: str) -> None:
    (described,) = metadata(wire, topic).topics
    asked = [{"name": None, "topic_id": described.topic_id}, {"name": None, "topic_id": uuid4()}]
    known, unknown = wire.call(ApiKey.METADATA, 12, topics=asked, allow_auto_topic_creation=False).topics
    assert (known.name, known.error_code) == (topic, ErrorCode.NONE)
    assert unknown.error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_metadata_goes_by_the_id_whatever_name_is_beside_it(wire: Any, topic: str) -> None:
    # Kafka's Java client leaves the name empty, instead of null, when it describes topics by id.
    described = metadata(wire, topic).topics[0]
    unheard = uuid4()
    asked = [
        {"name": "", "topic_id": described.topic_id},
        {"name": "", "topic_id": unheard},
        {"name": "not-to-be-made", "topic_id": unheard},
    ]
    for version in (12, 13):
        known, *others = wire.call(ApiKey.METADATA, version, topics=asked).topics
        assert (known.name, known.error_code, len(known.partitions)) == (topic, 0, 1)
        for other in others:
            assert other.error_code == ErrorCode.UNKNOWN_TOPIC_ID
            assert (other.name, other.topic_id) == (None, unheard)
    assert metadata(wire, "not-to-be-made").topics[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_deleting_by_name_and_by_id(wire: Any, make_topic: Any, batch: Any) -> None:
    by_name, by_id = make_topic(), make_topic()
    topic_id = metadata(wire, by_id).topics[0].topic_id
    wire.produce(by_id, batch(b"old"))
    response = wire.call(
        ApiKey.DELETE_TOPICS,
        6,
        topics=[
            {"name": by_name, "topic_id": None},
            {"name": None, "topic_id": topic_id},
            {"name": "never-made", "topic_id": None},
            {"name": None, "topic_id": uuid4()},
        ],
        timeout_ms=5000,
    )
    assert sorted(each.error_code for each in response.responses) == [
        ErrorCode.NONE,
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_ID,
    ]
    assert wire.produce(by_id, batch(b"x")).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert create(wire, by_id).error_code == ErrorCode.NONE
    assert wire.fetch_one(by_id, 0).high_watermark == 0, "a topic of the same name is another topic"


@pytest.mark.parametrize(
    "asked", [("nothing",), ("name", "name"), ("id", "id"), ("both",), ("name", "id"), ("both", "nothing")]
)
def test_what_does_not_say_which_topic_to_delete(wire: Any, topic: str, asked: tuple[str, ...]) -> None:
    topic_id = metadata(wire, topic).topics[0].topic_id
    ways = {
        "nothing": {"name": None, "topic_id": None},
        "name": {"name": topic, "topic_id": None},
        "id": {"name": None, "topic_id": topic_id},
        "both": {"name": topic, "topic_id": topic_id},
    }
    topics = [ways[each] for each in asked]
    answered = wire.call(ApiKey.DELETE_TOPICS, 6, topics=topics, timeout_ms=5000).responses
    assert {each.error_code for each in answered} == {ErrorCode.INVALID_REQUEST}
    assert len(answered) == len(set(asked))
    assert metadata(wire, topic).topics[0].error_code == ErrorCode.NONE


@pytest.mark.parametrize("version", [1, 5])
def test_a_topic_is_deleted_once_by_old_versions(wire: Any, topic: str, version: int) -> None:
    def delete(*names: str) -> list[int]:
        asked = {"topic_names": list(names), "timeout_ms": 5000}
        answered = wire.call(ApiKey.DELETE_TOPICS, version, **asked).responses
        return [each.error_code for each in answered]

    assert delete(topic, topic) == [ErrorCode.INVALID_REQUEST]
    assert delete(topic) == [ErrorCode.NONE]


def grow(wire: Any, topic: str, count: int, **asked: Any) -> int:
    response = wire.call(
        ApiKey.CREATE_PARTITIONS,
        3,
        topics=[{"name": topic, "count": count, "assignments": None} | asked],
        timeout_ms=5000,
        validate_only=False,
    )
    return int(response.results[0].error_code)


def test_a_topic_that_is_to_grow_twice_does_not_grow(wire: Any, topic: str) -> None:
    asked = [{"name": topic, "count": count, "assignments": None} for count in (2, 3)]
    options = {"timeout_ms": 5000, "validate_only": False}
    answer = wire.call(ApiKey.CREATE_PARTITIONS, 3, topics=asked, **options)
    told = [(each.name, each.error_code) for each in answer.results]
    assert told == [(topic, ErrorCode.INVALID_REQUEST)]
    assert len(metadata(wire, topic).topics[0].partitions) == 1


def test_partitions_are_added_and_never_taken_away(wire: Any, topic: str, batch: Any) -> None:
    assert grow(wire, topic, 3) == ErrorCode.NONE
    assert wire.produce(topic, batch(b"x"), partition=2).error_code == ErrorCode.NONE
    for count in (3, 1, 0, -1):
        assert grow(wire, topic, count) == ErrorCode.INVALID_PARTITIONS
    assert grow(wire, "never-made", 2) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    nowhere = [{"broker_ids": [9]}]
    assert grow(wire, topic, 4, assignments=nowhere) == ErrorCode.INVALID_REPLICA_ASSIGNMENT
    assert len(metadata(wire, topic).topics[0].partitions) == 3


# -- configuration --------------------------------------------------------------------------------


def alter(wire: Any, kind: int, name: str, *changes: tuple[str, int, str | None], **options: Any) -> Any:
    response = wire.call(
        ApiKey.INCREMENTAL_ALTER_CONFIGS,
        1,
        resources=[
            {
                "resource_type": kind,
                "resource_name": name,
                "configs": [
                    {"name": key, "config_operation": operation, "value": value}
                    for key, operation, value in changes
                ],
            }
        ],
        validate_only=options.get("validate_only", False),
    )
    return response.responses[0]


def described(wire: Any, kind: int, name: str, *keys: str) -> Any:
    response = wire.call(
        ApiKey.DESCRIBE_CONFIGS,
        4,
        resources=[{"resource_type": kind, "resource_name": name, "configuration_keys": list(keys) or None}],
        include_synonyms=True,
        include_documentation=True,
    )
    return response.results[0]


def test_no_keys_are_all_keys(wire: Any, topic: str) -> None:
    resource = {"resource_type": TOPIC, "resource_name": topic, "configuration_keys": []}
    (result,) = wire.call(ApiKey.DESCRIBE_CONFIGS, 4, resources=[resource]).results
    every = described(wire, TOPIC, topic).configs
    assert [config.name for config in result.configs] == [config.name for config in every] != []


def test_a_changed_topic_configuration_takes_effect(wire: Any, topic: str, batch: Any) -> None:
    assert wire.produce(topic, batch(bytes(3000))).error_code == ErrorCode.NONE
    assert alter(wire, TOPIC, topic, ("max.message.bytes", SET, "2000")).error_code == ErrorCode.NONE
    assert wire.produce(topic, batch(bytes(3000))).error_code == ErrorCode.MESSAGE_TOO_LARGE
    (config,) = described(wire, TOPIC, topic, "max.message.bytes").configs
    assert (config.value, config.config_source) == ("2000", DYNAMIC_TOPIC)
    assert [synonym.name for synonym in config.synonyms] == ["max.message.bytes", "message.max.bytes"]
    assert alter(wire, TOPIC, topic, ("max.message.bytes", DELETE, None)).error_code == ErrorCode.NONE
    assert wire.produce(topic, batch(bytes(3000))).error_code == ErrorCode.NONE


def test_what_all_brokers_were_given_is_told_by_one_that_has_its_own(wire: Any) -> None:
    key = "log.retention.ms"
    for broker, value in (("1", "5000"), ("", "7000")):
        assert alter(wire, BROKER, broker, (key, SET, value)).error_code == ErrorCode.NONE
    told = {config.name: config for config in described(wire, BROKER, "").configs}
    assert (told[key].value, told[key].config_source) == ("7000", DYNAMIC_DEFAULT)
    assert [synonym.value for synonym in told[key].synonyms] == ["7000"]
    (own,) = described(wire, BROKER, "1", key).configs
    assert [synonym.value for synonym in own.synonyms] == ["5000", "7000"], "null is no value"
    for broker in ("1", ""):
        assert alter(wire, BROKER, broker, (key, DELETE, None)).error_code == ErrorCode.NONE


@pytest.mark.parametrize(
    ("key", "operation", "value"),
    [
        ("max.message.bytes", SET, "many"),
        ("max.message.bytes", SET, "-1"),
        ("max.message.bytes", SET, None),
        ("no.such.key", SET, "1"),
        ("cleanup.policy", SET, "burn"),
        ("retention.ms", APPEND, "1"),
        ("retention.ms", 9, "1"),
    ],
)
def test_a_bad_configuration_changes_nothing(
    wire: Any, topic: str, key: str, operation: int, value: str | None
) -> None:
    before = described(wire, TOPIC, topic).configs
    refused = alter(wire, TOPIC, topic, ("segment.ms", SET, "100000"), (key, operation, value))
    assert refused.error_code in (ErrorCode.INVALID_CONFIG, ErrorCode.INVALID_REQUEST)
    if operation == SET and value is not None:
        assert refused.error_code == ErrorCode.INVALID_CONFIG
    assert refused.error_message
    after = described(wire, TOPIC, topic).configs
    assert [(each.name, each.value) for each in after] == [(each.name, each.value) for each in before]


@pytest.mark.parametrize(
    ("kind", "name", "known"),
    [
        (TOPIC, None, "retention.ms"),
        (BROKER, "1", "log.retention.ms"),
        (GROUP, "some-group", "consumer.session.timeout.ms"),
    ],
)
def test_a_key_that_nobody_knows_can_be_removed(
    wire: Any, topic: str, kind: int, name: str | None, known: str
) -> None:
    """As in Kafka: MirrorMaker removes every key of a topic that has its default in the other cluster, which
    may know more of them."""
    of = name or topic
    removed = alter(wire, kind, of, ("remote.storage.enable", DELETE, None), (known, SET, "50000"))
    assert removed.error_code == ErrorCode.NONE
    (config,) = described(wire, kind, of, known).configs
    assert config.value == "50000"
    assert alter(wire, kind, of, (known, DELETE, None)).error_code == ErrorCode.NONE


def test_lists_are_appended_to_and_subtracted_from(wire: Any, topic: str) -> None:
    def policy() -> set[str]:
        (config,) = described(wire, TOPIC, topic, "cleanup.policy").configs
        return set(config.value.split(","))

    assert alter(wire, TOPIC, topic, ("cleanup.policy", APPEND, "compact")).error_code == ErrorCode.NONE
    assert policy() == {"delete", "compact"}
    assert alter(wire, TOPIC, topic, ("cleanup.policy", SUBTRACT, "delete")).error_code == ErrorCode.NONE
    assert policy() == {"compact"}


def test_validation_alters_nothing(wire: Any, topic: str) -> None:
    change = ("max.message.bytes", SET, "2000")
    assert alter(wire, TOPIC, topic, change, validate_only=True).error_code == ErrorCode.NONE
    (config,) = described(wire, TOPIC, topic, "max.message.bytes").configs
    assert config.config_source == DEFAULT


def test_configuration_of_what_is_not_there(wire: Any) -> None:
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert described(wire, TOPIC, "never-made").error_code == unknown
    assert alter(wire, TOPIC, "never-made", ("retention.ms", SET, "1")).error_code == unknown
    assert described(wire, BROKER, "2").error_code == ErrorCode.INVALID_REQUEST
    assert described(wire, 77, "x").error_code == ErrorCode.INVALID_REQUEST


def test_a_broker_describes_itself_and_hides_its_secrets(wire: Any) -> None:
    configs = {config.name: config for config in described(wire, BROKER, "1").configs}
    assert configs["fetch.max.bytes"].value == "4000000"
    assert configs["fetch.max.bytes"].read_only
    assert configs["fetch.max.bytes"].config_source == STATIC_BROKER
    for config in configs.values():
        assert not (config.is_sensitive and config.value is not None), config
        assert config.documentation, config.name


# -- the cluster ----------------------------------------------------------------------------------


def test_the_cluster_is_described(wire: Any, broker: Any) -> None:
    for version in (0, 1):
        response = wire.call(ApiKey.DESCRIBE_CLUSTER, version)
        (node,) = response.brokers
        assert (node.broker_id, (node.host, node.port)) == (1, broker.address)
        assert len(base64.urlsafe_b64decode(response.cluster_id + "==")) == 16
    controllers = wire.call(ApiKey.DESCRIBE_CLUSTER, 1, endpoint_type=2)
    assert controllers.error_code == ErrorCode.MISMATCHED_ENDPOINT_TYPE


@pytest.mark.parametrize("version", [0, 1, 2])
def test_the_quorum_is_described(wire: Any, version: int) -> None:
    asked = [
        {"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}, {"partition_index": 1}]},
        {"topic_name": "another", "partitions": [{"partition_index": 0}]},
    ]
    response = wire.call(ApiKey.DESCRIBE_QUORUM, version, topics=asked)
    metadata_topic, another = response.topics
    quorum, second = metadata_topic.partitions
    assert (quorum.error_code, quorum.leader_id) == (ErrorCode.NONE, 1)
    assert quorum.leader_epoch > 0
    assert quorum.high_watermark > 0
    assert [voter.replica_id for voter in quorum.current_voters] == [1]
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert second.error_code == another.partitions[0].error_code == unknown


def test_log_directories_are_described(wire: Any, topic: str, batch: Any) -> None:
    stored = batch(bytes(1000))
    wire.produce(topic, stored)
    for version in range(1, 5):
        response = wire.call(
            ApiKey.DESCRIBE_LOG_DIRS, version, topics=[{"topic": topic, "partitions": [0, 5]}]
        )
        (directory,) = response.results
        ((partition,),) = [each.partitions for each in directory.topics if each.name == topic]
        assert (partition.partition_index, partition.partition_size) == (0, len(stored))
        assert (partition.offset_lag, partition.is_future_key) == (0, False)
        if version >= 4:
            assert 0 < directory.usable_bytes <= directory.total_bytes
    everything = wire.call(ApiKey.DESCRIBE_LOG_DIRS, 4, topics=None)
    assert topic in {each.name for each in everything.results[0].topics}


def test_topics_are_described_in_pages(wire: Any) -> None:
    names = [f"paged-{uuid4()}" for _ in range(3)]
    for name in names:
        assert create(wire, name, num_partitions=3).error_code == ErrorCode.NONE
    pages, cursor = [], None
    while True:
        response = wire.call(
            ApiKey.DESCRIBE_TOPIC_PARTITIONS,
            0,
            topics=[{"name": name} for name in reversed(names)],
            response_partition_limit=2,
            cursor=cursor,
        )
        page = [(topic.name, each.partition_index) for topic in response.topics for each in topic.partitions]
        assert 0 < len(page) <= 2
        assert all(topic.partitions for topic in response.topics)
        for topic in response.topics:
            for each in topic.partitions:
                assert (each.error_code, each.leader_id, each.isr_nodes) == (ErrorCode.NONE, 1, [1])
                assert each.eligible_leader_replicas == each.last_known_elr == []
        pages += page
        if response.next_cursor is None:
            break
        cursor = {
            "topic_name": response.next_cursor.topic_name,
            "partition_index": response.next_cursor.partition_index,
        }
    assert pages == [(name, index) for name in sorted(names) for index in range(3)]


def test_an_unknown_topic_is_described_as_such(wire: Any) -> None:
    response = wire.call(
        ApiKey.DESCRIBE_TOPIC_PARTITIONS,
        0,
        topics=[{"name": "never-made"}],
        response_partition_limit=0,
        cursor=None,
    )
    assert response.topics[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("name", ["a b", "", ".", "x" * 250])
def test_what_no_topic_can_be_called(wire: Any, name: str) -> None:
    pages = wire.call(
        ApiKey.DESCRIBE_TOPIC_PARTITIONS,
        0,
        topics=[{"name": name}],
        response_partition_limit=1,
        cursor=None,
    )
    assert pages.topics[0].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
    assert described(wire, TOPIC, name).error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
    asked = [{"name": name, "partition_indexes": [0]}]
    producers = wire.call(ApiKey.DESCRIBE_PRODUCERS, 0, topics=asked).topics[0]
    assert producers.partitions[0].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


@pytest.mark.parametrize("cursor", [("{topic}", -1), ("zzz", 0)])
def test_a_cursor_that_points_nowhere_is_refused(wire: Any, topic: str, cursor: tuple[str, int]) -> None:
    name, index = cursor
    answer = wire.call(
        ApiKey.DESCRIBE_TOPIC_PARTITIONS,
        0,
        topics=[{"name": topic}],
        response_partition_limit=1,
        cursor={"topic_name": name.format(topic=topic), "partition_index": index},
    )
    told = [(each.name, each.error_code) for each in answer.topics]
    assert told == [(topic, ErrorCode.INVALID_REQUEST)]
    assert answer.next_cursor is None


@pytest.mark.parametrize("version", range(7))
def test_the_coordinator_of_a_group_is_found(wire: Any, broker: Any, version: int) -> None:
    response = wire.call(ApiKey.FIND_COORDINATOR, version, key_type=0, coordinator_keys=["group"])
    (answer,) = response.coordinators
    assert answer.error_code == ErrorCode.NONE
    assert (answer.host, answer.port) == broker.address


def test_the_topic_of_transactions_has_no_unclean_elections_whatever_the_default_is(wire: Any) -> None:
    """As in Kafka: a leader that lacks its end would take back what was decided."""
    (found,) = wire.call(ApiKey.METADATA, 9, topics=[{"name": "__transaction_state"}]).topics
    assert found.is_internal
    (config,) = described(wire, TOPIC, "__transaction_state", "unclean.leader.election.enable").configs
    assert (config.value, config.config_source) == ("false", DYNAMIC_TOPIC)
