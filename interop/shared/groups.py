"""Consumer groups, of both protocols."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from interop.shared.client import Client, Member, Membership
from interop.shared.data import make_topic, send_numbers
from interop.shared.telling import Deadline, Unexpected, expect

PARTITIONS = 4
READY = "polling"
"""What a member prints that is a process of its own, when it has partitions."""


def poll_until(members: Sequence[Member], condition: Callable[[], object], waiting_for: str) -> None:
    """Poll them in turn until it is so. Raises Unexpected when that takes too long."""
    deadline = Deadline()
    while not condition() and deadline.left(waiting_for):
        for member in members:
            member.poll()


def shared_evenly(members: Sequence[Member]) -> bool:
    """True if every one has as many partitions as the others."""
    return all(len(member.partitions) == PARTITIONS // len(members) for member in members)


def has_all(member: Member) -> bool:
    """True if it has every partition."""
    return len(member.partitions) == PARTITIONS


@contextlib.contextmanager
def group_of(client: Client, *memberships: Membership) -> Iterator[list[Member]]:
    """Members that share four partitions evenly, each having joined when those before were settled.

    All that are in the list at the end are closed.
    """
    members: list[Member] = []
    try:
        for membership in memberships:
            members.append(client.join(membership))
            poll_until(members, partial(shared_evenly, members), "even shares")
        expect(
            "all partitions", set[int]().union(*(each.partitions for each in members)), set(range(PARTITIONS))
        )
        yield members
    finally:
        for member in members:
            member.close()


def membership(client: Client, of: str) -> Membership:
    """Of a group with a new topic of four partitions."""
    return Membership(client.at.name(of), make_topic(client, of, PARTITIONS))


def expect_once(client: Client, topic: str, members: Sequence[Member], numbers: range) -> None:
    """Send these numbers, and see each arrive once."""
    send_numbers(client, topic, numbers, PARTITIONS)

    def seen() -> list[int]:
        return sorted(value for each in members for value in each.values if value in numbers)

    poll_until(members, lambda: len(seen()) >= len(numbers), "records of the group")
    expect("records", seen(), list(numbers))


def _two_members(client: Client, how: Membership) -> None:
    with group_of(client, how, how) as members:
        expect_once(client, how.topic, members, range(40))
        for member in members:
            expect("records of a member", len(member.values), 20)


def group_two_members(client: Client) -> None:
    """The classic protocol."""
    _two_members(client, membership(client, "group"))


def next_gen_group(client: Client) -> None:
    """The protocol of KIP-848."""
    _two_members(client, replace(membership(client, "next-gen"), next_gen=True))


def rebalance_on_leave(client: Client) -> None:
    """The one that stays gets all."""
    how = membership(client, "leave")
    with group_of(client, how, how) as members:
        members.pop().close()
        (stays,) = members
        poll_until(members, partial(has_all, stays), "the partitions of the one that left")
        expect_once(client, how.topic, members, range(8))


def rebalance_on_close_without_leave(client: Client) -> None:
    """A process that is killed leaves its partitions to the other after the session timeout."""
    how = membership(client, "vanish")
    with group_of(client, how) as members, _other_process(client, how) as other:
        (stays,) = members
        poll_until(members, lambda: not has_all(stays), "a second member")
        poll_until(members, lambda: len(stays.partitions) == PARTITIONS // 2, "half of the partitions")
        _wait_until_ready(other)
        other.kill()
        poll_until(members, partial(has_all, stays), "the partitions of the dead one")
        expect_once(client, how.topic, members, range(8))


@contextlib.contextmanager
def _other_process(client: Client, how: Membership) -> Iterator[subprocess.Popen[str]]:
    """A member that goes without a word when it is killed; dead at the end, whatever happens."""
    command = [sys.executable, "-P", "-m", client.package, "--bootstrap", client.at.bootstrap]
    command += ["--prefix", client.at.prefix, "--member", how.group, how.topic]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _wait_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == READY:
            return
    raise Unexpected("the second member ended early")


def poll_until_killed(client: Client, group: str, topic: str) -> None:
    """What the process of `_other_process` does."""
    member = client.join(Membership(group, topic))
    poll_until([member], lambda: member.partitions, "partitions")
    print(READY, flush=True)
    while True:
        member.poll()


def static_membership(client: Client) -> None:
    """A static member comes back to what it had, and the other one is not disturbed."""
    how = membership(client, "static")
    with group_of(client, replace(how, instance="a"), replace(how, instance="b")) as members:
        first, second = members
        had, rebalances = second.partitions, first.rebalances
        second.close()
        members[1] = client.join(replace(how, instance="b"))
        poll_until(members, lambda: members[1].partitions, "its return")
        expect("partitions after its return", members[1].partitions, had)
        expect_once(client, how.topic, members, range(8))
        expect("rebalances of the other", first.rebalances, rebalances)


def cooperative_rebalance(client: Client) -> None:
    """The first member gives up half when a second one comes, and keeps the rest all along."""
    how = replace(membership(client, "cooperative"), cooperative=True)
    with group_of(client, how, how) as (first, second):
        expect("partitions that the first gave up", first.given_up, second.partitions)


def commit_and_resume(client: Client) -> None:
    """The next member begins where the last one's commit says."""
    how = Membership(client.at.name("resume"), make_topic(client, "resume"))
    send_numbers(client, how.topic, range(20))
    for start, commits in ((0, 12), (12, 20)):
        member = client.join(how)
        try:
            poll_until([member], partial(len, member.values), "the first record")
            expect("the first record", member.values[0], start)
            member.commit(commits)
            expect("committed", member.committed(), commits)
        finally:
            member.close()


STEPS = (
    group_two_members,
    rebalance_on_leave,
    rebalance_on_close_without_leave,
    static_membership,
    cooperative_rebalance,
    next_gen_group,
    commit_and_resume,
)
