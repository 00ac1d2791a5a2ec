"""Whoever deletes a topic and creates it anew, again and again, while it is written to and read.

What was acknowledged in one incarnation has to be there for as long as that lives, nothing of it may ever be
seen in a later one, and the offsets of each begin at 0: to the history every incarnation is a topic of its
own, whose readers begin there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from chaos.cluster.clients import Client, LastReader, Reader, Surroundings, Writer
from chaos.cluster.incarnations import Incarnation, IncarnationCluster
from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kraft.client.admin import Admin
from kraft.client.cluster import Cluster, ClusterOptions
from kraft.client.connections import CONNECTION_FAILURES

TOPIC = "renewed"
REPLICAS = 3
LIVES = (2.0, 5.0)
"""Seconds that an incarnation lives at least, and on average more."""
FIRST_NUMBER = 200
"""Numbers of the clients of incarnations begin there."""
PATIENCE = 3.0
"""Seconds that a change of the cluster may take, before it is asked for once more."""
SETTINGS = {
    "replica.high.watermark.checkpoint.interval.ms": "1500",
    "log.flush.offset.checkpoint.interval.ms": "3000",
    "log.retention.check.interval.ms": "4000",
}
"""Brokers checkpoint their logs, and remove deleted ones, within a history."""


class Renewer(Client):
    """See the module. Its last incarnation outlives it."""

    def __init__(self, surroundings: Surroundings, number: int) -> None:
        super().__init__(surroundings, number)
        self.living: Incarnation | None = None
        self._partitions = self.rng.choice((1, 1, 2))
        self._gone: set[bytes] = set()
        self._clients = 0

    async def work(self, cluster: Cluster) -> None:
        while not self.stopping.is_set():
            self.living = await self._create(cluster)
            if self.living is None:
                await self.pause(0.2)
            else:
                await self._live(cluster, self.living)

    async def _create(self, cluster: Cluster) -> Incarnation | None:
        """The incarnation that there is now; None if that cannot be said."""
        admin = Admin(cluster, PATIENCE)
        try:
            await admin.create_topic(TOPIC, partitions=self._partitions, replication_factor=REPLICAS)
        except (KafkaError, *CONNECTION_FAILURES):
            pass  # perhaps it was created all the same, or had been by a request that was late
        try:
            found = await admin.topic(TOPIC)
        except (KafkaError, *CONNECTION_FAILURES):
            return None
        if found.topic_id in self._gone:
            return None  # whoever was asked has not heard of the end of it
        alias = f"{TOPIC}@{len(self._gone)}"
        return Incarnation(alias, TOPIC, found.topic_id, len(found.partitions))

    async def _live(self, cluster: Cluster, incarnation: Incarnation) -> None:
        """Use it until it is gone, or this client stops."""
        around = replace(self.surroundings, topic=incarnation.alias, partitions=incarnation.partitions)
        self._clients += 2
        number = FIRST_NUMBER + self._clients
        clients: Sequence[Writer | Reader] = (Writer(around, number), Reader(around, number + 1))
        options = ClusterOptions(client_id=self.name)
        async with IncarnationCluster(self.addresses, options, self.dial, incarnation) as view:
            tasks = [asyncio.create_task(each.work(view)) for each in clients]
            least, more = LIVES
            await self.sleep_until(self.now + least + self.rng.expovariate(1.0 / more))
            if self.stopping.is_set():
                for client in clients:
                    client.stopping.set()
            else:
                await self._delete(cluster, incarnation)
                for task in tasks:
                    task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome

    async def _delete(self, cluster: Cluster, incarnation: Incarnation) -> None:
        """By its id: a request that is late must not hit the one after it."""
        request_class = messages.request_class(ApiKey.DELETE_TOPICS)
        state = request_class.DeleteTopicState(name=None, topic_id=UUID(bytes=incarnation.topic_id))
        request = request_class(topics=[state], topic_names=[], timeout_ms=int(PATIENCE * 1000))
        while True:
            try:
                response = await cluster.call_any(ApiKey.DELETE_TOPICS, request, PATIENCE)
            except CONNECTION_FAILURES:
                await self.pause(0.2)
                continue
            if response.responses[0].error_code in (ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_ID):
                break
            await self.pause(0.2)
        self.living = None
        self._gone.add(incarnation.topic_id)


class LastReaderOfIncarnation(LastReader):
    """Reads all that there is in an incarnation when everything is over."""

    def __init__(self, surroundings: Surroundings, number: int, incarnation: Incarnation) -> None:
        super().__init__(replace(surroundings, partitions=incarnation.partitions), number)
        self.topics = (incarnation.alias,)
        self._incarnation = incarnation

    def cluster(self) -> Cluster:
        """See `Client`."""
        options = ClusterOptions(client_id=self.name)
        return IncarnationCluster(self.addresses, options, self.dial, self._incarnation)
