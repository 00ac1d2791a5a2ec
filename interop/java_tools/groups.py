"""Groups of console consumers, and what kafka-consumer-groups makes of them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from interop.java_tools.tools import Running, ToolError, Tools
from interop.shared.telling import Deadline, expect, refused
from kafkawire.errors import ErrorCode

PARTITIONS = 4
COUNT = 24
CLASSIC = ("session.timeout.ms=6000", "heartbeat.interval.ms=500", "auto.offset.reset=earliest")
COOPERATIVE = "partition.assignment.strategy=org.apache.kafka.clients.consumer.CooperativeStickyAssignor"

Assigned = dict[str, frozenset[int]]
"""Partitions by client id."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group and its topic."""

    tools: Tools
    name: str
    topic: str

    def member(self, who: str, *settings: str) -> Running:
        """Start one; `who` is its client id."""
        return self.tools.consumer(self.topic, "--group", self.name, settings=[f"client.id={who}", *settings])

    def assigned(self) -> Assigned:
        """Who has what, as kafka-consumer-groups shows it."""
        said = self.tools.run("consumer-groups", "--describe", "--group", self.name, "--members", "--verbose")
        found = re.findall(rf"/\S+\s+(\w+)\s+\d+\s.*?{re.escape(self.topic)}:([\d,]+)", said)
        return {who: frozenset(map(int, partitions.split(","))) for who, partitions in found}

    def until(self, *wanted: int) -> Assigned:
        """Wait until the members have so many partitions each, no two the same."""
        deadline = Deadline()
        while deadline.left(f"a share of {wanted}"):
            try:
                found = self.assigned()
            except ToolError as error:
                if error.code != ErrorCode.GROUP_ID_NOT_FOUND:
                    raise
                continue  # it is there when the first member has joined
            everything = frozenset().union(*found.values())
            if sorted(map(len, found.values())) == sorted(wanted) and len(everything) == sum(wanted):
                return found
        raise AssertionError("the deadline raises")

    def arrive(self, of: str, *members: Running) -> None:
        """Records that are written now arrive once, at whoever is there."""
        self.tools.produce(self.topic, [f"{of}-{number}\t{of}-{number}" for number in range(COUNT)])

        def arrived() -> list[str]:
            lines = (line.rpartition("\t")[2] for each in members for line in each.lines)
            return sorted(value for value in lines if value.startswith(f"{of}-"))

        self.tools.until("all records", members, lambda: len(arrived()) >= COUNT)
        expect("records", arrived(), sorted(f"{of}-{number}" for number in range(COUNT)))


def _group(tools: Tools, of: str) -> Group:
    return Group(tools, tools.name(of), tools.create_topic(f"{of}-topic", PARTITIONS))


def _two(tools: Tools, of: str, settings: Sequence[str]) -> Group:
    group = _group(tools, of)
    first, second = group.member("first", *settings), group.member("second", *settings)
    with tools.cleaned(first, second):
        group.until(2, 2)
        group.arrive("now", first, second)
        if "group.protocol=consumer" in settings:
            listed = tools.run("groups", "--list")
            expect(
                "type", re.findall(rf"^{re.escape(group.name)}\s+(\w+)", listed, re.MULTILINE), ["Consumer"]
            )
    return group


def group_two_members(tools: Tools) -> None:
    """Two console consumers."""
    _two(tools, "two", CLASSIC)


def next_gen_group(tools: Tools) -> None:
    """The same with KIP-848; kafka-groups tells that it is."""
    _two(tools, "next", ["group.protocol=consumer", "auto.offset.reset=earliest"])


def _goes(tools: Tools, of: str, leaves: bool) -> str:
    group = _group(tools, of)
    first, second = group.member("first", *CLASSIC), group.member("second", *CLASSIC)
    with tools.cleaned(first, second):
        group.until(2, 2)
        begun = time.monotonic()
        if leaves:
            second.interrupt()
        else:
            second.kill()
        group.until(4)
        took = time.monotonic() - begun
        expect("whether it waited for the session", took > 4, not leaves)
        group.arrive("then", first)
        return f"after {took:.1f} s"


def rebalance_on_leave(tools: Tools) -> str:
    """SIGTERM: the console consumer leaves."""
    return _goes(tools, "leave", leaves=True)


def rebalance_on_close_without_leave(tools: Tools) -> str:
    """SIGKILL."""
    return _goes(tools, "vanish", leaves=False)


def static_membership(tools: Tools) -> None:
    """One with an instance id goes and comes back to the same partitions."""
    group = _group(tools, "static")
    settings = ("session.timeout.ms=30000", *CLASSIC[1:])
    first = group.member("first", "group.instance.id=a", *settings)
    second = group.member("second", "group.instance.id=b", *settings)
    again = None
    with tools.cleaned(first, second):
        before = group.until(2, 2)
        second.interrupt()
        expect("partitions while it is away", group.assigned(), before)
        again = group.member("second", "group.instance.id=b", *settings)
        with tools.cleaned(again):
            group.arrive("again", first, again)
            expect("partitions", group.assigned(), before)


def cooperative_rebalance(tools: Tools) -> None:
    """The first keeps two of its four."""
    group = _group(tools, "cooperative")
    first = group.member("first", *CLASSIC, COOPERATIVE)
    with tools.cleaned(first):
        group.until(4)
        second = group.member("second", *CLASSIC, COOPERATIVE)
        with tools.cleaned(second):
            group.until(2, 2)
            group.arrive("shared", first, second)


def commit_and_resume(tools: Tools) -> str:
    """A consumer reads some, the next one the others; a reset lets a third begin again."""
    topic = tools.create_topic("resume-topic", 1)
    group = tools.name("resume")
    tools.produce(topic, [f"k\t{number}" for number in range(COUNT)])

    def read(count: int) -> list[int]:
        words = ["--group", group, "--max-messages", str(count), "--timeout-ms", "20000"]
        lines = tools.consumer(topic, *words, settings=CLASSIC).finish().splitlines()
        return [int(line.rpartition("\t")[2]) for line in lines if "\t" in line]

    expect("the first records", read(10), list(range(10)))
    expect("the other records", read(COUNT - 10), list(range(10, COUNT)))
    where = ["--group", group, "--topic", topic]
    tools.run("consumer-groups", "--reset-offsets", *where, "--to-offset", "3", "--execute")
    expect("after a reset", read(2), [3, 4])
    formatter = "org.apache.kafka.tools.consumer.OffsetsMessageFormatter"
    words = [
        "--topic",
        "__consumer_offsets",
        "--from-beginning",
        "--timeout-ms",
        "4000",
        "--formatter",
        formatter,
    ]
    said = tools.start("console-consumer", *words).finish()
    written = [line for line in said.splitlines() if f'"group":"{group}"' in line and '"offset":5' in line]
    expect("whether __consumer_offsets has the last commit", bool(written), True)
    return "and --reset-offsets, and __consumer_offsets as the tools read it"


def _described(tools: Tools) -> Group:
    return Group(tools, tools.name("described"), tools.name("two-topic"))


def _with_member(tools: Tools, what: str) -> str:
    """Run kafka-consumer-groups while the group has a member."""
    group = _described(tools)
    one = group.member("someone", *CLASSIC)
    with tools.cleaned(one):
        group.until(4)
        try:
            return tools.run("consumer-groups", what, "--group", group.name)
        finally:
            one.interrupt()


def list_groups(tools: Tools) -> None:
    """The groups of before."""
    said = tools.run("consumer-groups", "--list", "--state")
    found = re.findall(rf"^{re.escape(tools.name('resume'))}\s+(.*?)\s*$", said, re.MULTILINE)
    expect("the group's state", [each.split()[-1] for each in found], ["Empty"])


def describe_group(tools: Tools) -> None:
    """With one member: its partitions, offsets and lag."""
    said = _with_member(tools, "--describe")
    topic = tools.name("two-topic")
    rows = re.findall(rf"{re.escape(topic)}\s+(\d)\s+\S+\s+\d+\s+\S+\s+\S+\s+/127\.0\.0\.1\s+someone", said)
    expect("its partitions", sorted(rows), ["0", "1", "2", "3"])


def describe_group_unknown(tools: Tools) -> None:
    """Never made."""
    tools.run("consumer-groups", "--describe", "--group", tools.name("never-made"))


def delete_group_nonempty(tools: Tools) -> None:
    """While it has a member."""
    _with_member(tools, "--delete")
    raise refused("a group with a member")


def delete_group(tools: Tools) -> None:
    """It is not listed any more."""
    group = tools.name("resume")
    tools.run("consumer-groups", "--delete", "--group", group)
    expect("listed", group in tools.run("consumer-groups", "--list").split(), False)


def delete_group_unknown(tools: Tools) -> None:
    """Never made."""
    tools.run("consumer-groups", "--delete", "--group", tools.name("never-made"))
    raise refused("an unknown group")


STEPS = (
    group_two_members,
    rebalance_on_leave,
    rebalance_on_close_without_leave,
    static_membership,
    cooperative_rebalance,
    next_gen_group,
    commit_and_resume,
    list_groups,
    describe_group,
    describe_group_unknown,
    delete_group_nonempty,
    delete_group,
    delete_group_unknown,
)
