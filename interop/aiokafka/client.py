"""aiokafka's calls for what the walk asks.

The walk blocks, so that one event loop lives here, and runs for as long as a call takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import BrokerResponseError, ProducerFenced, for_code

from interop.aiokafka.coordinated import GroupMember, Transactions
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
from kafkawire.errors import ErrorCode

T = TypeVar("T")


class Aiokafka(Client):
    """Blocking calls around the library's coroutines."""

    package = "interop.aiokafka"
    codecs = ("gzip", "snappy", "lz4", "zstd")

    def __init__(self, at: Where) -> None:
        super().__init__(at)
        self._runner = asyncio.Runner()
        self._admin = self._run(self._started_admin())

    def _run(self, do: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(2 * PATIENCE):
                return await do

        return self._runner.run(bounded())

    async def _started_admin(self) -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.at.bootstrap)
        await admin.start()
        return admin

    def library(self) -> tuple[str, str]:
        return "aiokafka", aiokafka.__version__

    def code(self, error: BaseException) -> int | None:
        if isinstance(error, ProducerFenced):
            return ErrorCode.PRODUCER_FENCED
        return int(error.errno) if isinstance(error, BrokerResponseError) else None

    def close(self) -> None:
        self._run(self._admin.close())
        self._runner.close()

    # Records

    def send(
        self,
        topic: str,
        rows: Sequence[Row],
        partitions: int = 1,
        codec: str | None = None,
        idempotent: bool = False,
    ) -> list[tuple[int, int]]:
        return self._run(self._sent(topic, rows, partitions, codec, idempotent))

    async def _sent(
        self, topic: str, rows: Sequence[Row], partitions: int, codec: str | None, idempotent: bool
    ) -> list[tuple[int, int]]:
        async with AIOKafkaProducer(
            bootstrap_servers=self.at.bootstrap,
            acks="all",
            enable_idempotence=idempotent,
            compression_type=codec,
            linger_ms=20,
        ) as producer:
            sent = [
                await producer.send(
                    topic, row.value, row.key, number % partitions, row.timestamp, row.headers
                )
                for number, row in enumerate(rows)
            ]
            return [(each.partition, each.offset) for each in await asyncio.gather(*sent)]

    def read(
        self, topic: str, positions: Mapping[int, int], count: int, committed: bool = False
    ) -> list[Placed]:
        found = self._run(self._read(topic, positions, count, committed))
        return [
            Placed(each.partition, each.offset, Row(each.key, each.value, each.timestamp, list(each.headers)))
            for each in found
        ]

    async def _read(self, topic: str, positions: Mapping[int, int], count: int, committed: bool) -> list[Any]:
        isolation = "read_committed" if committed else "read_uncommitted"
        found: list[Any] = []
        async with AIOKafkaConsumer(
            bootstrap_servers=self.at.bootstrap, isolation_level=isolation
        ) as consumer:
            consumer.assign([TopicPartition(topic, partition) for partition in positions])
            for partition, offset in positions.items():
                consumer.seek(TopicPartition(topic, partition), offset)
            deadline = Deadline()
            while len(found) < count and deadline.left(f"{count} records of {topic}"):
                found += _flat(await consumer.getmany(timeout_ms=1000))
            found += _flat(await consumer.getmany(timeout_ms=200))
        return found

    def offset_for_time(self, topic: str, timestamp: int) -> int:
        async def ask() -> int:
            partition = TopicPartition(topic, 0)
            async with AIOKafkaConsumer(bootstrap_servers=self.at.bootstrap) as consumer:
                return int((await consumer.offsets_for_times({partition: timestamp}))[partition].offset)

        return self._run(ask())

    def offsets(self, topic: str) -> tuple[int, int]:
        async def ask() -> tuple[int, int]:
            partition = TopicPartition(topic, 0)
            async with AIOKafkaConsumer(bootstrap_servers=self.at.bootstrap) as consumer:
                first = await consumer.beginning_offsets([partition])
                return int(first[partition]), int((await consumer.end_offsets([partition]))[partition])

        return self._run(ask())

    # Groups and transactions

    def join(self, membership: Membership) -> Member:
        return GroupMember(self._runner, self.at, membership)

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        return Transactions(self._runner, self.at, transactional_id)

    def groups(self) -> Mapping[str, str | None]:
        return dict.fromkeys(group for group, _ in self._run(self._admin.list_consumer_groups()))

    def group(self, name: str) -> SeenGroup:
        (answer,) = self._run(self._admin.describe_consumer_groups([name]))
        ((code, _, state, _, assignor, members, *_),) = answer.groups
        _raise_for([(name, code)])
        assigned = [ConsumerProtocol.ASSIGNMENT.decode(each[4]).partitions() for each in members]
        return SeenGroup(state.lower(), assignor, [{each.partition for each in one} for one in assigned])

    # Administration

    def topics(self) -> Mapping[str, Sequence[int]]:
        return {
            topic["topic"]: [partition["leader"] for partition in topic["partitions"]]
            for topic in self._run(self._admin.describe_topics())
        }

    def create_topic(self, name: str, partitions: int, replicas: int, config: Mapping[str, str]) -> None:
        new = NewTopic(name, partitions, replicas, topic_configs=dict(config))
        _raise_for(self._run(self._admin.create_topics([new])).topic_errors)

    def delete_topic(self, name: str) -> None:
        _raise_for(self._run(self._admin.delete_topics([name])).topic_error_codes)

    def describe_topic(self, name: str) -> Sequence[int]:
        (found,) = self._run(self._admin.describe_topics([name]))
        _raise_for([(name, found["error_code"])])
        return [len(partition["replicas"]) for partition in found["partitions"]]

    def create_partitions(self, name: str, total: int) -> None:
        self._run(self._admin.create_partitions({name: NewPartitions(total)}))

    def brokers(self) -> tuple[set[int], int]:
        found = self._run(self._admin.describe_cluster())
        return {broker["node_id"] for broker in found["brokers"]}, found["controller_id"]

    def config(self, topic: str) -> Mapping[str, tuple[str | None, bool]]:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        (answer,) = self._run(self._admin.describe_configs([resource]))
        ((code, message, _, _, entries),) = answer.resources
        _raise_for([(topic, code, message)])
        # Kafka's source 1 is the topic's own configuration.
        return {name: (value, source != 1) for name, value, _, source, *_ in entries}

    def set_config(self, topic: str, key: str, value: str) -> None:
        raise Unsupported("the library has AlterConfigs, not IncrementalAlterConfigs")

    def reset_config(self, topic: str, key: str) -> None:
        raise Unsupported("the library has AlterConfigs, not IncrementalAlterConfigs")

    def delete_records(self, topic: str, offset: int) -> int:
        partition = TopicPartition(topic, 0)
        found = self._run(self._admin.delete_records({partition: RecordsToDelete(offset)}))
        return int(found[partition])


def _flat(polled: Mapping[TopicPartition, list[Any]]) -> list[Any]:
    return [record for records in polled.values() for record in records]


def _raise_for(answers: Sequence[tuple[Any, ...]]) -> None:
    """Raise the error of an answer for one topic: name, code and perhaps a message."""
    ((name, code, *message),) = answers
    if code:
        raise for_code(code)(*(message or [name]))
