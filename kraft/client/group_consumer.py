"""A consumer that shares the partitions of its topics with the other members of a group."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from msgspec.structs import replace

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_client import OffsetCommitResponse
from kafkawire.group_traffic import CommittedPartition, CommittedTopic, OffsetCommitRequest
from kraft.client.bell import Bell
from kraft.client.cluster import Cluster
from kraft.client.connections import CONNECTION_FAILURES
from kraft.client.errors import OutcomeUnknownError
from kraft.client.fetcher import Fetched, Fetcher, FetchOptions
from kraft.client.membership import (
    Fenced,
    GroupMetadata,
    GroupOptions,
    Joining,
    Member,
    Membership,
    Outside,
    Summoned,
)
from kraft.client.offset_lookup import Found, OffsetLookup, TopicPartition

Partitions = tuple[TopicPartition, ...]
Listener = Callable[[Partitions], Awaitable[None] | None]
"""Told of partitions by a call within `poll`, which waits for it if it is asynchronous."""

Positions = dict[TopicPartition, Found]


class GroupConsumer:
    """Use it as an async context manager; leaving it leaves the group. One task polls.

    `on_revoked` hears of partitions while they are owned still, so that it can commit; after a session has
    expired they are others' already, and its commits are refused. Everything but heartbeats happens in
    `poll`: call it again within `rebalance_timeout`.
    """

    def __init__(
        self,
        cluster: Cluster,
        topics: Sequence[str],
        options: GroupOptions,
        fetch_options: FetchOptions | None = None,
        *,
        on_assigned: Listener | None = None,
        on_revoked: Listener | None = None,
    ) -> None:
        self.cluster = cluster
        self.options = options
        self._bell = Bell()
        fetch_options = replace(fetch_options or FetchOptions(), reset=options.reset)
        self._fetch_options = fetch_options
        self._fetcher = Fetcher(cluster, fetch_options, self._bell)
        self._lookup = OffsetLookup(cluster, fetch_options.stall, committed_only=fetch_options.committed_only)
        self._membership = Membership(cluster, options, topics, self._bell)
        self._topics = tuple(topics)
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._assignment: Partitions = ()
        self._joining: asyncio.Task[Positions] | None = None
        self._refreshing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def assignment(self) -> Partitions:
        """What it reads at the moment."""
        return self._assignment

    @property
    def positions(self) -> dict[TopicPartition, int]:
        """The next offset of each assigned partition."""
        return self._fetcher.positions

    @property
    def group_metadata(self) -> GroupMetadata:
        """What a transaction that commits this group's offsets has to name."""
        return self._membership.metadata

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on with `offset`; ValueError if the partition is not assigned."""
        self._fetcher.seek(partition, offset)

    async def poll(self, max_wait: float = 0.5, max_records: int | None = None) -> list[Fetched]:
        """What came next, at most so many records; an empty list if there was nothing for `max_wait` seconds,
        be it that the group rebalances.

        Raises KafkaError for what no retry heals, FENCED_INSTANCE_ID among them, and what listeners raise.
        """
        loop = asyncio.get_running_loop()
        membership, fetcher = self._membership, self._fetcher
        membership.polled_at = loop.time()
        until = membership.polled_at + max_wait
        while True:
            if self._refreshing is None and loop.time() - self.cluster.refreshed_at > self._metadata_age:
                self._refreshing = asyncio.create_task(self._refresh())
            membership.look_at_topics()
            if await self._is_settled():
                fetcher.start()
                fetched = fetcher.take(max_records)
                if fetched:
                    fetcher.start()
                    return fetched
            if not await self._bell.wait(until):
                return []

    @property
    def _metadata_age(self) -> float:
        return self.options.metadata_max_age

    async def _refresh(self) -> None:
        try:
            await self.cluster.refresh(self._topics)
        except CONNECTION_FAILURES:
            await asyncio.sleep(self.cluster.options.metadata_timeout)
        finally:
            self._refreshing = None
        self._bell.ring()

    # -- the group --------------------------------------------------------------------------------

    async def _is_settled(self) -> bool:
        """Whether it has an assignment in force; else everything has been set going that leads to one."""
        match self._membership.standing:
            case Fenced(error):
                await self._give_up_partitions()
                raise error
            case Summoned() | Outside():
                await self._stop_joining()
                await self._give_up_partitions()
                self._start_joining()
            case Joining() | Member():
                pass
        joining = self._joining
        if joining is None:
            return True
        if not joining.done():
            return False
        self._joining = None
        try:
            positions = joining.result()
        except KafkaError:
            self._membership.refused(ErrorCode.REBALANCE_IN_PROGRESS)  # the next poll tries once more
            raise
        self._fetcher.assign(positions)
        self._assignment = tuple(sorted(positions))
        await _tell(self._on_assigned, self._assignment)
        return True

    def _start_joining(self) -> None:
        self._membership.set_out()
        self._joining = asyncio.create_task(self._join())
        self._joining.add_done_callback(lambda _: self._bell.ring())

    async def _stop_joining(self) -> None:
        joining, self._joining = self._joining, None
        if joining is not None:
            joining.cancel()
            await asyncio.gather(joining, return_exceptions=True)

    async def _give_up_partitions(self) -> None:
        """The listener hears of them once, even if it fails."""
        revoked, self._assignment = self._assignment, ()
        try:
            if revoked:
                await _tell(self._on_revoked, revoked)
        finally:
            self._fetcher.assign({})

    async def _join(self) -> Positions:
        """Join, and find out where to begin in what was assigned."""
        assigned = await self._membership.join()
        while True:
            try:
                positions = await self.committed(assigned)
            except KafkaError as error:
                if not error.code.retriable:
                    raise
            else:
                break
        missing = [partition for partition in assigned if partition not in positions]
        if missing:
            found = await self._lookup.by_time(missing, self.options.reset)
            positions |= {partition: Found(each.offset) for partition, each in found.items()}
        return positions

    # -- offsets ----------------------------------------------------------------------------------

    async def committed(self, partitions: Iterable[TopicPartition]) -> Positions:
        """What the group has committed; partitions without an offset are left out. Waits while a
        transaction that commits one is open; raises KafkaError, for `commit_timeout` at the latest."""
        request_class = messages.request_class(ApiKey.OFFSET_FETCH)
        group_class = request_class.OffsetFetchRequestGroup
        topics: dict[str, list[int]] = {}
        for topic, index in partitions:
            topics.setdefault(topic, []).append(index)
        if not topics:
            return {}
        group = group_class(
            group_id=self.options.group_id,
            member_id=None,
            member_epoch=-1,
            topics=[
                group_class.OffsetFetchRequestTopics(name=name, partition_indexes=each)
                for name, each in topics.items()
            ],
        )
        request = request_class(groups=[group], require_stable=True)
        response = await self._membership.coordinator.ask(
            ApiKey.OFFSET_FETCH, request, _offset_fetch_error, self.options.commit_timeout
        )
        return {
            TopicPartition(topic.name, each.partition_index): Found(
                each.committed_offset, each.committed_leader_epoch
            )
            for topic in response.groups[0].topics
            for each in topic.partitions
            if each.committed_offset >= 0
        }

    async def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        """Note how far the group has come: the positions, or the offsets that are given.

        Raises KafkaError if nothing was noted (REBALANCE_IN_PROGRESS, ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID:
        the next poll joins again), OutcomeUnknownError if perhaps something was.
        """
        positions = self._fetcher.exact_positions
        if offsets is not None:
            positions = {each: Found(offset) for each, offset in offsets.items()}
        if not positions:
            return
        member = self.group_metadata
        if not member.member_id:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, "not a member at the moment")
        request = OffsetCommitRequest(
            *(member.group_id, member.generation, member.member_id, member.instance_id, -1),
            _by_topic(positions),
        )
        response = OffsetCommitResponse([])

        def check(reply: OffsetCommitResponse) -> ErrorCode:
            nonlocal response
            response = reply
            return ErrorCode(next((each.error_code for each in reply.results if each.error_code), 0))

        try:
            await self._membership.coordinator.ask(
                ApiKey.OFFSET_COMMIT, request, check, self.options.commit_timeout
            )
        except KafkaError as error:
            self._membership.refused(error.code)
            if any(not each.error_code for each in response.results):
                raise OutcomeUnknownError(error.code, "some offsets are noted, some are not") from error
            raise

    async def close(self, leave: bool | None = None) -> None:
        """Stop reading. By default it leaves the group unless it is a static member, which keeps its place
        for the time of its session (KIP-345)."""
        await self._stop_joining()
        if self._refreshing is not None:
            self._refreshing.cancel()
        try:
            await self._give_up_partitions()
        finally:
            await self._membership.close(leave=self.options.instance_id is None if leave is None else leave)
            await self._fetcher.close()


async def _tell(listener: Listener | None, partitions: Partitions) -> None:
    if listener is not None:
        told = listener(partitions)
        if told is not None:
            await told


def _by_topic(positions: Mapping[TopicPartition, Found]) -> list[CommittedTopic]:
    topics: dict[str, list[CommittedPartition]] = {}
    for (topic, index), found in positions.items():
        topics.setdefault(topic, []).append(CommittedPartition(index, found.offset, found.epoch, ""))
    return [CommittedTopic(topic, None, partitions) for topic, partitions in topics.items()]


def _offset_fetch_error(response: Any) -> ErrorCode:
    (group,) = response.groups
    if group.error_code:
        return ErrorCode(group.error_code)
    codes = (each.error_code for topic in group.topics for each in topic.partitions if each.error_code)
    return ErrorCode(next(codes, 0))
