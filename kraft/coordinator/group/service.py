"""The group coordinator of one broker: which shard a group belongs to, and what is asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final, TypeVar

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.decision import Decision, TransactionMarker
from kraft.coordinator.group.commands import Heartbeat, ListedGroup
from kraft.coordinator.group.config import GroupConfig
from kraft.coordinator.group.consumer.config import TimingOf
from kraft.coordinator.group.consumer.topics import Topics
from kraft.coordinator.group.shard import GroupShard
from kraft.coordinator.listing import listing
from kraft.coordinator.placement import partition_of
from kraft.coordinator.runtime import CoordinatorRuntime, RuntimeWorld
from metadata.delta import MetadataDelta

R = TypeVar("R")

CONSUMER_OFFSETS: Final = "__consumer_offsets"

_NO_PARTITION: Final = -1


class GroupCoordinator:
    """`partition_count` returns how many partitions `__consumer_offsets` has, 0 while it does not exist.
    `topics` are those that there are, as far as this broker knows; `timing` the times of KIP-848 groups."""

    def __init__(
        self,
        config: GroupConfig,
        world: RuntimeWorld,
        partition_count: Callable[[], int],
        new_id: Callable[[], str],
        timing: TimingOf | None = None,
    ) -> None:
        self.config = config
        self.runtime = CoordinatorRuntime(CONSUMER_OFFSETS, self._make_shard, world, self)
        self._partition_count = partition_count
        self._new_id = new_id
        self._timing = timing
        self.topics = Topics()
        self._deleted_meanwhile: dict[int, set[str]] = {}

    def _make_shard(self, index: int, epoch: int) -> GroupShard:
        del epoch
        room = partial(self.runtime.room, index)
        return GroupShard(self.config, self._new_id, self.topics, room, self._timing)

    def partition_of(self, group_id: str) -> int:
        """The partition whose leader coordinates the group; -1 while there is no such topic."""
        count = self._partition_count()
        return partition_of(group_id, count) if count else _NO_PARTITION

    def submit(
        self, group_id: str, decide: Callable[[GroupShard, float, int], Decision[R]]
    ) -> asyncio.Future[R]:
        """Decide on something of the group; see `CoordinatorRuntime.submit`."""
        return self.runtime.submit(self.partition_of(group_id), decide)

    def observe(self, group_id: str, read: Callable[[GroupShard, float, int], R]) -> asyncio.Future[R]:
        """Look at the group; see `CoordinatorRuntime.observe`."""
        return self.runtime.observe(self.partition_of(group_id), read)

    def heartbeat(self, command: Heartbeat) -> ErrorCode | asyncio.Future[ErrorCode]:
        """See `GroupShard.heartbeat`, and `CoordinatorRuntime.glance`."""
        return self.runtime.glance(self.partition_of(command.group_id), GroupShard.heartbeat, command)

    def complete(self, index: int, marker: TransactionMarker) -> asyncio.Future[None]:
        """A transaction that commits offsets in partition `index` ends; see `CoordinatorRuntime.complete`."""
        return self.runtime.complete(index, marker)

    async def list(self, states: Collection[str], kinds: Collection[str]) -> list[ListedGroup]:
        """The groups that this broker coordinates. Raises KafkaError(COORDINATOR_LOAD_IN_PROGRESS)."""
        wanted_states = {each.lower() for each in states}
        wanted_kinds = {each.lower() for each in kinds}
        return await listing(
            self.runtime, lambda shard, *now: shard.listed(wanted_states, wanted_kinds, *now)
        )

    async def delete(self, group_id: str) -> None:
        """Delete a group without members. Raises KafkaError as `GroupShard.delete`."""
        while not await self.submit(group_id, lambda shard, *now: shard.delete(group_id, *now)):
            pass

    # -- what changes -----------------------------------------------------------------------------

    def metadata_changed(self, delta: MetadataDelta) -> None:
        """Groups look at their topics again with the next heartbeat; offsets of deleted topics go, wherever
        they are coordinated here."""
        self.topics.changed(delta)
        topics = {topic.name for topic in delta.deleted_topics}
        if not topics:
            return

        def forget(shard: GroupShard, *_: Any) -> None:
            shard.topics_deleted(topics)

        for index in self.runtime.indices():
            if _is_loading(self.runtime.observe(index, forget)):
                self._deleted_meanwhile.setdefault(index, set()).update(topics)

    def loaded(self, index: int, shard: GroupShard) -> None:
        """See `Following`. The offsets of topics that were deleted meanwhile go too, but not of one that is
        there again: some may be of that one."""
        deleted = self._deleted_meanwhile.pop(index, set())
        shard.topics_deleted({topic for topic in deleted if self.topics.get(topic) is None})

    def unloaded(self, index: int) -> None:
        """See `Following`; nothing to do."""

    def committed(self, index: int, reply: Any) -> None:
        """See `Following`; nothing to do."""


def _is_loading(observed: asyncio.Future[None]) -> bool:
    error = observed.exception() if observed.done() else None
    return isinstance(error, KafkaError) and error.code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
