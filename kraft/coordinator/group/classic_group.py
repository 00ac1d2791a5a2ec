"""A classic group: its members, its state, and what can be said of both (Kafka's `ClassicGroup`)."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.decision import Ticket
from kraft.coordinator.group.commands import NOBODY, JoinedMember, JoinGroup, MemberIdentity, Protocol
from kraft.coordinator.group.formats import GroupValue, MemberValue
from kraft.coordinator.group.subscriptions import CONSUMER_PROTOCOL_TYPE, subscribed_topics


class Empty(msgspec.Struct, frozen=True):
    """No members; maybe offsets."""

    name = "Empty"


class PreparingRebalance(msgspec.Struct, frozen=True):
    """Members are asked to join again.

    `initial_left` is None but for a group that was empty: it waits for more members before it begins, as
    long as new ones come, for so many more seconds. `newcomers`: one came since the wait began.
    """

    initial_left: float | None = None
    newcomers: bool = False

    name = "PreparingRebalance"


class CompletingRebalance(msgspec.Struct, frozen=True):
    """Everybody has joined; the leader is about to bring the assignment."""

    name = "CompletingRebalance"


class Stable(msgspec.Struct, frozen=True):
    """Everybody may have its assignment."""

    name = "Stable"


class Dead(msgspec.Struct, frozen=True):
    """The group was removed; nobody finds it any more."""

    name = "Dead"


State = Empty | PreparingRebalance | CompletingRebalance | Stable | Dead

EMPTY: Final = Empty()
COMPLETING: Final = CompletingRebalance()
STABLE: Final = Stable()
DEAD: Final = Dead()


class Member(msgspec.Struct):
    """A member. `is_new` until its first rebalance is over: until then it does not know its id, so that it
    cannot send heartbeats."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: tuple[Protocol, ...]
    assignment: bytes = b""
    is_new: bool = False

    def metadata(self, protocol: str | None) -> bytes:
        """What it says to the leader under `protocol`; empty if it does not offer that."""
        return next((each.metadata for each in self.protocols if each.name == protocol), b"")

    def matches(self, protocols: tuple[Protocol, ...]) -> bool:
        """Whether it offers exactly these."""
        return self.protocols == protocols

    def size(self) -> int:
        """Bytes that it takes, roughly."""
        metadata = sum(len(each.name) + len(each.metadata) for each in self.protocols)
        return len(self.member_id) + len(self.client_id) + len(self.assignment) + metadata


class ClassicGroup(msgspec.Struct):
    """The members in the order of their joining. `pending` were given an id and have not come back with it;
    `joining` and `syncing` wait for a reply; `unsynced` have not asked for their assignment yet."""

    group_id: str
    since_ms: int = -1
    state: State = EMPTY
    generation: int = 0
    protocol_type: str | None = None
    protocol: str | None = None
    leader: str | None = None
    members: dict[str, Member] = msgspec.field(default_factory=dict)
    static: dict[str, str] = msgspec.field(default_factory=dict)
    pending: set[str] = msgspec.field(default_factory=set)
    joining: dict[str, Ticket] = msgspec.field(default_factory=dict)
    syncing: dict[str, Ticket] = msgspec.field(default_factory=dict)
    unsynced: set[str] = msgspec.field(default_factory=set)
    offered: Counter[str] = msgspec.field(default_factory=Counter)
    """How many members offer each protocol."""
    size: int = 0
    """Bytes that the members take, roughly. Both are kept up to date, since everybody who joins asks."""
    topics: frozenset[str] | None = None
    """What the members subscribe to; None if that is not known."""
    written: bool = False
    """Whether the log says anything of this group, if only an offset."""

    @classmethod
    def from_value(cls, group_id: str, value: GroupValue) -> ClassicGroup:
        """The group that was written; stable if it has members."""
        group = cls(group_id, since_ms=value.since_ms, generation=value.generation, written=True)
        group.protocol_type = value.protocol_type or None
        group.protocol = value.protocol
        for each in value.members:
            protocols = (Protocol(value.protocol or "", each.subscription),)
            group.add(
                Member(
                    each.member_id,
                    each.instance_id,
                    each.client_id,
                    each.client_host,
                    each.session_timeout_ms,
                    each.rebalance_timeout_ms,
                    protocols,
                    each.assignment,
                )
            )
        group.leader = value.leader if value.leader in group.members else None
        if group.members and group.leader is None:
            group.leader = next(iter(group.members))
        group.state = STABLE if group.members else EMPTY
        group.topics = group.subscribed()
        return group

    def value(self) -> GroupValue:
        """How it is written."""
        members = tuple(
            MemberValue(
                member.member_id,
                member.instance_id,
                member.client_id,
                member.client_host,
                member.rebalance_timeout_ms,
                member.session_timeout_ms,
                member.metadata(self.protocol),
                member.assignment,
            )
            for member in self.members.values()
        )
        protocol_type = self.protocol_type or ""
        return GroupValue(protocol_type, self.generation, self.protocol, self.leader, self.since_ms, members)

    # -- what is the case -------------------------------------------------------------------------

    @property
    def uses_consumer_protocol(self) -> bool:
        return self.protocol_type == CONSUMER_PROTOCOL_TYPE

    @property
    def can_rebalance(self) -> bool:
        return isinstance(self.state, Empty | CompletingRebalance | Stable)

    @property
    def forgettable(self) -> bool:
        """Nobody is or was there."""
        return self.state == EMPTY and not self.members and not self.pending and not self.written

    @property
    def all_joined(self) -> bool:
        return len(self.joining) == len(self.members) and not self.pending

    @property
    def rebalance_timeout(self) -> float:
        """Seconds that members have for joining again: the longest that one of them wants."""
        return max((each.rebalance_timeout_ms for each in self.members.values()), default=0) / 1000

    def is_full(self, member_id: str, max_size: int) -> bool:
        """Whether there is no place for the member. Whoever was given an id takes none before it comes back
        with it, which it may never do."""
        if isinstance(self.state, PreparingRebalance):
            return member_id not in self.joining and len(self.joining) >= max_size
        return member_id not in self.members and len(self.members) >= max_size

    def supports(self, protocol_type: str, protocols: tuple[Protocol, ...]) -> bool:
        """Whether one that offers these can be a member beside the others."""
        if not protocol_type or not protocols:
            return False
        if not self.members:
            return True
        if self.protocol_type != protocol_type:
            return False
        return any(self.offered[each.name] == len(self.members) for each in protocols)

    def elected_protocol(self) -> str:
        """What most members like best among what all of them offer."""
        candidates = {name for name, count in self.offered.items() if count == len(self.members)}
        votes: Counter[str] = Counter()
        for member in self.members.values():
            votes[next(each.name for each in member.protocols if each.name in candidates)] += 1
        return votes.most_common(1)[0][0]

    def subscribed(self) -> frozenset[str] | None:
        """The topics that the members subscribe to; None if they are no consumers or it cannot be read."""
        if not self.uses_consumer_protocol:
            return None
        topics: set[str] = set()
        if self.members and self.protocol is None:
            return None
        for member in self.members.values():
            found = subscribed_topics(member.metadata(self.protocol))
            if found is None:
                return None
            topics |= found
        return frozenset(topics)

    def uses_topic(self, topic: str) -> bool:
        """Whether offsets of `topic` are in use; where it is not known, they are if these are consumers."""
        return self.uses_consumer_protocol if self.topics is None else topic in self.topics

    def joined_members(self) -> tuple[JoinedMember, ...]:
        """What the leader is told."""
        return tuple(
            JoinedMember(each.member_id, each.instance_id, each.metadata(self.protocol))
            for each in self.members.values()
        )

    def check_member(self, member_id: str, instance_id: str | None) -> Member:
        """Raises KafkaError: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID (another has the instance id now)."""
        if instance_id is not None:
            known = self.static.get(instance_id)
            if known is None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
            if known != member_id:
                raise KafkaError(ErrorCode.FENCED_INSTANCE_ID)
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        return member

    def check_commit(self, generation: int, who: MemberIdentity, *, transactional: bool) -> Member | None:
        """Whether offsets may be committed in the name of `who`, and who that is, if a member. Raises
        KafkaError (`ClassicGroup.validateOffsetCommit`)."""
        empty = isinstance(self.state, Empty)
        if generation < 0 and empty:
            return None
        member = None
        if generation >= 0 or who != NOBODY:
            member = self.check_member(*who)
            if generation != self.generation:
                raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        elif not transactional and not empty:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        if not transactional and isinstance(self.state, CompletingRebalance):
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)
        return member

    # -- what changes -----------------------------------------------------------------------------

    def become(self, state: State, now_ms: int) -> None:
        """Change the state."""
        self.state = state
        self.since_ms = now_ms

    def add(self, member: Member) -> None:
        """A new member; the first one leads."""
        self.members[member.member_id] = member
        self._count(member, 1)
        self.pending.discard(member.member_id)
        if member.instance_id is not None:
            self.static[member.instance_id] = member.member_id
        if self.leader is None:
            self.leader = member.member_id

    def remove(self, member_id: str) -> Member:
        """A member leaves; another one leads, if it did. Whoever waits for its replies is the caller's."""
        member = self.members.pop(member_id)
        self._count(member, -1)
        self.joining.pop(member_id, None)
        self.syncing.pop(member_id, None)
        self.unsynced.discard(member_id)
        if member.instance_id is not None and self.static.get(member.instance_id) == member_id:
            del self.static[member.instance_id]
        if self.leader == member_id:
            self.leader = next(iter(self.members), None)
        return member

    def rename(self, member: Member, member_id: str) -> None:
        """A static member came back and has another id."""
        self.members = {(member_id if each is member else key): each for key, each in self.members.items()}
        if self.leader == member.member_id:
            self.leader = member_id
        if member.member_id in self.unsynced:
            self.unsynced.discard(member.member_id)
            self.unsynced.add(member_id)
        self.size += len(member_id) - len(member.member_id)
        member.member_id = member_id
        if member.instance_id is not None:
            self.static[member.instance_id] = member_id

    def change(self, member: Member, command: JoinGroup) -> None:
        """A member joins again, and may offer something else."""
        self._count(member, -1)
        member.protocols = command.protocols
        member.session_timeout_ms = command.session_timeout_ms
        member.rebalance_timeout_ms = command.rebalance_timeout_ms
        member.client_id, member.client_host = command.client_id, command.client_host
        self._count(member, 1)

    def assign(self, member: Member, assignment: bytes) -> None:
        """A member has this from now on."""
        self.size += len(assignment) - len(member.assignment)
        member.assignment = assignment

    def _count(self, member: Member, by: int) -> None:
        """Count a member in, or out."""
        self.size += by * member.size()
        # It may name a protocol twice, and offers it once.
        for name in {each.name for each in member.protocols}:
            left = self.offered[name] + by
            if left:
                self.offered[name] = left
            else:
                del self.offered[name]

    def elect_joined_leader(self) -> bool:
        """Let one lead who has joined; False if nobody has."""
        if self.leader in self.joining:
            return True
        self.leader = next((each for each in self.members if each in self.joining), self.leader)
        return self.leader in self.joining

    def begin_generation(self, now_ms: int) -> None:
        """Everybody who has joined makes up the next generation."""
        self.generation += 1
        self.unsynced = set(self.members)
        self.protocol = self.elected_protocol() if self.members else None
        self.become(COMPLETING if self.members else EMPTY, now_ms)
        self.topics = self.subscribed()
