"""Committed offsets: who may, how long they stay, and what transactions do to them."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from kafkawire.errors import ErrorCode
from kafkawire.records import ControlType
from kraft.coordinator.decision import Producer
from kraft.coordinator.group.commands import DeleteOffsets

DAY = 86_400.0
RETENTION = 7 * DAY


def subscription(*topics: str) -> bytes:
    names = b"".join(struct.pack(">h", len(name)) + name.encode() for name in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1)


def delete(groups: Any, *partitions: tuple[str, int], group_id: str = "g") -> Any:
    return groups.do(groups.shard.delete_offsets, DeleteOffsets(group_id, partitions)).reply


def test_a_consumer_without_a_group_commits_and_finds_its_offsets(groups: Any) -> None:
    assert groups.commit(offset=5, metadata="note") is ErrorCode.NONE
    assert groups.committed() == 5
    assert groups.committed(partition=1) == -1
    assert groups.committed(group_id="other") == -1
    assert groups.describe().state == "Empty"
    groups.reload()
    assert groups.committed() == 5


def test_nobody_commits_for_a_generation_of_a_group_that_is_not_there(groups: Any) -> None:
    assert groups.commit(generation=3, member_id="m") is ErrorCode.GROUP_ID_NOT_FOUND
    old_client = groups.commit(generation=3, member_id="m", tells_missing_group=False)
    assert old_client is ErrorCode.ILLEGAL_GENERATION
    assert groups.log == []


def test_metadata_that_is_too_long_is_refused(groups: Any) -> None:
    assert groups.commit(metadata="x" * 4097) is ErrorCode.OFFSET_METADATA_TOO_LARGE
    assert groups.commit(metadata="x" * 4096, partition=1) is ErrorCode.NONE
    assert groups.committed() == -1


def test_metadata_that_no_record_can_hold_is_refused_whatever_is_configured(make_groups: Any) -> None:
    groups = make_groups(offset_metadata_max_bytes=100_000)
    assert groups.commit(metadata="é" * 16_384) is ErrorCode.OFFSET_METADATA_TOO_LARGE
    assert groups.commit(metadata="é" * 16_383) is ErrorCode.NONE


def test_during_the_assignment_nobody_commits(groups: Any) -> None:
    member_id, joining = groups.enter()
    generation = joining.reply.generation
    assert groups.commit(member_id=member_id, generation=generation) is ErrorCode.REBALANCE_IN_PROGRESS
    groups.sync(member_id, generation, assignments={})
    assert groups.commit(member_id=member_id, generation=generation) is ErrorCode.NONE


def test_a_commit_keeps_a_session_alive(groups: Any) -> None:
    member_id, generation = groups.settle(session_timeout_ms=10_000)
    for _ in range(4):
        groups.pass_time(6)
        assert groups.commit(member_id=member_id, generation=generation) is ErrorCode.NONE
    assert groups.describe().state == "Stable"


def test_all_offsets_of_a_group_can_be_asked_for(groups: Any) -> None:
    from kraft.coordinator.group.commands import FetchOffsets

    groups.commit(topic="a", partition=1, offset=10)
    groups.commit(topic="b", partition=2, offset=20)
    found = groups.shard.fetch(FetchOffsets("g"), 0, 0)
    assert [(topic, [(each.partition, each.offset) for each in parts]) for topic, parts in found] == [
        ("a", [(1, 10)]),
        ("b", [(2, 20)]),
    ]


# -- transactions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "expected"), [(ControlType.COMMIT, 9), (ControlType.ABORT, 5)])
def test_a_transactions_offsets_count_when_it_commits(groups: Any, kind: ControlType, expected: int) -> None:
    groups.commit(offset=5)
    assert groups.commit(offset=9, producer=Producer(77, 0)) is ErrorCode.NONE
    assert groups.committed() == 5
    assert groups.committed(require_stable=True) == -1
    groups.end_transaction(kind, 77)
    assert groups.committed(require_stable=True) == expected
    groups.reload()
    assert groups.committed() == expected


def test_what_was_committed_outside_later_is_newer_than_the_transaction(groups: Any) -> None:
    groups.commit(offset=9, producer=Producer(77, 0))
    groups.commit(offset=12)
    groups.end_transaction(ControlType.COMMIT, 77)
    assert groups.committed() == 12


def test_a_group_that_only_transactions_know_appears_with_the_commit(groups: Any) -> None:
    groups.commit(offset=9, producer=Producer(77, 0))
    groups.end_transaction(ControlType.COMMIT, 77)
    assert groups.describe().state == "Empty"


# -- the end of offsets ---------------------------------------------------------------------------


def test_offsets_of_consumers_without_a_group_expire_after_the_commit(groups: Any) -> None:
    groups.commit()
    groups.clock.advance(RETENTION - 1)
    groups.tick()
    assert groups.committed() == 1
    groups.pass_time(601, step=100)
    assert groups.committed() == -1
    assert groups.describe().error is ErrorCode.GROUP_ID_NOT_FOUND
    groups.reload()
    assert groups.shard.classic.groups == {}


def test_offsets_of_a_group_expire_after_its_last_member_left(groups: Any) -> None:
    member_id, generation = groups.settle()
    groups.commit(member_id=member_id, generation=generation)
    for _ in range(9):
        groups.clock.advance(DAY)
        groups.heartbeat(member_id, generation)
        groups.tick()
    assert groups.committed() == 1
    groups.leave((member_id, None))
    groups.clock.advance(RETENTION - 1)
    groups.tick()
    assert groups.committed() == 1
    groups.pass_time(601, step=100)
    assert groups.committed() == -1


def test_offsets_of_topics_that_nobody_subscribes_to_expire(groups: Any) -> None:
    protocols = {"range": subscription("used")}
    member_id, generation = groups.settle(protocols=protocols, session_timeout_ms=1_800_000)
    for topic in ("used", "left"):
        groups.commit(topic=topic, member_id=member_id, generation=generation)
    for _ in range(8):
        groups.clock.advance(DAY)
        groups.heartbeat(member_id, generation)
        groups.tick()
    assert groups.committed("used") == 1
    assert groups.committed("left") == -1


def test_a_subscription_that_does_not_parse_keeps_every_offset(groups: Any) -> None:
    protocols = {"range": b"\x00\x00\x7f\xff\xff\xff"}
    member_id, generation = groups.settle(protocols=protocols)
    groups.commit(member_id=member_id, generation=generation)
    for _ in range(8):
        groups.clock.advance(DAY)
        groups.heartbeat(member_id, generation)
        groups.tick()
    assert groups.committed() == 1
    assert delete(groups, ("t", 0)) == (ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC,)


def test_a_commit_may_bring_its_own_retention(groups: Any) -> None:
    groups.commit(retention_ms=60_000)
    groups.commit(partition=1)
    groups.pass_time(700, step=100)
    assert groups.committed() == -1
    assert groups.committed(partition=1) == 1


def test_an_open_transaction_keeps_what_it_is_about_to_change(groups: Any) -> None:
    groups.commit()
    groups.commit(offset=9, producer=Producer(77, 0))
    groups.clock.advance(RETENTION + 601)
    groups.tick()
    assert groups.committed() == 1


def test_offsets_go_with_their_topic(groups: Any) -> None:
    groups.commit(topic="gone")
    groups.commit(topic="there")
    groups.shard.topics_deleted({"gone"})
    assert groups.shard.next_deadline() <= groups.clock.now
    groups.tick()
    assert groups.committed("gone") == -1
    assert groups.committed("there") == 1


def test_a_deleted_offset_does_not_come_back_with_a_transaction(groups: Any) -> None:
    groups.commit(topic="t", offset=5)
    groups.commit(topic="t", offset=9, producer=Producer(77, 0))
    assert delete(groups, ("t", 0)) == (ErrorCode.NONE,)
    groups.end_transaction(ControlType.COMMIT, 77)
    assert groups.committed("t") == -1
    groups.reload()
    assert groups.committed("t") == -1


def test_offsets_can_be_deleted_unless_they_are_in_use(groups: Any) -> None:
    protocols = {"range": subscription("used")}
    member_id, generation = groups.settle(protocols=protocols)
    for topic in ("used", "left"):
        groups.commit(topic=topic, member_id=member_id, generation=generation)
    codes = delete(groups, ("used", 0), ("left", 0), ("never", 3))
    assert codes == (ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC, ErrorCode.NONE, ErrorCode.NONE)
    assert (groups.committed("used"), groups.committed("left")) == (1, -1)


def test_offsets_of_members_that_are_no_consumers_stay(groups: Any) -> None:
    groups.settle(protocol_type="connect")
    assert delete(groups, ("t", 0)) is ErrorCode.NON_EMPTY_GROUP
    assert delete(groups, ("t", 0), group_id="none") is ErrorCode.GROUP_ID_NOT_FOUND


def test_a_deleted_topic_takes_the_offsets_of_open_transactions_with_it(groups: Any) -> None:
    groups.commit(topic="gone", offset=9, producer=Producer(77, 0))
    groups.commit(topic="kept", offset=9, producer=Producer(77, 0))
    groups.shard.topics_deleted({"gone"})
    groups.tick()
    groups.end_transaction(ControlType.COMMIT, 77)
    assert groups.committed(topic="gone") == -1
    assert groups.committed(topic="kept") == 9
    groups.reload()
    assert groups.committed(topic="gone") == -1


def test_a_pending_offset_that_is_deleted_does_not_come_with_the_commit(groups: Any) -> None:
    groups.commit(partition=1)
    groups.commit(offset=9, producer=Producer(77, 0))
    assert delete(groups, ("t", 0)) == (ErrorCode.NONE,)
    groups.end_transaction(ControlType.COMMIT, 77)
    assert groups.committed() == -1


def test_a_deleted_group_does_not_come_back_with_a_transaction(groups: Any) -> None:
    groups.commit(partition=1)
    groups.commit(offset=9, producer=Producer(77, 0))
    assert groups.do(groups.shard.delete, "g").reply is True
    groups.end_transaction(ControlType.COMMIT, 77)
    assert groups.describe().state == "Dead"
    assert groups.committed() == -1
    groups.reload()
    assert groups.describe().state == "Dead"
