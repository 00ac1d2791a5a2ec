"""What our client's roles share when they read."""

from __future__ import annotations

from collections.abc import Iterable

from chaos.harness.tasks import Task
from chaos.history import Read, record_of
from kraft.client.cluster import Cluster, ClusterOptions
from kraft.client.fetcher import Fetched, FetchOptions

COMMITTED = FetchOptions(committed_only=True)


def connect(task: Task) -> Cluster:
    """The cluster as this client knows it."""
    return Cluster(task.bootstrap, ClusterOptions(client_id=task.name))


def reads_of(fetched: Iterable[Fetched]) -> list[Read]:
    """What a poll returned, as it is written down."""
    return [
        Read(*each.partition, record.offset, record_of(record.value, record.key or b""))
        for each in fetched
        for record in each.records
    ]
