"""Whether the replicas of a mended cluster have come to rest: every log the same, nothing under way."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.replication.invariants import ClusterView, ReplicationInvariants
from replication.leader import Leader


def problems(view: ClusterView, invariants: ReplicationInvariants) -> Iterator[str]:
    """Why they have not converged; nothing if they have."""
    for entry in view.image.topics.partitions():
        name = f"{entry.topic.name}-{entry.number}"
        key = (entry.topic.topic_id.bytes, entry.number)
        if set(entry.partition.isr) != set(entry.partition.replicas):
            yield f"{name} has the ISR {entry.partition.isr} of {entry.partition.replicas}"
        if entry.partition.adding or entry.partition.removing:
            yield f"{name} is being moved"
        committed = invariants.committed(key)
        for broker_id in entry.partition.replicas:
            partition = view.replica(broker_id, key)
            if partition is None:
                yield f"{broker_id} has no replica of {name}"
            elif not partition.log.end_offset == partition.high_watermark == committed:
                yield f"{broker_id} has {partition!r}, {committed} is committed"
            elif (broker_id == entry.partition.leader) != isinstance(partition.role, Leader):
                yield f"{broker_id} is wrong about its role: {partition!r}"
            elif partition.log.first_undecided() is not None:
                yield f"{broker_id} has an open transaction in {name}"
