"""The records of the metadata log: the only way in which cluster state changes.

Names, fields and type numbers follow Kafka's metadata records (`metadata/src/main/resources/common/metadata`
there), fields in snake_case. An optional field of a change record means "unchanged" when it is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple, TypeAlias
from uuid import UUID

import msgspec

NO_LEADER = -1
"""The leader of a partition that nobody leads."""

CLUSTER_DEFAULT = ""
"""The resource name of a BROKER config that holds for every broker."""


class LeaderRecoveryState(IntEnum):
    """Whether a leader was elected uncleanly and has yet to recover (KIP-704)."""

    RECOVERED = 0
    RECOVERING = 1


class ConfigResourceType(IntEnum):
    """What a config belongs to, by Kafka's numbers (`ConfigResource.Type`)."""

    UNKNOWN = 0
    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class Endpoint(NamedTuple):
    """Where clients reach a broker: one listener of its `advertised.listeners`."""

    listener: str
    host: str
    port: int


class NodeEndpoint(NamedTuple):
    """Where other nodes reach a node: its HTTP port."""

    host: str
    port: int


class SupportedFeature(NamedTuple):
    """A feature and the range of levels that a broker supports (KIP-584)."""

    name: str
    min_version: int
    max_version: int


class RegisterBrokerRecord(msgspec.Struct, frozen=True):
    """A broker came (or came back). `broker_epoch` is the offset of this record when it was first written;
    a broker that registers the same incarnation again keeps its epoch and state."""

    broker_id: int
    incarnation_id: UUID
    broker_epoch: int
    end_points: tuple[Endpoint, ...]
    node_endpoint: NodeEndpoint
    rack: str | None = None
    features: tuple[SupportedFeature, ...] = ()
    fenced: bool = True
    in_controlled_shutdown: bool = False


class UnregisterBrokerRecord(msgspec.Struct, frozen=True):
    """A broker is gone for good."""

    broker_id: int
    broker_epoch: int


class TopicRecord(msgspec.Struct, frozen=True):
    """A topic exists. Its partitions follow in PartitionRecords."""

    name: str
    topic_id: UUID


class PartitionRecord(msgspec.Struct, frozen=True):
    """A partition exists, in this state."""

    partition_id: int
    topic_id: UUID
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int
    partition_epoch: int
    removing_replicas: tuple[int, ...] = ()
    adding_replicas: tuple[int, ...] = ()
    leader_recovery_state: LeaderRecoveryState = LeaderRecoveryState.RECOVERED
    eligible_leader_replicas: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()


class ConfigRecord(msgspec.Struct, frozen=True):
    """A config value is set or, with `value` None, removed."""

    resource_type: ConfigResourceType
    resource_name: str
    name: str
    value: str | None


class PartitionChangeRecord(msgspec.Struct, frozen=True):
    """A partition changed. Its partition epoch grows by one; a `leader` that is given, even the same one,
    bumps the leader epoch."""

    partition_id: int
    topic_id: UUID
    isr: tuple[int, ...] | None = None
    leader: int | None = None
    replicas: tuple[int, ...] | None = None
    removing_replicas: tuple[int, ...] | None = None
    adding_replicas: tuple[int, ...] | None = None
    leader_recovery_state: LeaderRecoveryState | None = None
    eligible_leader_replicas: tuple[int, ...] | None = None
    last_known_elr: tuple[int, ...] | None = None


class RemoveTopicRecord(msgspec.Struct, frozen=True):
    """A topic is gone, with its partitions and its configs."""

    topic_id: UUID


class FeatureLevelRecord(msgspec.Struct, frozen=True):
    """A feature is finalized at a level; level 0 removes it."""

    name: str
    feature_level: int


class ProducerIdsRecord(msgspec.Struct, frozen=True):
    """A block of producer ids went to a broker: all ids below `next_producer_id` are taken (KIP-730)."""

    broker_id: int
    broker_epoch: int
    next_producer_id: int


class BrokerRegistrationChangeRecord(msgspec.Struct, frozen=True):
    """A registered broker is fenced, unfenced or begins a controlled shutdown. None means unchanged."""

    broker_id: int
    broker_epoch: int
    fenced: bool | None = None
    in_controlled_shutdown: bool | None = None


class QuotaEntityPart(NamedTuple):
    """One part of what a quota belongs to: "user", "client-id" or "ip", and which; None is the default of its
    kind."""

    entity_type: str
    entity_name: str | None


class ClientQuotaRecord(msgspec.Struct, frozen=True):
    """A quota is set or removed (KIP-546)."""

    entity: tuple[QuotaEntityPart, ...]
    key: str
    value: float = 0.0
    remove: bool = False


class ScramMechanism(IntEnum):
    """Kafka's numbers of the SCRAM mechanisms."""

    SHA_256 = 1
    SHA_512 = 2


class UserScramCredentialRecord(msgspec.Struct, frozen=True):
    """A user has a credential (KIP-554). The password cannot be had from it."""

    name: str
    mechanism: ScramMechanism
    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int


class RemoveUserScramCredentialRecord(msgspec.Struct, frozen=True):
    """A user's credential is gone."""

    name: str
    mechanism: ScramMechanism


class NoOpRecord(msgspec.Struct, frozen=True):
    """Takes an offset and changes nothing (KIP-835)."""


Record: TypeAlias = (
    RegisterBrokerRecord
    | UnregisterBrokerRecord
    | TopicRecord
    | PartitionRecord
    | ConfigRecord
    | PartitionChangeRecord
    | RemoveTopicRecord
    | FeatureLevelRecord
    | ProducerIdsRecord
    | BrokerRegistrationChangeRecord
    | ClientQuotaRecord
    | UserScramCredentialRecord
    | RemoveUserScramCredentialRecord
    | NoOpRecord
)
"""Any record of the metadata log."""

RECORD_TYPES: Mapping[int, type[Record]] = MappingProxyType(
    {
        0: RegisterBrokerRecord,
        1: UnregisterBrokerRecord,
        2: TopicRecord,
        3: PartitionRecord,
        4: ConfigRecord,
        5: PartitionChangeRecord,
        9: RemoveTopicRecord,
        11: UserScramCredentialRecord,
        12: FeatureLevelRecord,
        14: ClientQuotaRecord,
        15: ProducerIdsRecord,
        17: BrokerRegistrationChangeRecord,
        20: NoOpRecord,
        22: RemoveUserScramCredentialRecord,
    }
)
"""Record class by its number in the log. A number is never reused."""
