"""Those who change the cluster while it is in use: topics, partitions, configurations, leaders, replicas."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from chaos.cluster.clients import Client, Surroundings
from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kraft.client.admin import Admin
from kraft.client.cluster import Cluster
from kraft.client.connections import CONNECTION_FAILURES

REPLICAS = 3
CONFIGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("segment.ms", ("500", "3000", "604800000")),
    ("max.message.bytes", ("100000", "1048588")),
    ("message.timestamp.type", ("CreateTime", "LogAppendTime")),
    ("retention.ms", ("604800000", "-1")),
)


class Founder(Client):
    """Creates the topics that everybody works on."""

    async def work(self, cluster: Cluster) -> None:
        around = self.surroundings
        for topic in (around.topic, around.copies):
            try:
                await Admin(cluster).create_topic(
                    topic, partitions=around.partitions, replication_factor=REPLICAS
                )
            except KafkaError as error:
                # An answer that was lost, and its request sent again.
                if error.code is not ErrorCode.TOPIC_ALREADY_EXISTS:
                    raise


class Administrator(Client):
    """Does what the climate says, each kind of thing every so many seconds. Refusals are part of life."""

    def __init__(self, surroundings: Surroundings, number: int) -> None:
        super().__init__(surroundings, number)
        self.every: dict[str, float] = {}
        self._topics = 0
        self._actions: dict[str, Callable[[Cluster], Awaitable[Any]]] = {
            "add-topic": self._add_topic,
            "add-partitions": self._add_partitions,
            "configure": self._configure,
            "elect": self._elect,
            "reassign": self._reassign,
        }

    async def work(self, cluster: Cluster) -> None:
        due = {kind: self._next(mean) for kind, mean in self.every.items() if kind in self._actions}
        while due and not self.stopping.is_set():
            kind = min(due, key=lambda each: due[each])
            await self.sleep_until(due[kind])
            if self.stopping.is_set():
                return
            try:
                await self._actions[kind](cluster)
            except (KafkaError, *CONNECTION_FAILURES):
                pass
            due[kind] = self._next(self.every[kind])

    def _next(self, mean: float) -> float:
        return self.now + self.rng.expovariate(1.0 / mean)

    async def _add_topic(self, cluster: Cluster) -> None:
        self._topics += 1
        await Admin(cluster).create_topic(
            f"more-{self._topics}", partitions=self.rng.randint(1, 2), replication_factor=REPLICAS
        )

    async def _add_partitions(self, cluster: Cluster) -> None:
        request_class = messages.request_class(ApiKey.CREATE_PARTITIONS)
        topic = self._some_topic()
        topics = [
            request_class.CreatePartitionsTopic(name=topic, count=self.rng.randint(2, 5), assignments=None)
        ]
        request = request_class(topics=topics, timeout_ms=3000, validate_only=False)
        await cluster.call_any(ApiKey.CREATE_PARTITIONS, request)

    async def _configure(self, cluster: Cluster) -> None:
        name, values = self.rng.choice(CONFIGS)
        request_class = messages.request_class(ApiKey.INCREMENTAL_ALTER_CONFIGS)
        resource_class = request_class.AlterConfigsResource
        config = resource_class.AlterableConfig(name=name, config_operation=0, value=self.rng.choice(values))
        resource = resource_class(resource_type=2, resource_name=self.surroundings.topic, configs=[config])
        await cluster.call_any(
            ApiKey.INCREMENTAL_ALTER_CONFIGS, request_class(resources=[resource], validate_only=False)
        )

    async def _elect(self, cluster: Cluster) -> None:
        request_class = messages.request_class(ApiKey.ELECT_LEADERS)
        request = request_class(election_type=0, topic_partitions=None, timeout_ms=3000)
        await cluster.call_any(ApiKey.ELECT_LEADERS, request)

    async def _reassign(self, cluster: Cluster) -> None:
        request_class = messages.request_class(ApiKey.ALTER_PARTITION_REASSIGNMENTS)
        topic_class = request_class.ReassignableTopic
        brokers = list(self.surroundings.bootstrap)
        replicas = self.rng.sample(brokers, min(REPLICAS, len(brokers)))
        partition = topic_class.ReassignablePartition(
            partition_index=self.rng.randrange(self.surroundings.partitions), replicas=replicas
        )
        topic = topic_class(name=self.surroundings.topic, partitions=[partition])
        await cluster.call_any(
            ApiKey.ALTER_PARTITION_REASSIGNMENTS, request_class(timeout_ms=3000, topics=[topic])
        )

    def _some_topic(self) -> str:
        return f"more-{self.rng.randint(1, max(1, self._topics))}"
