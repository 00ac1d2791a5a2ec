"""Reads assigned partitions from given positions; groups are not part of it (`group_consumer` has them)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from kraft.client.bell import Bell
from kraft.client.cluster import Cluster
from kraft.client.fetcher import Fetched, Fetcher, FetchOptions
from kraft.client.offset_lookup import EARLIEST, LATEST, Found, OffsetLookup, TopicPartition

__all__ = ["EARLIEST", "LATEST", "Consumer", "ConsumerOptions", "Fetched", "TopicPartition"]

ConsumerOptions = FetchOptions


class Consumer:
    """Use it as an async context manager."""

    def __init__(self, cluster: Cluster, options: ConsumerOptions | None = None) -> None:
        self.cluster = cluster
        self.options = options or ConsumerOptions()
        self._bell = Bell()
        self._fetcher = Fetcher(cluster, self.options, self._bell)
        self._lookup = OffsetLookup(cluster, self.options.stall, committed_only=self.options.committed_only)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._fetcher.close()

    @property
    def positions(self) -> dict[TopicPartition, int]:
        """The next offset of each assigned partition."""
        return self._fetcher.positions

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions, from these offsets, and no others."""
        self._fetcher.assign({partition: Found(offset) for partition, offset in positions.items()})

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on with `offset`; what is on its way from elsewhere is dropped."""
        self._fetcher.seek(partition, offset)

    async def poll(self, max_wait: float | None = None, max_records: int | None = None) -> list[Fetched]:
        """What came next, at most so many records; an empty list if there was nothing for `max_wait` seconds
        (by default the options').

        Partitions without a reachable leader are tried again in the next call. Raises KafkaError for what no
        retry heals. Without `reset`, OFFSET_OUT_OF_RANGE (TruncatedError among them) is of that kind:
        `seek` then decides where to go on.
        """
        until = asyncio.get_running_loop().time() + (self.options.max_wait if max_wait is None else max_wait)
        fetcher = self._fetcher
        while True:
            fetcher.start()
            fetched = fetcher.take(max_records)
            if fetched:
                fetcher.start()
                return fetched
            if not await self._bell.wait(until):
                return []

    async def offsets(
        self, partitions: Iterable[TopicPartition], timestamp: int
    ) -> dict[TopicPartition, int]:
        """The first offset at or after `timestamp` (ms), or EARLIEST or LATEST; -1 where there is none."""
        found = await self._lookup.by_time(partitions, timestamp)
        return {partition: each.offset for partition, each in found.items()}
