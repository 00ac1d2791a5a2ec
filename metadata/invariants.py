"""What is true of every image, and of every step from one image to the next.

The simulation and the tests of the controller hold each image against these; a controller that breaks one of
them can lose data or stop a partition for good.
"""

from __future__ import annotations

from collections.abc import Iterator

from metadata.delta import MetadataDelta
from metadata.image import MetadataImage, PartitionImage


def image_violations(image: MetadataImage) -> list[str]:
    """What is wrong with an image; empty if nothing is."""
    return [
        f"{entry.topic.name}-{entry.number}: {problem} ({entry.partition})"
        for entry in image.topics.partitions()
        for problem in _partition_problems(image, entry.partition)
    ]


def step_violations(old: MetadataImage, new: MetadataImage) -> list[str]:
    """What is wrong with going from `old` to `new`; empty if nothing is."""
    return list(_step_problems(old, new))


def _partition_problems(image: MetadataImage, partition: PartitionImage) -> Iterator[str]:
    replicas, isr, elr = set(partition.replicas), set(partition.isr), set(partition.elr)
    if not replicas or len(replicas) < len(partition.replicas):
        yield "the replicas are none, or not distinct"
    if len(isr) < len(partition.isr) or len(elr) < len(partition.elr):
        yield "a replica stands twice in the ISR or ELR"
    if not isr | elr <= replicas:
        yield "the ISR or ELR holds a broker that is no replica"
    if not {*partition.adding, *partition.removing} <= replicas:
        yield "a reassignment adds or removes a broker that is no replica"
    if replicas <= set(partition.removing):
        yield "a reassignment leaves no replica"
    if isr & elr:
        yield "a replica is both in sync and eligible"
    if not all(image.is_active(broker_id) for broker_id in isr):
        yield "a fenced or leaving broker is in the ISR"
    if partition.has_leader and partition.leader not in isr:
        yield "the leader is not in the ISR"
    if not partition.has_leader and any(image.is_active(broker_id) for broker_id in isr | elr):
        yield "nobody leads although somebody could"
    if partition.recovering and len(isr) > 1:
        yield "a leader that has not recovered has followers in sync"


def _step_problems(old: MetadataImage, new: MetadataImage) -> Iterator[str]:
    if new.next_producer_id < old.next_producer_id:
        yield f"producer ids went back from {old.next_producer_id} to {new.next_producer_id}"
    delta = MetadataDelta(old, new)
    for broker_id, (before, after) in delta.brokers.items():
        if before is None or after is None:
            continue
        if after.epoch < before.epoch or (
            after.epoch == before.epoch and after.incarnation != before.incarnation
        ):
            yield f"broker {broker_id} went from epoch {before.epoch} to {after.epoch}"
    for topic in new.topics:
        known = old.topics.by_id.get(topic.topic_id)
        if known is None:
            continue
        if len(topic.partitions) < len(known.partitions):
            yield f"{topic.name} shrank"
        for number, (was, now) in enumerate(zip(known.partitions, topic.partitions, strict=False)):
            for problem in _change_problems(was, now):
                yield f"{topic.name}-{number}: {problem} ({was} -> {now})"


def _change_problems(old: PartitionImage, new: PartitionImage) -> Iterator[str]:
    if old == new:
        return
    if new.partition_epoch <= old.partition_epoch:
        yield "a change did not raise the partition epoch"
    if new.leader_epoch < old.leader_epoch:
        yield "the leader epoch went back"
    if new.leader != old.leader and new.leader_epoch == old.leader_epoch:
        yield "a change of leader did not raise the leader epoch"
