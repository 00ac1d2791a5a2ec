"""confluent-kafka's calls for what the walk asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import confluent_kafka
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    ElectionType,
    IsolationLevel,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)

from interop.confluent_kafka.connections import Deliveries, Setting, checked, code, consumer, settings
from interop.confluent_kafka.coordinated import GroupMember, Transactions
from interop.shared.client import (
    Client,
    Member,
    Membership,
    Placed,
    Row,
    SeenGroup,
    TransactionalProducer,
    Where,
)
from interop.shared.telling import PATIENCE, Deadline, expect


def _result(futures: Mapping[Any, Any]) -> Any:
    """What the only future of an answer comes to. Raises KafkaException."""
    (future,) = futures.values()
    return future.result(PATIENCE)


def _row(message: Message) -> Row:
    kind, when = message.timestamp()
    expect("kind of timestamp", kind, TIMESTAMP_CREATE_TIME)
    return Row(message.key(), message.value(), when, message.headers() or [])


class ConfluentKafka(Client):
    """Its admin client lives as long as this: it has to outlive what it is asked for."""

    package = "interop.confluent_kafka"
    codecs = ("gzip", "snappy", "lz4", "zstd")

    def __init__(self, at: Where) -> None:
        super().__init__(at)
        self._admin = AdminClient(settings(at))

    def library(self) -> tuple[str, str]:
        return "confluent-kafka", f"{confluent_kafka.version()}, librdkafka {confluent_kafka.libversion()[0]}"

    def code(self, error: BaseException) -> int | None:
        return code(error)

    def send(
        self,
        topic: str,
        rows: Sequence[Row],
        partitions: int = 1,
        codec: str | None = None,
        idempotent: bool = False,
    ) -> list[tuple[int, int]]:
        more: dict[str, Setting] = {"enable_idempotence": idempotent, "linger_ms": 20}
        if codec is not None:
            more["compression_type"] = codec
        deliveries = Deliveries(Producer(settings(self.at, acks="all", **more)))
        for number, row in enumerate(rows):
            place = {"partition": number % partitions, "timestamp": row.timestamp}
            deliveries.send(topic, row.value, row.key, headers=row.headers, **place)
        deliveries.flush()
        return deliveries.placed

    def read(
        self, topic: str, positions: Mapping[int, int], count: int, committed: bool = False
    ) -> list[Placed]:
        found: list[Message] = []
        with consumer(
            self.at, isolation_level="read_committed" if committed else "read_uncommitted"
        ) as reader:
            reader.assign([TopicPartition(topic, *position) for position in positions.items()])
            deadline = Deadline()
            while len(found) < count and deadline.left(f"{count} records of {topic}"):
                found += [checked(each) for each in reader.consume(count - len(found), timeout=1.0)]
            found += [checked(each) for each in reader.consume(1, timeout=0.2)]
        return [Placed(each.partition(), each.offset(), _row(each)) for each in found]

    def offset_for_time(self, topic: str, timestamp: int) -> int:
        with consumer(self.at) as reader:
            (found,) = reader.offsets_for_times([TopicPartition(topic, 0, timestamp)], timeout=PATIENCE)
        return int(found.offset)

    def _offset(self, topic: str, spec: OffsetSpec, **more: Any) -> int:
        return int(_result(self._admin.list_offsets({TopicPartition(topic, 0): spec}, **more)).offset)

    def offsets(self, topic: str) -> tuple[int, int]:
        return self._offset(topic, OffsetSpec.earliest()), self._offset(topic, OffsetSpec.latest())

    def stable_offset(self, topic: str) -> int | None:
        return self._offset(topic, OffsetSpec.latest(), isolation_level=IsolationLevel.READ_COMMITTED)

    def join(self, membership: Membership) -> Member:
        return GroupMember(self.at, membership)

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        return Transactions(self.at, transactional_id)

    def topics(self) -> Mapping[str, Sequence[int]]:
        found = self._admin.list_topics(timeout=PATIENCE).topics
        return {name: [each.leader for each in topic.partitions.values()] for name, topic in found.items()}

    def create_topic(self, name: str, partitions: int, replicas: int, config: Mapping[str, str]) -> None:
        _result(self._admin.create_topics([NewTopic(name, partitions, replicas, config=dict(config))]))

    def delete_topic(self, name: str) -> None:
        _result(self._admin.delete_topics([name]))

    def describe_topic(self, name: str) -> Sequence[int]:
        found = _result(self._admin.describe_topics(TopicCollection([name])))
        return [len(each.replicas) for each in found.partitions]

    def create_partitions(self, name: str, total: int) -> None:
        _result(self._admin.create_partitions([NewPartitions(name, total)]))

    def brokers(self) -> tuple[set[int], int]:
        found = self._admin.describe_cluster().result(PATIENCE)
        return {node.id for node in found.nodes}, found.controller.id

    def config(self, topic: str) -> Mapping[str, tuple[str | None, bool]]:
        found = _result(self._admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))
        return {name: (entry.value, entry.is_default) for name, entry in found.items()}

    def _alter(self, topic: str, change: ConfigEntry) -> None:
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])
        _result(self._admin.incremental_alter_configs([resource]))

    def set_config(self, topic: str, key: str, value: str) -> None:
        self._alter(topic, ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET))

    def reset_config(self, topic: str, key: str) -> None:
        self._alter(topic, ConfigEntry(key, None, incremental_operation=AlterConfigOpType.DELETE))

    def delete_records(self, topic: str, offset: int) -> int:
        return int(_result(self._admin.delete_records([TopicPartition(topic, 0, offset)])).low_watermark)

    def groups(self) -> Mapping[str, str | None]:
        found = self._admin.list_consumer_groups().result(PATIENCE)
        expect("errors", found.errors, [])
        return {each.group_id: each.state.name.lower() for each in found.valid}

    def group(self, name: str) -> SeenGroup:
        found = _result(self._admin.describe_consumer_groups([name]))
        has = [{each.partition for each in member.assignment.topic_partitions} for member in found.members]
        return SeenGroup(found.state.name.lower(), found.partition_assignor, has)

    def delete_group(self, name: str) -> None:
        _result(self._admin.delete_consumer_groups([name]))

    def elect_leader(self, topic: str) -> None:
        partition = TopicPartition(topic, 0)
        found = self._admin.elect_leaders(ElectionType.PREFERRED, [partition]).result(PATIENCE)
        if found[partition] is not None:
            raise KafkaException(found[partition])

    def acls(self) -> int:
        everything = AclBindingFilter(
            ResourceType.ANY,
            None,
            ResourcePatternType.ANY,
            None,
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        return len(self._admin.describe_acls(everything).result(PATIENCE))

    def scram(self, user: str) -> None:
        _result(self._admin.describe_user_scram_credentials([user]))
