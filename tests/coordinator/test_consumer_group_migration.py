"""Groups that change their protocol, one way and the other, with and without members."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from kafkawire.consumer_protocol import read_assignment, write_assignment
from kafkawire.errors import ErrorCode
from kraft.coordinator.decision import size_of
from kraft.coordinator.group.commands import CommitOffsets, JoinGroup, Protocol
from kraft.coordinator.group.consumer.config import MigrationPolicy

ALL = tuple(range(4))


def subscription(owned: tuple[int, ...] = (), topics: tuple[str, ...] = ("t",)) -> bytes:
    """What a cooperative consumer says, in version 1."""
    named = b"".join(struct.pack(">h", len(each)) + each.encode() for each in topics)
    has = struct.pack(">ih1si", 1, 1, b"t", len(owned)) + b"".join(struct.pack(">i", each) for each in owned)
    return struct.pack(">hi", 1, len(topics)) + named + struct.pack(">i", -1) + has


@pytest.fixture
def world(make_groups: Any) -> Any:
    world = make_groups()
    world.set_topics(t=4)
    return world


def offer(owned: tuple[int, ...] = ()) -> dict[str, bytes]:
    return {"cooperative-sticky": subscription(owned)}


def numbers(assignment: bytes) -> tuple[int, ...]:
    return tuple(number for _, partitions in read_assignment(assignment).owned for number in partitions)


def settle_classic(world: Any, **fields: Any) -> tuple[str, int]:
    """A classic group of one consumer that has all partitions."""
    member_id, joining = world.enter(protocols=offer(), **fields)
    generation = joining.reply.generation
    world.sync(member_id, generation, assignments={member_id: write_assignment((("t", ALL),), 1)})
    return member_id, generation


def kinds(world: Any) -> tuple[bool, bool]:
    """Whether there is a classic group, and one of KIP-848, here and for who takes over."""
    copy = world.replayed()
    for shard in (world.shard, copy):
        found = "g" in shard.classic.groups, shard.consumer.has("g")
    assert found == ("g" in world.shard.classic.groups, world.shard.consumer.has("g"))
    return found


def rejoin(world: Any, member_id: str, owned: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """A classic member of a KIP-848 group joins and syncs; returns its generation and partitions."""
    joined = world.join(member_id, protocols=offer(owned)).reply
    assert (joined.error, joined.leader, joined.members) == (ErrorCode.NONE, "", ())
    synced = world.sync(member_id, joined.generation, protocol_type="consumer").reply
    assert synced.error is ErrorCode.NONE
    return joined.generation, numbers(synced.assignment)


def test_a_classic_group_is_upgraded_and_downgraded_under_its_members(world: Any) -> None:
    old, generation = settle_classic(world)
    new = world.come("new")
    assert kinds(world) == (False, True)
    assert (new.epoch, new.assignment) == (generation + 1, frozenset())
    # The classic member is asked to join, gives up half, and joins again without it.
    assert world.heartbeat(old, generation) is ErrorCode.REBALANCE_IN_PROGRESS
    assert rejoin(world, old, ALL) == (generation, (0, 1))
    assert world.heartbeat(old, generation) is ErrorCode.REBALANCE_IN_PROGRESS
    assert world.beat("new", new.epoch).assignment is None, "not given up yet"
    assert rejoin(world, old, (0, 1)) == (generation + 1, (0, 1))
    assert world.heartbeat(old, generation + 1) is ErrorCode.NONE
    assert len(world.beat("new", new.epoch).assignment) == 2
    assert world.shard.consumer.groups["g"].state == "Stable"
    assert world.commit(member_id=old, generation=generation + 1) is ErrorCode.NONE
    assert world.commit(member_id=old, generation=generation) is ErrorCode.ILLEGAL_GENERATION
    # The last one of the new protocol goes: the group is a classic one again, and rebalances.
    world.beat("new", -1)
    assert kinds(world) == (True, False)
    group = world.shard.classic.groups["g"]
    assert world.heartbeat(old, group.generation) is ErrorCode.REBALANCE_IN_PROGRESS
    again = world.join(old, protocols=offer((0, 1))).reply
    assert (again.error, again.leader) == (ErrorCode.NONE, old)
    assert again.generation > generation + 1
    assert world.committed() == 1


def test_a_group_that_is_rebalancing_is_upgraded(world: Any) -> None:
    first, generation = settle_classic(world)
    second, joining = world.enter(protocols=offer())
    assert joining.open
    world.come("new")
    assert joining.reply.error is ErrorCode.REBALANCE_IN_PROGRESS
    assert rejoin(world, second, ()) == (generation + 1, ())
    assert rejoin(world, first, ALL) == (generation, (0, 1))
    assert set(world.shard.consumer.groups["g"].members) == {first, second, "new"}


def test_a_classic_member_is_lost_by_each_of_its_times(world: Any) -> None:
    old, generation = settle_classic(world)
    world.come("new")
    world.pass_time(9)
    world.beat("new", 2)
    world.pass_time(2)
    assert set(world.shard.consumer.groups["g"].members) == {"new"}, "it sent no heartbeat"
    late, _ = first_join(world)
    for _ in range(13):
        world.pass_time(5)
        world.beat("new", world.shard.consumer.groups["g"].progress_of("new").epoch, owned=[])
        world.heartbeat(late, world.shard.consumer.groups["g"].progress_of(late).epoch)
    assert late not in world.shard.consumer.groups["g"].members, "it did not sync"
    assert world.heartbeat(old, generation) is ErrorCode.UNKNOWN_MEMBER_ID


def first_join(world: Any) -> tuple[str, int]:
    asked = world.join(protocols=offer()).reply
    assert asked.error is ErrorCode.MEMBER_ID_REQUIRED
    return asked.member_id, world.join(asked.member_id, protocols=offer()).reply.generation


def test_refusals_for_classic_members(world: Any) -> None:
    world.come("new")
    join = {"protocols": offer()}
    assert world.join(protocol_type="connect", **join).reply is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert world.join(session_timeout_ms=1, **join).reply is ErrorCode.INVALID_SESSION_TIMEOUT
    bad = world.join("x", protocols={"range": b"\x00"}).reply
    assert bad is ErrorCode.UNKNOWN_SERVER_ERROR, "what it subscribes to does not parse"
    member, generation = first_join(world)
    assert world.join("y", protocols={"other": subscription()}).reply is (
        ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    )
    assert world.sync(member, generation + 1).reply is ErrorCode.ILLEGAL_GENERATION
    assert world.sync(member, generation, protocol="other").reply is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert world.sync("new", 1).reply is ErrorCode.UNKNOWN_MEMBER_ID, "it is none of these"
    assert world.heartbeat("new", 1) is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.heartbeat(member, generation + 1) is ErrorCode.ILLEGAL_GENERATION
    assert world.heartbeat("nobody", 1) is ErrorCode.UNKNOWN_MEMBER_ID
    world.come("newer")
    assert world.sync(member, generation).reply is ErrorCode.REBALANCE_IN_PROGRESS
    left = world.leave(("new", None), (member, None), (member, None), ("nobody", None))
    assert [code for _, code in left.members] == [
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.UNKNOWN_MEMBER_ID,
    ]
    assert set(world.shard.consumer.groups["g"].members) == {"new", "newer"}


def test_a_static_member_changes_its_protocol_and_back(world: Any) -> None:
    world.come("a", instance_id="one")
    joined = world.join(instance_id="one", protocols=offer()).reply
    assert kinds(world) == (True, False), "the last of the new protocol was replaced"
    synced = world.sync(joined.member_id, joined.generation).reply
    assert numbers(synced.assignment) == ALL
    back = world.come("b", instance_id="one")
    assert kinds(world) == (False, True)
    assert len(back.assignment) == 4
    assert world.heartbeat(joined.member_id, joined.generation, "one") is ErrorCode.FENCED_INSTANCE_ID


@pytest.mark.parametrize("policy", [MigrationPolicy.DISABLED, MigrationPolicy.DOWNGRADE])
def test_no_upgrade_where_that_is_forbidden(make_groups: Any, policy: MigrationPolicy) -> None:
    world = make_groups(consumer={"migration_policy": policy})
    world.set_topics(t=4)
    old, generation = settle_classic(world)
    assert world.come("new") is ErrorCode.GROUP_ID_NOT_FOUND
    assert world.heartbeat(old, generation) is ErrorCode.NONE


def test_no_downgrade_where_that_is_forbidden(make_groups: Any) -> None:
    world = make_groups(consumer={"migration_policy": MigrationPolicy.UPGRADE})
    world.set_topics(t=4)
    old, generation = settle_classic(world)
    world.come("new")
    world.beat("new", -1)
    assert kinds(world) == (False, True)
    assert rejoin(world, old, ALL) == (generation + 2, ALL)


@pytest.mark.parametrize(
    ("protocols", "protocol_type", "assignment"),
    [
        ({"range": b"\x00"}, "consumer", b""),
        ({"range": subscription()}, "consumer", b"\x00\x01\x00"),
        ({"range": subscription()}, "consumer", write_assignment((("t", ALL),), 1)[:-4] + b"\0\0\0\x01x"),
        ({"range": subscription()}, "connect", b""),
    ],
    ids=["subscription", "assignment", "user data", "no consumers"],
)
def test_a_group_that_cannot_be_upgraded_stays(
    world: Any, protocols: dict[str, bytes], protocol_type: str, assignment: bytes
) -> None:
    member_id, joining = world.enter(protocols=protocols, protocol_type=protocol_type)
    generation = joining.reply.generation
    world.sync(member_id, generation, assignments={member_id: assignment})
    assert world.come("new") is ErrorCode.GROUP_ID_NOT_FOUND
    assert kinds(world) == (True, False)
    assert world.heartbeat(member_id, generation) is ErrorCode.NONE


def test_a_group_too_large_for_a_batch_is_not_upgraded(make_groups: Any) -> None:
    world = make_groups(room=500)
    world.set_topics(t=4)
    first, generation = settle_classic(world)
    second, joining = world.enter(protocols=offer())
    assert world.come("new" * 50) is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert joining.open, "it still waits"
    assert world.heartbeat(first, generation) is ErrorCode.REBALANCE_IN_PROGRESS
    assert second in world.shard.classic.groups["g"].members


def test_a_downgrade_that_fits_into_no_batch_changes_nothing(make_groups: Any) -> None:
    protocols = tuple(Protocol(name, metadata) for name, metadata in offer().items())
    command = JoinGroup("g", "", "one", "app", "/h", 10_000, 60_000, "consumer", protocols)
    downgraded = []
    for room in range(400, 1400, 50):
        world = make_groups(room=room)
        world.set_topics(t=4)
        world.come("a", instance_id="one")
        decision = world.shard.join(command, world.clock.now, world.clock.now_ms)
        downgraded.append("g" in world.shard.classic.groups)
        assert not downgraded[-1] or size_of(decision.records) <= room
    assert set(downgraded) == {False, True}


def test_groups_without_members_change_either_way(world: Any) -> None:
    member, _ = settle_classic(world)
    world.leave((member, None))
    world.commit(offset=7)
    world.come("new")
    assert kinds(world) == (False, True)
    world.beat("new", -1)
    assert kinds(world) == (False, True)
    settle_classic(world)
    assert kinds(world) == (True, False)
    assert world.committed() == 7


def test_offsets_outlive_a_group_that_nobody_came_back_to(world: Any) -> None:
    world.come("new")
    world.commit(member_id="new", generation=1)
    world.beat("new", -1)
    world.join(protocols=offer())  # is given an id, and never comes again with it
    world.reload()
    assert world.committed() == 1
    assert world.do(world.shard.commit, CommitOffsets("g", ())).reply == ()
    assert world.do(world.shard.delete, "g").reply is True
    assert world.committed() == -1
