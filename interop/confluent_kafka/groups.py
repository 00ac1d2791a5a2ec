"""Consumer groups, of both protocols."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from confluent_kafka import Consumer, TopicPartition

from interop.confluent_kafka.connections import Setting, checked, make_topic, send_numbers, settings
from interop.shared import vanishing
from interop.shared.telling import PATIENCE, Deadline, Step, Unexpected, Where, expect

PARTITIONS = 4
CLASSIC: dict[str, Setting] = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 500}
NEXT_GEN: dict[str, Setting] = {"group_protocol": "consumer"}


class Member:
    """A member of a group. What it reads and what is given to it and taken away is noted."""

    def __init__(self, at: Where, group: str, topic: str, **more: Setting) -> None:
        self.values: list[int] = []
        self.assigned: list[set[int]] = []
        self.revoked: list[set[int]] = []
        self._consumer = Consumer(settings(at, group_id=group, auto_offset_reset="earliest", **more))
        self._consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke)
        self._open = True

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.assigned.append({each.partition for each in partitions})

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.revoked.append({each.partition for each in partitions})

    @property
    def partitions(self) -> set[int]:
        """Which ones it has now."""
        return {each.partition for each in self._consumer.assignment()}

    def poll(self) -> None:
        """Let it do what it has to, and take a message if there is one."""
        message = self._consumer.poll(0.05)
        if message is not None:
            self.values.append(int(checked(message).value() or b""))

    def commit(self, topic: str, offset: int) -> None:
        """Commit for partition 0. Raises KafkaException."""
        self._consumer.commit(
            offsets=[TopicPartition(topic, 0, offset, metadata="so far")], asynchronous=False
        )

    def committed(self, topic: str) -> int:
        """The committed offset of partition 0."""
        (found,) = self._consumer.committed([TopicPartition(topic, 0)], timeout=PATIENCE)
        return int(found.offset)

    def close(self) -> None:
        """Leave. Twice is once."""
        if self._open:
            self._open = False
            self._consumer.close()


def poll_until(members: Iterable[Member], condition: Callable[[], object], waiting_for: str) -> None:
    """Poll them in turn until it is so. Raises Unexpected when that takes too long."""
    deadline = Deadline()
    while not condition() and deadline.left(waiting_for):
        for member in members:
            member.poll()


def shared_evenly(members: Sequence[Member]) -> bool:
    """True if every one has as many partitions as the others, and together they have all."""
    return all(len(member.partitions) == PARTITIONS // len(members) for member in members)


@contextlib.contextmanager
def group_of(at: Where, count: int, group: str, topic: str, **more: Setting) -> Iterator[list[Member]]:
    """So many members that share four partitions evenly; gone at the end."""
    members: list[Member] = []
    try:
        for _ in range(count):
            members.append(Member(at, group, topic, **more))
            poll_until(members, lambda: shared_evenly(members), "even shares")
        expect("all partitions", set().union(*(each.partitions for each in members)), set(range(PARTITIONS)))
        yield members
    finally:
        for member in members:
            member.close()


def expect_once(at: Where, topic: str, members: list[Member], numbers: range) -> None:
    """Send these numbers, and see each arrive once."""
    send_numbers(at, topic, numbers, PARTITIONS)

    def seen() -> list[int]:
        return sorted(value for each in members for value in each.values if value in numbers)

    poll_until(members, lambda: len(seen()) >= len(numbers), "records of the group")
    expect("records", seen(), list(numbers))


def _two_members(at: Where, of: str, **more: Setting) -> None:
    topic = make_topic(at, of, PARTITIONS)
    with group_of(at, 2, at.name(of), topic, **more) as members:
        expect_once(at, topic, members, range(40))
        for member in members:
            expect("records of a member", len([value for value in member.values if value < 40]), 20)


def group_two_members(at: Where) -> None:
    """The classic protocol."""
    _two_members(at, "group", **CLASSIC)


def next_gen_group(at: Where) -> None:
    """The protocol of KIP-848."""
    _two_members(at, "next-gen", **NEXT_GEN)


def rebalance_on_leave(at: Where) -> None:
    """The one that stays gets all."""
    topic = make_topic(at, "leave", PARTITIONS)
    with group_of(at, 2, at.name("leave"), topic, **CLASSIC) as (stays, leaves):
        leaves.close()
        poll_until(
            [stays], lambda: len(stays.partitions) == PARTITIONS, "the partitions of the one that left"
        )
        expect_once(at, topic, [stays], range(8))


def rebalance_on_close_without_leave(at: Where) -> None:
    """A process that is killed leaves its partitions to the other after the session timeout."""
    topic, group = make_topic(at, "vanish", PARTITIONS), at.name("vanish")
    with (
        group_of(at, 1, group, topic, **CLASSIC) as (stays,),
        vanishing.member("interop.confluent_kafka.member", at, group, topic) as other,
    ):
        poll_until([stays], lambda: len(stays.partitions) == PARTITIONS // 2, "a second member")
        vanishing.wait_until_ready(other)
        other.kill()
        poll_until([stays], lambda: len(stays.partitions) == PARTITIONS, "the partitions of the dead one")
        expect_once(at, topic, [stays], range(8))


def static_membership(at: Where) -> None:
    """A static member comes back to what it had, and the other one is not disturbed."""
    topic, group = make_topic(at, "static", PARTITIONS), at.name("static")
    first = Member(at, group, topic, group_instance_id="a", **CLASSIC)
    second = Member(at, group, topic, group_instance_id="b", **CLASSIC)
    members = [first, second]
    try:
        poll_until(members, lambda: [len(each.partitions) for each in members] == [2, 2], "two each")
        had, rebalances = second.partitions, len(first.assigned)
        second.close()
        members[1] = Member(at, group, topic, group_instance_id="b", **CLASSIC)
        poll_until(members, lambda: bool(members[1].partitions), "its return")
        expect("partitions after its return", members[1].partitions, had)
        expect("rebalances of the other", len(first.assigned), rebalances)
        expect_once(at, topic, members, range(8))
    finally:
        for member in members:
            member.close()


def cooperative_rebalance(at: Where) -> None:
    """The first member gives up half when a second one comes, and keeps the rest all along."""
    topic = make_topic(at, "cooperative", PARTITIONS)
    strategy: dict[str, Setting] = {"partition_assignment_strategy": "cooperative-sticky"}
    with group_of(at, 2, at.name("cooperative"), topic, **CLASSIC, **strategy) as (first, _):
        given_up = [partition for each in first.revoked for partition in each]
        expect("partitions that the first gave up", len(given_up), PARTITIONS // 2)
        if first.partitions & set(given_up):
            raise Unexpected("the first member was given back what it had given up")


def commit_and_resume(at: Where) -> None:
    """The next member begins where the last one's commit says."""
    topic, group = make_topic(at, "resume"), at.name("resume")
    send_numbers(at, topic, range(20))
    for start, commits in ((0, 12), (12, 20)):
        member = Member(at, group, topic, enable_auto_commit=False, **CLASSIC)
        try:
            poll_until([member], partial(len, member.values), "the first record")
            expect("the first record", member.values[0], start)
            member.commit(topic, commits)
            expect("committed", member.committed(topic), commits)
        finally:
            member.close()


STEPS: dict[str, Step] = {
    step.__name__: step
    for step in (
        group_two_members,
        rebalance_on_leave,
        rebalance_on_close_without_leave,
        static_membership,
        cooperative_rebalance,
        next_gen_group,
        commit_and_resume,
    )
}
