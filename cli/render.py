"""Data in, what Rich draws out; only the `print_…` functions touch a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from kraft.client.admin import ClusterState, Quorum
from kraft.client.cluster import Broker, Partition, Topic


def print_topic(topic: Topic, configs: Mapping[str, str]) -> None:
    """Draw a topic on stdout."""
    Console().print(topic_view(topic, configs))


def print_cluster(state: ClusterState) -> None:
    """Draw a cluster on stdout."""
    Console().print(cluster_view(state))


def topic_view(topic: Topic, configs: Mapping[str, str]) -> RenderableType:
    """A topic: its own configuration, then a row for each partition."""
    head = Text(topic.name, style="bold")
    head.append(f"  {_counted(len(topic.partitions), 'partition')}", style="default")
    for name, value in sorted(configs.items()):
        head.append(f"\n  {name}={value}", style="default")
    return Group(head, partition_table((topic.name, each) for each in topic.partitions))


def partition_table(partitions: Iterable[tuple[str, Partition]]) -> Table:
    """A row for each (topic, partition)."""
    table = _table("topic", "partition", "leader", "epoch", "replicas", "in sync")
    for topic, partition in partitions:
        table.add_row(
            topic,
            str(partition.index),
            Text("none", style="bold red") if partition.leader < 0 else str(partition.leader),
            str(partition.leader_epoch),
            _ids(partition.replicas),
            Text(_ids(partition.isr), style="default" if is_replicated(partition) else "yellow"),
        )
    return table


def is_replicated(partition: Partition) -> bool:
    """True if all replicas are in sync and one of them leads."""
    return partition.leader >= 0 and len(partition.isr) >= len(partition.replicas)


def cluster_view(state: ClusterState) -> RenderableType:
    """A cluster: brokers, controllers, and the partitions that lack something."""
    partitions = [(topic.name, each) for topic in state.topics for each in topic.partitions]
    short = [(topic, each) for topic, each in partitions if not is_replicated(each)]
    parts: list[RenderableType] = [
        Text(f"cluster {state.cluster_id or '?'}", style="bold"),
        broker_table(state.brokers, [each for _, each in partitions]),
        Text("no active controller", style="bold red")
        if state.quorum is None
        else quorum_table(state.quorum),
        Text(
            f"{_counted(len(state.topics), 'topic')}, {_counted(len(partitions), 'partition')}, "
            f"{len(short)} under-replicated"
        ),
    ]
    if short:
        parts.append(partition_table(short))
    return Group(*parts)


def broker_table(brokers: Iterable[Broker], partitions: Iterable[Partition]) -> Table:
    """A row for each broker that is in service."""
    known = list(partitions)
    table = _table("broker", "address", "rack", "leads", "replicas", "in sync")
    for broker in brokers:
        table.add_row(
            str(broker.node_id),
            f"{broker.host}:{broker.port}",
            broker.rack or "",
            str(sum(each.leader == broker.node_id for each in known)),
            str(sum(broker.node_id in each.replicas for each in known)),
            str(sum(broker.node_id in each.isr for each in known)),
        )
    return table


def quorum_table(quorum: Quorum) -> Table:
    """A row for each controller, then one for each broker that follows the metadata."""
    table = _table("controller", "role", "epoch", "log end", "behind")
    for role, nodes in (("voter", quorum.voters), ("observer", quorum.observers)):
        for node in nodes:
            leads = node.node_id == quorum.leader_id
            table.add_row(
                str(node.node_id),
                Text("active", style="bold green") if leads else role,
                str(quorum.epoch) if leads else "",
                str(node.log_end_offset) if node.log_end_offset >= 0 else "?",
                str(max(0, quorum.high_watermark - node.log_end_offset)) if node.log_end_offset >= 0 else "?",
            )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _ids(node_ids: Iterable[int]) -> str:
    return ",".join(map(str, node_ids))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
