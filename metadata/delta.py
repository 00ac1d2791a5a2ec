"""What changed between two images, and what that asks of one broker.

Brokers react to these values, never to raw records, so that a batch, many batches at once and a snapshot
look the same to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

import msgspec

from metadata.image import BrokerImage, ConfigResource, MetadataImage, PartitionImage, TopicImage, TopicsImage
from metadata.records import CLUSTER_DEFAULT, ConfigResourceType


class PartitionDelta(NamedTuple):
    """One partition that was added or changed; `old` is None for a new one."""

    topic: str
    topic_id: UUID
    partition: int
    old: PartitionImage | None
    new: PartitionImage

    @property
    def leader_epoch_changed(self) -> bool:
        """True for a new partition, and when an election (of whatever result) took place."""
        return self.old is None or self.old.leader_epoch != self.new.leader_epoch


class LocalReplica(NamedTuple):
    """A replica that one broker holds or held."""

    topic: str
    topic_id: UUID
    partition: int


class LocalChanges(msgspec.Struct, frozen=True):
    """What a delta asks of one broker, to be done in the order of the fields.

    A topic that was deleted and created anew under its name appears both in `delete` (the old id) and in
    `lead` or `follow` (the new one).
    """

    delete: tuple[LocalReplica, ...] = ()
    """Replicas whose topic is gone: stop them and delete their logs."""
    stop: tuple[LocalReplica, ...] = ()
    """Replicas that moved to other brokers: stop them and delete their logs."""
    lead: tuple[PartitionDelta, ...] = ()
    """New or changed partitions that this broker leads."""
    follow: tuple[PartitionDelta, ...] = ()
    """New or changed partitions with a replica here that another broker leads, or nobody (leader -1)."""
    topic_configs: tuple[str, ...] = ()
    """Topics with a replica here whose configs changed, new topics excepted."""
    broker_configs: bool = False
    """Dynamic configs of this broker or of all brokers changed."""

    def __bool__(self) -> bool:
        return bool(
            self.delete or self.stop or self.lead or self.follow or self.topic_configs or self.broker_configs
        )


class MetadataDelta:
    """The difference of two images. Each part is worked out when it is first asked for, at a cost that grows
    with what changed, apart from one identity check per topic."""

    def __init__(self, old: MetadataImage, new: MetadataImage) -> None:
        self.old = old
        self.new = new

    @cached_property
    def brokers(self) -> Mapping[int, tuple[BrokerImage | None, BrokerImage | None]]:
        """Brokers that came, went or changed: id -> (old, new)."""
        old, new = self.old.brokers, self.new.brokers
        if old is new:
            return {}
        return {
            broker_id: (old.get(broker_id), new.get(broker_id))
            for broker_id in sorted(old.keys() | new.keys())
            if old.get(broker_id) != new.get(broker_id)
        }

    @cached_property
    def deleted_topics(self) -> tuple[TopicImage, ...]:
        """Topics that are gone, by id: one that was created anew under its name counts."""
        gone = _others(self.old.topics, self.new.topics)
        return tuple(topic for topic in gone if topic.topic_id not in self.new.topics.by_id)

    @cached_property
    def created_topics(self) -> tuple[TopicImage, ...]:
        return tuple(topic for topic in self._new_topics if topic.topic_id not in self.old.topics.by_id)

    @cached_property
    def _new_topics(self) -> tuple[TopicImage, ...]:
        """Topics that came or changed, as they are now."""
        return _others(self.new.topics, self.old.topics)

    @cached_property
    def partitions(self) -> tuple[PartitionDelta, ...]:
        """Partitions that were added or changed."""
        return tuple(self._changed_partitions())

    @cached_property
    def configs(self) -> frozenset[ConfigResource]:
        """Resources whose configs changed."""
        old, new = self.old.configs.by_resource, self.new.configs.by_resource
        if old is new:
            return frozenset()
        return frozenset(each for each in old.keys() | new.keys() if old.get(each) != new.get(each))

    def _changed_partitions(self) -> Iterator[PartitionDelta]:
        for topic in self._new_topics:
            was = self.old.topics.by_id.get(topic.topic_id)
            old = () if was is None else was.partitions
            for index, new in enumerate(topic.partitions):
                previous = old[index] if index < len(old) else None
                if previous is not new and previous != new:
                    yield PartitionDelta(topic.name, topic.topic_id, index, previous, new)


def _others(these: TopicsImage, those: TopicsImage) -> tuple[TopicImage, ...]:
    """The topics of `these` that are not the very same among `those`. By name, whose hash is at hand: to work
    out those of ids takes longer than all the rest, at each change of a cluster of thousands of topics."""
    if these is those:
        return ()
    known = those.by_name
    return tuple([topic for name, topic in these.by_name.items() if known.get(name) is not topic])


def local_changes(old: MetadataImage, new: MetadataImage, broker_id: int) -> LocalChanges:
    """What the step from `old` to `new` asks of the broker `broker_id`."""
    return changes_for(MetadataDelta(old, new), broker_id)


def changes_for(delta: MetadataDelta, broker_id: int) -> LocalChanges:
    """As `local_changes`, of a delta that is at hand."""
    broker_resources = {
        ConfigResource(ConfigResourceType.BROKER, name) for name in (CLUSTER_DEFAULT, str(broker_id))
    }
    stop, lead, follow = [], [], []
    for change in delta.partitions:
        if change.new.leader == broker_id:
            lead.append(change)
        elif broker_id in change.new.replicas:
            follow.append(change)
        elif change.old is not None and broker_id in change.old.replicas:
            stop.append(LocalReplica(change.topic, change.topic_id, change.partition))
    return LocalChanges(
        delete=tuple(_replicas_of(delta.deleted_topics, broker_id)),
        stop=tuple(stop),
        lead=tuple(lead),
        follow=tuple(follow),
        topic_configs=_topic_configs(delta, broker_id),
        broker_configs=not broker_resources.isdisjoint(delta.configs),
    )


def assigned_replicas(image: MetadataImage, broker_id: int) -> tuple[LocalReplica, ...]:
    """Every replica that belongs on a broker. A log on its disk that is not among them is stray."""
    return tuple(_replicas_of(image.topics, broker_id))


def _replicas_of(topics: Iterable[TopicImage], broker_id: int) -> Iterator[LocalReplica]:
    for topic in topics:
        for index, partition in enumerate(topic.partitions):
            if broker_id in partition.replicas:
                yield LocalReplica(topic.name, topic.topic_id, index)


def _topic_configs(delta: MetadataDelta, broker_id: int) -> tuple[str, ...]:
    """Topics with a replica on the broker, known before, whose configs changed."""
    names = []
    for kind, name in sorted(delta.configs):
        topic = delta.new.topics.get(name) if kind is ConfigResourceType.TOPIC else None
        if topic is None or topic.topic_id not in delta.old.topics.by_id:
            continue
        if any(broker_id in partition.replicas for partition in topic.partitions):
            names.append(name)
    return tuple(names)
