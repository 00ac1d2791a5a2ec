"""Questions about offsets, for the leaders: the first, the last, that of a time, that of an epoch's end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.offset_positions import EARLIEST, LATEST
from kraft.client.cluster import Backoff, Cluster, Leader
from kraft.client.connections import CONNECTION_FAILURES

__all__ = ["CONSUMER", "EARLIEST", "LATEST", "NO_EPOCH", "Found", "OffsetLookup", "TopicPartition"]

NO_EPOCH = -1

CONSUMER = -1
"""The replica id of whoever is none."""


class TopicPartition(NamedTuple):
    """The name of a partition."""

    topic: str
    partition: int


class Found(NamedTuple):
    """An offset, -1 if there is none, and the epoch of the leader under which its record was written."""

    offset: int
    epoch: int = NO_EPOCH


class OffsetLookup:
    """Asks leaders, and their successors until they answer. A reply may take `timeout` seconds."""

    def __init__(self, cluster: Cluster, timeout: float, *, committed_only: bool = False) -> None:
        self._cluster = cluster
        self._timeout = timeout
        self._isolation_level = int(committed_only)

    async def by_time(
        self, partitions: Iterable[TopicPartition], timestamp: int
    ) -> dict[TopicPartition, Found]:
        """For each the first offset at or after `timestamp` (ms), EARLIEST or LATEST; raises KafkaError."""

        def request(led: Mapping[TopicPartition, Leader]) -> Any:
            request_class = messages.request_class(ApiKey.LIST_OFFSETS)
            topic_class = request_class.ListOffsetsTopic
            topics: dict[str, list[Any]] = {}
            for (topic, index), leader in led.items():
                asked = topic_class.ListOffsetsPartition(
                    partition_index=index,
                    current_leader_epoch=leader.epoch,
                    timestamp=timestamp,
                    max_num_offsets=1,
                )
                topics.setdefault(topic, []).append(asked)
            return request_class(
                replica_id=CONSUMER,
                isolation_level=self._isolation_level,
                topics=[topic_class(name=name, partitions=each) for name, each in topics.items()],
                timeout_ms=int(self._timeout * 1000),
            )

        def answers(response: Any) -> Iterable[tuple[TopicPartition, int, Found]]:
            for topic in response.topics:
                for each in topic.partitions:
                    found = Found(each.offset, each.leader_epoch)
                    yield TopicPartition(topic.name, each.partition_index), each.error_code, found

        return await self._ask(partitions, ApiKey.LIST_OFFSETS, request, answers)

    async def epoch_ends(self, epochs: Mapping[TopicPartition, int]) -> dict[TopicPartition, Found]:
        """Where each leader's log ends an epoch: the largest epoch up to the one given, and its end offset
        (KIP-320); raises KafkaError."""

        def request(led: Mapping[TopicPartition, Leader]) -> Any:
            request_class = messages.request_class(ApiKey.OFFSET_FOR_LEADER_EPOCH)
            topic_class = request_class.OffsetForLeaderTopic
            topics: dict[str, list[Any]] = {}
            for partition, leader in led.items():
                asked = topic_class.OffsetForLeaderPartition(
                    partition=partition.partition,
                    current_leader_epoch=leader.epoch,
                    leader_epoch=epochs[partition],
                )
                topics.setdefault(partition.topic, []).append(asked)
            return request_class(
                replica_id=CONSUMER,
                topics=[topic_class(topic=name, partitions=each) for name, each in topics.items()],
            )

        def answers(response: Any) -> Iterable[tuple[TopicPartition, int, Found]]:
            for topic in response.topics:
                for each in topic.partitions:
                    found = Found(each.end_offset, each.leader_epoch)
                    yield TopicPartition(topic.topic, each.partition), each.error_code, found

        return await self._ask(epochs, ApiKey.OFFSET_FOR_LEADER_EPOCH, request, answers)

    async def _ask(
        self, partitions: Iterable[TopicPartition], key: ApiKey, request: Any, answers: Any
    ) -> dict[TopicPartition, Found]:
        wanted = dict.fromkeys(partitions)
        found: dict[TopicPartition, Found] = {}
        failed: dict[TopicPartition, Leader] = {}
        backoff = Backoff()
        while wanted:
            by_leader = await self._by_leader(wanted, failed)
            for node_id, led in by_leader.items():
                try:
                    response = await self._cluster.call(node_id, key, request(led), self._timeout)
                except CONNECTION_FAILURES:
                    failed.update(led)
                    continue
                for partition, code, answer in answers(response):
                    if code == ErrorCode.NONE:
                        found[partition] = answer
                        wanted.pop(partition, None)
                    elif not ErrorCode(code).retriable:
                        raise KafkaError(ErrorCode(code), f"{partition.topic}-{partition.partition}")
                    elif partition in led:
                        failed[partition] = led[partition]
            if wanted:
                await backoff.pause()
        return found

    async def _by_leader(
        self, partitions: Iterable[TopicPartition], failed: dict[TopicPartition, Leader]
    ) -> dict[int, dict[TopicPartition, Leader]]:
        """Partitions under their leaders, those without one left out, after a look at the metadata if it may
        help."""
        known = {partition: self._cluster.known_leader(*partition) for partition in partitions}
        stale = {each.topic for each, leader in known.items() if leader is None or leader == failed.get(each)}
        if stale:
            try:
                await self._cluster.refresh(stale)
            except CONNECTION_FAILURES:
                return {}
            failed.clear()
        led: dict[int, dict[TopicPartition, Leader]] = {}
        for partition in partitions:
            leader = self._cluster.known_leader(*partition)
            if leader is not None:
                led.setdefault(leader.node_id, {})[partition] = leader
        return led
