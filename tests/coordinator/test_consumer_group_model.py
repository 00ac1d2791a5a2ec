"""Random histories of one KIP-848 group: members come, stop, miss replies, are lost; topics grow; the
coordinator moves.

The clients do what KIP-848 asks of them, at a time of their own. What has to hold is said in the invariants.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from kafkawire.errors import ErrorCode
from kraft.coordinator.group.consumer.group import ConsumerGroup
from kraft.coordinator.group.consumer.members import LEAVING_FOR_NOW, NOTHING, Assignment, MemberState

SUBSCRIPTIONS = st.sampled_from(
    [
        {"topics": ("t",)},
        {"topics": ("t", "u")},
        {"topics": ("u",)},
        {"topics": ("missing",)},
        {"topics": (), "regex": "[tv].*"},
        {"topics": ("u",), "regex": "v+"},
    ]
)
FENCED = {ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_MEMBER_EPOCH, ErrorCode.GROUP_ID_NOT_FOUND}
OTHERS = {ErrorCode.FENCED_INSTANCE_ID, ErrorCode.UNRELEASED_INSTANCE_ID}


@dataclass(eq=False)
class Client:
    """A consumer: what it was given, and what it has of that."""

    member_id: str
    subscription: dict[str, Any]
    instance_id: str | None
    epoch: int = 0
    given: Assignment = NOTHING
    owned: Assignment = NOTHING
    history: list[int] = field(default_factory=list)

    def drop_all(self, epoch: int) -> None:
        self.epoch, self.given, self.owned = epoch, NOTHING, NOTHING
        self.history.clear()


class ConsumerGroupModel(RuleBasedStateMachine):
    """`world` has the coordinator; every client is in `clients` until it has left for good."""

    make_groups: Any
    clients: Bundle[Client] = Bundle("clients")

    @initialize(assignor=st.sampled_from(["uniform", "range"]))
    def begin(self, assignor: str) -> None:
        self.world = type(self).make_groups(consumer={"assignors": (assignor,)})
        self.partitions = {"t": 3, "u": 2}
        self.world.set_topics(**self.partitions)
        self.epoch = 0
        self.count = 0
        self.alive: list[Client] = []

    def group(self) -> ConsumerGroup | None:
        found: ConsumerGroup | None = self.world.shard.consumer.groups.get("g")
        return found

    def send(self, client: Client, *, full: bool = True, missed: bool = False) -> None:
        """One heartbeat, and what the client makes of the answer."""
        fields: dict[str, Any] = {"instance_id": client.instance_id}
        joins = client.epoch == 0
        if joins or full:
            fields.update(client.subscription, rebalance_timeout_ms=20_000)
        if joins:
            client.drop_all(0)
        if joins or full:
            fields["owned"] = []
        reply = self.beat(client, fields, client.owned if joins or full else None)
        if missed:
            return
        if isinstance(reply, ErrorCode):
            assert reply in FENCED | OTHERS, reply
            client.drop_all(0)
            return
        client.epoch = reply.epoch
        client.history.append(reply.epoch)
        if reply.assignment is not None:
            client.given = reply.assignment

    def beat(self, client: Client, fields: dict[str, Any], owned: Assignment | None) -> Any:
        if owned is not None:
            names = {self.world.shard.consumer.topics.name_of(each): each for each, _ in owned}
            fields["owned"] = [
                (name, number) for name, at in names.items() for each, number in owned if each == at
            ]
        return self.world.beat(client.member_id, client.epoch, **fields)

    def members(self) -> set[str]:
        group = self.group()
        return set(group.members) if group is not None else set()

    # -- what happens -----------------------------------------------------------------------------

    @rule(target=clients, subscription=SUBSCRIPTIONS, instance=st.sampled_from([None, None, "i", "j"]))
    def appear(self, subscription: dict[str, Any], instance: str | None) -> Client:
        self.count += 1
        client = Client(f"m{self.count}", subscription, instance)
        self.alive.append(client)
        self.send(client)
        client.owned = client.given
        return client

    @rule(
        client=clients,
        full=st.booleans(),
        missed=st.sampled_from([False, False, False, True]),
        does=st.sampled_from(["nothing", "gives up", "takes"]),
    )
    def heartbeat(self, client: Client, full: bool, missed: bool, does: str) -> None:
        if client not in self.alive:
            return
        self.send(client, full=full, missed=missed)
        if does != "nothing":
            client.owned &= client.given
        if does == "takes" and not missed:
            # Whoever has just said what it has, and missed the answer, takes nothing by an older one: the
            # coordinator goes by what it said, here and in Kafka (docs/reliability.md).
            client.owned = client.given

    @rule()
    def everybody_sends_heartbeats(self) -> None:
        for client in self.alive:
            self.send(client)
            self.no_partition_has_two_owners()

    @rule(client=clients, subscription=SUBSCRIPTIONS)
    def subscribe(self, client: Client, subscription: dict[str, Any]) -> None:
        client.subscription = {"regex": "", **subscription}

    @rule(client=clients, epoch=st.sampled_from([-1, -2]))
    def leave(self, client: Client, epoch: int) -> None:
        if client not in self.alive:
            return
        if epoch == -2 and client.instance_id is None:
            epoch = -1
        was = client.member_id in self.members()
        client.epoch = epoch
        reply = self.beat(client, {"instance_id": client.instance_id}, None)
        assert was == (not isinstance(reply, ErrorCode)), reply
        assert epoch == -2 or client.member_id not in self.members()
        client.drop_all(0)
        self.alive.remove(client)

    @rule(client=clients, epoch=st.integers(1, 30))
    def lie(self, client: Client, epoch: int) -> None:
        before = self.world.log[:]
        group = self.group()
        progress = None if group is None else group.progress.get(client.member_id)
        if progress is None or epoch in (progress.epoch, progress.previous_epoch):
            return
        reply = self.world.beat(client.member_id, epoch)
        assert reply is ErrorCode.FENCED_MEMBER_EPOCH
        assert self.world.log == before

    @rule(seconds=st.sampled_from([1.0, 10.0, 21.0, 46.0]))
    def wait(self, seconds: float) -> None:
        self.world.pass_time(seconds, step=1.0)

    @rule(name=st.sampled_from(["t", "u", "v", "vv"]))
    def grow(self, name: str) -> None:
        self.partitions[name] = self.partitions.get(name, 0) + 1
        self.world.set_topics(**{name: self.partitions[name]})

    @rule()
    def move_coordinator(self) -> None:
        self.world.reload()

    @rule()
    def converge(self) -> None:
        """Everybody lives and does what is asked of it: after a few heartbeats all of it is done."""
        for _ in range(8):
            for client in self.alive:
                client.owned = client.given
                self.send(client)
                client.owned &= client.given
        group = self.group()
        if group is None or not group.members:
            return
        members = {each.member_id: each for each in self.alive if each.member_id in group.members}
        gone = set(group.members) - set(members)
        if gone:
            return  # whoever left for now has its place until its time is over
        assert group.state == "Stable"
        for member_id, client in members.items():
            assert client.owned == group.targets[member_id], member_id
        wanted = {
            (topic.topic_id, number)
            for topic in self.world.topics.existing(group.subscribed())
            for number in range(topic.partitions)
        }
        assert set(group.owners) == wanted

    # -- what always holds ------------------------------------------------------------------------

    @invariant()
    def no_partition_has_two_owners(self) -> None:
        group = self.group()
        if group is None:
            return
        owned = [each for progress in group.progress.values() for each in progress.owned]
        assert len(owned) == len(set(owned))
        assert group.owners.keys() == set(owned)
        members = [each for each in self.alive if each.member_id in group.progress and each.epoch > 0]
        for client in members:
            assert client.owned <= group.progress_of(client.member_id).owned, "it has what it was not given"

    @invariant()
    def epochs_never_go_back(self) -> None:
        group = self.group()
        if group is None:
            return
        assert group.epoch >= self.epoch
        self.epoch = group.epoch
        assert group.target_epoch <= group.epoch
        for progress in group.progress.values():
            assert progress.epoch <= group.target_epoch
        for client in self.alive:
            assert client.history == sorted(client.history)

    @invariant()
    def the_group_makes_sense(self) -> None:
        group = self.group()
        if group is None:
            return
        assert set(group.progress) <= set(group.members)
        assert set(group.targets) <= set(group.members)
        assert set(group.static.values()) <= set(group.members)
        assert set(group.regexes) == {each.regex for each in group.members.values() if each.regex}
        for progress in group.progress.values():
            gives_up = progress.state is MemberState.UNREVOKED_PARTITIONS
            assert gives_up == bool(progress.revoking) or progress.epoch == LEAVING_FOR_NOW

    @invariant()
    def another_coordinator_would_know_the_same(self) -> None:
        group, copy = self.group(), self.world.replayed().consumer.groups.get("g")
        if group is None:
            assert copy is None
            return
        assert copy is not None
        for attribute in ("epoch", "metadata_hash", "target_epoch", "members", "static", "progress"):
            assert getattr(copy, attribute) == getattr(group, attribute), attribute
        assert (copy.targets, copy.owners, copy.regexes) == (group.targets, group.owners, group.regexes)

    @invariant()
    def nobody_waits_without_an_end(self) -> None:
        if self.members():
            assert self.world.shard.consumer.timeouts.timers.earliest < float("inf")


def test_random_histories_of_a_group(make_groups: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConsumerGroupModel, "make_groups", staticmethod(make_groups), raising=False)
    run_state_machine_as_test(
        ConsumerGroupModel,
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        ),
    )
