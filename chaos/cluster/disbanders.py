"""Whoever deletes groups: what one had committed is gone with it, for good, and what others had is not.

Each group has a name that no other ever has, so that a request that is late hits nobody else. A commit is
sent once and no more: one that is repeated may come true after the group is gone.
"""

from __future__ import annotations

import asyncio

from chaos.cluster.clients import Client, Surroundings
from chaos.replication.invariants import ViolationError
from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_traffic import CommittedPartition, CommittedTopic, OffsetCommitRequest
from kraft.client.cluster import Cluster
from kraft.client.connections import CONNECTION_FAILURES
from kraft.client.consumer import TopicPartition
from kraft.client.coordinators import Coordinator, CoordinatorType
from kraft.client.group_consumer import GroupConsumer
from kraft.client.membership import GroupOptions

EVERY = 8.0
"""Seconds, on average, from one group to the next."""
PATIENCE = 8.0
"""Seconds that a request may take before the group is left to itself."""


class Disbander(Client):
    """Commits for a group, looks at what it committed, deletes the group, and looks again."""

    def __init__(self, surroundings: Surroundings, number: int) -> None:
        super().__init__(surroundings, number)
        self.deleted: list[str] = []
        self._groups = 0

    async def work(self, cluster: Cluster) -> None:
        while not self.stopping.is_set():
            await self.sleep_until(self.now + self.rng.expovariate(1.0 / EVERY))
            self._groups += 1
            try:
                await self._found_and_delete(cluster, f"passing-{self._groups}")
            except (KafkaError, *CONNECTION_FAILURES):
                continue

    async def _found_and_delete(self, cluster: Cluster, group: str) -> None:
        """Raises KafkaError and CONNECTION_FAILURES where nothing can be said of the group."""
        around = self.surroundings
        offsets = {
            TopicPartition(around.topic, i): self.rng.randrange(1000) for i in range(around.partitions)
        }
        coordinator = Coordinator(cluster, CoordinatorType.GROUP, group)
        try:
            await self._commit_once(coordinator, group, offsets)
            if (found := await committed(cluster, group, list(offsets))) != offsets:
                raise ViolationError(f"{group} committed {offsets} and was told of {found}")
            await self._delete(coordinator, group)
        finally:
            coordinator.close()
        self.deleted.append(group)
        if found := await committed(cluster, group, list(offsets)):
            raise ViolationError(f"{group} was deleted and was told of {found}")

    async def _commit_once(
        self, coordinator: Coordinator, group: str, offsets: dict[TopicPartition, int]
    ) -> None:
        (topic,) = {each.topic for each in offsets}
        positions = [CommittedPartition(each.partition, offset, -1, None) for each, offset in offsets.items()]
        request = OffsetCommitRequest(group, -1, "", None, -1, [CommittedTopic(topic, None, positions)])
        async with asyncio.timeout(PATIENCE):
            connection = await coordinator.connection()
        response = await coordinator.answer(connection, ApiKey.OFFSET_COMMIT, request, PATIENCE)
        for result in response.results:
            if result.error_code:
                raise KafkaError(ErrorCode(result.error_code), group)

    async def _delete(self, coordinator: Coordinator, group: str) -> None:
        """Where it is gone already, an attempt before had no answer."""
        request = messages.request_class(ApiKey.DELETE_GROUPS)(groups_names=[group])
        try:
            await coordinator.ask(
                ApiKey.DELETE_GROUPS,
                request,
                lambda response: ErrorCode(response.results[0].error_code),
                PATIENCE,
            )
        except KafkaError as error:
            if error.code is not ErrorCode.GROUP_ID_NOT_FOUND:
                raise


class LastWitness(Client):
    """Looks once more when everything is over: no group that was deleted is back."""

    def __init__(self, surroundings: Surroundings, number: int, disbander: Disbander) -> None:
        super().__init__(surroundings, number)
        self._deleted = disbander.deleted

    async def work(self, cluster: Cluster) -> None:
        around = self.surroundings
        partitions = [TopicPartition(around.topic, index) for index in range(around.partitions)]
        for group in self._deleted:
            if found := await committed(cluster, group, partitions):
                raise ViolationError(f"{group} was deleted and is back with {found}")


async def committed(
    cluster: Cluster, group: str, partitions: list[TopicPartition]
) -> dict[TopicPartition, int]:
    """What the group has committed of these; partitions without an offset are left out. Raises KafkaError."""
    consumer = GroupConsumer(cluster, [], GroupOptions(group, commit_timeout=PATIENCE))
    try:
        found = await consumer.committed(partitions)
    finally:
        await consumer.close(leave=False)
    return {partition: position.offset for partition, position in found.items()}
