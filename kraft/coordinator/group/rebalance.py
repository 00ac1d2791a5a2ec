"""How a classic group gets from one generation to the next.

    Empty ──join──> PreparingRebalance ──all joined──> CompletingRebalance ──leader syncs──> Stable
      ^                 |    ^          or time over           |                               |
      └── nobody left ──┘    └── a member joins, leaves, is lost, or changes what it offers ───┘

Members are told by their heartbeats (REBALANCE_IN_PROGRESS) to join again. A cooperative protocol is the same
to the coordinator: members keep what they own while they do so. Source: Kafka's
`GroupMetadataManager.classicGroup…`.
"""

from __future__ import annotations

from typing import Final, assert_never

from msgspec.structs import replace

from kafkawire.errors import ErrorCode
from kraft.coordinator.group.classic_group import (
    STABLE,
    ClassicGroup,
    CompletingRebalance,
    Dead,
    Empty,
    Member,
    PreparingRebalance,
    Stable,
)
from kraft.coordinator.group.commands import JoinReply, SyncReply
from kraft.coordinator.group.config import GroupConfig
from kraft.coordinator.group.formats import encode_group, encode_group_key
from kraft.coordinator.group.outcome import Outcome
from kraft.coordinator.group.timers import Timers

SHORTEST_WAIT: Final = 1.0
"""Seconds before a group that nobody joins is looked at again, at least."""

TimerKey = tuple[str, str | None]
"""A member's session, or, without a member, the phase that its group is in."""


class Rebalancing:
    """Moves groups on. Its only state is `timers`."""

    def __init__(self, config: GroupConfig) -> None:
        self.config = config
        self.timers: Timers[TimerKey] = Timers()

    # -- sessions ---------------------------------------------------------------------------------

    def heard_of(self, group: ClassicGroup, member: Member, now: float) -> None:
        """The member lives: its session begins anew."""
        self.timers.put((group.group_id, member.member_id), now + member.session_timeout_ms / 1000)

    def expect_join(self, group: ClassicGroup, member: Member, now: float) -> None:
        """A new member waits for its first rebalance and cannot send heartbeats. If its client went away it
        will come back under another id; this is how the old one ends."""
        self.timers.put(
            (group.group_id, member.member_id), now + self.config.new_member_join_timeout_ms / 1000
        )

    def lose(self, group: ClassicGroup, member_id: str, out: Outcome, now: float, now_ms: int) -> None:
        """A member is gone, and the others share its work."""
        self._take_out(group, member_id, ErrorCode.UNKNOWN_MEMBER_ID, out)
        self.recompose(group, out, now, now_ms)

    def lose_pending(
        self, group: ClassicGroup, member_id: str, out: Outcome, now: float, now_ms: int
    ) -> None:
        """Somebody who was given an id does not come back with it."""
        group.pending.discard(member_id)
        self.timers.drop((group.group_id, member_id))
        if isinstance(group.state, PreparingRebalance):
            self.complete_if_all_joined(group, out, now, now_ms)

    def _take_out(self, group: ClassicGroup, member_id: str, error: ErrorCode, out: Outcome) -> None:
        self.turn_away(group, member_id, error, out)
        group.remove(member_id)
        self.timers.drop((group.group_id, member_id))

    def turn_away(self, group: ClassicGroup, member_id: str, error: ErrorCode, out: Outcome) -> None:
        """Answer what the member waits for with an error."""
        joining = group.joining.pop(member_id, None)
        if joining is not None:
            out.answer(joining, JoinReply(error, member_id))
        syncing = group.syncing.pop(member_id, None)
        if syncing is not None:
            out.answer(syncing, SyncReply(error))

    # -- phases -----------------------------------------------------------------------------------

    def recompose(self, group: ClassicGroup, out: Outcome, now: float, now_ms: int) -> None:
        """The members or what they offer changed: begin a rebalance, or go on with the one that runs."""
        match group.state:
            case Stable() | CompletingRebalance():
                self.prepare(group, out, now, now_ms)
            case PreparingRebalance():
                self.complete_if_all_joined(group, out, now, now_ms)
            case Empty():
                if group.members:
                    self.prepare(group, out, now, now_ms)
            case Dead():
                pass
            case _:
                assert_never(group.state)

    def prepare(self, group: ClassicGroup, out: Outcome, now: float, now_ms: int) -> None:
        """Ask everybody to join again."""
        if isinstance(group.state, CompletingRebalance):
            self.withhold_assignments(group, ErrorCode.REBALANCE_IN_PROGRESS, out, now)
        delay = self.config.initial_rebalance_delay_ms / 1000
        if isinstance(group.state, Empty) and delay > 0:
            left = max(group.rebalance_timeout - delay, 0.0)
            group.become(PreparingRebalance(left), now_ms)
            self.timers.put((group.group_id, None), now + delay)
            return
        group.become(PreparingRebalance(), now_ms)
        self.timers.drop((group.group_id, None))
        self.complete_if_all_joined(group, out, now, now_ms)

    def note_newcomer(self, group: ClassicGroup) -> None:
        """Somebody joined for the first time: a group that waits for more goes on waiting."""
        if isinstance(group.state, PreparingRebalance) and group.state.initial_left is not None:
            group.state = replace(group.state, newcomers=True)

    def complete_if_all_joined(self, group: ClassicGroup, out: Outcome, now: float, now_ms: int) -> None:
        """End the joining if nobody is missing; else give them their time."""
        assert isinstance(group.state, PreparingRebalance)
        if group.state.initial_left is not None:
            return
        if group.all_joined:
            self.complete_join(group, out, now, now_ms)
        elif (group.group_id, None) not in self.timers:
            self.timers.put((group.group_id, None), now + group.rebalance_timeout)

    def phase_over(self, group: ClassicGroup, out: Outcome, now: float, now_ms: int) -> None:
        """The time of the present phase is over."""
        match group.state:
            case PreparingRebalance(None):
                self.complete_join(group, out, now, now_ms)
            case PreparingRebalance(left, newcomers):
                assert left is not None
                if not newcomers or left <= 0:
                    self.complete_join(group, out, now, now_ms)
                    return
                delay = min(self.config.initial_rebalance_delay_ms / 1000, left)
                group.state = PreparingRebalance(left - delay)
                self.timers.put((group.group_id, None), now + delay)
            case CompletingRebalance() | Stable():
                if group.unsynced:
                    for member_id in tuple(group.unsynced):
                        self._take_out(group, member_id, ErrorCode.UNKNOWN_MEMBER_ID, out)
                    self.prepare(group, out, now, now_ms)
            case Empty() | Dead():
                pass
            case _:
                assert_never(group.state)

    def complete_join(self, group: ClassicGroup, out: Outcome, now: float, now_ms: int) -> None:
        """Whoever has joined makes up the next generation; static members may be late."""
        for member in tuple(group.members.values()):
            if member.member_id not in group.joining and member.instance_id is None:
                self._take_out(group, member.member_id, ErrorCode.UNKNOWN_MEMBER_ID, out)
        if group.members and not group.elect_joined_leader():
            # Static members only, and none of them came: wait until one comes or its session ends. Time has
            # to pass, whatever timeout they ask for, or this would be due again and again.
            group.become(PreparingRebalance(), now_ms)
            self.timers.put((group.group_id, None), now + max(group.rebalance_timeout, SHORTEST_WAIT))
            return
        group.begin_generation(now_ms)
        self.timers.drop((group.group_id, None))
        if not group.members:
            self.write(group, out)
            return
        told = group.joined_members()
        for member in group.members.values():
            ticket = group.joining.get(member.member_id)
            if ticket is not None:
                out.answer(
                    ticket, self.joined(group, member, told if member.member_id == group.leader else ())
                )
            member.is_new = False
            self.heard_of(group, member, now)
        group.joining.clear()
        self.timers.put((group.group_id, None), now + group.rebalance_timeout)

    @staticmethod
    def joined(
        group: ClassicGroup,
        member: Member,
        told: tuple[object, ...] = (),
        *,
        leader: str | None = None,
        skip: bool = False,
    ) -> JoinReply:
        """The reply to a member of the present generation."""
        return JoinReply(
            ErrorCode.NONE,
            member.member_id,
            group.generation,
            group.protocol_type,
            group.protocol,
            leader if leader is not None else group.leader or "",
            skip,
            told,  # type: ignore[arg-type]
        )

    # -- assignments ------------------------------------------------------------------------------

    def withhold_assignments(self, group: ClassicGroup, error: ErrorCode, out: Outcome, now: float) -> None:
        """There is no assignment after all."""
        for member in group.members.values():
            group.assign(member, b"")
            ticket = group.syncing.pop(member.member_id, None)
            if ticket is not None:
                out.answer(ticket, SyncReply(error))
                self.heard_of(group, member, now)

    def hand_out(self, group: ClassicGroup, out: Outcome, now: float, now_ms: int) -> None:
        """The leader brought the assignments: write them, and tell who waits."""
        group.become(STABLE, now_ms)
        self.write(group, out)
        for member_id, ticket in group.syncing.items():
            member = group.members[member_id]
            out.answer(ticket, self.synced(group, member))
            self.heard_of(group, member, now)
        group.syncing.clear()

    def note_synced(self, group: ClassicGroup, member: Member) -> None:
        """The member asked for its assignment, so it need not be waited for."""
        group.unsynced.discard(member.member_id)
        if not group.unsynced:
            self.timers.drop((group.group_id, None))

    @staticmethod
    def synced(group: ClassicGroup, member: Member) -> SyncReply:
        """The reply to a member of a stable group."""
        return SyncReply(ErrorCode.NONE, group.protocol_type, group.protocol, member.assignment)

    @staticmethod
    def write(group: ClassicGroup, out: Outcome) -> None:
        """Write the group as it is."""
        out.write(encode_group_key(group.group_id), encode_group(group.value()))
