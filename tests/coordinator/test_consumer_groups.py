"""KIP-848 groups: what members are told, every refusal, times, static members, topics, offsets."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.decision import LogRecord, Producer, size_of
from kraft.coordinator.group.commands import DeleteOffsets, FetchOffsets
from kraft.coordinator.group.consumer.commands import ConsumerHeartbeat
from kraft.coordinator.group.consumer.config import Timing
from kraft.coordinator.group.consumer.formats import encode
from kraft.coordinator.group.consumer.group import ConsumerGroup
from kraft.coordinator.group.consumer.members import Member
from kraft.coordinator.group.consumer.records import MemberChange
from kraft.coordinator.group.consumer.topics import Topics
from kraft.coordinator.group.formats import encode_group_key
from metadata.delta import MetadataDelta
from metadata.image import MetadataImage
from metadata.records import PartitionChangeRecord, PartitionRecord, RemoveTopicRecord, TopicRecord

T_ID = UUID(int=7)


@pytest.fixture
def world(make_groups: Any) -> Any:
    """A topic `t` of four partitions, and one `u` of two."""
    world = make_groups()
    world.set_topics(t=4, u=2)
    return world


def named(world: Any, assignment: Any) -> list[tuple[str, int]]:
    return sorted((world.topics.name_of(topic), number) for topic, number in assignment)


def settle(
    world: Any, *members: str, owned: dict[str, list[tuple[str, int]]] | None = None
) -> dict[str, Any]:
    """Let members do as they are told until nothing changes; returns the epoch and partitions of each."""
    owned = {} if owned is None else owned
    group = world.shard.consumer.groups["g"]
    for _ in range(6):
        for member in members:
            epoch = world.shard.consumer.groups["g"].progress_of(member).epoch
            reply = world.beat(member, epoch, owned=owned.get(member, []))
            if reply.assignment is not None:
                owned[member] = named(world, reply.assignment)
        group = world.shard.consumer.groups["g"]
    assert group.state == "Stable"
    return {each: (group.progress_of(each).epoch, owned.get(each, [])) for each in members}


# -- how partitions are shared --------------------------------------------------------------------


def test_the_first_member_gets_everything_at_once(world: Any) -> None:
    reply = world.come("a", topics=("t", "u", "none"))
    assert (reply.member_id, reply.epoch, reply.interval_ms) == ("a", 1, 5000)
    assert named(world, reply.assignment) == [("t", 0), ("t", 1), ("t", 2), ("t", 3), ("u", 0), ("u", 1)]
    assert world.beat("a", 1).assignment is None, "it knows"


def test_a_second_member_gets_what_the_first_gives_up(world: Any) -> None:
    world.come("a")
    second = world.come("b")
    assert second.assignment == frozenset()
    told = world.beat("a", 1, owned=[("t", number) for number in range(4)])
    assert (told.epoch, named(world, told.assignment)) == (1, [("t", 0), ("t", 1)])
    assert world.beat("b", second.epoch).assignment is None, "the first still has them"
    assert world.beat("a", 1, owned=[("t", 0), ("t", 1)]).epoch == 2
    assert named(world, world.beat("b", 2).assignment) == [("t", 2), ("t", 3)]
    assert world.shard.consumer.groups["g"].state == "Stable"


def test_a_member_that_leaves_makes_room(world: Any) -> None:
    world.come("a")
    world.come("b")
    settle(world, "a", "b")
    gone = world.beat("b", -1)
    assert (gone.member_id, gone.epoch) == ("b", -1)
    assert settle(world, "a")["a"][1] == [("t", 0), ("t", 1), ("t", 2), ("t", 3)]


def test_a_member_may_want_nothing_until_it_says_otherwise(world: Any) -> None:
    first = world.come("a", topics=())
    assert (first.epoch, first.assignment) == (1, frozenset())
    second = world.come("b", topics=None, regex="")
    assert (second.epoch, second.assignment) == (1, frozenset())
    assert world.shard.consumer.groups["g"].state == "Stable"
    told = world.beat("a", 1, topics=("t",), owned=[])
    assert (told.epoch, len(told.assignment)) == (2, 4)
    assert settle(world, "a", "b")["b"] == (2, [])


def test_the_assignor_that_most_ask_for_is_used(world: Any) -> None:
    world.come("a", ("t", "u"), assignor="range")
    world.come("b", ("t", "u"), assignor="range")
    world.come("c", ("t", "u"), assignor="uniform")
    assert world.shard.consumer.describe("g").assignor == "range"


def test_a_reply_that_was_lost_is_told_again(world: Any) -> None:
    world.come("a")
    world.come("b")
    world.beat("a", 1, owned=[])  # gave everything up; that it is at epoch 2 now does not reach it
    again = world.beat("a", 1, owned=[], topics=("t",), rebalance_timeout_ms=30_000)
    assert (again.epoch, len(again.assignment)) == (2, 2)


def test_a_new_topic_and_new_partitions_are_assigned(world: Any) -> None:
    world.come("a", topics=("t", "later"))
    world.set_topics(t=5)
    assert len(world.beat("a", 1, owned=[]).assignment) == 5
    world.set_topics(later=1)
    assert len(world.beat("a", 2, owned=[]).assignment) == 6
    world.set_topics(other=1)
    assert world.beat("a", 3).epoch == 3, "nobody wants it"


def test_a_heartbeat_that_cannot_be_written_hides_no_new_partition(world: Any) -> None:
    world.come("a")
    world.beat("a", 1)
    world.set_topics(t=5)
    too_large = ConsumerHeartbeat("g", "b", 0, topics=("t",), owned=frozenset(), rebalance_timeout_ms=1000)
    assert world.shard.consumer_heartbeat(too_large, world.clock.now, world.clock.now_ms).records
    reply = world.beat("a", 1, owned=[])
    assert (reply.epoch, len(reply.assignment)) == (2, 5)


def test_an_expression_stands_for_topics_as_they_come(world: Any) -> None:
    reply = world.come("a", topics=None, regex="t|x.*")
    assert {name for name, _ in named(world, reply.assignment)} == {"t"}
    world.set_topics(xyz=1, txyz=1)
    found = world.beat("a", 1, owned=[]).assignment
    assert {name for name, _ in named(world, found)} == {"t", "xyz"}
    reply = world.beat("a", 2, regex="", topics=("u",), owned=[])
    assert {name for name, _ in named(world, reply.assignment)} == {"u"}
    assert not world.shard.consumer.groups["g"].regexes
    assert not world.replayed().consumer.groups["g"].regexes


def test_an_expression_that_would_backtrack_costs_nothing(world: Any) -> None:
    world.set_topics(**{"a" * 200: 1})
    assert world.come("a", regex="(a*)*b").assignment is not None


def test_an_expression_that_only_another_coordinator_understood_harms_nobody(world: Any) -> None:
    world.come("a")
    foreign = MemberChange("g", "b", Member("b", regex="(?=t)", rebalance_timeout_ms=1000))
    world.log.append(LogRecord(*encode(foreign), world.clock.now_ms, len(world.log)))
    world.reload()
    world.pass_time(44)
    assert world.beat("a", 1, owned=[]).epoch == 1
    world.pass_time(2)
    assert set(world.shard.consumer.groups["g"].members) == {"a"}


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"group_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"member_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"instance_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"rack_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"rebalance_timeout_ms": -1}, ErrorCode.INVALID_REQUEST),
        ({"owned": None}, ErrorCode.INVALID_REQUEST),
        ({"owned": [("t", 0)]}, ErrorCode.INVALID_REQUEST),
        ({"topics": None}, ErrorCode.INVALID_REQUEST),
        ({"epoch": -2}, ErrorCode.INVALID_REQUEST),
        ({"epoch": -3}, ErrorCode.INVALID_REQUEST),
        ({"epoch": -1}, ErrorCode.GROUP_ID_NOT_FOUND),
        ({"epoch": 1}, ErrorCode.GROUP_ID_NOT_FOUND),
        ({"assignor": "mine"}, ErrorCode.UNSUPPORTED_ASSIGNOR),
        ({"regex": "(a"}, ErrorCode.INVALID_REGULAR_EXPRESSION),
        ({"regex": r"(a)\1"}, ErrorCode.INVALID_REGULAR_EXPRESSION),
        ({"regex": "a" * 5000}, ErrorCode.INVALID_REGULAR_EXPRESSION),
        ({"regex": "((a{100}){100}){100}"}, ErrorCode.INVALID_REGULAR_EXPRESSION),
    ],
)
def test_a_heartbeat_that_makes_no_sense(world: Any, fields: dict[str, Any], code: ErrorCode) -> None:
    values = {"topics": ("t",), "owned": [], "rebalance_timeout_ms": 1000, **fields}
    assert world.beat(values.pop("member_id", "a"), values.pop("epoch", 0), **values) is code
    assert not world.log
    assert not world.shard.consumer.groups


def test_a_client_of_version_0_is_given_its_id(world: Any) -> None:
    reply = world.come("", names_itself=False)
    assert reply.member_id == "id1"
    assert world.beat("", 1, names_itself=False) is ErrorCode.INVALID_REQUEST


def test_members_and_epochs_that_are_not_known(world: Any) -> None:
    world.come("a")
    world.come("b")
    before = world.log[:]
    assert world.beat("c", 1) is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.beat("c", -1) is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.beat("a", 2) is ErrorCode.FENCED_MEMBER_EPOCH
    assert world.beat("b", 1) is ErrorCode.FENCED_MEMBER_EPOCH
    assert world.log == before


def test_a_fenced_member_comes_back(world: Any) -> None:
    world.come("a")
    assert world.beat("a", 9) is ErrorCode.FENCED_MEMBER_EPOCH
    reply = world.come("a")
    assert (reply.epoch, len(reply.assignment)) == (1, 4)


def test_a_group_has_no_more_members_than_it_may(make_groups: Any) -> None:
    world = make_groups(consumer={"max_size": 2})
    world.set_topics(t=4)
    world.come("a")
    world.come("b")
    assert world.come("c") is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert world.beat("b", 2).epoch == 2


# -- static members -------------------------------------------------------------------------------


def test_a_static_member_comes_back_to_what_it_had(world: Any) -> None:
    world.come("a", instance_id="one")
    world.come("b", instance_id="two")
    had = settle(world, "a", "b")
    assert world.come("c", instance_id="two") is ErrorCode.UNRELEASED_INSTANCE_ID
    away = world.beat("b", -2, instance_id="two")
    assert (away.member_id, away.epoch) == ("b", -2)
    back = world.come("c", instance_id="two")
    assert (back.epoch, named(world, back.assignment)) == (2, had["b"][1])
    assert world.beat("b", 2, instance_id="two") is ErrorCode.FENCED_INSTANCE_ID
    assert world.beat("b", 2) is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.beat("c", -2, instance_id="three") is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.beat("a", 2).assignment is None, "nobody else notices"


def test_a_static_member_that_stays_away_loses_its_place(world: Any) -> None:
    world.come("a", instance_id="one")
    world.beat("a", -2, instance_id="one")
    world.pass_time(44)
    assert world.shard.consumer.groups["g"].members
    world.pass_time(2)
    assert not world.shard.consumer.groups["g"].members


# -- times ----------------------------------------------------------------------------------------


def test_a_member_that_is_not_heard_of_is_out_after_its_session(world: Any) -> None:
    world.come("a")
    world.come("b")
    settle(world, "a", "b")
    for _ in range(10):
        world.pass_time(4.4)
        world.beat("a", 2)
    assert set(world.shard.consumer.groups["g"].members) == {"a", "b"}
    world.pass_time(2)
    assert set(world.shard.consumer.groups["g"].members) == {"a"}
    assert world.beat("b", 2) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_member_that_does_not_give_up_is_out_after_its_rebalance_timeout(world: Any) -> None:
    had = [("t", number) for number in range(4)]
    world.come("a")
    world.come("b")
    for _ in range(10):
        assert world.beat("a", 1, owned=had).epoch == 1
        world.beat("b", 2)
        world.pass_time(2.9)
    assert "a" in world.shard.consumer.groups["g"].members
    world.pass_time(2)
    assert world.beat("a", 1, owned=had) is ErrorCode.UNKNOWN_MEMBER_ID
    assert len(world.beat("b", 2, owned=[]).assignment) == 4


def test_members_whose_time_is_over_at_once_go_together(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcdefgh":
        world.come(name)
    epoch = world.shard.consumer.groups["g"].epoch
    copied: list[str] = []
    copy = ConsumerGroup.copy

    def counted(group: ConsumerGroup) -> ConsumerGroup:
        copied.append(group.group_id)
        return copy(group)

    monkeypatch.setattr(ConsumerGroup, "copy", counted)
    world.clock.advance(46)
    world.tick()
    assert copied == ["g"], "each look at a large group takes its time"
    for shard in (world.shard, world.replayed()):
        group = shard.consumer.groups["g"]
        assert (group.members, group.targets, group.owners, group.epoch) == ({}, {}, {}, epoch + 1)
    assert not world.shard.consumer.timeouts.timers


def test_as_many_go_together_as_fit_into_a_batch(make_groups: Any) -> None:
    world = make_groups(room=4000)
    world.set_topics(t=4)
    names = [f"{number:040}" for number in range(9)]
    for name in names:
        world.come(name)
    world.clock.advance(46)
    sizes, left = [], []
    for decision in world.shard.tick(world.clock.now, world.clock.now_ms):
        for record in decision.records:
            world.shard.replay(record)
        sizes.append(size_of(decision.records))
        left.append(len(world.shard.consumer.groups["g"].members))
    assert max(sizes) <= world.room
    assert left == [7, 5, 3, 1, 0]


def test_times_begin_anew_under_another_coordinator(world: Any) -> None:
    had = [("t", number) for number in range(4)]
    world.come("a")
    world.come("b")
    world.beat("a", 1, owned=had)
    world.pass_time(20)
    world.reload()
    world.pass_time(29)
    assert world.beat("a", 1, owned=had).epoch == 1
    world.pass_time(2)
    assert world.beat("a", 1, owned=had) is ErrorCode.UNKNOWN_MEMBER_ID


# -- offsets and administration -------------------------------------------------------------------


def test_commits_need_the_members_epoch(world: Any) -> None:
    world.come("a")
    member = {"member_id": "a"}
    assert world.commit(generation=1, **member) is ErrorCode.NONE
    assert world.commit(generation=0, **member) is ErrorCode.STALE_MEMBER_EPOCH
    assert world.commit(generation=2, **member) is ErrorCode.STALE_MEMBER_EPOCH
    assert world.commit(generation=1, member_id="b") is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.commit() is ErrorCode.UNKNOWN_MEMBER_ID
    old = world.commit(generation=1, tells_missing_group=False, **member)
    assert old is ErrorCode.UNSUPPORTED_VERSION
    world.beat("a", -1)
    assert world.commit(offset=5) is ErrorCode.NONE, "nobody is there"
    assert world.committed() == 5


def test_a_transaction_needs_the_members_epoch_too(world: Any) -> None:
    world.come("a")
    fields = {"member_id": "a", "producer": Producer(7, 0), "tells_missing_group": False}
    assert world.commit(generation=2, **fields) is ErrorCode.ILLEGAL_GENERATION
    assert world.commit(generation=1, **fields) is ErrorCode.NONE


def test_a_transaction_that_names_no_member_is_not_asked_for_its_epoch(world: Any) -> None:
    """Producers may know the group alone: `TxnOffsetCommit` names members from version 3 on, if at all."""
    world.come("a")
    fields = {"producer": Producer(7, 0), "tells_missing_group": False}
    assert world.commit(**fields) is ErrorCode.NONE
    assert world.commit(member_id="b", **fields) is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.commit(generation=1, **fields) is ErrorCode.UNKNOWN_MEMBER_ID
    assert world.commit(instance_id="i", **fields) is ErrorCode.UNKNOWN_MEMBER_ID


def test_offsets_are_told_to_members_of_the_epoch_and_to_administrators(world: Any) -> None:
    world.come("a")

    def code(member_id: str | None, epoch: int) -> ErrorCode:
        command = FetchOffsets("g", None, False, member_id, epoch)
        try:
            world.shard.fetch(command, world.clock.now, world.clock.now_ms)
        except KafkaError as error:
            return error.code
        return ErrorCode.NONE

    assert code(None, -1) is code("a", 1) is ErrorCode.NONE
    assert code("a", 2) is ErrorCode.STALE_MEMBER_EPOCH
    assert code("b", 1) is ErrorCode.UNKNOWN_MEMBER_ID


def test_only_offsets_of_topics_that_nobody_wants_are_deleted(world: Any) -> None:
    world.come("a")
    world.commit("t", member_id="a", generation=1)
    world.commit("u", member_id="a", generation=1)
    reply = world.do(world.shard.delete_offsets, DeleteOffsets("g", (("t", 0), ("u", 0)))).reply
    assert reply == (ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC, ErrorCode.NONE)
    assert (world.committed("t"), world.committed("u")) == (1, -1)


def test_a_group_is_listed_described_and_deleted(world: Any) -> None:
    world.come("a")
    world.come("b")
    now = (world.clock.now, world.clock.now_ms)
    (listed,) = world.shard.listed(set(), {"consumer"}, *now)
    assert listed == ("g", "consumer", "Reconciling", "consumer")
    assert world.shard.listed(set(), {"classic"}, *now) == []
    assert world.describe().error is ErrorCode.GROUP_ID_NOT_FOUND, "of the classic kind"
    described = world.shard.describe_consumer("g", *now)
    assert (described.state, described.epoch, described.target_epoch) == ("Reconciling", 2, 2)
    assert [len(each.target) for each in described.members] == [2, 2]
    assert world.shard.describe_consumer("h", *now).error is ErrorCode.GROUP_ID_NOT_FOUND
    assert world.shard.describe_consumer("", *now).error is ErrorCode.INVALID_GROUP_ID
    assert world.do(world.shard.delete, "g").reply is ErrorCode.NON_EMPTY_GROUP
    world.beat("a", -1)
    world.beat("b", -1)
    world.commit()
    assert world.do(world.shard.delete, "g").reply is True
    assert not world.shard.consumer.groups
    assert world.committed() == -1
    assert not world.replayed().consumer.groups


def test_offsets_expire_unless_a_member_wants_their_topic(make_groups: Any) -> None:
    world = make_groups(offsets_retention_ms=1_000_000)
    world.set_topics(t=1)
    world.come("a")
    world.commit("t", member_id="a", generation=1)
    world.commit("u", member_id="a", generation=1)
    for _ in range(60):
        world.pass_time(30, step=30)
        world.beat("a", 1)
    assert (world.committed("t"), world.committed("u")) == (1, -1)
    world.beat("a", -1)
    world.pass_time(700, step=50)
    assert world.committed("t") == -1
    assert not world.shard.consumer.groups, "nothing is left of it"


def test_members_are_looked_at_once_for_all_offsets(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.come("a", topics=("t",))
    world.beat("a", 1)
    for number in range(10):
        world.commit("u", number, member_id="a", generation=1)
    looks: list[str] = []
    subscribed = ConsumerGroup.subscribed

    def counted(group: ConsumerGroup) -> set[str]:
        looks.append(group.group_id)
        return subscribed(group)

    monkeypatch.setattr(ConsumerGroup, "subscribed", counted)
    world.do(world.shard.delete_offsets, DeleteOffsets("g", tuple(("u", number) for number in range(5))))
    assert looks == ["g"]
    world.clock.advance(world.config.offsets_retention_ms / 1000)
    assert world.beat("a", 1).epoch == 1
    world.tick()
    assert looks == ["g"] * 2
    assert [world.committed("u", number) for number in range(10)] == [-1] * 10


def test_a_group_that_only_had_offsets_becomes_one_of_these(world: Any) -> None:
    world.commit(offset=3)
    world.come("a")
    assert world.log[1].key == encode_group_key("g")
    assert "g" not in world.shard.classic.groups
    for shard in (world.shard, world.replayed()):
        assert set(shard.consumer.groups["g"].members) == {"a"}
        assert "g" not in shard.classic.groups
    assert world.committed() == 3


def test_topics_come_grow_and_go_with_the_metadata() -> None:
    def after(old: MetadataImage, *records: Any) -> MetadataImage:
        return old.apply(records, old.offset + 1)

    def partition(number: int) -> PartitionRecord:
        return PartitionRecord(number, T_ID, (1,), (1,), 1, 0, 0)

    topics, images = Topics(), [MetadataImage()]
    for records in (
        [TopicRecord(name="t", topic_id=T_ID), partition(0)],
        [partition(1)],
        [PartitionChangeRecord(topic_id=T_ID, partition_id=0, leader=-1)],
        [RemoveTopicRecord(topic_id=T_ID)],
    ):
        images.append(after(images[-1], *records))
    seen = []
    for old, new in itertools.pairwise(images):
        topics.changed(MetadataDelta(old, new))
        found = topics.get("t")
        seen.append((topics.version, found.partitions if found else 0, topics.matching("t.*")))
    versions = [image.offset for image in images[1:]]
    assert seen == [
        (versions[0], 1, ("t",)),
        (versions[1], 2, ("t",)),
        (versions[1], 2, ("t",)),  # who leads is nothing to groups
        (versions[3], 0, ()),
    ]
    assert topics.hash_of({"t"}) == 0


def test_a_groups_own_times_count_from_the_next_heartbeat_on(world: Any) -> None:
    world.come("a")
    world.come("b", group_id="other")
    world.timings["g"] = Timing(heartbeat_interval_ms=6000, session_timeout_ms=60_000)
    assert world.come("a").interval_ms == 6000
    world.pass_time(50)
    assert "g" in world.shard.consumer.groups
    assert world.shard.consumer.groups["g"].members.keys() == {"a"}
    assert world.shard.consumer.groups["other"].members.keys() == set()
    world.pass_time(11)
    assert world.shard.consumer.groups["g"].members.keys() == set()
