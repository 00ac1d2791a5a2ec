"""What the controller can be asked, and what it answers.

Every command and reply is a frozen struct that `metadata.serde.to_wire` and `from_wire` carry between
nodes. Errors of a single item (a topic, a partition, a resource) stand in its result; an error of the whole
command is raised by the controller as KafkaError. `COMMANDS` names them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

import msgspec

from kafkawire.errors import ErrorCode
from metadata.controller.client_commands import (
    AlterClientQuotas,
    AlterClientQuotasReply,
    AlterUserScramCredentials,
    AlterUserScramCredentialsReply,
)
from metadata.controller.config_commands import (
    AlterConfigOp,
    AlterConfigsResource,
    AlterConfigsResult,
    ConfigAlteration,
    IncrementalAlterConfigs,
    IncrementalAlterConfigsReply,
)
from metadata.controller.feature_commands import UpdateFeatures
from metadata.controller.partition_commands import (
    AlterPartitionReassignments,
    AlterPartitionReassignmentsReply,
    ElectionType,
    ElectLeaderResult,
    ElectLeaders,
    ElectLeadersReply,
    TopicPartition,
)
from metadata.controller.topic_commands import (
    ConfigEntry,
    CreatePartitions,
    CreatePartitionsReply,
    CreatePartitionsResult,
    CreateTopicResult,
    CreateTopics,
    CreateTopicsReply,
    DeleteTopicResult,
    DeleteTopics,
    DeleteTopicsReply,
    NewPartitions,
    NewTopic,
    ReplicaAssignment,
    TopicConfigResult,
)
from metadata.records import (
    Endpoint,
    LeaderRecoveryState,
    NodeEndpoint,
    SupportedFeature,
)

__all__ = [
    "COMMANDS",
    "Acknowledged",
    "AllocateProducerIds",
    "AllocateProducerIdsReply",
    "AlterConfigOp",
    "AlterConfigsResource",
    "AlterConfigsResult",
    "AlterPartition",
    "AlterPartitionItem",
    "AlterPartitionReply",
    "AlterPartitionResult",
    "BrokerConnected",
    "BrokerDisconnected",
    "BrokerHeartbeat",
    "BrokerHeartbeatReply",
    "Command",
    "CommandSpec",
    "ConfigAlteration",
    "ConfigEntry",
    "CreatePartitions",
    "CreatePartitionsReply",
    "CreatePartitionsResult",
    "CreateTopicResult",
    "CreateTopics",
    "CreateTopicsReply",
    "DeleteTopicResult",
    "DeleteTopics",
    "DeleteTopicsReply",
    "ElectLeaderResult",
    "ElectLeaders",
    "ElectLeadersReply",
    "ElectionType",
    "IncrementalAlterConfigs",
    "IncrementalAlterConfigsReply",
    "IsrMember",
    "NewPartitions",
    "NewTopic",
    "RegisterBroker",
    "RegisterBrokerReply",
    "ReplicaAssignment",
    "Reply",
    "Tick",
    "TopicConfigResult",
    "TopicPartition",
    "UnregisterBroker",
]

# Brokers


class RegisterBroker(msgspec.Struct, frozen=True):
    """A broker process came up. `incarnation_id` is drawn anew at each start of a process.

    `previous_broker_epoch` is the epoch under which this broker last shut down cleanly, -1 if it did not or
    never ran (KIP-966): a broker without it may have lost the end of its logs.
    Raises INCONSISTENT_CLUSTER_ID, DUPLICATE_BROKER_REGISTRATION (another process lives under this id; try
    again), INVALID_REGISTRATION.
    """

    broker_id: int
    incarnation_id: UUID
    cluster_id: str
    endpoints: tuple[Endpoint, ...]
    node_endpoint: NodeEndpoint
    rack: str | None = None
    previous_broker_epoch: int = -1
    features: tuple[SupportedFeature, ...] = ()


class RegisterBrokerReply(msgspec.Struct, frozen=True):
    """The epoch that the broker must name in everything it says from now on."""

    broker_epoch: int


class BrokerHeartbeat(msgspec.Struct, frozen=True):
    """A broker is alive, and which state it wants. Raises STALE_BROKER_EPOCH: register again or stop.

    `current_metadata_offset` is the offset of the last metadata record that the broker has applied (-1:
    none).
    """

    broker_id: int
    broker_epoch: int
    current_metadata_offset: int
    want_fence: bool = False
    want_shutdown: bool = False


class BrokerHeartbeatReply(msgspec.Struct, frozen=True):
    """The state that the broker is in. `should_shutdown`: it leads nothing any more and may stop."""

    is_caught_up: bool
    is_fenced: bool
    should_shutdown: bool


class BrokerConnected(msgspec.Struct, frozen=True):
    """The broker's stream to the active controller stands, first or again: ends a grace that is running."""

    broker_id: int
    broker_epoch: int


class BrokerDisconnected(msgspec.Struct, frozen=True):
    """The broker's stream broke: unless BrokerConnected comes within `broker.disconnect.grace.ms`, it is
    fenced.

    A stale epoch is ignored: the stream was that of an earlier incarnation.
    """

    broker_id: int
    broker_epoch: int


class UnregisterBroker(msgspec.Struct, frozen=True):
    """Forget a broker for good. Raises BROKER_ID_NOT_REGISTERED."""

    broker_id: int


class Acknowledged(msgspec.Struct, frozen=True):
    """The reply to a command that has nothing to tell."""


# Partitions


class IsrMember(NamedTuple):
    """A broker in a proposed ISR, under the epoch in which it fetched (KIP-903). Epoch -1 is not checked."""

    broker_id: int
    broker_epoch: int


class AlterPartitionItem(msgspec.Struct, frozen=True):
    """The ISR that a leader proposes for one partition, and the state which it changes (compare and set)."""

    topic_id: UUID
    partition: int
    leader_epoch: int
    partition_epoch: int
    new_isr: tuple[IsrMember, ...]
    leader_recovery_state: LeaderRecoveryState = LeaderRecoveryState.RECOVERED


class AlterPartition(msgspec.Struct, frozen=True):
    """A leader changes ISRs (KIP-497). Raises STALE_BROKER_EPOCH."""

    broker_id: int
    broker_epoch: int
    partitions: tuple[AlterPartitionItem, ...]


class AlterPartitionResult(msgspec.Struct, frozen=True):
    """What became of one partition. On success (NONE) the fields tell its state after the change; on any
    error but an unknown topic or partition they tell its present state, for the leader to compare with its
    own.

    NOT_CONTROLLER: the leader knows later epochs than this controller, which is therefore not the active one.
    FENCED_LEADER_EPOCH, INVALID_UPDATE_VERSION: the state has moved on, which the leader learns by the log.
    INELIGIBLE_REPLICA: a proposed member is fenced, leaving, or another incarnation than the one that
    fetched. NEW_LEADER_ELECTED: the change was made, and ended the leadership.
    """

    topic_id: UUID
    partition: int
    error_code: ErrorCode = ErrorCode.NONE
    leader_id: int = -1
    leader_epoch: int = -1
    isr: tuple[int, ...] = ()
    leader_recovery_state: LeaderRecoveryState = LeaderRecoveryState.RECOVERED
    partition_epoch: int = -1


class AlterPartitionReply(msgspec.Struct, frozen=True):
    """One result per partition, in the order of the command."""

    partitions: tuple[AlterPartitionResult, ...]


# Producer ids


class AllocateProducerIds(msgspec.Struct, frozen=True):
    """A broker wants a block of producer ids (KIP-730). Raises STALE_BROKER_EPOCH."""

    broker_id: int
    broker_epoch: int


class AllocateProducerIdsReply(msgspec.Struct, frozen=True):
    """The ids `first_producer_id` up to, not including, `first_producer_id + length` are the broker's."""

    first_producer_id: int
    length: int


# Time


class Tick(msgspec.Struct, frozen=True):
    """Time has passed: fence brokers whose session ended, balance leaders when it is due. Never sent by a
    node."""


Command: TypeAlias = (
    RegisterBroker
    | BrokerHeartbeat
    | BrokerConnected
    | BrokerDisconnected
    | UnregisterBroker
    | CreateTopics
    | DeleteTopics
    | CreatePartitions
    | IncrementalAlterConfigs
    | AlterPartition
    | ElectLeaders
    | AlterPartitionReassignments
    | AllocateProducerIds
    | UpdateFeatures
    | AlterClientQuotas
    | AlterUserScramCredentials
    | Tick
)

Reply: TypeAlias = (
    RegisterBrokerReply
    | BrokerHeartbeatReply
    | Acknowledged
    | CreateTopicsReply
    | DeleteTopicsReply
    | CreatePartitionsReply
    | IncrementalAlterConfigsReply
    | AlterPartitionReply
    | ElectLeadersReply
    | AlterPartitionReassignmentsReply
    | AlterClientQuotasReply
    | AlterUserScramCredentialsReply
    | AllocateProducerIdsReply
)


class CommandSpec(msgspec.Struct, frozen=True):
    """A command that nodes send, and the reply that it gets."""

    name: str
    command: type[Command]
    reply: type[Reply]


def _specs() -> dict[str, CommandSpec]:
    pairs: list[tuple[type[Command], type[Reply]]] = [
        (RegisterBroker, RegisterBrokerReply),
        (BrokerHeartbeat, BrokerHeartbeatReply),
        (UnregisterBroker, Acknowledged),
        (CreateTopics, CreateTopicsReply),
        (DeleteTopics, DeleteTopicsReply),
        (CreatePartitions, CreatePartitionsReply),
        (IncrementalAlterConfigs, IncrementalAlterConfigsReply),
        (AlterPartition, AlterPartitionReply),
        (ElectLeaders, ElectLeadersReply),
        (AlterPartitionReassignments, AlterPartitionReassignmentsReply),
        (AllocateProducerIds, AllocateProducerIdsReply),
        (UpdateFeatures, Acknowledged),
        (AlterClientQuotas, AlterClientQuotasReply),
        (AlterUserScramCredentials, AlterUserScramCredentialsReply),
    ]
    return {command.__name__: CommandSpec(command.__name__, command, reply) for command, reply in pairs}


COMMANDS: Final[Mapping[str, CommandSpec]] = MappingProxyType(_specs())
"""Every command that may come from another node, by its name. BrokerConnected and BrokerDisconnected are
what the node observes itself, so they are not among them."""
