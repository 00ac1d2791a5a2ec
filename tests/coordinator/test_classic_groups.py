"""Classic groups, decision by decision."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest
from msgspec.structs import replace

from kafkawire.errors import ErrorCode
from kraft.coordinator.group.commands import JoinGroup, Protocol
from tests.counted_calls import calls_of


def subscription(*topics: str) -> bytes:
    """Version 0 of a consumer's subscription."""
    names = b"".join(struct.pack(">h", len(name)) + name.encode() for name in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1)


# -- joining --------------------------------------------------------------------------------------


def test_a_new_member_is_given_its_id_first(groups: Any) -> None:
    reply = groups.join().reply
    assert reply.error is ErrorCode.MEMBER_ID_REQUIRED
    assert reply.member_id == "app-id1"
    joined = groups.join(reply.member_id).reply
    assert joined.error is ErrorCode.NONE
    assert (joined.generation, joined.leader, joined.protocol) == (1, "app-id1", "range")
    assert [member.member_id for member in joined.members] == ["app-id1"]


def test_an_old_client_joins_at_once(groups: Any) -> None:
    assert groups.join(requires_member_id=False).reply.error is ErrorCode.NONE


def test_an_id_that_does_not_come_back_is_forgotten(groups: Any) -> None:
    member_id = groups.join(session_timeout_ms=6000).reply.member_id
    groups.pass_time(6.5)
    assert groups.join(member_id).reply is ErrorCode.UNKNOWN_MEMBER_ID
    assert groups.describe().state == "Dead"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"group_id": ""}, ErrorCode.INVALID_GROUP_ID),
        ({"session_timeout_ms": 5999}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"session_timeout_ms": 1_800_001}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"protocols": {}}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ({"protocol_type": ""}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ({"member_id": "nobody"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"instance_id": ""}, ErrorCode.INVALID_REQUEST),
    ],
)
def test_a_join_that_makes_no_sense_is_refused_and_leaves_no_trace(
    groups: Any, fields: dict[str, Any], code: ErrorCode
) -> None:
    assert groups.join(**fields).reply is code
    assert groups.shard.classic.groups == {}
    assert groups.log == []


def test_one_who_offers_nothing_in_common_is_refused(groups: Any) -> None:
    member_id, generation = groups.settle(protocols={"range": b"", "sticky": b""})
    assert groups.join(protocols={"other": b""}).reply is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert groups.join(protocol_type="connect").reply is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert groups.heartbeat(member_id, generation) is ErrorCode.NONE


def test_the_protocol_is_what_most_like_best_of_what_all_offer(groups: Any) -> None:
    first, waiting = groups.enter(protocols={"a": b"1", "b": b"2", "c": b"3"})
    second, other = groups.enter(protocols={"c": b"4", "b": b"5"})
    again = groups.join(first, protocols={"a": b"1", "c": b"2", "b": b"3"})
    assert waiting.reply.generation == 1
    assert again.reply.protocol == other.reply.protocol == "c"
    told = {member.member_id: member.metadata for member in again.reply.members}
    assert told == {first: b"2", second: b"4"}
    assert other.reply.members == (), "only the leader is told"


def test_a_protocol_that_is_named_twice_is_offered_once(groups: Any) -> None:
    twice = (Protocol("a", b"1"), Protocol("a", b"2"))
    command = JoinGroup("g", "", None, "app", "/10.0.0.1", 10_000, 60_000, "consumer", twice, False)
    first = groups.do(groups.shard.join, command).reply
    assert (first.generation, first.protocol, first.members[0].metadata) == (1, "a", b"1")
    _, second = groups.enter(protocols={"b": b"3", "a": b"4"})
    again = groups.do(groups.shard.join, replace(command, member_id=first.member_id)).reply
    assert again.protocol == second.reply.protocol == "a"


def test_the_first_rebalance_waits_for_more_members_and_not_for_ever(make_groups: Any) -> None:
    groups = make_groups(initial_rebalance_delay_ms=3000)
    _, first = groups.enter(rebalance_timeout_ms=7000)
    groups.pass_time(2)
    _, second = groups.enter(rebalance_timeout_ms=7000)
    groups.pass_time(2)
    assert first.open, "a newcomer prolongs the wait"
    groups.enter(rebalance_timeout_ms=7000)
    groups.pass_time(4)
    assert first.reply.generation == second.reply.generation == 1
    assert len(first.reply.members) == 3


def test_a_full_group_takes_nobody_else(make_groups: Any) -> None:
    groups = make_groups(max_size=2)
    first, _ = groups.settle()
    groups.enter()
    groups.join(first)
    assert groups.join().reply is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert len(groups.describe().members) == 2


def test_ids_that_nobody_came_back_with_take_no_place(make_groups: Any) -> None:
    groups = make_groups(max_size=2)
    for _ in range(3):
        assert groups.join().reply.error is ErrorCode.MEMBER_ID_REQUIRED
    groups.pass_time(11)
    groups.settle()
    for _ in range(2):
        assert groups.join().reply.error is ErrorCode.MEMBER_ID_REQUIRED
    second, _ = groups.enter()
    assert second in groups.shard.classic.groups["g"].members


def test_nobody_waits_for_one_whose_place_others_took(make_groups: Any) -> None:
    groups = make_groups(max_size=2)
    slow, _ = groups.settle()
    *newcomers, too_many = [groups.join().reply.member_id for _ in range(3)]
    waiting = [groups.join(member_id) for member_id in newcomers]
    for member_id in (slow, too_many):
        assert all(each.open for each in waiting)
        assert groups.join(member_id).reply.error is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert [each.reply.generation for each in waiting] == [2, 2]
    assert list(groups.shard.classic.groups["g"].members) == newcomers


def test_members_that_say_too_much_find_no_room(make_groups: Any) -> None:
    groups = make_groups(room=1000)
    member_id, generation = groups.settle(protocols={"range": b"x" * 600})
    assert groups.join(protocols={"range": b"x" * 600}).reply is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert groups.heartbeat(member_id, generation) is ErrorCode.NONE


def test_who_joins_a_large_group_takes_as_little_work_as_in_a_small_one(make_groups: Any) -> None:
    groups = make_groups(initial_rebalance_delay_ms=3000)
    groups.enter(protocols={"range": b"a", "sticky": b"b"})
    small = calls_of(lambda: groups.enter(protocols={"range": b"a", "sticky": b"b"}))
    for _ in range(400):
        groups.enter(protocols={"range": b"a", "sticky": b"b"})
    large = calls_of(lambda: groups.enter(protocols={"range": b"a", "sticky": b"b"}))
    assert large < small + 20, "a group of thousands would keep its coordinator from everything else"


# -- rebalancing ----------------------------------------------------------------------------------


def test_a_second_member_makes_everybody_join_again(groups: Any) -> None:
    first, generation = groups.settle()
    second, waiting = groups.enter()
    assert groups.describe().state == "PreparingRebalance"
    assert groups.heartbeat(first, generation) is ErrorCode.REBALANCE_IN_PROGRESS
    again = groups.join(first)
    assert again.reply.generation == waiting.reply.generation == 2
    assert groups.describe().state == "CompletingRebalance"
    follower = groups.sync(second, 2)
    assert follower.open
    leader = groups.sync(first, 2, assignments={first: b"a", second: b"b"})
    assert (leader.reply.assignment, follower.reply.assignment) == (b"a", b"b")
    assert groups.describe().state == "Stable"
    assert [member.assignment for member in groups.describe().members] == [b"a", b"b"]


def test_whoever_does_not_join_again_in_time_is_out(groups: Any) -> None:
    first, generation = groups.settle(rebalance_timeout_ms=8000, session_timeout_ms=10_000)
    second, waiting = groups.enter(rebalance_timeout_ms=8000)
    for _ in range(15):
        groups.pass_time(0.5)
        groups.heartbeat(first, generation)
    assert waiting.open
    groups.pass_time(1)
    assert waiting.reply.generation == 2
    assert waiting.reply.leader == second
    assert groups.heartbeat(first, generation) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_member_that_falls_silent_is_lost_after_its_session(groups: Any) -> None:
    first, _ = groups.settle(session_timeout_ms=10_000)
    second, waiting = groups.enter()
    groups.join(first)
    groups.sync(first, 2, assignments={first: b"", second: b""})
    groups.sync(second, 2)
    for _ in range(19):
        groups.pass_time(0.5)
        assert groups.heartbeat(first, 2) is ErrorCode.NONE
    groups.pass_time(0.5)
    assert groups.heartbeat(first, 2) is ErrorCode.REBALANCE_IN_PROGRESS
    assert groups.join(first).reply.members == groups.join(first).reply.members
    assert waiting.reply.generation == 2


def test_the_last_one_to_leave_writes_an_empty_group(groups: Any) -> None:
    member_id, _ = groups.settle()
    assert groups.leave((member_id, None)).members[0][1] is ErrorCode.NONE
    assert groups.describe().state == "Empty"
    groups.reload()
    described = groups.describe()
    assert (described.state, described.members) == ("Empty", ())


def test_one_who_leaves_makes_the_others_join_again_at_once(groups: Any) -> None:
    first, _ = groups.settle()
    second, _ = groups.enter()
    groups.join(first)
    groups.sync(first, 2, assignments={})
    groups.leave((second, None))
    assert groups.heartbeat(first, 2) is ErrorCode.REBALANCE_IN_PROGRESS
    assert groups.join(first).reply.generation == 3


def test_one_who_never_asks_for_its_assignment_is_out(groups: Any) -> None:
    first, _ = groups.settle(rebalance_timeout_ms=6000)
    second, _ = groups.enter(rebalance_timeout_ms=6000)
    groups.join(first, rebalance_timeout_ms=6000)
    groups.sync(first, 2, assignments={})
    for _ in range(13):
        groups.pass_time(0.5)
        groups.heartbeat(first, 2)
        groups.heartbeat(second, 2)
    assert groups.heartbeat(second, 2) is ErrorCode.UNKNOWN_MEMBER_ID
    assert groups.heartbeat(first, 2) is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_session_counts_from_the_end_of_the_join(groups: Any) -> None:
    member_id, _ = groups.enter(session_timeout_ms=10_000)
    groups.pass_time(9)
    assert groups.heartbeat(member_id, 1) is ErrorCode.NONE
    groups.pass_time(10.5)
    assert groups.heartbeat(member_id, 1) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_new_member_whose_join_takes_for_ever_is_given_up(make_groups: Any) -> None:
    groups = make_groups(new_member_join_timeout_ms=30_000)
    first, _ = groups.settle(session_timeout_ms=60_000, rebalance_timeout_ms=600_000)
    _, waiting = groups.enter(session_timeout_ms=6000)
    for _ in range(29):
        groups.pass_time(1)
        groups.heartbeat(first, 1)
    assert waiting.open, "its session does not count yet"
    groups.pass_time(2)
    assert waiting.reply.error is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_member_that_waits_for_others_is_not_lost(groups: Any) -> None:
    first, _ = groups.settle(session_timeout_ms=600_000)
    second, _ = groups.enter(session_timeout_ms=6000)
    groups.join(first, session_timeout_ms=600_000)
    groups.sync(first, 2, assignments={})
    groups.sync(second, 2)
    groups.enter()
    waiting = groups.join(second, session_timeout_ms=6000)
    groups.pass_time(20)
    assert waiting.open
    assert groups.join(first).reply.generation == waiting.reply.generation == 3


def test_a_join_that_is_sent_again_takes_the_place_of_the_first(groups: Any) -> None:
    first, _ = groups.settle()
    second, waiting = groups.enter()
    again = groups.join(second)
    assert waiting.reply.error is ErrorCode.REBALANCE_IN_PROGRESS
    groups.join(first)
    assert again.reply.generation == 2


def test_a_change_of_subscription_while_completing_begins_anew(groups: Any) -> None:
    first, _ = groups.settle()
    second, _ = groups.enter()
    groups.join(first)
    waiting = groups.sync(second, 2)
    changed = groups.join(first, protocols={"range": b"more"})
    assert waiting.reply.error is ErrorCode.REBALANCE_IN_PROGRESS
    groups.join(second)
    assert changed.reply.generation == 3


def test_an_unchanged_join_is_answered_from_the_present_generation(groups: Any) -> None:
    first, _ = groups.settle()
    second, _ = groups.enter()
    groups.join(first)
    assert groups.join(second).reply.generation == 2
    leader = groups.join(first).reply
    assert len(leader.members) == 2
    groups.sync(first, 2, assignments={})
    assert groups.join(second).reply.generation == 2
    assert groups.join(first).open, "a leader that joins again wants a rebalance"


# -- generations, unknown members -----------------------------------------------------------------


def test_a_stale_generation_is_refused(groups: Any) -> None:
    member_id, generation = groups.settle()
    assert groups.heartbeat(member_id, generation - 1) is ErrorCode.ILLEGAL_GENERATION
    assert groups.sync(member_id, generation + 1).reply is ErrorCode.ILLEGAL_GENERATION
    assert groups.commit(member_id=member_id, generation=generation - 1) is ErrorCode.ILLEGAL_GENERATION
    assert groups.committed() == -1
    assert groups.describe().state == "Stable"


def test_an_unknown_member_is_refused(groups: Any) -> None:
    _, generation = groups.settle()
    assert groups.heartbeat("nobody", generation) is ErrorCode.UNKNOWN_MEMBER_ID
    assert groups.sync("nobody", generation).reply is ErrorCode.UNKNOWN_MEMBER_ID
    assert groups.leave(("nobody", None)).members[0][1] is ErrorCode.UNKNOWN_MEMBER_ID
    assert groups.commit(member_id="nobody", generation=generation) is ErrorCode.UNKNOWN_MEMBER_ID
    assert groups.commit() is ErrorCode.UNKNOWN_MEMBER_ID, "a group with members takes no stranger's offsets"
    assert groups.leave(("nobody", None), group_id="other") is ErrorCode.UNKNOWN_MEMBER_ID
    assert groups.sync("nobody", 1, group_id="").reply is ErrorCode.INVALID_GROUP_ID


def test_a_sync_has_to_agree_on_the_protocol(groups: Any) -> None:
    member_id, generation = groups.settle()
    for fields in ({"protocol": "sticky"}, {"protocol_type": "connect"}):
        reply = groups.sync(member_id, generation, **fields).reply
        assert reply is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    reply = groups.sync(member_id, generation, protocol="range", protocol_type="consumer").reply
    assert (reply.error, reply.assignment) == (ErrorCode.NONE, b"all")


def test_a_sync_during_a_rebalance_is_told_so(groups: Any) -> None:
    member_id, generation = groups.settle()
    groups.enter()
    assert groups.sync(member_id, generation).reply is ErrorCode.REBALANCE_IN_PROGRESS


def test_an_assignment_that_fits_into_no_record_is_refused(make_groups: Any) -> None:
    groups = make_groups(room=1000)
    member_id, joining = groups.enter()
    waiting = groups.sync(member_id, joining.reply.generation, assignments={member_id: b"x" * 1000})
    assert waiting.reply.error is ErrorCode.UNKNOWN_SERVER_ERROR
    assert groups.describe().state == "PreparingRebalance"
    assert groups.join(member_id).reply.generation == 2


# -- static members -------------------------------------------------------------------------------


def settle_static(groups: Any) -> str:
    member_id = groups.join(instance_id="one").reply.member_id
    groups.sync(member_id, 1, instance_id="one", assignments={member_id: b"mine"})
    return str(member_id)


def test_a_static_member_comes_back_without_a_rebalance(groups: Any) -> None:
    old = settle_static(groups)
    back = groups.join(instance_id="one").reply
    assert back.error is ErrorCode.NONE
    assert (back.generation, back.skip_assignment, back.leader) == (1, True, back.member_id)
    assert back.member_id != old
    assert groups.describe().state == "Stable"
    reply = groups.sync(back.member_id, 1, instance_id="one").reply
    assert reply.assignment == b"mine"
    groups.reload()
    assert [member.member_id for member in groups.describe().members] == [back.member_id]


def test_an_old_static_leader_is_not_told_that_it_leads(groups: Any) -> None:
    old = settle_static(groups)
    back = groups.join(instance_id="one", skips_assignment=False).reply
    assert (back.leader, back.members, back.skip_assignment) == (old, (), False)


def test_the_one_whose_place_was_taken_is_fenced(groups: Any) -> None:
    old = settle_static(groups)
    groups.join(instance_id="one")
    assert groups.heartbeat(old, 1, "one") is ErrorCode.FENCED_INSTANCE_ID
    assert groups.join(old, instance_id="one").reply is ErrorCode.FENCED_INSTANCE_ID
    assert groups.sync(old, 1, instance_id="one").reply is ErrorCode.FENCED_INSTANCE_ID
    assert groups.commit(member_id=old, generation=1, instance_id="one") is ErrorCode.FENCED_INSTANCE_ID
    assert groups.leave((old, "one")).members[0][1] is ErrorCode.FENCED_INSTANCE_ID
    assert groups.heartbeat("x", 1, "two") is ErrorCode.UNKNOWN_MEMBER_ID


def test_one_who_waits_is_fenced_when_its_place_is_taken(groups: Any) -> None:
    groups.settle()
    waiting = groups.join(instance_id="one")
    groups.join(instance_id="one")
    assert waiting.reply.error is ErrorCode.FENCED_INSTANCE_ID


def test_a_static_member_that_changes_its_mind_starts_a_rebalance(groups: Any) -> None:
    first = groups.join(instance_id="one", protocols={"a": b"", "b": b""}).reply.member_id
    groups.sync(first, 1, instance_id="one", assignments={})
    back = groups.join(instance_id="one", protocols={"b": b"", "a": b""})
    assert back.reply.generation == 2


def test_an_administrator_takes_a_static_member_out_by_its_instance(groups: Any) -> None:
    settle_static(groups)
    reply = groups.leave(("", "two"), ("", "one"))
    assert [code for _, code in reply.members] == [ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.NONE]
    assert groups.describe().state == "Empty"


def test_a_group_of_static_members_that_are_away_costs_no_time(groups: Any) -> None:
    fields = {"rebalance_timeout_ms": 0, "session_timeout_ms": 30_000}
    static = groups.join(instance_id="i", **fields).reply.member_id
    groups.sync(static, 1, instance_id="i", assignments={static: b"all"})
    other, _ = groups.enter(**fields)
    groups.leave((other, None))
    now, now_ms = groups.clock.now, groups.clock.now_ms
    assert len(list(itertools.islice(groups.shard.tick(now, now_ms), 10))) < 10, "there is an end"
    groups.pass_time(29)
    assert groups.describe().state == "PreparingRebalance"
    groups.pass_time(2)
    assert groups.describe().state == "Empty"


def test_a_static_member_that_is_away_stays_until_its_session_ends(groups: Any) -> None:
    static = settle_static(groups)
    second, waiting = groups.enter(rebalance_timeout_ms=6000, session_timeout_ms=30_000)
    groups.pass_time(10.5)
    assert waiting.reply.generation == 2
    assert groups.heartbeat(static, 1, "one") is ErrorCode.UNKNOWN_MEMBER_ID
    assert waiting.reply.leader == second


# -- taking over ----------------------------------------------------------------------------------


def test_a_stable_group_goes_on_under_another_coordinator(groups: Any) -> None:
    member_id, generation = groups.settle(protocols={"range": subscription("t")})
    before = groups.describe()
    groups.reload()
    assert groups.describe() == before
    assert groups.heartbeat(member_id, generation) is ErrorCode.NONE
    assert groups.commit(member_id=member_id, generation=generation) is ErrorCode.NONE
    assert groups.sync(member_id, generation).reply.assignment == b"all"


def test_after_a_take_over_silent_members_are_lost(groups: Any) -> None:
    groups.settle(session_timeout_ms=10_000)
    groups.reload()
    groups.pass_time(10.5)
    assert groups.describe().state == "Empty"


# -- administration -------------------------------------------------------------------------------


def test_groups_are_listed_by_state_and_kind(groups: Any) -> None:
    groups.settle()
    groups.commit(group_id="simple")

    def listed(states: set[str], kinds: set[str]) -> list[str]:
        return [each.group_id for each in groups.shard.listed(states, kinds, 0, 0)]

    assert listed(set(), set()) == ["g", "simple"]
    assert listed({"stable"}, set()) == ["g"]
    assert listed({"empty"}, {"classic"}) == ["simple"]
    assert listed(set(), {"consumer"}) == []


def test_only_a_group_without_members_can_be_deleted(groups: Any) -> None:
    member_id, generation = groups.settle()
    groups.commit(member_id=member_id, generation=generation, offset=7)
    assert groups.do(groups.shard.delete, "g").reply is ErrorCode.NON_EMPTY_GROUP
    groups.leave((member_id, None))
    assert groups.committed() == 7
    assert groups.do(groups.shard.delete, "g").reply is True
    assert groups.committed() == -1
    assert groups.describe().error is ErrorCode.GROUP_ID_NOT_FOUND
    assert groups.do(groups.shard.delete, "g").reply is ErrorCode.GROUP_ID_NOT_FOUND
    groups.reload()
    assert groups.shard.classic.groups == {}


def test_a_group_with_very_many_offsets_is_deleted_in_parts(groups: Any) -> None:
    for partition in range(300):
        groups.commit(topic="t" * 249, partition=partition)
    replies = [groups.do(groups.shard.delete, "g").reply for _ in range(2)]
    assert replies == [False, True]
    assert list(groups.shard.offsets.of("g")) == []
