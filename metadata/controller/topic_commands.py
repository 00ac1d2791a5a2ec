"""Commands that create, delete and grow topics, and their replies. `metadata.controller.commands` has the
rest."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import msgspec

from kafkawire.errors import ErrorCode


class ReplicaAssignment(msgspec.Struct, frozen=True):
    """The brokers of one partition, the preferred leader first. `partition` is -1 where the order tells
    it."""

    partition: int
    broker_ids: tuple[int, ...]


class ConfigEntry(NamedTuple):
    """A config by name; value None asks for the default."""

    name: str
    value: str | None


class NewTopic(msgspec.Struct, frozen=True):
    """A topic to create. -1 takes the cluster's default; both are -1 when `assignments` are given."""

    name: str
    num_partitions: int = -1
    replication_factor: int = -1
    assignments: tuple[ReplicaAssignment, ...] = ()
    configs: tuple[ConfigEntry, ...] = ()


class CreateTopics(msgspec.Struct, frozen=True):
    """Create topics, each on its own. `internal`: asked by the cluster itself, which alone may create
    `__consumer_offsets` and its like. Raises POLICY_VIOLATION for an excessive number of partitions."""

    topics: tuple[NewTopic, ...]
    validate_only: bool = False
    internal: bool = False


class TopicConfigResult(msgspec.Struct, frozen=True):
    """A config value that a new topic has. `source` is a ConfigSource number."""

    name: str
    value: str | None
    read_only: bool
    source: int
    sensitive: bool


class CreateTopicResult(msgspec.Struct, frozen=True):
    """What became of one topic. `topic_id`, counts and configs are set on success; `topic_id` is None when
    it was only validated."""

    name: str
    error_code: ErrorCode = ErrorCode.NONE
    error_message: str | None = None
    topic_id: UUID | None = None
    num_partitions: int = -1
    replication_factor: int = -1
    configs: tuple[TopicConfigResult, ...] = ()


class CreateTopicsReply(msgspec.Struct, frozen=True):
    """One result per topic, in the order of the command."""

    topics: tuple[CreateTopicResult, ...]


class DeleteTopics(msgspec.Struct, frozen=True):
    """Delete topics, by name and by id. Raises TOPIC_DELETION_DISABLED with `delete.topic.enable=false`."""

    names: tuple[str, ...] = ()
    topic_ids: tuple[UUID, ...] = ()


class DeleteTopicResult(msgspec.Struct, frozen=True):
    """What became of one topic; `name` is None if an unknown id was asked, `topic_id` if an unknown name."""

    name: str | None
    topic_id: UUID | None
    error_code: ErrorCode = ErrorCode.NONE
    error_message: str | None = None


class DeleteTopicsReply(msgspec.Struct, frozen=True):
    """One result per name, then one per id, in the order of the command."""

    topics: tuple[DeleteTopicResult, ...]


class NewPartitions(msgspec.Struct, frozen=True):
    """A topic to grow to `count` partitions in all. `assignments` lists the new ones in order; None leaves
    their places to the controller."""

    name: str
    count: int
    assignments: tuple[ReplicaAssignment, ...] | None = None


class CreatePartitions(msgspec.Struct, frozen=True):
    """Add partitions to topics. Raises POLICY_VIOLATION for an excessive number of partitions."""

    topics: tuple[NewPartitions, ...]
    validate_only: bool = False


class CreatePartitionsResult(msgspec.Struct, frozen=True):
    """What became of one topic."""

    name: str
    error_code: ErrorCode = ErrorCode.NONE
    error_message: str | None = None


class CreatePartitionsReply(msgspec.Struct, frozen=True):
    """One result per topic, in the order of the command."""

    topics: tuple[CreatePartitionsResult, ...]
