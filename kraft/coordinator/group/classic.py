"""Classic groups: what becomes of JoinGroup, SyncGroup, Heartbeat and LeaveGroup.

Membership is soft: a member is written when the leader brings the assignment of its generation. A
coordinator that takes over finds the last generation whole, and goes on with it. Error codes, and their
order, are those of Kafka's `GroupMetadataManager` and `ClassicGroup`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import assert_never

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.decision import Decision, LogRecord, Ticket, size_of
from kraft.coordinator.group.classic_group import (
    DEAD,
    ClassicGroup,
    CompletingRebalance,
    Dead,
    Empty,
    Member,
    PreparingRebalance,
    Stable,
)
from kraft.coordinator.group.commands import (
    UNKNOWN_MEMBER,
    Heartbeat,
    JoinGroup,
    JoinReply,
    LeaveGroup,
    LeaveReply,
    MemberIdentity,
    SyncGroup,
    SyncReply,
)
from kraft.coordinator.group.config import GroupConfig
from kraft.coordinator.group.formats import GroupValue, encode_group, encode_group_key
from kraft.coordinator.group.outcome import Outcome
from kraft.coordinator.group.rebalance import Rebalancing

_CLIENT_ID_KEPT = 256
"""Characters of a client id that become part of a member id: the whole has to fit into a record."""

_MAX_PENDING = 10_000
"""Members of one group that were given an id and have not come back with it."""


class ClassicGroups:
    """The classic groups of one shard. `new_id` returns a text that nobody else ever gets, such as a UUID;
    `room` says how many bytes of records fit into one decision."""

    def __init__(self, config: GroupConfig, new_id: Callable[[], str], room: Callable[[], int]) -> None:
        self.config = config
        self.room = room
        self.groups: dict[str, ClassicGroup] = {}
        self._new_id = new_id
        self.rebalancing = Rebalancing(config)

    # -- what the log says ------------------------------------------------------------------------

    def restore(self, group_id: str, value: GroupValue) -> None:
        """While loading: the group is what the record says."""
        self.groups[group_id] = ClassicGroup.from_value(group_id, value)

    def written(self, group_id: str) -> None:
        """While running: a record of ours about the group was appended."""
        group = self.groups.get(group_id)
        if group is not None:
            group.written = True

    def ensure(self, group_id: str) -> ClassicGroup:
        """The group; an empty one is made for somebody who commits offsets without being a member."""
        group = self.groups.get(group_id)
        if group is None:
            group = self.groups[group_id] = ClassicGroup(group_id)
        group.written = True
        return group

    def forget(self, group_id: str) -> None:
        """The group was deleted."""
        group = self.groups.pop(group_id, None)
        if group is not None:
            for member_id in (None, *group.members, *group.pending):
                self.rebalancing.timers.drop((group_id, member_id))
            group.state = DEAD

    def loaded(self, now: float, now_ms: int) -> None:
        """Every member gets a session to come back in."""
        for group in self.groups.values():
            if group.since_ms < 0 and group.written:
                group.since_ms = now_ms
            for member in group.members.values():
                self.rebalancing.heard_of(group, member, now)

    # -- time -------------------------------------------------------------------------------------

    def tick(self, now: float, now_ms: int) -> Iterator[Decision[None]]:
        """Sessions and phases whose time is over."""
        for group_id, member_id in self.rebalancing.timers.due(now):
            group = self.groups.get(group_id)
            if group is None:
                continue
            out = Outcome()
            if member_id is None:
                self.rebalancing.phase_over(group, out, now, now_ms)
            elif member_id in group.pending:
                self.rebalancing.lose_pending(group, member_id, out, now, now_ms)
            elif member_id in group.members and not self._waits_here(group, group.members[member_id]):
                self.rebalancing.lose(group, member_id, out, now, now_ms)
            self._forget_if_nobody(group)
            yield out.decision(None)

    @staticmethod
    def _waits_here(group: ClassicGroup, member: Member) -> bool:
        # It waits for our reply, which renews its session; a new one may wait in vain (see `expect_join`).
        waits = member.member_id in group.joining or member.member_id in group.syncing
        return waits and not member.is_new

    def _forget_if_nobody(self, group: ClassicGroup) -> None:
        if group.forgettable:
            self.forget(group.group_id)

    # -- JoinGroup --------------------------------------------------------------------------------

    def join(self, command: JoinGroup, now: float, now_ms: int) -> Decision[JoinReply]:
        """Raises KafkaError with the code of the reply."""
        self.check_join(command)
        group = self.groups.get(command.group_id)
        if group is None:
            if command.member_id != UNKNOWN_MEMBER:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
            group = ClassicGroup(command.group_id, since_ms=now_ms)
        if isinstance(group.state, Dead):
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        self._check_room(group, command)
        if group.is_full(command.member_id, self.config.max_size):
            return self._turned_out(group, command.member_id, now, now_ms)
        if not group.supports(command.protocol_type, command.protocols):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        out = Outcome()
        if command.member_id == UNKNOWN_MEMBER:
            reply = self._join_new(group, command, out, now, now_ms)
        else:
            reply = self._join_known(group, command, out, now, now_ms)
        return out.decision(reply)

    def check_join(self, command: JoinGroup) -> None:
        config = self.config
        if not command.group_id:
            raise KafkaError(ErrorCode.INVALID_GROUP_ID)
        if not config.min_session_timeout_ms <= command.session_timeout_ms <= config.max_session_timeout_ms:
            raise KafkaError(ErrorCode.INVALID_SESSION_TIMEOUT)
        if not command.protocol_type or not command.protocols:
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if command.instance_id == "":
            raise KafkaError(ErrorCode.INVALID_REQUEST)

    def _check_room(self, group: ClassicGroup, command: JoinGroup) -> None:
        size = sum(len(each.name) + len(each.metadata) for each in command.protocols)
        if command.member_id in group.members:
            size -= group.members[command.member_id].size()
        if group.size + size > self.room() or len(group.pending) > _MAX_PENDING:
            raise KafkaError(ErrorCode.GROUP_MAX_SIZE_REACHED)

    def _turned_out(
        self, group: ClassicGroup, member_id: str, now: float, now_ms: int
    ) -> Decision[JoinReply]:
        """Others took its place, and do not wait for one that is told so."""
        if member_id not in group.members and member_id not in group.pending:
            raise KafkaError(ErrorCode.GROUP_MAX_SIZE_REACHED)
        out, known = Outcome(), member_id in group.members
        lose = self.rebalancing.lose if known else self.rebalancing.lose_pending
        lose(group, member_id, out, now, now_ms)
        return out.decision(JoinReply(ErrorCode.GROUP_MAX_SIZE_REACHED, member_id))

    def _fits(self, group: ClassicGroup) -> bool:
        """Whether the group can be written as it is."""
        record = LogRecord(encode_group_key(group.group_id), encode_group(group.value()))
        return size_of((record,)) <= self.room()

    def _join_new(
        self, group: ClassicGroup, command: JoinGroup, out: Outcome, now: float, now_ms: int
    ) -> JoinReply | Ticket:
        self.groups[group.group_id] = group
        instance_id = command.instance_id
        member_id = f"{(instance_id or command.client_id)[:_CLIENT_ID_KEPT]}-{self._new_id()}"
        if instance_id is None and command.requires_member_id:
            group.pending.add(member_id)
            self.rebalancing.timers.put((group.group_id, member_id), now + command.session_timeout_ms / 1000)
            return JoinReply(ErrorCode.MEMBER_ID_REQUIRED, member_id)
        if instance_id is not None and instance_id in group.static:
            return self._replace(group, command, member_id, out, now, now_ms)
        return self._add(group, command, member_id, out, now, now_ms)

    def _join_known(
        self, group: ClassicGroup, command: JoinGroup, out: Outcome, now: float, now_ms: int
    ) -> JoinReply | Ticket:
        if command.member_id in group.pending:
            if command.instance_id is not None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
            return self._add(group, command, command.member_id, out, now, now_ms)
        member = group.check_member(command.member_id, command.instance_id)
        unchanged = member.matches(command.protocols)
        leads = member.member_id == group.leader
        match group.state:
            case PreparingRebalance():
                return self._join_again(group, member, command, out, now, now_ms)
            case CompletingRebalance():
                if unchanged:
                    told = group.joined_members() if leads else ()
                    return self.rebalancing.joined(group, member, told)
                return self._join_again(group, member, command, out, now, now_ms)
            case Stable():
                if unchanged and not leads:
                    return self.rebalancing.joined(group, member)
                return self._join_again(group, member, command, out, now, now_ms)
            case Empty() | Dead():
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
            case _:
                assert_never(group.state)

    def _add(
        self, group: ClassicGroup, command: JoinGroup, member_id: str, out: Outcome, now: float, now_ms: int
    ) -> Ticket:
        if not group.members:
            group.protocol_type = command.protocol_type
        member = Member(
            member_id,
            command.instance_id,
            command.client_id,
            command.client_host,
            command.session_timeout_ms,
            command.rebalance_timeout_ms,
            command.protocols,
            is_new=True,
        )
        group.add(member)
        ticket = group.joining[member_id] = Ticket()
        self.rebalancing.timers.drop((group.group_id, member_id))
        self.rebalancing.expect_join(group, member, now)
        self.rebalancing.note_newcomer(group)
        self.rebalancing.recompose(group, out, now, now_ms)
        return ticket

    def _join_again(
        self, group: ClassicGroup, member: Member, command: JoinGroup, out: Outcome, now: float, now_ms: int
    ) -> Ticket:
        waiting = group.joining.pop(member.member_id, None)
        if waiting is not None:
            # Its client asked again, so nobody reads the first reply.
            out.answer(waiting, JoinReply(ErrorCode.REBALANCE_IN_PROGRESS, member.member_id))
        group.change(member, command)
        ticket = group.joining[member.member_id] = Ticket()
        self.rebalancing.recompose(group, out, now, now_ms)
        return ticket

    def _replace(
        self, group: ClassicGroup, command: JoinGroup, member_id: str, out: Outcome, now: float, now_ms: int
    ) -> JoinReply | Ticket:
        """A static member comes back without its id (KIP-345): the one that had its place is fenced."""
        assert command.instance_id is not None
        member = group.members[group.static[command.instance_id]]
        old_id, old_leader = member.member_id, group.leader
        self.rebalancing.turn_away(group, old_id, ErrorCode.FENCED_INSTANCE_ID, out)
        self.rebalancing.timers.drop((group.group_id, old_id))
        group.rename(member, member_id)
        group.change(member, command)
        self.rebalancing.heard_of(group, member, now)
        same = isinstance(group.state, Stable) and group.elected_protocol() == group.protocol
        if same and self._fits(group):
            self.rebalancing.write(group, out)
            leads = group.leader == member_id
            if command.skips_assignment:
                told = group.joined_members() if leads else ()
                return self.rebalancing.joined(group, member, told, skip=leads)
            # Whoever does not know how to skip must not find out that it leads, or it would assign anew.
            return self.rebalancing.joined(group, member, leader=old_leader)
        ticket = group.joining[member_id] = Ticket()
        self.rebalancing.recompose(group, out, now, now_ms)
        return ticket

    # -- SyncGroup, Heartbeat, LeaveGroup ---------------------------------------------------------

    def sync(self, command: SyncGroup, now: float, now_ms: int) -> Decision[SyncReply]:
        """Raises KafkaError with the code of the reply."""
        group, member = self._member(
            command.group_id, command.generation, command.member_id, command.instance_id
        )
        if command.protocol_type not in (None, group.protocol_type) or command.protocol not in (
            None,
            group.protocol,
        ):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        out = Outcome()
        match group.state:
            case Empty() | Dead():
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
            case PreparingRebalance():
                raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)
            case CompletingRebalance():
                ticket = self._await_assignment(group, member, out)
                if member.member_id == group.leader:
                    self._assign(group, command, out, now, now_ms)
                return out.decision(ticket)
            case Stable():
                self.rebalancing.note_synced(group, member)
                self.rebalancing.heard_of(group, member, now)
                return out.decision(self.rebalancing.synced(group, member))
            case _:
                assert_never(group.state)

    def _await_assignment(self, group: ClassicGroup, member: Member, out: Outcome) -> Ticket:
        waiting = group.syncing.pop(member.member_id, None)
        if waiting is not None:
            out.answer(waiting, SyncReply(ErrorCode.REBALANCE_IN_PROGRESS))
        ticket = group.syncing[member.member_id] = Ticket()
        self.rebalancing.note_synced(group, member)
        return ticket

    def _assign(self, group: ClassicGroup, command: SyncGroup, out: Outcome, now: float, now_ms: int) -> None:
        for each in group.members.values():
            group.assign(each, bytes(command.assignments.get(each.member_id, b"")))
        if not self._fits(group):
            self.rebalancing.withhold_assignments(group, ErrorCode.UNKNOWN_SERVER_ERROR, out, now)
            self.rebalancing.prepare(group, out, now, now_ms)
            return
        self.rebalancing.hand_out(group, out, now, now_ms)

    def heartbeat(self, command: Heartbeat, now: float) -> ErrorCode:
        """NONE, or REBALANCE_IN_PROGRESS: join again. Raises KafkaError with any other code."""
        group, member = self._member(
            command.group_id, command.generation, command.member_id, command.instance_id
        )
        match group.state:
            case Stable() | CompletingRebalance():
                self.rebalancing.heard_of(group, member, now)
                return ErrorCode.NONE
            case PreparingRebalance():
                self.rebalancing.heard_of(group, member, now)
                return ErrorCode.REBALANCE_IN_PROGRESS
            case Empty() | Dead():
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
            case _:
                assert_never(group.state)

    def _member(
        self, group_id: str, generation: int, member_id: str, instance_id: str | None
    ) -> tuple[ClassicGroup, Member]:
        if not group_id:
            raise KafkaError(ErrorCode.INVALID_GROUP_ID)
        group = self.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        member = group.check_member(member_id, instance_id)
        if generation != group.generation:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        return group, member

    def leave(self, command: LeaveGroup, now: float, now_ms: int) -> Decision[LeaveReply]:
        """Each member leaves on its own. Raises KafkaError with the code of the whole."""
        if not command.group_id:
            raise KafkaError(ErrorCode.INVALID_GROUP_ID)
        group = self.groups.get(command.group_id)
        if group is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        out = Outcome()
        results = tuple((each, self._leave(group, each, out, now, now_ms)) for each in command.members)
        self._forget_if_nobody(group)
        return out.decision(LeaveReply(ErrorCode.NONE, results))

    def _leave(
        self, group: ClassicGroup, who: MemberIdentity, out: Outcome, now: float, now_ms: int
    ) -> ErrorCode:
        member_id = who.member_id
        if member_id in group.pending:
            if who.instance_id is not None:
                return ErrorCode.UNKNOWN_MEMBER_ID
            self.rebalancing.lose_pending(group, member_id, out, now, now_ms)
            return ErrorCode.NONE
        if member_id == UNKNOWN_MEMBER and who.instance_id is not None:
            # An administrator takes out a static member, whatever its id is now.
            member_id = group.static.get(who.instance_id, UNKNOWN_MEMBER)
        try:
            group.check_member(member_id, who.instance_id)
        except KafkaError as error:
            return error.code
        self.rebalancing.lose(group, member_id, out, now, now_ms)
        return ErrorCode.NONE

    def committed(self, group: ClassicGroup, member: Member, now: float) -> None:
        """A commit keeps a session alive."""
        if isinstance(group.state, Stable | PreparingRebalance):
            self.rebalancing.heard_of(group, member, now)
