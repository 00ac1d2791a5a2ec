"""kafka-python's calls for what the walk asks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition, errors
from kafka.admin import (
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    AlterConfigOp,
    ConfigResource,
    ConfigResourceType,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.errors import BrokerResponseError, for_code

from interop.kafka_python.coordinated import GroupMember, Transactions
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
from interop.shared.telling import PATIENCE, Deadline, Unsupported

_PREFERRED = 0


def _raise_for(said: str | None) -> None:
    """Raise the error that the library has made a text of, with its number or the name of its class."""
    if said is None or said == "OK":
        return
    number = re.search(r"\[Error (-?\d+)\]", said)
    kind = for_code(int(number[1])) if number else getattr(errors, said, None)
    if kind is None:
        raise Unsupported(f"the library does not tell the code of an error: {said}")
    raise kind(said)


class KafkaPython(Client):
    """Blocking calls; the library has a thread of its own."""

    package = "interop.kafka_python"
    codecs = ("gzip", "snappy", "lz4", "zstd")

    def __init__(self, at: Where) -> None:
        super().__init__(at)
        self._admin = KafkaAdminClient(bootstrap_servers=at.bootstrap)

    def library(self) -> tuple[str, str]:
        return "kafka-python", kafka.__version__

    def code(self, error: BaseException) -> int | None:
        return int(error.errno) if isinstance(error, BrokerResponseError) else None

    def close(self) -> None:
        self._admin.close()

    # Records

    def send(
        self,
        topic: str,
        rows: Sequence[Row],
        partitions: int = 1,
        codec: str | None = None,
        idempotent: bool = False,
    ) -> list[tuple[int, int]]:
        producer = KafkaProducer(
            bootstrap_servers=self.at.bootstrap,
            acks="all",
            enable_idempotence=idempotent,
            compression_type=codec,
            linger_ms=20,
        )
        try:
            sent = [
                producer.send(topic, row.value, row.key, row.headers, number % partitions, row.timestamp)
                for number, row in enumerate(rows)
            ]
            placed = [each.get(PATIENCE) for each in sent]
        finally:
            producer.close()
        return [(each.partition, each.offset) for each in placed]

    def read(
        self, topic: str, positions: Mapping[int, int], count: int, committed: bool = False
    ) -> list[Placed]:
        isolation = "read_committed" if committed else "read_uncommitted"
        consumer = KafkaConsumer(bootstrap_servers=self.at.bootstrap, isolation_level=isolation)
        found: list[Any] = []
        try:
            consumer.assign([TopicPartition(topic, partition) for partition in positions])
            for partition, offset in positions.items():
                consumer.seek(TopicPartition(topic, partition), offset)
            deadline = Deadline()
            while len(found) < count and deadline.left(f"{count} records of {topic}"):
                found += _flat(consumer.poll(timeout_ms=1000))
            found += _flat(consumer.poll(timeout_ms=200))
        finally:
            consumer.close()
        return [
            Placed(each.partition, each.offset, Row(each.key, each.value, each.timestamp, list(each.headers)))
            for each in found
        ]

    def offset_for_time(self, topic: str, timestamp: int) -> int:
        consumer = KafkaConsumer(bootstrap_servers=self.at.bootstrap)
        try:
            found = consumer.offsets_for_times({TopicPartition(topic, 0): timestamp})
        finally:
            consumer.close()
        return int(found[TopicPartition(topic, 0)].offset)

    def _offset(self, topic: str, spec: int, **more: Any) -> int:
        partition = TopicPartition(topic, 0)
        return int(self._admin.list_partition_offsets({partition: spec}, **more)[partition].offset)

    def offsets(self, topic: str) -> tuple[int, int]:
        return self._offset(topic, -2), self._offset(topic, -1)

    def stable_offset(self, topic: str) -> int | None:
        return self._offset(topic, -1, isolation_level="read_committed")

    # Groups and transactions

    def join(self, membership: Membership) -> Member:
        return GroupMember(self.at, membership)

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        return Transactions(self.at, transactional_id)

    def groups(self) -> Mapping[str, str | None]:
        found = self._admin.list_groups()
        return {each["group_id"]: each["group_state"].lower() for each in found}

    def group(self, name: str) -> SeenGroup:
        found = self._admin.describe_groups([name])[name]
        _raise_for(found["error"])
        assigned = [member["member_assignment"]["assigned_partitions"] for member in found["members"]]
        has = [{partition for topic in topics for partition in topic["partitions"]} for topics in assigned]
        return SeenGroup(found["group_state"].lower(), found["protocol_data"], has)

    def delete_group(self, name: str) -> None:
        _raise_for(self._admin.delete_groups([name])[name])

    def transactions(self) -> Mapping[str, str]:
        by_broker = self._admin.list_transactions().values()
        return {each.transactional_id: each.state.value for listed in by_broker for each in listed}

    def transaction(self, transactional_id: str) -> str:
        return str(self._admin.describe_transactions([transactional_id])[transactional_id].state.value)

    # Administration

    def topics(self) -> Mapping[str, Sequence[int]]:
        return {
            topic["name"]: [partition["leader_id"] for partition in topic["partitions"]]
            for topic in self._admin.describe_topics()
        }

    def create_topic(self, name: str, partitions: int, replicas: int, config: Mapping[str, str]) -> None:
        how = {"num_partitions": partitions, "replication_factor": replicas, "configs": dict(config)}
        self._admin.create_topics({name: how})

    def delete_topic(self, name: str) -> None:
        self._admin.delete_topics([name])

    def describe_topic(self, name: str) -> Sequence[int]:
        (found,) = self._admin.describe_topics([name])
        if found["error_code"]:
            raise for_code(found["error_code"])(name)
        return [len(partition["replica_nodes"]) for partition in found["partitions"]]

    def create_partitions(self, name: str, total: int) -> None:
        self._admin.create_partitions({name: total})

    def brokers(self) -> tuple[set[int], int]:
        found = self._admin.describe_cluster()
        return {broker["broker_id"] for broker in found["brokers"]}, found["controller_id"]

    def config(self, topic: str) -> Mapping[str, tuple[str | None, bool]]:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = self._admin.describe_configs([resource], config_filter="all")["topic"][topic]
        return {
            name: (entry["value"], entry["config_source"] != "DYNAMIC_TOPIC_CONFIG")
            for name, entry in found.items()
        }

    def _alter(self, topic: str, key: str, operation: AlterConfigOp, value: str | None) -> None:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {key: (operation, value)})
        (answers,) = self._admin.alter_configs([resource], incremental=True).values()
        _raise_for(answers[topic])

    def set_config(self, topic: str, key: str, value: str) -> None:
        self._alter(topic, key, AlterConfigOp.SET, value)

    def reset_config(self, topic: str, key: str) -> None:
        self._alter(topic, key, AlterConfigOp.DELETE, None)

    def delete_records(self, topic: str, offset: int) -> int:
        partition = TopicPartition(topic, 0)
        return int(self._admin.delete_records({partition: offset})[partition]["low_watermark"])

    def elect_leader(self, topic: str) -> None:
        found = self._admin.elect_leaders(_PREFERRED, {topic: [0]}, raise_errors=False)
        for each in found.replica_election_results:
            for partition in each.partition_result:
                if partition.error_code:
                    raise for_code(partition.error_code)(partition.error_message)

    def reassignments(self) -> int:
        return len(self._admin.list_partition_reassignments())

    def acls(self) -> int:
        pattern = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        everything = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, pattern)
        found, _ = self._admin.describe_acls(everything)
        return len(found)

    def scram(self, user: str) -> None:
        _raise_for(self._admin.describe_user_scram_credentials([user])[user]["error"])


def _flat(polled: Mapping[TopicPartition, list[Any]]) -> list[Any]:
    return [record for records in polled.values() for record in records]
