"""Reads assigned partitions from given positions; groups are not part of it.

For each leader one fetch is on its way at a time, on a connection of its own, over all partitions that it
leads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import Record, headers, records
from kraft.client.cluster import Backoff, Cluster, Leader
from kraft.client.connections import CONNECTION_FAILURES

EARLIEST = -2
LATEST = -1


class TopicPartition(NamedTuple):
    """The name of a partition."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """Sizes are bytes, times seconds. `stall` is how much longer than `max_wait` a reply may take."""

    max_bytes: int = 8 * 1024 * 1024
    partition_max_bytes: int = 1024 * 1024
    max_wait: float = 0.5
    stall: float = 3.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """Consecutive records of one partition, control records left out."""

    partition: TopicPartition
    records: tuple[Record, ...]
    high_watermark: int


class _Moved(Exception):  # noqa: N818 — no error: the partition's leader is elsewhere, or not ready
    """Another attempt, after another look at the metadata, will do."""


class Consumer:
    """Use it as an async context manager. `positions` holds the next offset of each assigned partition."""

    def __init__(self, cluster: Cluster, options: ConsumerOptions | None = None) -> None:
        self.cluster = cluster
        self.options = options or ConsumerOptions()
        self.positions: dict[TopicPartition, int] = {}
        self._fetches: dict[int, asyncio.Task[list[Fetched]]] = {}
        self._failed: dict[TopicPartition, Leader] = {}
        self._backoff = Backoff()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        fetches = list(self._fetches.values())
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions, from these offsets, and no others."""
        self.positions = dict(positions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on with `offset`; what is on its way from elsewhere is dropped."""
        if partition not in self.positions:
            raise ValueError(f"{partition.topic}-{partition.partition} is not assigned")
        self.positions[partition] = offset

    async def poll(self) -> list[Fetched]:
        """What came next from some leader; an empty list if there was nothing for `max_wait`.

        Partitions without a reachable leader are tried again in the next call. Raises KafkaError for what no
        retry heals, OFFSET_OUT_OF_RANGE among them: `seek` then decides where to go on.
        """
        by_leader = await self._by_leader()
        for node_id, wanted in by_leader.items():
            if node_id not in self._fetches:
                self._fetches[node_id] = asyncio.create_task(self._fetch(node_id, wanted))
        if not self._fetches:
            await self._backoff.pause()
            return []
        done, _ = await asyncio.wait(
            self._fetches.values(),
            timeout=self.options.max_wait,
            return_when=asyncio.FIRST_COMPLETED,
        )
        fetched: list[Fetched] = []
        for node_id, fetch in list(self._fetches.items()):
            if fetch in done:
                del self._fetches[node_id]
                fetched += fetch.result()
        return fetched

    async def offsets(
        self, partitions: Iterable[TopicPartition], timestamp: int
    ) -> dict[TopicPartition, int]:
        """The first offset at or after `timestamp` (ms), or EARLIEST or LATEST; -1 where there is none."""
        found = {}
        for partition in partitions:
            found[partition] = await self._offset(partition, timestamp)
        return found

    async def _offset(self, partition: TopicPartition, timestamp: int) -> int:
        request_class = messages.request_class(ApiKey.LIST_OFFSETS)
        topic_class = request_class.ListOffsetsTopic
        backoff = Backoff()
        failed: Leader | None = None
        while True:
            leader = await self.cluster.leader(*partition, not_before=failed)
            asked = topic_class.ListOffsetsPartition(
                partition_index=partition.partition,
                current_leader_epoch=leader.epoch,
                timestamp=timestamp,
                max_num_offsets=1,
            )
            request = request_class(
                replica_id=-1,
                isolation_level=0,
                topics=[topic_class(name=partition.topic, partitions=[asked])],
                timeout_ms=int(self.options.stall * 1000),
            )
            try:
                response = await self.cluster.call(
                    leader.node_id, ApiKey.LIST_OFFSETS, request, self.options.stall
                )
                result = response.topics[0].partitions[0]
                _check(result.error_code, partition)
            except (_Moved, *CONNECTION_FAILURES):
                failed = leader
                await backoff.pause()
            else:
                return int(result.offset)

    async def _by_leader(self) -> dict[int, dict[TopicPartition, Leader]]:
        """Assigned partitions under their leaders, after a new look at the metadata where one has failed."""
        stale = {
            partition.topic
            for partition in self.positions
            if self._leader_of(partition) in (None, self._failed.get(partition))
        }
        if stale:
            if self._failed:
                await self._backoff.pause()
            try:
                await self.cluster.refresh(stale)
            except CONNECTION_FAILURES:
                return {}
            self._failed.clear()
        led: dict[int, dict[TopicPartition, Leader]] = {}
        for partition in self.positions:
            leader = self._leader_of(partition)
            if leader is not None:
                led.setdefault(leader.node_id, {})[partition] = leader
        return led

    def _leader_of(self, partition: TopicPartition) -> Leader | None:
        return self.cluster.known_leader(*partition)

    async def _fetch(self, node_id: int, wanted: Mapping[TopicPartition, Leader]) -> list[Fetched]:
        positions = {partition: self.positions[partition] for partition in wanted}
        options = self.options
        try:
            connection = await self.cluster.connection(node_id, "fetch")
            try:
                response = await connection.call(
                    ApiKey.FETCH, self._request(positions, wanted), options.max_wait + options.stall
                )
            except TimeoutError:
                connection.close()
                raise
        except CONNECTION_FAILURES:
            self._failed.update(wanted)
            return []
        _check(response.error_code, None)
        fetched = []
        for topic in response.responses:
            for result in topic.partitions:
                partition = TopicPartition(topic.topic, result.partition_index)
                if self.positions.get(partition) != positions.get(partition, -1):
                    continue
                try:
                    _check(result.error_code, partition)
                except _Moved:
                    self._failed[partition] = wanted[partition]
                    continue
                batch = self._take(partition, result)
                if batch.records:
                    fetched.append(batch)
        return fetched

    def _request(
        self, positions: Mapping[TopicPartition, int], wanted: Mapping[TopicPartition, Leader]
    ) -> Any:
        request_class = messages.request_class(ApiKey.FETCH)
        topic_class = request_class.FetchTopic
        topics: dict[str, list[Any]] = {}
        for partition, offset in positions.items():
            topics.setdefault(partition.topic, []).append(
                topic_class.FetchPartition(
                    partition=partition.partition,
                    current_leader_epoch=wanted[partition].epoch,
                    fetch_offset=offset,
                    last_fetched_epoch=-1,
                    log_start_offset=-1,
                    partition_max_bytes=self.options.partition_max_bytes,
                )
            )
        return request_class(
            replica_id=-1,
            max_wait_ms=int(self.options.max_wait * 1000),
            min_bytes=1,
            max_bytes=self.options.max_bytes,
            isolation_level=0,
            session_id=0,
            session_epoch=-1,
            topics=[topic_class(topic=name, partitions=each) for name, each in topics.items()],
            forgotten_topics_data=[],
            rack_id="",
        )

    def _take(self, partition: TopicPartition, result: Any) -> Fetched:
        """Decode what came and move the position behind it."""
        position = self.positions[partition]
        taken: list[Record] = []
        data = result.records or b""
        for start, header in headers(data):
            if header.next_offset <= position:
                continue
            if not header.is_control:
                taken += (record for record in records(data, start) if record.offset >= position)
            position = header.next_offset
        self.positions[partition] = position
        return Fetched(partition, tuple(taken), result.high_watermark)


def _check(error_code: int, partition: TopicPartition | None) -> None:
    """Nothing for success; raises _Moved for what a retry may heal, KafkaError for the rest."""
    code = ErrorCode(error_code)
    if code is ErrorCode.NONE:
        return
    if code.retriable:
        raise _Moved
    where = "" if partition is None else f"{partition.topic}-{partition.partition}"
    raise KafkaError(code, where)
