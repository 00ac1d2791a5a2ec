"""How records change an image: copy-on-write, once per batch and only the parts that a batch touches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar, assert_never
from uuid import UUID

from msgspec.structs import replace

from metadata.image import (
    BrokerImage,
    BrokerState,
    ConfigResource,
    ConfigsImage,
    MetadataImage,
    PartitionImage,
    ScramKey,
    TopicImage,
    TopicsImage,
)
from metadata.records import (
    BrokerRegistrationChangeRecord,
    ClientQuotaRecord,
    ConfigRecord,
    ConfigResourceType,
    FeatureLevelRecord,
    NoOpRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    Record,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    RemoveUserScramCredentialRecord,
    TopicRecord,
    UnregisterBrokerRecord,
    UserScramCredentialRecord,
)

K = TypeVar("K")
V = TypeVar("V")


def replay(image: MetadataImage, records: Sequence[Record], first_offset: int) -> MetadataImage:
    """`image` after `records`; see `MetadataImage.apply`."""
    if first_offset != image.next_offset:
        raise ValueError(f"records start at offset {first_offset}, the image expects {image.next_offset}")
    return rebuild(image, records, first_offset + len(records) - 1) if records else image


def rebuild(image: MetadataImage, records: Sequence[Record], offset: int) -> MetadataImage:
    """`image` after `records`, said to stand at `offset`. Raises ValueError when a record contradicts it."""
    draft = _Draft(image)
    for record in records:
        draft.replay(record)
    return draft.finish(offset)


def changed_partition(partition: PartitionImage, change: PartitionChangeRecord) -> PartitionImage:
    """A partition after a change (Kafka's `PartitionRegistration.merge`)."""
    leader, leader_epoch = partition.leader, partition.leader_epoch
    if change.leader is not None:
        leader, leader_epoch = change.leader, leader_epoch + 1
    return PartitionImage(
        replicas=_or(change.replicas, partition.replicas),
        isr=_or(change.isr, partition.isr),
        leader=leader,
        leader_epoch=leader_epoch,
        partition_epoch=partition.partition_epoch + 1,
        elr=_or(change.eligible_leader_replicas, partition.elr),
        last_known_elr=_or(change.last_known_elr, partition.last_known_elr),
        leader_recovery_state=_or(change.leader_recovery_state, partition.leader_recovery_state),
        adding=_or(change.adding_replicas, partition.adding),
        removing=_or(change.removing_replicas, partition.removing),
    )


def _or(value: V | None, otherwise: V) -> V:
    return otherwise if value is None else value


class _Lazy(Generic[K, V]):
    """A mapping that is copied at its first change."""

    __slots__ = ("_copied", "_values")

    def __init__(self, values: Mapping[K, V]) -> None:
        self._values = values
        self._copied: dict[K, V] | None = None

    @property
    def result(self) -> Mapping[K, V]:
        return self._values if self._copied is None else self._copied

    def get(self, key: K) -> V | None:
        return self.result.get(key)

    def set(self, key: K, value: V) -> None:
        self._writable()[key] = value

    def remove(self, key: K) -> None:
        if key in self.result:
            del self._writable()[key]

    def _writable(self) -> dict[K, V]:
        if self._copied is None:
            self._copied = dict(self._values)
        return self._copied


class _Draft:
    """The next image while a batch is replayed into it."""

    def __init__(self, image: MetadataImage) -> None:
        self._image = image
        self._brokers = _Lazy(image.brokers)
        self._by_name = _Lazy(image.topics.by_name)
        self._by_id = _Lazy(image.topics.by_id)
        self._partitions: dict[UUID, list[PartitionImage]] = {}
        self._configs = _Lazy(image.configs.by_resource)
        self._features = _Lazy(image.features)
        self._next_producer_id = image.next_producer_id
        self._quotas = _Lazy(image.client_quotas)
        self._scram = _Lazy(image.scram_credentials)

    def replay(self, record: Record) -> None:
        match record:
            case PartitionChangeRecord():
                self._change_partition(record)
            case PartitionRecord():
                self._add_partition(record)
            case TopicRecord():
                self._add_topic(record)
            case RemoveTopicRecord():
                self._remove_topic(record)
            case RegisterBrokerRecord():
                self._register(record)
            case BrokerRegistrationChangeRecord():
                self._change_broker(record)
            case UnregisterBrokerRecord():
                self._broker(record.broker_id, record.broker_epoch)
                self._brokers.remove(record.broker_id)
            case ConfigRecord():
                self._set_config(record)
            case FeatureLevelRecord():
                self._set_feature(record)
            case ProducerIdsRecord():
                self._next_producer_id = record.next_producer_id
            case ClientQuotaRecord():
                self._set_quota(record)
            case UserScramCredentialRecord():
                self._scram.set(ScramKey(record.name, record.mechanism), record)
            case RemoveUserScramCredentialRecord():
                self._scram.remove(ScramKey(record.name, record.mechanism))
            case NoOpRecord():
                pass
            case _:
                assert_never(record)

    def finish(self, offset: int) -> MetadataImage:
        """The image, at `offset`. Parts that no record touched are those of the old image."""
        for topic_id, partitions in self._partitions.items():
            topic = replace(self._topic(topic_id), partitions=tuple(partitions))
            self._by_id.set(topic_id, topic)
            self._by_name.set(topic.name, topic)
        old = self._image
        topics, configs = old.topics, old.configs
        if self._by_id.result is not topics.by_id:
            topics = TopicsImage(self._by_name.result, self._by_id.result)
        if self._configs.result is not configs.by_resource:
            configs = ConfigsImage(self._configs.result)
        return MetadataImage(
            offset=offset,
            brokers=self._brokers.result,
            topics=topics,
            configs=configs,
            features=self._features.result,
            next_producer_id=self._next_producer_id,
            client_quotas=self._quotas.result,
            scram_credentials=self._scram.result,
        )

    def _register(self, record: RegisterBrokerRecord) -> None:
        self._brokers.set(
            record.broker_id,
            BrokerImage(
                broker_id=record.broker_id,
                epoch=record.broker_epoch,
                incarnation=record.incarnation_id,
                endpoints=record.end_points,
                node_endpoint=record.node_endpoint,
                rack=record.rack,
                state=_state(record.fenced, record.in_controlled_shutdown),
                features=record.features,
            ),
        )

    def _change_broker(self, record: BrokerRegistrationChangeRecord) -> None:
        broker = self._broker(record.broker_id, record.broker_epoch)
        fenced = _or(record.fenced, broker.fenced)
        leaving = _or(record.in_controlled_shutdown, broker.in_controlled_shutdown)
        self._brokers.set(record.broker_id, replace(broker, state=_state(fenced, leaving)))

    def _broker(self, broker_id: int, epoch: int) -> BrokerImage:
        broker = self._brokers.get(broker_id)
        if broker is None or broker.epoch != epoch:
            raise ValueError(f"no broker {broker_id} is registered with epoch {epoch}")
        return broker

    def _add_topic(self, record: TopicRecord) -> None:
        if self._by_name.get(record.name) is not None or self._by_id.get(record.topic_id) is not None:
            raise ValueError(f"topic {record.name} ({record.topic_id}) exists already")
        topic = TopicImage(record.name, record.topic_id)
        self._by_name.set(record.name, topic)
        self._by_id.set(record.topic_id, topic)

    def _remove_topic(self, record: RemoveTopicRecord) -> None:
        topic = self._topic(record.topic_id)
        self._by_id.remove(topic.topic_id)
        self._by_name.remove(topic.name)
        self._partitions.pop(topic.topic_id, None)
        self._configs.remove(ConfigResource(ConfigResourceType.TOPIC, topic.name))

    def _add_partition(self, record: PartitionRecord) -> None:
        partitions = self._partitions_of(record.topic_id)
        if record.partition_id != len(partitions):
            raise ValueError(
                f"partition {record.partition_id} of topic {record.topic_id} is not the next one"
            )
        partitions.append(
            PartitionImage(
                replicas=record.replicas,
                isr=record.isr,
                leader=record.leader,
                leader_epoch=record.leader_epoch,
                partition_epoch=record.partition_epoch,
                elr=record.eligible_leader_replicas,
                last_known_elr=record.last_known_elr,
                leader_recovery_state=record.leader_recovery_state,
                adding=record.adding_replicas,
                removing=record.removing_replicas,
            )
        )

    def _change_partition(self, record: PartitionChangeRecord) -> None:
        partitions = self._partitions_of(record.topic_id)
        if not 0 <= record.partition_id < len(partitions):
            raise ValueError(f"topic {record.topic_id} has no partition {record.partition_id}")
        partitions[record.partition_id] = changed_partition(partitions[record.partition_id], record)

    def _partitions_of(self, topic_id: UUID) -> list[PartitionImage]:
        partitions = self._partitions.get(topic_id)
        if partitions is None:
            partitions = self._partitions[topic_id] = list(self._topic(topic_id).partitions)
        return partitions

    def _topic(self, topic_id: UUID) -> TopicImage:
        topic = self._by_id.get(topic_id)
        if topic is None:
            raise ValueError(f"no topic has the id {topic_id}")
        return topic

    def _set_config(self, record: ConfigRecord) -> None:
        resource = ConfigResource(record.resource_type, record.resource_name)
        values = dict(self._configs.get(resource) or {})
        if record.value is None:
            values.pop(record.name, None)
        else:
            values[record.name] = record.value
        if values:
            self._configs.set(resource, values)
        else:
            self._configs.remove(resource)

    def _set_quota(self, record: ClientQuotaRecord) -> None:
        values = dict(self._quotas.get(record.entity) or {})
        if record.remove:
            values.pop(record.key, None)
        else:
            values[record.key] = record.value
        if values:
            self._quotas.set(record.entity, values)
        else:
            self._quotas.remove(record.entity)

    def _set_feature(self, record: FeatureLevelRecord) -> None:
        if record.feature_level == 0:
            self._features.remove(record.name)
        else:
            self._features.set(record.name, record.feature_level)


def _state(fenced: bool, in_controlled_shutdown: bool) -> BrokerState:
    if fenced:
        return BrokerState.FENCED
    return BrokerState.SHUTTING_DOWN if in_controlled_shutdown else BrokerState.ACTIVE
