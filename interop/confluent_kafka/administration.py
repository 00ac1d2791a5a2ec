"""The admin client."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from confluent_kafka import ConsumerGroupState, TopicCollection, TopicPartition

# The package lends this enumeration only to itself.
from confluent_kafka._model import ElectionType
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from interop.confluent_kafka.connections import admin, make_topic, result, send_numbers
from interop.confluent_kafka.groups import CLASSIC, PARTITIONS, Member, group_of
from interop.shared.telling import PATIENCE, Deadline, Step, Where, expect, refused

TOPIC = "admin"
RETENTION = "retention.ms"
WEEK = "604800000"


def _create(at: Where, name: str, replicas: int | None = None, config: dict[str, str] | None = None) -> None:
    new = NewTopic(name, 2, replicas or at.replication_factor, config=config or {})
    result(admin(at).create_topics([new]))


def create_topic(at: Where) -> None:
    """With a configuration of its own."""
    _create(at, at.name(TOPIC), config={RETENTION: WEEK})
    expect(RETENTION, _config(at)[RETENTION].value, WEEK)


def create_topic_exists(at: Where) -> None:
    """The same again."""
    _create(at, at.name(TOPIC))
    raise refused("a topic that is there")


def create_topic_bad_replication(at: Where) -> None:
    """More replicas than brokers."""
    _create(at, at.name("replicas"), replicas=10)
    raise refused("ten replicas")


def create_topic_bad_name(at: Where) -> None:
    """A character that names do not have."""
    _create(at, at.name("a/b"))
    raise refused("a slash")


def create_topic_bad_config(at: Where) -> None:
    """Letters where a number is due."""
    _create(at, at.name("config"), config={RETENTION: "abc"})
    raise refused("letters for a number")


def create_partitions(at: Where) -> None:
    """Two more."""
    result(admin(at).create_partitions([NewPartitions(at.name(TOPIC), 4)]))
    deadline = Deadline()
    while deadline.left("four partitions"):
        if (
            len(admin(at).list_topics(at.name(TOPIC), timeout=PATIENCE).topics[at.name(TOPIC)].partitions)
            == 4
        ):
            return


def create_partitions_fewer(at: Where) -> None:
    """Less than there are."""
    result(admin(at).create_partitions([NewPartitions(at.name(TOPIC), 3)]))
    raise refused("fewer partitions")


def describe_cluster(at: Where) -> str:
    """As many brokers as were named."""
    found = admin(at).describe_cluster().result(PATIENCE)
    expect("brokers", len(found.nodes), len(at.bootstrap.split(",")))
    expect("the controller is a broker", found.controller.id in [node.id for node in found.nodes], True)
    return f"cluster {found.cluster_id}"


def describe_topics(at: Where) -> None:
    """All partitions, replicas in sync."""
    found = result(admin(at).describe_topics(TopicCollection([at.name(TOPIC)])))
    expect("partitions", [each.id for each in found.partitions], list(range(4)))
    expect("replicas", {len(each.replicas) for each in found.partitions}, {at.replication_factor})
    expect("an id", bool(str(found.topic_id)), True)


def describe_topic_unknown(at: Where) -> None:
    """Never made."""
    result(admin(at).describe_topics(TopicCollection([at.name("never")])))
    raise refused("an unknown topic")


def _resource(at: Where, *changes: ConfigEntry) -> ConfigResource:
    return ConfigResource(ResourceType.TOPIC, at.name(TOPIC), incremental_configs=list(changes) or None)


def _config(at: Where) -> dict[str, ConfigEntry]:
    found: dict[str, ConfigEntry] = result(admin(at).describe_configs([_resource(at)]))
    return found


def describe_configs(at: Where) -> None:
    """What was set, and a default."""
    found = _config(at)
    expect(RETENTION, (found[RETENTION].value, found[RETENTION].is_default), (WEEK, False))
    policy = found["cleanup.policy"]
    expect("cleanup.policy", (policy.value, policy.is_default), ("delete", True))


def _alter(at: Where, kind: AlterConfigOpType, name: str, value: str | None) -> None:
    change = ConfigEntry(name, value, incremental_operation=kind)
    result(admin(at).incremental_alter_configs([_resource(at, change)]))


def _until_config(at: Where, name: str, value: str) -> None:
    deadline = Deadline()
    while _config(at)[name].value != value and deadline.left(f"{name}={value}"):
        pass


def alter_configs(at: Where) -> None:
    """Set, and back to the default."""
    _alter(at, AlterConfigOpType.SET, "max.message.bytes", "2000")
    _until_config(at, "max.message.bytes", "2000")
    expect(RETENTION, _config(at)[RETENTION].value, WEEK)
    _alter(at, AlterConfigOpType.DELETE, "max.message.bytes", None)
    _until_config(at, "max.message.bytes", "1048588")


def alter_configs_bad_value(at: Where) -> None:
    """Letters where a number is due."""
    _alter(at, AlterConfigOpType.SET, RETENTION, "abc")
    raise refused("letters for a number")


def _offset(at: Where, topic: str, spec: OffsetSpec) -> int:
    return int(result(admin(at).list_offsets({TopicPartition(topic, 0): spec})).offset)


def list_offsets(at: Where) -> None:
    """Earliest and latest."""
    send_numbers(at, at.name(TOPIC), range(10))
    expect("earliest", _offset(at, at.name(TOPIC), OffsetSpec.earliest()), 0)
    expect("latest", _offset(at, at.name(TOPIC), OffsetSpec.latest()), 10)


def delete_records(at: Where) -> None:
    """Up to the middle of those of `list_offsets`."""
    deleted = result(admin(at).delete_records([TopicPartition(at.name(TOPIC), 0, 4)]))
    expect("low watermark", deleted.low_watermark, 4)
    expect("earliest", _offset(at, at.name(TOPIC), OffsetSpec.earliest()), 4)


@contextlib.contextmanager
def _group(at: Where, of: str) -> Iterator[tuple[str, Member]]:
    """The name of a group, and its only member."""
    topic = make_topic(at, of, PARTITIONS)
    with group_of(at, 1, at.name(of), topic, **CLASSIC) as (member,):
        yield at.name(of), member


def list_groups(at: Where) -> None:
    """One of this run."""
    with _group(at, "listed") as (group, _):
        found = admin(at).list_consumer_groups().result(PATIENCE)
        expect("errors", found.errors, [])
        states = [each.state for each in found.valid if each.group_id == group]
        expect("state", states, [ConsumerGroupState.STABLE])


def describe_group(at: Where) -> None:
    """With its member, and what that one has."""
    with _group(at, "described") as (group, _):
        found = result(admin(at).describe_consumer_groups([group]))
        expect("state", found.state, ConsumerGroupState.STABLE)
        expect("assignor", found.partition_assignor, "range")
        (member,) = found.members
        expect("partitions", [each.partition for each in member.assignment.topic_partitions], list(range(4)))


def describe_group_unknown(at: Where) -> str:
    """Never made."""
    found = result(admin(at).describe_consumer_groups([at.name("never")]))
    expect("state", found.state, ConsumerGroupState.DEAD)
    return "state Dead"


def delete_group_nonempty(at: Where) -> None:
    """While it has a member."""
    with _group(at, "occupied") as (group, _):
        result(admin(at).delete_consumer_groups([group]))
    raise refused("a group with a member")


def delete_group(at: Where) -> None:
    """After its member left; it is not listed any more."""
    with _group(at, "deleted") as (group, _):
        pass
    result(admin(at).delete_consumer_groups([group]))
    found = admin(at).list_consumer_groups().result(PATIENCE)
    expect("listed", group in [each.group_id for each in found.valid], False)


def delete_group_unknown(at: Where) -> None:
    """Never made."""
    result(admin(at).delete_consumer_groups([at.name("never")]))
    raise refused("an unknown group")


def elect_leaders(at: Where) -> None:
    """The preferred one, who leads already."""
    partition = TopicPartition(at.name(TOPIC), 0)
    found = admin(at).elect_leaders(ElectionType.PREFERRED, [partition]).result(PATIENCE)
    if found[partition] is not None:
        raise found[partition]


def acls(at: Where) -> None:
    """All there are."""
    everything = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    expect("ACLs", admin(at).describe_acls(everything).result(PATIENCE), [])


def scram(at: Where) -> None:
    """Of a user that is not there."""
    result(admin(at).describe_user_scram_credentials([at.name("user")]))
    raise refused("an unknown user")


def delete_topic(at: Where) -> None:
    """It is not listed any more."""
    result(admin(at).delete_topics([at.name(TOPIC)]))
    deadline = Deadline()
    while at.name(TOPIC) in admin(at).list_topics(timeout=PATIENCE).topics and deadline.left("its end"):
        pass


def delete_topic_unknown(at: Where) -> None:
    """Never made."""
    result(admin(at).delete_topics([at.name("never")]))
    raise refused("an unknown topic")


STEPS: dict[str, Step] = {
    step.__name__: step
    for step in (
        create_topic,
        create_topic_exists,
        create_topic_bad_replication,
        create_topic_bad_name,
        create_topic_bad_config,
        create_partitions,
        create_partitions_fewer,
        describe_cluster,
        describe_topics,
        describe_topic_unknown,
        describe_configs,
        alter_configs,
        alter_configs_bad_value,
        list_offsets,
        delete_records,
        list_groups,
        describe_group,
        describe_group_unknown,
        delete_group_nonempty,
        delete_group,
        delete_group_unknown,
        elect_leaders,
        acls,
        scram,
        delete_topic,
        delete_topic_unknown,
    )
}
