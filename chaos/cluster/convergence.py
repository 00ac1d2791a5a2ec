"""Whether a mended cluster has come to rest: everybody there, every log the same, nothing under way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chaos.cluster.nodes import Machine
from chaos.replication_invariants import ReplicationInvariants
from metadata.image import MetadataImage
from replication.leader import Leader


def problems(
    image: MetadataImage, machines: Mapping[int, Machine], invariants: ReplicationInvariants
) -> Iterator[str]:
    """Why the cluster has not converged; nothing if it has."""
    active = {broker.broker_id for broker in image.active_brokers()}
    for machine in machines.values():
        if not machine.is_controller and machine.node_id not in active:
            yield f"broker {machine.node_id} does not serve"
    for entry in image.topics.partitions():
        name = f"{entry.topic.name}-{entry.number}"
        key = (entry.topic.topic_id.bytes, entry.number)
        if set(entry.partition.isr) != set(entry.partition.replicas):
            yield f"{name} has the ISR {entry.partition.isr} of {entry.partition.replicas}"
        if entry.partition.adding or entry.partition.removing:
            yield f"{name} is being moved"
        committed = invariants.committed(key)
        for broker_id in entry.partition.replicas:
            process = machines[broker_id].process
            broker = None if process is None else process.broker
            partition = None if broker is None else broker.replicas.by_key(key)
            if partition is None:
                yield f"{broker_id} has no replica of {name}"
            elif not partition.log.end_offset == partition.high_watermark == committed:
                yield f"{broker_id} has {partition!r}, {committed} is committed"
            elif (broker_id == entry.partition.leader) != isinstance(partition.role, Leader):
                yield f"{broker_id} is wrong about its role: {partition!r}"
            elif partition.log.first_undecided() is not None:
                yield f"{broker_id} has an open transaction in {name}"
