"""One member of a group by the classic protocol: join, be assigned, send heartbeats, leave.

Where the member stands is one value of `Standing`; heartbeats and refused commits change it, and whoever
polls acts on it. Partitions that a member owns are given up before it joins again (the eager protocol).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.consumer_protocol import (
    MalformedProtocolError,
    Subscription,
    read_assignment,
    read_subscription,
    write_assignment,
    write_subscription,
)
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_traffic import HeartbeatRequest
from kraft.client.assignor import PROTOCOL, Subscriber, assign_ranges
from kraft.client.bell import Bell
from kraft.client.cluster import Backoff, Cluster
from kraft.client.connections import CONNECTION_FAILURES
from kraft.client.coordinators import MOVED, Coordinator, CoordinatorType, top_error
from kraft.client.offset_lookup import LATEST, TopicPartition

NO_GENERATION = -1
_CONSUMER = "consumer"
_SUBSCRIPTION_VERSION = 3
_JOIN_GRACE = 5.0
"""Seconds that a reply to JoinGroup may take beyond what the members have (as in Kafka's client)."""


class GroupOptions(msgspec.Struct, frozen=True):
    """A group's name and how its members behave; names and defaults are Kafka's. Times are seconds.

    `rebalance_timeout` is how long a member may take between two polls, and a rebalance may wait for it
    (`max.poll.interval.ms`). `metadata_max_age` is how often it is looked whether topics have more
    partitions, `commit_timeout` how long a commit is tried. `reset` (EARLIEST or LATEST) says where to begin
    without a committed offset.
    """

    group_id: str
    instance_id: str | None = None
    session_timeout: float = 45.0
    rebalance_timeout: float = 300.0
    heartbeat_interval: float = 3.0
    metadata_max_age: float = 300.0
    commit_timeout: float = 60.0
    reset: int = LATEST


class Outside(msgspec.Struct, frozen=True):
    """Not a member, or not any more: what was owned is others'. `member_id` is empty until one is given."""

    member_id: str = ""


class Joining(msgspec.Struct, frozen=True):
    """On its way into the group, under the id that it has so far."""

    member_id: str


class Member(msgspec.Struct, frozen=True):
    """Takes part in a generation. `led` is how many partitions the group's topics had, if it leads."""

    member_id: str
    generation: int
    led: Mapping[str, int] | None = None


class Summoned(msgspec.Struct, frozen=True):
    """Owns its partitions still, but the group rebalances: it has to join again."""

    member: Member


class Fenced(msgspec.Struct, frozen=True):
    """There is no way back: another client has its instance id, for one."""

    error: KafkaError


Standing = Outside | Joining | Member | Summoned | Fenced


class GroupMetadata(NamedTuple):
    """Who commits: what a transaction that commits a group's offsets has to name."""

    group_id: str
    generation: int = NO_GENERATION
    member_id: str = ""
    instance_id: str | None = None


class Membership:
    """`bell` rings whenever `standing` changes by itself."""

    def __init__(self, cluster: Cluster, options: GroupOptions, topics: Sequence[str], bell: Bell) -> None:
        self.standing: Standing = Outside()
        self.coordinator = Coordinator(cluster, CoordinatorType.GROUP, options.group_id)
        self.polled_at = 0.0
        """The loop's time of the last poll."""
        self._cluster = cluster
        self._options = options
        self._topics = tuple(sorted(set(topics)))
        self._bell = bell
        self._heartbeats: asyncio.Task[None] | None = None

    @property
    def metadata(self) -> GroupMetadata:
        """Who it is at the moment."""
        options = self._options
        match self.standing:
            case Member() as member:
                pass
            case Summoned(member):
                pass
            case Outside() | Joining() | Fenced():
                return GroupMetadata(options.group_id, instance_id=options.instance_id)
        return GroupMetadata(options.group_id, member.generation, member.member_id, options.instance_id)

    def refused(self, code: ErrorCode) -> None:
        """Take in what a refusal of a heartbeat or a commit says about the member."""
        standing = self.standing
        if not isinstance(standing, Member | Summoned):
            return
        member = standing.member if isinstance(standing, Summoned) else standing
        if code is ErrorCode.REBALANCE_IN_PROGRESS:
            self.standing = Summoned(member)
        elif code is ErrorCode.ILLEGAL_GENERATION:
            self.standing = Outside(member.member_id)
        elif code is ErrorCode.UNKNOWN_MEMBER_ID:
            self.standing = Outside()
        elif code is ErrorCode.FENCED_INSTANCE_ID:
            self.standing = Fenced(KafkaError(code, self._options.group_id))
        self._bell.ring()

    def look_at_topics(self) -> None:
        """As the leader, have the group rebalance if its topics have got other numbers of partitions."""
        standing = self.standing
        if isinstance(standing, Member) and standing.led is not None:
            topics = self._cluster.topics
            if any(_count(topics.get(topic)) != count for topic, count in standing.led.items()):
                self.standing = Summoned(standing)

    # -- joining ----------------------------------------------------------------------------------

    def set_out(self) -> None:
        """About to `join`: nothing is owned any more."""
        self.standing = Joining(self._member_id)

    @property
    def _member_id(self) -> str:
        match self.standing:
            case Outside(member_id) | Joining(member_id) | Member(member_id) | Summoned(Member(member_id)):
                return member_id
            case Fenced():
                return ""

    async def join(self) -> tuple[TopicPartition, ...]:
        """Join, however often it takes, and return what was assigned; raises KafkaError for what no retry
        heals. It has to have `set_out` before."""
        await self._stop_heartbeats()
        member_id = self._member_id
        backoff = Backoff()
        while True:
            try:
                reply = await self._join_group(member_id)
                member_id = reply.member_id
                self.standing = Joining(member_id)
                if reply.error_code == ErrorCode.MEMBER_ID_REQUIRED:
                    continue
                led = await self._partitions_of(reply) if reply.leader == member_id else None
                assigned = await self._sync_group(reply, led)
            except KafkaError as error:
                if error.code is ErrorCode.UNKNOWN_MEMBER_ID:
                    member_id = ""
                elif not _is_passing(error):
                    self.standing = Fenced(error)
                    raise
                await backoff.pause()
            else:
                self.standing = Member(member_id, reply.generation_id, led)
                self._heartbeats = asyncio.create_task(self._beat(member_id, reply.generation_id))
                return assigned

    async def _join_group(self, member_id: str) -> Any:
        options = self._options
        request_class = messages.request_class(ApiKey.JOIN_GROUP)
        subscription = write_subscription(Subscription(_SUBSCRIPTION_VERSION, self._topics))
        request = request_class(
            group_id=options.group_id,
            session_timeout_ms=int(options.session_timeout * 1000),
            rebalance_timeout_ms=int(options.rebalance_timeout * 1000),
            member_id=member_id,
            group_instance_id=options.instance_id,
            protocol_type=_CONSUMER,
            protocols=[request_class.JoinGroupRequestProtocol(name=PROTOCOL, metadata=subscription)],
            reason=None,
        )
        patience = options.rebalance_timeout + _JOIN_GRACE
        return await self.coordinator.ask(
            ApiKey.JOIN_GROUP, request, _join_error, patience, reply_timeout=patience
        )

    async def _sync_group(self, reply: Any, led: Mapping[str, int] | None) -> tuple[TopicPartition, ...]:
        request_class = messages.request_class(ApiKey.SYNC_GROUP)
        assignments = []
        if led is not None and not reply.skip_assignment:
            assignments = [
                request_class.SyncGroupRequestAssignment(member_id=member_id, assignment=assignment)
                for member_id, assignment in assign(reply.members, led).items()
            ]
        request = request_class(
            group_id=self._options.group_id,
            generation_id=reply.generation_id,
            member_id=reply.member_id,
            group_instance_id=self._options.instance_id,
            protocol_type=_CONSUMER,
            protocol_name=reply.protocol_name,
            assignments=assignments,
        )
        patience = self._options.rebalance_timeout + _JOIN_GRACE
        response = await self.coordinator.ask(
            ApiKey.SYNC_GROUP, request, top_error, patience, reply_timeout=patience
        )
        owned = read_assignment(bytes(response.assignment)).owned
        return tuple(TopicPartition(topic, index) for topic, indexes in owned for index in indexes)

    async def _partitions_of(self, reply: Any) -> dict[str, int]:
        """How many partitions each topic has that any member wants."""
        wanted = {topic for member in reply.members for topic in _subscriber(member).topics}
        backoff = Backoff()
        while True:
            try:
                await self._cluster.refresh(wanted | set(self._topics))
            except CONNECTION_FAILURES:
                await backoff.pause()
            else:
                return {topic: _count(self._cluster.topics.get(topic)) for topic in sorted(wanted)}

    # -- being a member ---------------------------------------------------------------------------

    async def _beat(self, member_id: str, generation: int) -> None:
        options = self._options
        request = HeartbeatRequest(options.group_id, generation, member_id, options.instance_id)
        loop = asyncio.get_running_loop()
        pause = options.heartbeat_interval
        while True:
            await asyncio.sleep(pause)
            if loop.time() - self.polled_at > options.rebalance_timeout:
                self.standing = Outside()
                self._bell.ring()
                if options.instance_id is None:  # a static member keeps its place for its session (KIP-345)
                    await self._leave(member_id)
                return
            pause = options.heartbeat_interval
            code = await self._heartbeat(request)
            if code in MOVED or code is ErrorCode.NETWORK_EXCEPTION:
                self.coordinator.forget()
                pause = min(pause, 0.1)
            elif code is not ErrorCode.NONE:
                self.refused(code)
                if isinstance(self.standing, Outside | Fenced):
                    return

    async def _heartbeat(self, request: HeartbeatRequest) -> ErrorCode:
        """The answer, NETWORK_EXCEPTION if there was none."""
        patience = max(self._options.heartbeat_interval, self._options.session_timeout / 3)
        try:
            async with asyncio.timeout(patience):
                connection = self.coordinator.connected() or await self.coordinator.connection()
            response = await self.coordinator.answer(connection, ApiKey.HEARTBEAT, request, patience)
        except CONNECTION_FAILURES:
            return ErrorCode.NETWORK_EXCEPTION
        except KafkaError as error:
            return error.code
        return ErrorCode(response.error_code)

    async def _stop_heartbeats(self) -> None:
        if self._heartbeats is not None:
            self._heartbeats.cancel()
            await asyncio.gather(self._heartbeats, return_exceptions=True)
            self._heartbeats = None

    async def close(self, *, leave: bool) -> None:
        """Stop; with `leave` the group need not wait for the session to time out."""
        await self._stop_heartbeats()
        if isinstance(self.standing, Joining):
            self.coordinator.forget()  # a join waits for the others, and what is said behind it for the join
        member_id, self.standing = self._member_id, Outside()
        if leave and member_id:
            await self._leave(member_id)
        self.coordinator.close()

    async def _leave(self, member_id: str) -> None:
        """Say goodbye, if anybody listens at once."""
        request_class = messages.request_class(ApiKey.LEAVE_GROUP)
        member = request_class.MemberIdentity(
            member_id=member_id, group_instance_id=self._options.instance_id, reason=None
        )
        request = request_class(group_id=self._options.group_id, members=[member])
        patience = self._cluster.options.metadata_timeout
        try:
            async with asyncio.timeout(patience):
                connection = self.coordinator.connected() or await self.coordinator.connection()
            await connection.call(ApiKey.LEAVE_GROUP, request, patience)
        except (KafkaError, *CONNECTION_FAILURES):
            return


def assign(members: Sequence[Any], partitions: Mapping[str, int]) -> dict[str, bytes]:
    """The assignment of each member that JoinGroup told the leader of, as SyncGroup brings it."""
    versions = {each.member_id: _subscription(each).version for each in members}
    assigned = assign_ranges([_subscriber(each) for each in members], partitions)
    return {
        member_id: write_assignment(
            tuple((topic, tuple(indexes)) for topic, indexes in topics.items()), versions[member_id]
        )
        for member_id, topics in assigned.items()
    }


def _subscriber(member: Any) -> Subscriber:
    return Subscriber(member.member_id, member.group_instance_id, _subscription(member).topics)


def _subscription(member: Any) -> Subscription:
    """A member that cannot be understood gets nothing; the others go on."""
    try:
        return read_subscription(bytes(member.metadata))
    except MalformedProtocolError:
        return Subscription(0, ())


def _join_error(response: Any) -> ErrorCode:
    code = top_error(response)
    return ErrorCode.NONE if code is ErrorCode.MEMBER_ID_REQUIRED else code


def _is_passing(error: KafkaError) -> bool:
    return error.code.retriable or error.code in (
        ErrorCode.REBALANCE_IN_PROGRESS,
        ErrorCode.ILLEGAL_GENERATION,
    )


def _count(topic: Any) -> int:
    return 0 if topic is None else len(topic.partitions)
