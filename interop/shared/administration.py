"""The admin client. The topic of `create_topic` is there until `delete_topic`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from interop.shared.client import Client
from interop.shared.data import send_numbers
from interop.shared.groups import group_of, membership
from interop.shared.telling import Deadline, expect, refused
from interop.shared.transactions import COPY

TOPIC, NEVER, NOR_THIS = "admin", "never-made", "nor-this"
RETENTION, WEEK = "retention.ms", "604800000"
SIZE, DEFAULT_SIZE = "max.message.bytes", "1048588"


def create_topic(client: Client) -> None:
    """With a configuration of its own."""
    name = client.at.name(TOPIC)
    client.create_topic(name, 2, client.at.replication_factor, {RETENTION: WEEK})
    deadline = Deadline()
    while name not in client.topics() and deadline.left("the topic"):
        pass


def create_topic_exists(client: Client) -> None:
    """The same again."""
    client.create_topic(client.at.name(TOPIC), 2, client.at.replication_factor, {})
    raise refused("a topic that is there")


def create_topic_bad_replication(client: Client) -> None:
    """More replicas than brokers."""
    client.create_topic(client.at.name("replicas"), 2, 10, {})
    raise refused("ten replicas")


def create_topic_bad_name(client: Client) -> None:
    """A character that names do not have."""
    client.create_topic(client.at.name("a/b"), 2, client.at.replication_factor, {})
    raise refused("a slash")


def create_topic_bad_config(client: Client) -> None:
    """Letters where a number is due."""
    client.create_topic(client.at.name("config"), 2, client.at.replication_factor, {RETENTION: "abc"})
    raise refused("letters for a number")


def create_partitions(client: Client) -> None:
    """Two more."""
    name = client.at.name(TOPIC)
    client.create_partitions(name, 4)
    deadline = Deadline()
    while len(client.topics()[name]) != 4 and deadline.left("four partitions"):
        pass


def create_partitions_fewer(client: Client) -> None:
    """Less than there are."""
    client.create_partitions(client.at.name(TOPIC), 1)
    raise refused("fewer partitions")


def describe_cluster(client: Client) -> None:
    """As many brokers as were named."""
    brokers, controller = client.brokers()
    expect("brokers", len(brokers), len(client.at.bootstrap.split(",")))
    expect("the controller is a broker", controller in brokers, True)


def describe_topics(client: Client) -> None:
    """All partitions with all replicas."""
    expect("replicas", list(client.describe_topic(client.at.name(TOPIC))), [client.at.replication_factor] * 4)


def describe_topic_unknown(client: Client) -> None:
    """Never made."""
    client.describe_topic(client.at.name(NEVER))
    raise refused("an unknown topic")


def describe_configs(client: Client) -> None:
    """What was set, and a default."""
    found = client.config(client.at.name(TOPIC))
    expect(RETENTION, found[RETENTION], (WEEK, False))
    expect(SIZE, found[SIZE], (DEFAULT_SIZE, True))


def _until_size(client: Client, wanted: str) -> None:
    deadline = Deadline()
    while client.config(client.at.name(TOPIC))[SIZE][0] != wanted and deadline.left(f"{SIZE}={wanted}"):
        pass


def alter_configs(client: Client) -> None:
    """Set one, and back to its default; the other stays."""
    topic = client.at.name(TOPIC)
    client.set_config(topic, SIZE, "2000")
    _until_size(client, "2000")
    expect(RETENTION, client.config(topic)[RETENTION], (WEEK, False))
    client.reset_config(topic, SIZE)
    _until_size(client, DEFAULT_SIZE)


def alter_configs_bad_value(client: Client) -> None:
    """Letters where a number is due."""
    client.set_config(client.at.name(TOPIC), RETENTION, "abc")
    raise refused("letters for a number")


def list_offsets(client: Client) -> None:
    """Earliest and latest."""
    topic = client.at.name(TOPIC)
    send_numbers(client, topic, range(10))
    expect("offsets", client.offsets(topic), (0, 10))


def delete_records(client: Client) -> None:
    """Up to the middle of those of `list_offsets`."""
    topic = client.at.name(TOPIC)
    expect("low watermark", client.delete_records(topic, 4), 4)
    expect("offsets", client.offsets(topic), (4, 10))


@contextlib.contextmanager
def _group(client: Client, of: str) -> Iterator[str]:
    """The name of a group that has a member."""
    how = membership(client, of)
    with group_of(client, how):
        yield how.group


def list_groups(client: Client) -> None:
    """One of this run."""
    with _group(client, "listed") as group:
        found = client.groups()
    expect("listed", group in found, True)
    if found[group] is not None:
        expect("state", found[group], "stable")


def describe_group(client: Client) -> None:
    """With its member, and what that one has."""
    with _group(client, "described") as group:
        found = client.group(group)
    expect("group", found, ("stable", "range", [{0, 1, 2, 3}]))


def describe_group_unknown(client: Client) -> str:
    """Never made."""
    found = client.group(client.at.name(NEVER))
    expect("state", found.state, "dead")
    return "state Dead"


def delete_group_nonempty(client: Client) -> None:
    """While it has a member."""
    with _group(client, "occupied") as group:
        client.delete_group(group)
    raise refused("a group with a member")


def delete_group(client: Client) -> None:
    """After its member left; it is not listed any more."""
    with _group(client, "deleted") as group:
        pass
    client.delete_group(group)
    expect("listed", group in client.groups(), False)


def delete_group_unknown(client: Client) -> None:
    """Never made."""
    client.delete_group(client.at.name(NEVER))
    raise refused("an unknown group")


def list_transactions(client: Client) -> None:
    """The one of `transactions_copy`."""
    expect("state", client.transactions().get(client.at.name(COPY)), "CompleteCommit")


def describe_transactions(client: Client) -> None:
    """The one of `transactions_copy`."""
    expect("state", client.transaction(client.at.name(COPY)), "CompleteCommit")


def describe_transaction_unknown(client: Client) -> None:
    """Never made."""
    client.transaction(client.at.name(NEVER))
    raise refused("an unknown transactional id")


def elect_leaders(client: Client) -> None:
    """The preferred one, who leads already."""
    client.elect_leader(client.at.name(TOPIC))
    raise refused("an election that is not needed")


def list_reassignments(client: Client) -> None:
    """None under way."""
    expect("reassignments", client.reassignments(), 0)


def acls(client: Client) -> None:
    """All there are."""
    expect("ACLs", client.acls(), 0)


def quotas(client: Client) -> None:
    """All there are."""
    expect("quotas", client.quotas(), 0)


def scram(client: Client) -> None:
    """Of a user that is not there."""
    client.scram(client.at.name("user"))
    raise refused("an unknown user")


def delete_topic(client: Client) -> None:
    """It is not listed any more."""
    name = client.at.name(TOPIC)
    client.delete_topic(name)
    deadline = Deadline()
    while name in client.topics() and deadline.left("its end"):
        pass


def delete_topic_unknown(client: Client) -> None:
    """Never made."""
    # A library that describes a topic may make it by that.
    client.delete_topic(client.at.name(NOR_THIS))
    raise refused("an unknown topic")


STEPS = (
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
    list_transactions,
    describe_transactions,
    describe_transaction_unknown,
    elect_leaders,
    list_reassignments,
    acls,
    quotas,
    scram,
    delete_topic,
    delete_topic_unknown,
)
