"""Topics, their configuration, and the cluster."""

from __future__ import annotations

import re

from interop.java_tools.tools import Tools
from interop.shared.telling import Unexpected, expect, refused

WEEK = "604800000"


def create_topic(tools: Tools) -> None:
    """With a configuration of its own."""
    topic = tools.create_topic("topic", 3, "max.message.bytes=123456")
    expect("listed", topic in tools.run("topics", "--list").split(), True)


def create_topic_exists(tools: Tools) -> None:
    """The same again."""
    tools.create_topic("topic", 3)
    raise refused("a topic that is there")


def create_topic_bad_replication(tools: Tools) -> None:
    """More replicas than brokers."""
    tools.run("topics", "--create", "--topic", tools.name("many"), "--replication-factor", "10")
    raise refused("ten replicas")


def create_topic_bad_name(tools: Tools) -> None:
    """A character that names do not have."""
    tools.create_topic("a/b", 1)
    raise refused("a slash")


def create_topic_bad_config(tools: Tools) -> None:
    """Letters where a number is due; the tool looks at it before the broker does."""
    tools.create_topic("bad", 1, "retention.ms=abc")
    raise refused("letters for a number")


def create_partitions(tools: Tools) -> None:
    """Two more."""
    topic = tools.name("topic")
    tools.run("topics", "--alter", "--topic", topic, "--partitions", "5")
    expect("partitions", "PartitionCount: 5" in tools.run("topics", "--describe", "--topic", topic), True)


def create_partitions_fewer(tools: Tools) -> None:
    """Less than there are."""
    tools.run("topics", "--alter", "--topic", tools.name("topic"), "--partitions", "2")
    raise refused("fewer partitions")


def describe_cluster(tools: Tools) -> str:
    """With kafka-cluster, kafka-metadata-quorum, kafka-features and kafka-broker-api-versions."""
    expect("id", "Cluster ID: " in tools.run("cluster", "cluster-id"), True)
    quorum = tools.run("metadata-quorum", "describe", "--status")
    if not re.search(r"LeaderId:\s+\d+", quorum):
        raise Unexpected(f"metadata-quorum said {quorum!r}")
    replication = tools.run("metadata-quorum", "describe", "--replication")
    expect("leaders of the quorum", len(re.findall(r"\sLeader\b", replication)), 1)
    features = tools.run("features", "describe")
    levels = dict(re.findall(r"Feature: (\S+).*FinalizedVersionLevel: (\S+)", features))
    expect("features", (levels.get("group.version"), levels.get("transaction.version")), ("1", "2"))
    versions = tools.run("broker-api-versions")
    expect(
        "brokers", len(re.findall(r"^\S+ \(id: ", versions, re.MULTILINE)), len(tools.bootstrap.split(","))
    )
    return "kafka-cluster, kafka-metadata-quorum, kafka-features, kafka-broker-api-versions"


def describe_topics(tools: Tools) -> str:
    """Every partition led and in sync; the tool finds none under-replicated."""
    topic = tools.name("topic")
    said = tools.run("topics", "--describe", "--topic", topic)
    found = re.findall(r"Partition: (\d)\tLeader: (\d+)\tReplicas: (\S+)\tIsr: (\S+)", said)
    expect("partitions", [each[0] for each in found], ["0", "1", "2", "3", "4"])
    for _, leader, replicas, isr in found:
        expect("the replicas in sync", set(isr.split(",")), set(replicas.split(",")))
        expect("whether a replica leads", leader in replicas.split(","), True)
    for what in ("--under-replicated-partitions", "--unavailable-partitions", "--at-min-isr-partitions"):
        said = tools.run("topics", "--describe", "--topic", topic, what)
        if what != "--at-min-isr-partitions":
            expect(what, said.strip(), "")
    return "and --under-replicated-partitions, --unavailable-partitions, --at-min-isr-partitions"


def describe_topic_unknown(tools: Tools) -> None:
    """Never made; the tool finds it missing in the list of topics."""
    tools.run("topics", "--describe", "--topic", tools.name("never-made"))


def _config(tools: Tools, *more: str) -> str:
    return tools.run("configs", "--entity-type", "topics", "--entity-name", tools.name("topic"), *more)


def describe_configs(tools: Tools) -> str:
    """What was set, with a default and with a broker's."""
    own = _config(tools, "--describe")
    expect("what was set", "max.message.bytes=123456" in own, True)
    everything = _config(tools, "--describe", "--all")
    expect("a default", f"retention.ms={WEEK}" in everything, True)
    brokers = ["--entity-type", "brokers", "--entity-name", "1", "--describe", "--all"]
    expect("a broker's", "log.segment.bytes=" in tools.run("configs", *brokers), True)
    return "of a topic, and of a broker"


def alter_configs(tools: Tools) -> None:
    """Set one, and back to its default; the other stays."""
    _config(tools, "--alter", "--add-config", "retention.ms=7654321,cleanup.policy=[delete,compact]")
    changed = _config(tools, "--describe")
    for wanted in ("retention.ms=7654321", "cleanup.policy=delete,compact", "max.message.bytes=123456"):
        expect(wanted, wanted in changed, True)
    _config(tools, "--alter", "--delete-config", "retention.ms,cleanup.policy")
    back = _config(tools, "--describe", "--all")
    expect("the default", f"retention.ms={WEEK}" in back, True)


def alter_configs_bad_value(tools: Tools) -> None:
    """Letters where a number is due."""
    _config(tools, "--alter", "--add-config", "retention.ms=abc")
    raise refused("letters for a number")


def elect_leaders(tools: Tools) -> None:
    """The preferred one, who leads already."""
    where = ["--topic", tools.name("topic"), "--partition", "0"]
    tools.run("leader-election", "--election-type", "preferred", *where)


def list_reassignments(tools: Tools) -> None:
    """None under way."""
    said = tools.run("reassign-partitions", "--list")
    expect("what it says", said.strip(), "No partition reassignments found.")


def acls(tools: Tools) -> None:
    """All there are."""
    tools.run("acls", "--list")


def quotas(tools: Tools) -> None:
    """All there are."""
    expect("quotas", tools.run("configs", "--describe", "--entity-type", "clients").strip(), "")


def scram(tools: Tools) -> None:
    """Of a user that is not there; the tool shows nothing then, as for one without credentials."""
    name = tools.name("user")
    said = tools.run("configs", "--describe", "--entity-type", "users", "--entity-name", name)
    expect("credentials", "SCRAM" in said and "iterations" in said, False)


def delete_topic(tools: Tools) -> None:
    """It is not listed any more."""
    topic = tools.name("topic")
    tools.run("topics", "--delete", "--topic", topic)
    expect("listed", topic in tools.run("topics", "--list").split(), False)


def delete_topic_unknown(tools: Tools) -> None:
    """Never made."""
    tools.run("topics", "--delete", "--topic", tools.name("never-made"))
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
    elect_leaders,
    list_reassignments,
    acls,
    quotas,
    scram,
    delete_topic,
    delete_topic_unknown,
)
