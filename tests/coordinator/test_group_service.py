"""The group coordinator on a partition whose topic takes small batches only."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any
from uuid import UUID

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.group.commands import (
    CommitOffsets,
    FetchOffsets,
    JoinGroup,
    JoinReply,
    LeaveGroup,
    MemberIdentity,
    NewOffset,
    Protocol,
    SyncGroup,
    SyncReply,
)
from kraft.coordinator.group.config import GroupConfig
from kraft.coordinator.group.service import CONSUMER_OFFSETS, GroupCoordinator
from kraft.coordinator.runtime import RuntimeWorld
from logstore.config import LogConfig
from metadata.delta import MetadataDelta
from metadata.image import MetadataImage
from metadata.records import RemoveTopicRecord, TopicRecord
from tests.background import running


class Scene:
    """A coordinator that leads the only partition of `__consumer_offsets`."""

    def __init__(self, replica: Any, clock: Any) -> None:
        self.replica = replica
        ids = itertools.count()
        self.coordinator = GroupCoordinator(
            GroupConfig(initial_rebalance_delay_ms=0),
            RuntimeWorld(clock, lambda: [replica.partition], _fail),
            lambda: 1,
            lambda: f"id{next(ids)}",
        )
        self.lead()

    def lead(self) -> None:
        self.replica.lead()
        self.coordinator.runtime.reconcile()

    async def join(
        self, member_id: str = "", metadata: bytes = b"", instance_id: str | None = None
    ) -> JoinReply:
        command = JoinGroup(
            group_id="g",
            member_id=member_id,
            instance_id=instance_id,
            client_id="app",
            client_host="/10.0.0.1",
            session_timeout_ms=10_000,
            rebalance_timeout_ms=60_000,
            protocol_type="consumer",
            protocols=(Protocol("range", metadata),),
            requires_member_id=False,
        )
        return await self.coordinator.submit("g", lambda shard, *now: shard.join(command, *now))

    async def sync(self, member_id: str, generation: int, assignment: bytes) -> SyncReply:
        command = SyncGroup("g", generation, member_id, assignments={member_id: assignment})
        return await self.coordinator.submit("g", lambda shard, *now: shard.sync(command, *now))

    async def leave(self, member_id: str) -> None:
        command = LeaveGroup("g", (MemberIdentity(member_id, None),))
        await self.coordinator.submit("g", lambda shard, *now: shard.leave(command, *now))

    async def commit(self, topic: str) -> ErrorCode:
        command = CommitOffsets("g", (NewOffset(topic, 0, 1),))
        (code,) = await self.coordinator.submit("g", lambda shard, *now: shard.commit(command, *now))
        return code

    async def committed(self, *topics: str) -> tuple[int, ...] | None:
        """The offset of the first partition of each; None while that is being loaded."""
        command = FetchOffsets("g", tuple((topic, (0,)) for topic in topics))
        try:
            found = await self.coordinator.observe("g", lambda shard, *now: shard.fetch(command, *now))
        except KafkaError as error:
            if error.code is not ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
                raise
            return None
        return tuple(each.offset for _, (each,) in found)

    async def state(self) -> str:
        described = await self.coordinator.observe("g", lambda shard, *now: shard.describe("g", *now))
        return described.state


def _fail(failure: BaseException) -> None:
    raise failure


@pytest.fixture
async def scene(make_replica: Any, clock: Any) -> Scene:
    return Scene(make_replica(CONSUMER_OFFSETS, config=LogConfig(max_message_bytes=1000)), clock)


async def test_an_assignment_is_refused_that_the_topic_has_no_room_for(scene: Scene) -> None:
    """The group must not go on under a generation that its log does not have."""
    joined = await scene.join()
    synced = await scene.sync(joined.member_id, joined.generation, b"x" * 1000)
    assert synced.error is ErrorCode.UNKNOWN_SERVER_ERROR
    assert await scene.state() == "PreparingRebalance"
    again = await scene.join(joined.member_id)
    assert again.generation == joined.generation + 1
    assert (await scene.sync(again.member_id, again.generation, b"x")).error is ErrorCode.NONE
    assert await scene.state() == "Stable"


async def test_what_the_topic_just_has_room_for_is_written(scene: Scene) -> None:
    """To the byte: whatever is not refused gets into the log."""
    errors = []
    for length in range(600, 1000):
        joined = await scene.join()
        before = scene.replica.partition.log.end_offset
        synced = await scene.sync(joined.member_id, joined.generation, b"x" * length)
        errors.append(synced.error)
        assert (synced.error is ErrorCode.NONE) is (scene.replica.partition.log.end_offset > before)
        await scene.leave(joined.member_id)
    assert errors == sorted(errors, key=lambda error: error is not ErrorCode.NONE)
    assert set(errors) == {ErrorCode.NONE, ErrorCode.UNKNOWN_SERVER_ERROR}


async def test_members_find_room_by_what_the_topic_says_now(scene: Scene) -> None:
    with pytest.raises(KafkaError) as refused:
        await scene.join(metadata=b"x" * 2000)
    assert refused.value.code is ErrorCode.GROUP_MAX_SIZE_REACHED
    scene.replica.partition.log.config = LogConfig(max_message_bytes=10_000)
    assert (await scene.join(metadata=b"x" * 2000)).error is ErrorCode.NONE


async def test_a_static_member_that_says_too_much_for_the_topic_makes_it_rebalance(scene: Scene) -> None:
    joined = await scene.join(instance_id="one")
    await scene.sync(joined.member_id, joined.generation, b"x" * 300)
    scene.replica.partition.log.config = LogConfig(max_message_bytes=400)
    back = await scene.join(instance_id="one")
    assert back.generation == joined.generation + 1


@pytest.mark.parametrize("made_again", [False, True])
async def test_offsets_go_with_a_topic_that_is_deleted_while_they_load(
    scene: Scene, made_again: bool
) -> None:
    images = [MetadataImage()]
    for records in (
        [TopicRecord(name="t", topic_id=UUID(int=7)), TopicRecord(name="u", topic_id=UUID(int=8))],
        [RemoveTopicRecord(topic_id=UUID(int=7))],
        [TopicRecord(name="t", topic_id=UUID(int=9))] if made_again else [],
    ):
        images.append(images[-1].apply(records, images[-1].offset + 1))
    there, *later = itertools.pairwise(images)
    scene.coordinator.metadata_changed(MetadataDelta(*there))
    for topic in ("t", "u"):
        assert await scene.commit(topic) is ErrorCode.NONE
    end = scene.replica.partition.log.end_offset
    scene.lead()
    for change in later:
        scene.coordinator.metadata_changed(MetadataDelta(*change))
    async with asyncio.timeout(5), running(scene.coordinator.runtime.run()):
        while (found := await scene.committed("t", "u")) is None:  # noqa: ASYNC110 - the loop has to go round
            await asyncio.sleep(0)
        while not made_again and scene.replica.partition.log.end_offset == end:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0)
        found = await scene.committed("t", "u")
    assert found == ((1, 1) if made_again else (-1, 1))
