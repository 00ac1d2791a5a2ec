"""Reads partitions from their leaders: what consumers with and without a group share.

For each leader one fetch is on its way at a time, over all partitions that it leads, on a connection of its
own. Replies are taken when they come; `take` hands out what has been decoded. When a partition has a new
leader, the epoch of the last record is compared with that leader's log before anything is fetched from it,
so that what an unclean election took back is noticed (KIP-320).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from enum import Enum, auto
from functools import partial
from typing import Any

import msgspec

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.fetch import FetchPartition, FetchRequest, FetchResult
from kafkawire.fetch_client import FetchResponse, Received
from kafkawire.records import Record
from kraft.client.bell import Bell
from kraft.client.cluster import Backoff, Cluster, Leader
from kraft.client.connections import CONNECTION_FAILURES, Connection
from kraft.client.decoding import Decoded, decode
from kraft.client.errors import TruncatedError
from kraft.client.offset_lookup import NO_EPOCH, Found, OffsetLookup, TopicPartition

MAX_CHUNKS = 2
"""Replies that wait for `take`, for each partition; with so many no more is fetched."""


class FetchOptions(msgspec.Struct, frozen=True):
    """Sizes are bytes, times seconds. `stall` is how much longer than `max_wait` a reply may take.

    `reset` is EARLIEST or LATEST, where to go on when an offset is not there; with None that is an error.
    """

    max_bytes: int = 8 * 1024 * 1024
    partition_max_bytes: int = 1024 * 1024
    max_wait: float = 0.5
    stall: float = 3.0
    committed_only: bool = False
    reset: int | None = None


class Fetched(msgspec.Struct, frozen=True):
    """Consecutive records of one partition, control records left out."""

    partition: TopicPartition
    records: tuple[Record, ...]
    high_watermark: int


class _Stage(Enum):
    """What can be done with a partition."""

    READABLE = auto()
    ASKING = auto()
    """Its leader is asked where to go on."""


class _Chunk(msgspec.Struct):
    decoded: Decoded
    high_watermark: int
    taken: int = 0


class _Tracked(msgspec.Struct):
    """One assigned partition. `position` is what `take` hands out next, `ahead` what is fetched next."""

    position: Found
    ahead: Found
    chunks: deque[_Chunk] = msgspec.field(default_factory=deque)
    stage: _Stage = _Stage.READABLE
    checked_epoch: int = NO_EPOCH
    failed: Leader | None = None
    error: KafkaError | None = None

    def go_to(self, position: Found) -> None:
        """Forget what was fetched, go on there."""
        self.position = self.ahead = position
        self.chunks.clear()


class Fetcher:
    """`bell` rings whenever another `start` or `take` may come to something."""

    def __init__(self, cluster: Cluster, options: FetchOptions, bell: Bell) -> None:
        self._cluster = cluster
        self._options = options
        self._bell = bell
        self._lookup = OffsetLookup(cluster, options.stall, committed_only=options.committed_only)
        self._purpose = cluster.new_purpose("fetch")
        self._tracked: dict[TopicPartition, _Tracked] = {}
        self._on_its_way: set[int] = set()
        self._opening: set[int] = set()
        self._refreshing: set[str] = set()
        self._tasks: dict[asyncio.Task[None], None] = {}  # in order, so that a simulation repeats itself
        self._backoff = Backoff()
        self._failure: BaseException | None = None

    @property
    def positions(self) -> dict[TopicPartition, int]:
        """The next offset of each assigned partition."""
        return {partition: each.position.offset for partition, each in self._tracked.items()}

    @property
    def exact_positions(self) -> dict[TopicPartition, Found]:
        """The same with the epoch of the last record before it."""
        return {partition: each.position for partition, each in self._tracked.items()}

    def assign(self, positions: Mapping[TopicPartition, Found]) -> None:
        """Read these partitions, from these offsets, and no others."""
        self._stop()
        self._tracked = {partition: _Tracked(found, found) for partition, found in positions.items()}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on with `offset`; what is on its way from elsewhere is dropped."""
        if partition not in self._tracked:
            raise ValueError(f"{partition.topic}-{partition.partition} is not assigned")
        self._tracked[partition] = _Tracked(Found(offset), Found(offset))

    async def close(self) -> None:
        """Drop everything that is on its way."""
        self._tracked = {}
        self._cluster.close_purpose(self._purpose)
        await asyncio.gather(*self._stop(), return_exceptions=True)

    def _stop(self) -> list[asyncio.Task[None]]:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        return tasks

    def start(self) -> None:
        """Send a fetch to every leader that has none, for what can be fetched from it."""
        wanted: dict[int, dict[TopicPartition, tuple[_Tracked, Leader]]] = {}
        stale: set[str] = set()
        for partition, tracked in self._tracked.items():
            if tracked.stage is not _Stage.READABLE or len(tracked.chunks) >= MAX_CHUNKS or tracked.error:
                continue
            leader = self._cluster.known_leader(*partition)
            if leader is None or leader == tracked.failed:
                stale.add(partition.topic)
            elif leader.epoch != tracked.checked_epoch and tracked.ahead.epoch >= 0:
                self._ask(tracked, partial(self._check_epoch, partition, tracked, leader.epoch))
            elif leader.node_id not in self._on_its_way:
                wanted.setdefault(leader.node_id, {})[partition] = (tracked, leader)
        for node_id, led in wanted.items():
            self._fetch(node_id, led)
        if not stale <= self._refreshing:
            self._refreshing |= stale
            self._spawn(self._refresh(stale))

    def take(self, max_records: int | None = None) -> list[Fetched]:
        """What has come, at most so many records; raises what no retry heals, once."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        fetched: list[Fetched] = []
        left = max_records
        for partition, tracked in list(self._tracked.items()):
            if tracked.error is not None and not tracked.chunks and not fetched:
                error, tracked.error = tracked.error, None
                raise error
            while tracked.chunks and (left is None or left > 0):
                chunk = tracked.chunks[0]
                records = _cut(chunk, left)
                if chunk.taken == len(chunk.decoded.records):
                    tracked.chunks.popleft()
                    tracked.position = chunk.decoded.end
                else:
                    tracked.position = chunk.decoded.after(records[-1].offset)
                if records:
                    fetched.append(Fetched(partition, tuple(records), chunk.high_watermark))
                    left = None if left is None else left - len(records)
                    # Who was served goes to the end of the line.
                    self._tracked[partition] = self._tracked.pop(partition)
        return fetched

    # -- fetches ----------------------------------------------------------------------------------

    def _fetch(self, node_id: int, led: dict[TopicPartition, tuple[_Tracked, Leader]]) -> None:
        connection = self._cluster.connected(node_id, self._purpose)
        if connection is None:
            if node_id not in self._opening:
                self._opening.add(node_id)
                self._spawn(self._open(node_id, led))
            return
        asked = {partition: tracked.ahead.offset for partition, (tracked, _) in led.items()}
        reply = self._send(connection, asked, led)
        self._on_its_way.add(node_id)
        # A reply that stalls holds up all that would come after it: the connection is of no use any more.
        patience = self._options.max_wait + self._options.stall
        timer = asyncio.get_running_loop().call_later(patience, connection.close)
        reply.add_done_callback(partial(self._answered, node_id, led, asked, timer))

    def _send(
        self,
        connection: Connection,
        asked: Mapping[TopicPartition, int],
        led: Mapping[TopicPartition, tuple[_Tracked, Leader]],
    ) -> asyncio.Future[Any]:
        options = self._options
        partitions = [
            FetchPartition(*partition, led[partition][1].epoch, offset, -1, -1, options.partition_max_bytes)
            for partition, offset in asked.items()  # who was served longest ago comes first
        ]
        request = FetchRequest(
            replica_id=-1,
            max_wait_ms=int(options.max_wait * 1000),
            min_bytes=1,
            max_bytes=options.max_bytes,
            isolation_level=int(options.committed_only),
            session_id=0,
            session_epoch=-1,
            partitions=partitions,
            forgotten=[],
            rack_id="",
        )
        return connection.send(ApiKey.FETCH, request)

    async def _open(self, node_id: int, led: Mapping[TopicPartition, tuple[_Tracked, Leader]]) -> None:
        try:
            await self._cluster.connection(node_id, self._purpose)
        except CONNECTION_FAILURES:
            _mark_failed(led)
        finally:
            self._opening.discard(node_id)

    def _answered(
        self,
        node_id: int,
        led: Mapping[TopicPartition, tuple[_Tracked, Leader]],
        asked: Mapping[TopicPartition, int],
        timer: asyncio.TimerHandle,
        reply: asyncio.Future[FetchResponse],
    ) -> None:
        timer.cancel()
        self._on_its_way.discard(node_id)
        self._bell.ring()
        failure = reply.exception()
        if isinstance(failure, CONNECTION_FAILURES):
            _mark_failed(led)
            return
        if failure is not None:
            self._failure = failure
            return
        response = reply.result()
        if response.error_code:
            code = ErrorCode(response.error_code)
            if code.retriable:
                _mark_failed(led)
            else:
                self._failure = KafkaError(code, "Fetch")
            return
        for result in response.results:
            partition = TopicPartition(str(result.topic), result.partition)
            if partition not in led:
                continue
            tracked, leader = led[partition]
            is_wanted = tracked.stage is _Stage.READABLE and tracked.ahead.offset == asked[partition]
            if is_wanted and self._tracked.get(partition) is tracked:
                self._take_over(partition, tracked, leader, result)

    def _take_over(
        self, partition: TopicPartition, tracked: _Tracked, leader: Leader, result: FetchResult
    ) -> None:
        code = result.error_code
        if code == ErrorCode.NONE:
            self._decode(tracked, result)
            tracked.failed = None
            if tracked.checked_epoch != leader.epoch:
                tracked.checked_epoch = leader.epoch
        elif code == ErrorCode.OFFSET_OUT_OF_RANGE and self._options.reset is not None:
            self._ask(tracked, partial(self._reset, partition))
        elif ErrorCode(code).retriable:
            tracked.failed = leader
        else:
            tracked.error = KafkaError(ErrorCode(code), f"{partition.topic}-{partition.partition}")

    def _decode(self, tracked: _Tracked, result: FetchResult) -> None:
        assert isinstance(result.records, Received)
        if not result.records.size:
            return
        self._backoff = Backoff()
        try:
            decoded = decode(
                result.records.view,
                tracked.ahead.offset,
                result.aborted,
                committed_only=self._options.committed_only,
            )
        except KafkaError as error:
            tracked.error = error
            return
        if decoded.next_offset > tracked.ahead.offset:
            tracked.ahead = decoded.end
            tracked.chunks.append(_Chunk(decoded, result.high_watermark))

    # -- where to go on ---------------------------------------------------------------------------

    def _ask(self, tracked: _Tracked, how: Callable[[], Awaitable[Found]]) -> None:
        tracked.stage = _Stage.ASKING
        self._spawn(self._asked(tracked, how))

    async def _asked(self, tracked: _Tracked, how: Callable[[], Awaitable[Found]]) -> None:
        try:
            position = await how()
        except KafkaError as error:
            tracked.error = error
        else:
            if position != tracked.ahead:
                tracked.go_to(position)
        tracked.stage = _Stage.READABLE

    async def _reset(self, partition: TopicPartition) -> Found:
        assert self._options.reset is not None
        found = await self._lookup.by_time([partition], self._options.reset)
        return Found(found[partition].offset)

    async def _check_epoch(self, partition: TopicPartition, tracked: _Tracked, epoch: int) -> Found:
        """Where to go on under a new leader: here, or where its log parted from what was read."""
        ends = await self._lookup.epoch_ends({partition: tracked.ahead.epoch})
        end = ends[partition]
        is_there = end.offset >= tracked.ahead.offset and end.epoch >= 0
        if not is_there and self._options.reset is None:
            where = f"{partition.topic}-{partition.partition} at {tracked.ahead.offset}"
            raise TruncatedError(where, end.offset)
        tracked.checked_epoch = epoch
        if is_there:
            return tracked.ahead
        return end if end.epoch >= 0 else await self._reset(partition)

    async def _refresh(self, topics: set[str]) -> None:
        try:
            await self._backoff.pause()
            await self._cluster.refresh(topics)
        except CONNECTION_FAILURES:
            pass
        finally:
            self._refreshing -= topics
        for partition, tracked in self._tracked.items():
            if partition.topic in topics:
                tracked.failed = None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()
        self._bell.ring()


def _mark_failed(led: Mapping[TopicPartition, tuple[_Tracked, Leader]]) -> None:
    for tracked, leader in led.values():
        tracked.failed = leader


def _cut(chunk: _Chunk, most: int | None) -> list[Record]:
    """The chunk's next records, which count as taken from now on."""
    records = chunk.decoded.records
    if chunk.taken or (most is not None and most < len(records)):
        records = records[chunk.taken : None if most is None else chunk.taken + most]
    chunk.taken += len(records)
    return records
