"""The cluster's metadata at one offset of the log, immutable.

A MetadataImage is replaced, never changed: `apply` returns the next one, which shares with its predecessor
everything that a batch of records left alone. So an old image may be kept and compared at no cost, and
`old is new` tells at once that a part did not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from kafkawire.primitives import TopicRef
from metadata.records import (
    CLUSTER_DEFAULT,
    NO_LEADER,
    ConfigResourceType,
    Endpoint,
    LeaderRecoveryState,
    NodeEndpoint,
    QuotaEntityPart,
    Record,
    ScramMechanism,
    SupportedFeature,
    UserScramCredentialRecord,
)

INTERNAL_TOPICS: Final = frozenset({"__consumer_offsets", "__transaction_state"})
"""Topics that the cluster keeps for itself (Kafka's `Topic.INTERNAL_TOPICS`)."""

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class BrokerState(Enum):
    """What a registered broker may be used for."""

    FENCED = "fenced"
    """Takes no leadership, is in no ISR, and clients do not see it."""
    ACTIVE = "active"
    SHUTTING_DOWN = "shutting down"
    """Still serves, but leaves every ISR and takes no leadership (controlled shutdown)."""


class BrokerImage(msgspec.Struct, frozen=True):
    """A registered broker. `epoch` is the offset of its registration record."""

    broker_id: int
    epoch: int
    incarnation: UUID
    endpoints: tuple[Endpoint, ...]
    node_endpoint: NodeEndpoint
    rack: str | None
    state: BrokerState
    features: tuple[SupportedFeature, ...] = ()

    @property
    def fenced(self) -> bool:
        return self.state is BrokerState.FENCED

    @property
    def active(self) -> bool:
        """May lead and join an ISR (Kafka's `ClusterControlManager.isActive`)."""
        return self.state is BrokerState.ACTIVE

    @property
    def in_controlled_shutdown(self) -> bool:
        return self.state is BrokerState.SHUTTING_DOWN

    def endpoint(self, listener: str) -> Endpoint | None:
        """The advertised endpoint of a listener, if the broker has that listener."""
        return next((each for each in self.endpoints if each.listener == listener), None)


class PartitionImage(msgspec.Struct, frozen=True):
    """A partition. `replicas[0]` is the preferred leader; `leader` is NO_LEADER (-1) when there is none.

    `elr` are the eligible leader replicas (KIP-966): out of sync, yet known to hold every committed record.
    With them the ISR may be empty.
    """

    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int
    partition_epoch: int
    elr: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()
    leader_recovery_state: LeaderRecoveryState = LeaderRecoveryState.RECOVERED
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()

    @property
    def has_leader(self) -> bool:
        return self.leader != NO_LEADER

    @property
    def recovering(self) -> bool:
        """The leader was elected uncleanly and has not reported recovery yet."""
        return self.leader_recovery_state is LeaderRecoveryState.RECOVERING

    @property
    def preferred_leader(self) -> int:
        return self.replicas[0]


class TopicImage(msgspec.Struct, frozen=True):
    """A topic; `partitions[i]` is partition i."""

    name: str
    topic_id: UUID
    partitions: tuple[PartitionImage, ...] = ()

    @property
    def internal(self) -> bool:
        return self.name in INTERNAL_TOPICS

    @property
    def replication_factor(self) -> int:
        """Replicas of partition 0, as Kafka reports it."""
        return len(self.partitions[0].replicas) if self.partitions else 0

    def partition(self, index: int) -> PartitionImage | None:
        return self.partitions[index] if 0 <= index < len(self.partitions) else None


class PartitionEntry(NamedTuple):
    """A partition together with where it belongs."""

    topic: TopicImage
    number: int
    partition: PartitionImage


class TopicsImage(msgspec.Struct, frozen=True):
    """All topics, by name and by id."""

    by_name: Mapping[str, TopicImage] = msgspec.field(default_factory=dict)
    by_id: Mapping[UUID, TopicImage] = msgspec.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.by_name)

    def __iter__(self) -> Iterator[TopicImage]:
        return iter(self.by_name.values())

    def __contains__(self, name: str) -> bool:
        return name in self.by_name

    def get(self, name: str) -> TopicImage | None:
        return self.by_name.get(name)

    def find(self, ref: TopicRef) -> TopicImage | None:
        """A topic by name or id, or None."""
        return self.by_name.get(ref) if isinstance(ref, str) else self.by_id.get(UUID(bytes=ref))

    def partition(self, ref: TopicRef, index: int) -> PartitionImage | None:
        """A partition by its topic and its number, or None."""
        topic = self.find(ref)
        return None if topic is None else topic.partition(index)

    def partitions(self) -> Iterator[PartitionEntry]:
        """Every partition of every topic."""
        for topic in self.by_name.values():
            for index, partition in enumerate(topic.partitions):
                yield PartitionEntry(topic, index, partition)


class ConfigResource(NamedTuple):
    """What a set of config values belongs to."""

    type: ConfigResourceType
    name: str


class ConfigsImage(msgspec.Struct, frozen=True):
    """The dynamic configs: values that were set by request, as text."""

    by_resource: Mapping[ConfigResource, Mapping[str, str]] = msgspec.field(default_factory=dict)

    def of(self, resource: ConfigResource) -> Mapping[str, str]:
        return self.by_resource.get(resource, _NOTHING)

    def topic(self, name: str) -> Mapping[str, str]:
        """The overrides of a topic."""
        return self.of(ConfigResource(ConfigResourceType.TOPIC, name))

    def group(self, group_id: str) -> Mapping[str, str]:
        """What a group was given."""
        return self.of(ConfigResource(ConfigResourceType.GROUP, group_id))

    def broker(self, broker_id: int) -> Mapping[str, str]:
        """The dynamic configs of one broker, without the cluster's defaults."""
        return self.of(ConfigResource(ConfigResourceType.BROKER, str(broker_id)))

    @property
    def cluster_defaults(self) -> Mapping[str, str]:
        """The dynamic configs that hold for every broker."""
        return self.of(ConfigResource(ConfigResourceType.BROKER, CLUSTER_DEFAULT))


QuotaEntity = tuple[QuotaEntityPart, ...]
"""What quotas belong to, its parts in the order of their kinds."""


def quota_entity(parts: Iterable[QuotaEntityPart]) -> QuotaEntity:
    """The entity that these parts make, in whatever order they come."""
    return tuple(sorted(parts, key=lambda part: (part.entity_type, part.entity_name or "")))


class ScramKey(NamedTuple):
    """Whose SCRAM credential, and for which mechanism."""

    user: str
    mechanism: ScramMechanism


class MetadataImage(msgspec.Struct, frozen=True):
    """Everything the metadata log says, up to and including the record at `offset` (-1: an empty log)."""

    offset: int = -1
    brokers: Mapping[int, BrokerImage] = msgspec.field(default_factory=dict)
    topics: TopicsImage = msgspec.field(default_factory=TopicsImage)
    configs: ConfigsImage = msgspec.field(default_factory=ConfigsImage)
    features: Mapping[str, int] = msgspec.field(default_factory=dict)
    next_producer_id: int = 0
    client_quotas: Mapping[QuotaEntity, Mapping[str, float]] = msgspec.field(default_factory=dict)
    scram_credentials: Mapping[ScramKey, UserScramCredentialRecord] = msgspec.field(default_factory=dict)

    @property
    def next_offset(self) -> int:
        return self.offset + 1

    def apply(self, records: Sequence[Record], first_offset: int) -> MetadataImage:
        """The image after `records`, of which the first has offset `first_offset`.

        Raises ValueError when the offset is not the next one, or a record contradicts the image (it names a
        topic, partition or broker that does not exist): the log is not the one this image came from.
        """
        from metadata.replay import replay

        return replay(self, records, first_offset)

    def active_brokers(self) -> list[BrokerImage]:
        """Brokers that may lead, by ascending id."""
        return [
            self.brokers[broker_id] for broker_id in sorted(self.brokers) if self.brokers[broker_id].active
        ]

    def brokers_for_clients(self) -> list[BrokerImage]:
        """Those that clients are told of, by ascending id: the active ones, or all that are registered while
        there are none. A client that was told of nobody may never ask again (librdkafka 2.16)."""
        return self.active_brokers() or [self.brokers[broker_id] for broker_id in sorted(self.brokers)]

    def is_active(self, broker_id: int) -> bool:
        broker = self.brokers.get(broker_id)
        return broker is not None and broker.state is BrokerState.ACTIVE


EMPTY_IMAGE: Final = MetadataImage()
"""The image of an empty log."""
