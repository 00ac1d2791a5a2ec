"""Topics: creation, deletion and growth (Kafka's `ReplicationControlManager`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final
from uuid import UUID

from msgspec.structs import replace

from kafkawire.errors import ErrorCode, KafkaError
from metadata.config_keys import resolve_topic, validate_topic_configs
from metadata.controller.assignment import check_replicas, numbered
from metadata.controller.commands import (
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
    TopicConfigResult,
)
from metadata.controller.decision import Decision, RandomSource, View
from metadata.controller.placement import place
from metadata.controller.topic_names import TakenNames, check_name, check_not_internal
from metadata.image import MetadataImage, TopicImage
from metadata.records import (
    ConfigRecord,
    ConfigResourceType,
    PartitionRecord,
    Record,
    RemoveTopicRecord,
    TopicRecord,
)

MAX_PARTITIONS_PER_BATCH: Final = 10_000
"""Partitions that one command may create (Kafka's constant of that name)."""


class Topics:
    """Decides on topics. Its only state is whose turn it is among brokers that are otherwise equal, so that
    topics of one partition spread too."""

    def __init__(self, random: RandomSource) -> None:
        self._random = random
        self._turn = random.getrandbits(16)

    def create(self, view: View, command: CreateTopics) -> Decision[CreateTopicsReply]:
        """Create each topic that can be. Raises KafkaError(POLICY_VIOLATION) when there are too many
        partitions."""
        _check_batch(max(1, topic.num_partitions, len(topic.assignments)) for topic in command.topics)
        repeated = _repeated(topic.name for topic in command.topics)
        taken = TakenNames(view.image.topics.by_name)
        configs = _ShownConfigs(view)
        records: list[Record] = []
        results = []
        for topic in command.topics:
            try:
                _check_unique(topic.name, repeated)
                _check_new_name(view.image, topic.name, taken, internal=command.internal)
                created, result = self._create(view, topic, configs)
            except KafkaError as error:
                results.append(CreateTopicResult(topic.name, error.code, error.message))
                continue
            taken.add(topic.name)
            records += created
            results.append(result)
        if command.validate_only:
            return Decision((), CreateTopicsReply(tuple(_without_id(result) for result in results)))
        return Decision(records, CreateTopicsReply(tuple(results)))

    def create_partitions(self, view: View, command: CreatePartitions) -> Decision[CreatePartitionsReply]:
        """Grow each topic that can be. Raises KafkaError(POLICY_VIOLATION) when there are too many
        partitions."""
        _check_batch(topic.count - _partition_count(view.image, topic.name) for topic in command.topics)
        repeated = _repeated(topic.name for topic in command.topics)
        records: list[Record] = []
        results = []
        for topic in command.topics:
            try:
                _check_unique(topic.name, repeated)
                records += self._grow(view, topic)
            except KafkaError as error:
                results.append(CreatePartitionsResult(topic.name, error.code, error.message))
            else:
                results.append(CreatePartitionsResult(topic.name))
        return Decision(() if command.validate_only else records, CreatePartitionsReply(tuple(results)))

    def _create(
        self, view: View, topic: NewTopic, configs: _ShownConfigs
    ) -> tuple[list[Record], CreateTopicResult]:
        overrides = _overrides(topic)
        replicas = self._replicas(view, topic)
        topic_id = UUID(int=self._random.getrandbits(128), version=4)
        records: list[Record] = [TopicRecord(topic.name, topic_id)]
        records += (
            ConfigRecord(ConfigResourceType.TOPIC, topic.name, name, value)
            for name, value in overrides.items()
        )
        records += _partition_records(view.image, topic_id, replicas, 0)
        result = CreateTopicResult(
            topic.name,
            topic_id=topic_id,
            num_partitions=len(replicas),
            replication_factor=len(replicas[0]),
            configs=configs.of(overrides),
        )
        return records, result

    def _replicas(self, view: View, topic: NewTopic) -> list[tuple[int, ...]]:
        """The replicas of each partition: the client's choice, or ours."""
        if topic.assignments:
            for asked, what in (
                (topic.replication_factor, "replication factor"),
                (topic.num_partitions, "numPartitions"),
            ):
                if asked != -1:
                    raise KafkaError(
                        ErrorCode.INVALID_REQUEST,
                        f"A manual partition assignment was specified, but {what} was not set to -1.",
                    )
            replicas = numbered(topic.assignments)
            check_replicas(view.image, replicas, None)
            return replicas
        if topic.replication_factor < -1 or topic.replication_factor == 0:
            raise KafkaError(
                ErrorCode.INVALID_REPLICATION_FACTOR,
                "Replication factor was set to an invalid non-positive value.",
            )
        if topic.num_partitions < -1 or topic.num_partitions == 0:
            raise KafkaError(
                ErrorCode.INVALID_PARTITIONS,
                "Number of partitions was set to an invalid non-positive value.",
            )
        count = view.config.num_partitions if topic.num_partitions == -1 else topic.num_partitions
        factor = topic.replication_factor
        if factor == -1:
            factor = view.config.default_replication_factor
        return self._place(view.image, count, factor, ())

    def _grow(self, view: View, topic: NewPartitions) -> list[Record]:
        image = view.image.topics.get(topic.name)
        if image is None:
            raise KafkaError(
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition."
            )
        check_not_internal(topic.name)
        present = len(image.partitions)
        added = topic.count - present
        if added == 0:
            raise KafkaError(ErrorCode.INVALID_PARTITIONS, f"Topic already has {present} partition(s).")
        if added < 0:
            raise KafkaError(
                ErrorCode.INVALID_PARTITIONS,
                f"The topic {topic.name} currently has {present} partition(s); {topic.count} would not be an "
                "increase.",
            )
        if topic.assignments is not None:
            replicas = [assignment.broker_ids for assignment in topic.assignments]
            if len(replicas) != added:
                raise KafkaError(
                    ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                    f"Attempted to add {added} additional partition(s), but only {len(replicas)} "
                    "assignment(s) were specified.",
                )
            check_replicas(view.image, replicas, image.replication_factor, present)
        else:
            existing = [partition.replicas for partition in image.partitions]
            replicas = self._place(view.image, added, image.replication_factor, existing)
        return list(_partition_records(view.image, image.topic_id, replicas, present))

    def _place(
        self, image: MetadataImage, count: int, factor: int, existing: Sequence[tuple[int, ...]]
    ) -> list[tuple[int, ...]]:
        brokers = list(image.brokers.values())
        replicas = place(brokers, count, factor, self._turn, existing)
        self._turn += count
        return replicas


class _ShownConfigs:
    """What clients are told of new topics' configs. It is worked out once for topics that ask for the same:
    a thousand of them, which come together, would take longer than the quorum waits for its leader."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._known: dict[frozenset[tuple[str, str]], tuple[TopicConfigResult, ...]] = {}

    def of(self, overrides: Mapping[str, str]) -> tuple[TopicConfigResult, ...]:
        """Every key with the value that it has for a topic with these overrides."""
        asked = frozenset(overrides.items())
        shown = self._known.get(asked)
        if shown is None:
            shown = self._known[asked] = tuple(
                TopicConfigResult(each.name, each.text, False, each.source, each.key.sensitive)
                for each in resolve_topic(self._view.layers(overrides)).values()
            )
        return shown


def delete_topics(view: View, command: DeleteTopics) -> Decision[DeleteTopicsReply]:
    """Delete each topic that can be. Raises KafkaError(TOPIC_DELETION_DISABLED)."""
    if not view.config.delete_topic_enable:
        raise KafkaError(ErrorCode.TOPIC_DELETION_DISABLED, "Topic deletion is disabled.")
    topics = view.image.topics
    found: list[tuple[str | None, UUID | None, TopicImage | None]] = [
        *((name, None, topics.get(name)) for name in command.names),
        *((None, topic_id, topics.by_id.get(topic_id)) for topic_id in command.topic_ids),
    ]
    repeated = _repeated(topic.name for _, _, topic in found if topic is not None)
    records: list[Record] = []
    results = []
    for name, topic_id, topic in found:
        if topic is None:
            results.append(_unknown(name, topic_id))
            continue
        try:
            _check_unique(topic.name, repeated)
            check_not_internal(topic.name)
        except KafkaError as error:
            results.append(DeleteTopicResult(topic.name, topic.topic_id, error.code, error.message))
        else:
            records.append(RemoveTopicRecord(topic.topic_id))
            results.append(DeleteTopicResult(topic.name, topic.topic_id))
    return Decision(records, DeleteTopicsReply(tuple(results)))


def _unknown(name: str | None, topic_id: UUID | None) -> DeleteTopicResult:
    if name is None:
        message = "This server does not host this topic ID."
        return DeleteTopicResult(None, topic_id, ErrorCode.UNKNOWN_TOPIC_ID, message)
    message = "This server does not host this topic-partition."
    return DeleteTopicResult(name, None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message)


def _check_batch(counts: Iterable[int]) -> None:
    if sum(max(0, count) for count in counts) > MAX_PARTITIONS_PER_BATCH:
        raise KafkaError(ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request.")


def _check_new_name(image: MetadataImage, name: str, taken: TakenNames, *, internal: bool) -> None:
    check_name(name)
    if not internal:
        check_not_internal(name)
    if name in image.topics:
        raise KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
    taken.check(name)


def _overrides(topic: NewTopic) -> dict[str, str]:
    """The configs of a new topic. Raises KafkaError(INVALID_CONFIG)."""
    overrides: dict[str, str] = {}
    for name, value in topic.configs:
        if value is None:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"Null value not supported for topic configs: {name}")
        overrides[name] = value
    validate_topic_configs(overrides)
    return overrides


def _partition_records(
    image: MetadataImage, topic_id: UUID, partitions: Sequence[tuple[int, ...]], first: int
) -> Iterator[PartitionRecord]:
    """New partitions: every active replica is in sync, the first of them leads."""
    for number, replicas in enumerate(partitions, first):
        isr = tuple(broker_id for broker_id in replicas if image.is_active(broker_id))
        yield PartitionRecord(
            partition_id=number,
            topic_id=topic_id,
            replicas=replicas,
            isr=isr,
            leader=isr[0],
            leader_epoch=0,
            partition_epoch=0,
        )


def _partition_count(image: MetadataImage, name: str) -> int:
    topic = image.topics.get(name)
    return 0 if topic is None else len(topic.partitions)


def _check_unique(name: str, repeated: set[str]) -> None:
    if name in repeated:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")


def _repeated(names: Iterable[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def _without_id(result: CreateTopicResult) -> CreateTopicResult:
    return replace(result, topic_id=None)
