"""Random histories of one group: members come, stop, lie about generations, are lost; the coordinator moves.

What has to hold is said in the invariants; the clients are honest where a rule does not say otherwise.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kafkawire.errors import ErrorCode
from kraft.coordinator.group.classic_group import (
    ClassicGroup,
    CompletingRebalance,
    Empty,
    PreparingRebalance,
    Stable,
)

PROTOCOLS = st.sampled_from(
    [{"range": b"a"}, {"range": b"b", "sticky": b"c"}, {"sticky": b"d", "range": b"e"}]
)


class GroupModel(RuleBasedStateMachine):
    """`members` are the ids that clients know of themselves."""

    make_groups: Any
    members: Bundle[str] = Bundle("members")

    @initialize(delay=st.sampled_from([0, 3000]))
    def begin(self, delay: int) -> None:
        self.world = type(self).make_groups(initial_rebalance_delay_ms=delay)
        self.generation = 0
        self.expected: dict[int, int] = {}

    def group(self) -> ClassicGroup | None:
        found: ClassicGroup | None = self.world.shard.classic.groups.get("g")
        return found

    def supported_by_all(self) -> set[str] | None:
        """The assignors that every member has, None without members. After the coordinator has moved it
        knows of each member the one that was chosen, as that is what is written."""
        group = self.group()
        members = list(group.members.values()) if group else []
        sets = [{each.name for each in member.protocols} for member in members]
        return set.intersection(*sets) if sets else None

    @rule(target=members, protocols=PROTOCOLS)
    def appear(self, protocols: dict[str, bytes]) -> Any:
        supported = self.supported_by_all()
        reply = self.world.join(protocols=protocols).reply
        if supported is not None and supported.isdisjoint(protocols):
            assert reply is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
            return multiple()
        assert reply.error is ErrorCode.MEMBER_ID_REQUIRED
        return str(reply.member_id)

    @rule(target=members, instance=st.sampled_from(["one", "two"]), protocols=PROTOCOLS, skips=st.booleans())
    def appear_static(self, instance: str, protocols: dict[str, bytes], skips: bool) -> Any:
        supported = self.supported_by_all()
        waiting = self.world.join(instance_id=instance, protocols=protocols, skips_assignment=skips)
        if supported is not None and supported.isdisjoint(protocols):
            assert waiting.reply is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
            return multiple()
        group = self.group()
        assert group is not None
        return group.static[instance]

    @rule(member_id=members, protocols=PROTOCOLS)
    def join(self, member_id: str, protocols: dict[str, bytes]) -> None:
        group = self.group()
        member = group.members.get(member_id) if group else None
        instance_id = member.instance_id if member else None
        self.world.join(member_id, protocols=protocols, instance_id=instance_id)

    @rule(member_id=members, off=st.sampled_from([0, 0, 0, 1]))
    def sync(self, member_id: str, off: int) -> None:
        group = self.group()
        if group is None:
            return
        assignments = {each: each.encode() for each in group.members}
        waiting = self.world.sync(member_id, group.generation - off, assignments=assignments)
        if off and member_id in group.members:
            assert waiting.reply in (ErrorCode.ILLEGAL_GENERATION, ErrorCode.FENCED_INSTANCE_ID)
        if not waiting.open and getattr(waiting.reply, "error", None) is ErrorCode.NONE:
            assert waiting.reply.assignment == group.members[member_id].assignment

    @rule(member_id=members)
    def heartbeat(self, member_id: str) -> None:
        group = self.group()
        code = self.world.heartbeat(member_id, group.generation if group else 1)
        if group is None or member_id not in group.members:
            assert code is ErrorCode.UNKNOWN_MEMBER_ID
        elif isinstance(group.state, PreparingRebalance):
            assert code is ErrorCode.REBALANCE_IN_PROGRESS
        else:
            assert code is ErrorCode.NONE

    @rule(member_id=members)
    def leave(self, member_id: str) -> None:
        self.world.leave((member_id, None))
        group = self.group()
        assert group is None or member_id not in group.members

    @rule(member_id=members, partition=st.integers(0, 2), offset=st.integers(0, 99), off=st.integers(0, 1))
    def commit(self, member_id: str, partition: int, offset: int, off: int) -> None:
        group = self.group()
        generation = group.generation + off if group else 1
        code = self.world.commit(
            partition=partition, offset=offset, member_id=member_id, generation=generation
        )
        if code is ErrorCode.NONE:
            assert group is not None
            assert off == 0
            assert member_id in group.members
            self.expected[partition] = offset

    @rule(partition=st.integers(0, 2), offset=st.integers(0, 99))
    def commit_from_outside(self, partition: int, offset: int) -> None:
        group = self.group()
        code = self.world.commit(partition=partition, offset=offset)
        assert (code is ErrorCode.NONE) == (group is None or isinstance(group.state, Empty))
        if code is ErrorCode.NONE:
            self.expected[partition] = offset

    @rule(seconds=st.sampled_from([0.5, 3.0, 9.0, 20.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.world.pass_time(seconds, step=1.0)

    @rule()
    def move_coordinator(self) -> None:
        self.world.reload()
        self.generation = 0

    @precondition(lambda self: self.group() is not None)
    @rule()
    def delete(self) -> None:
        group = self.group()
        assert group is not None
        empty = isinstance(group.state, Empty) and not group.pending
        reply = self.world.do(self.world.shard.delete, "g").reply
        if empty:
            assert reply is True
            self.expected.clear()
            self.generation = 0
        else:
            assert reply is ErrorCode.NON_EMPTY_GROUP

    # -- what always holds ------------------------------------------------------------------------

    @invariant()
    def committed_offsets_are_found(self) -> None:
        for partition in range(3):
            assert self.world.committed(partition=partition) == self.expected.get(partition, -1)

    @invariant()
    def the_group_makes_sense(self) -> None:
        group = self.group()
        if group is None:
            self.generation = 0
            return
        members = set(group.members)
        assert set(group.joining) <= members
        assert set(group.syncing) <= members
        assert group.unsynced <= members
        assert not group.pending & members
        assert set(group.static.values()) <= members
        assert (group.leader in members) if members else (group.leader is None)
        assert group.size == sum(member.size() for member in group.members.values())
        assert group.offered == Counter(
            name for member in group.members.values() for name in {each.name for each in member.protocols}
        )
        assert group.generation >= self.generation, "generations never go back"
        self.generation = group.generation
        match group.state:
            case Empty():
                assert not members
            case PreparingRebalance():
                assert not group.syncing
            case CompletingRebalance():
                assert members
                assert not group.joining
                assert group.leader not in group.syncing
            case Stable():
                assert members
                assert not group.joining
                assert not group.syncing
        if isinstance(group.state, CompletingRebalance | Stable):
            offered = [{each.name for each in member.protocols} for member in group.members.values()]
            assert all(group.protocol in names for names in offered)

    @invariant()
    def every_ticket_is_somebodys(self) -> None:
        group = self.group()
        held = {*group.joining.values(), *group.syncing.values()} if group else set()
        assert set(self.world.tickets) == held

    @invariant()
    def nobody_waits_without_an_end(self) -> None:
        group = self.group()
        if group is not None and (group.members or group.pending):
            assert self.world.shard.classic.rebalancing.timers.earliest < float("inf")

    @invariant()
    def another_coordinator_would_know_the_same(self) -> None:
        other = self.world.replayed()
        assert dict(other.offsets.of("g")) == dict(self.world.shard.offsets.of("g"))
        group, copy = self.group(), other.classic.groups.get("g")
        if group is not None and isinstance(group.state, Stable):
            assert copy is not None
            assert copy.value().members == group.value().members
            assert (copy.generation, copy.protocol, copy.leader) == (
                group.generation,
                group.protocol,
                group.leader,
            )


def test_random_histories_of_a_group(make_groups: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GroupModel, "make_groups", staticmethod(make_groups), raising=False)
    run_state_machine_as_test(
        GroupModel,
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        ),
    )
