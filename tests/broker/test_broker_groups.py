"""Groups and offsets on the wire: every version, and what a client must not get away with."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode

_names = itertools.count(1)


@pytest.fixture
def group(connect: Callable[[], Any]) -> str:
    """A group id of its own, whose coordinator is there."""
    name = f"group-{next(_names)}"
    found = connect().call(ApiKey.FIND_COORDINATOR, 4, key_type=0, coordinator_keys=[name])
    assert found.coordinators[0].error_code == ErrorCode.NONE
    return name


def versions(key: ApiKey) -> range:
    return range(APIS[key].min_version, APIS[key].max_version + 1)


def join(wire: Any, group: str, member_id: str = "", *, version: int = 9, **fields: Any) -> Any:
    values = {
        "session_timeout_ms": 10_000,
        "rebalance_timeout_ms": 10_000,
        "protocol_type": "consumer",
        "protocols": [{"name": "range", "metadata": b"meta"}],
    }
    return wire.call(ApiKey.JOIN_GROUP, version, group_id=group, member_id=member_id, **{**values, **fields})


def settle(wire: Any, group: str, **fields: Any) -> str:
    """A stable group of one in generation 1; returns the member's id."""
    member_id = str(join(wire, group, **fields).member_id)
    assert join(wire, group, member_id, **fields).generation_id == 1
    synced = wire.call(
        ApiKey.SYNC_GROUP,
        3,
        group_id=group,
        generation_id=1,
        member_id=member_id,
        group_instance_id=None,
        assignments=[{"member_id": member_id, "assignment": b"mine"}],
    )
    assert (synced.error_code, bytes(synced.assignment)) == (ErrorCode.NONE, b"mine")
    return member_id


def named(wire: Any, topic: str, version: int) -> dict[str, Any]:
    """A topic as OffsetCommit and OffsetFetch refer to it."""
    return {"name": topic} if version < 10 else {"topic_id": UUID(bytes=wire.topic_id(topic))}


def commit(wire: Any, group: str, topic: str, offset: int, *, version: int = 9, **fields: Any) -> int:
    """Returns the code of the one partition."""
    part = {
        "partition_index": 0,
        "committed_offset": offset,
        "committed_metadata": fields.pop("metadata", ""),
    }
    values = {"generation_id_or_member_epoch": -1, "member_id": "", **fields}
    topics = [{**named(wire, topic, version), "partitions": [part]}]
    answer = wire.call(ApiKey.OFFSET_COMMIT, version, group_id=group, topics=topics, **values)
    return int(answer.topics[0].partitions[0].error_code)


def committed(wire: Any, group: str, topic: str, version: int = 9) -> int:
    if version >= 8:
        asked = [{"group_id": group, "topics": [{**named(wire, topic, version), "partition_indexes": [0]}]}]
        answer = wire.call(ApiKey.OFFSET_FETCH, version, groups=asked)
        (found,) = answer.groups
        assert found.error_code == ErrorCode.NONE
        return int(found.topics[0].partitions[0].committed_offset)
    asked = [{"name": topic, "partition_indexes": [0]}]
    answer = wire.call(ApiKey.OFFSET_FETCH, version, group_id=group, topics=asked)
    assert answer.topics[0].partitions[0].error_code == ErrorCode.NONE
    return int(answer.topics[0].partitions[0].committed_offset)


# -- every version --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", versions(ApiKey.JOIN_GROUP))
def test_joining_in_every_version(wire: Any, group: str, version: int) -> None:
    answer = join(wire, group, version=version)
    if version >= 4:
        assert answer.error_code == ErrorCode.MEMBER_ID_REQUIRED
        answer = join(wire, group, answer.member_id, version=version)
    assert answer.error_code == ErrorCode.NONE
    assert (answer.generation_id, answer.protocol_name, answer.leader) == (1, "range", answer.member_id)
    assert [bytes(each.metadata) for each in answer.members] == [b"meta"]


@pytest.mark.parametrize("version", versions(ApiKey.SYNC_GROUP))
def test_syncing_in_every_version(wire: Any, group: str, version: int) -> None:
    member_id = settle(wire, group)
    asked = {"group_id": group, "generation_id": 1, "member_id": member_id, "assignments": []}
    named = {"protocol_type": "consumer", "protocol_name": "range"} if version >= 5 else {}
    answer = wire.call(ApiKey.SYNC_GROUP, version, **asked, **named)
    assert (answer.error_code, bytes(answer.assignment)) == (ErrorCode.NONE, b"mine")
    for missing in named:
        answer = wire.call(ApiKey.SYNC_GROUP, version, **asked, **{**named, missing: None})
        assert answer.error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL


@pytest.mark.parametrize("version", versions(ApiKey.HEARTBEAT))
def test_heartbeats_in_every_version(wire: Any, group: str, version: int) -> None:
    member_id = settle(wire, group)
    for generation, expected in ((1, ErrorCode.NONE), (0, ErrorCode.ILLEGAL_GENERATION)):
        answer = wire.call(
            ApiKey.HEARTBEAT, version, group_id=group, generation_id=generation, member_id=member_id
        )
        assert answer.error_code == expected


@pytest.mark.parametrize("version", versions(ApiKey.LEAVE_GROUP))
def test_leaving_in_every_version(wire: Any, group: str, version: int) -> None:
    member_id = settle(wire, group)
    for expected in (ErrorCode.NONE, ErrorCode.UNKNOWN_MEMBER_ID):
        if version < 3:
            answer = wire.call(ApiKey.LEAVE_GROUP, version, group_id=group, member_id=member_id)
            assert answer.error_code == expected
        else:
            members = [{"member_id": member_id, "group_instance_id": None}]
            answer = wire.call(ApiKey.LEAVE_GROUP, version, group_id=group, members=members)
            assert answer.error_code == ErrorCode.NONE
            assert answer.members[0].error_code == expected


@pytest.mark.parametrize("version", versions(ApiKey.LEAVE_GROUP))
def test_nobody_is_a_member_of_a_group_that_is_not_there(wire: Any, group: str, version: int) -> None:
    if version < 3:
        answer = wire.call(ApiKey.LEAVE_GROUP, version, group_id=group, member_id="a")
        assert answer.error_code == ErrorCode.UNKNOWN_MEMBER_ID
        return
    identities = [("a", None), ("", "instance")]
    members = [{"member_id": member, "group_instance_id": instance} for member, instance in identities]
    answer = wire.call(ApiKey.LEAVE_GROUP, version, group_id=group, members=members)
    assert answer.error_code == ErrorCode.NONE
    told = [(each.member_id, each.group_instance_id, each.error_code) for each in answer.members]
    assert told == [(*each, ErrorCode.UNKNOWN_MEMBER_ID) for each in identities]


@pytest.mark.parametrize("version", versions(ApiKey.OFFSET_COMMIT))
def test_commits_in_every_version(wire: Any, group: str, topic: str, version: int) -> None:
    assert commit(wire, group, topic, 40 + version, version=version) == ErrorCode.NONE
    assert committed(wire, group, topic) == 40 + version


@pytest.mark.parametrize("version", versions(ApiKey.OFFSET_FETCH))
def test_offsets_are_told_in_every_version(wire: Any, group: str, topic: str, version: int) -> None:
    assert committed(wire, group, topic, version) == -1
    commit(wire, group, topic, 9)
    assert committed(wire, group, topic, version) == 9


@pytest.mark.parametrize("version", versions(ApiKey.DESCRIBE_GROUPS))
def test_descriptions_in_every_version(wire: Any, group: str, version: int) -> None:
    member_id = settle(wire, group)
    answer = wire.call(ApiKey.DESCRIBE_GROUPS, version, groups=[group, "group-never"])
    stable, dead = answer.groups
    assert (stable.group_state, stable.protocol_type, stable.protocol_data) == ("Stable", "consumer", "range")
    (member,) = stable.members
    assert (member.member_id, bytes(member.member_assignment)) == (member_id, b"mine")
    assert (member.client_id, member.client_host) == ("test", "/127.0.0.1")
    told = ErrorCode.GROUP_ID_NOT_FOUND if version >= 6 else ErrorCode.NONE
    assert (dead.group_state, dead.error_code, bool(dead.error_message)) == ("Dead", told, version >= 6)


@pytest.mark.parametrize("version", versions(ApiKey.LIST_GROUPS))
def test_lists_in_every_version(wire: Any, group: str, version: int) -> None:
    settle(wire, group)
    answer = wire.call(ApiKey.LIST_GROUPS, version)
    assert answer.error_code == ErrorCode.NONE
    assert (group, "consumer") in [(each.group_id, each.protocol_type) for each in answer.groups]


def test_lists_can_be_narrowed(wire: Any, group: str) -> None:
    settle(wire, group)
    stable = wire.call(ApiKey.LIST_GROUPS, 5, states_filter=["Stable"], types_filter=["Classic"])
    assert (group, "Stable", "classic") in [(g.group_id, g.group_state, g.group_type) for g in stable.groups]
    empty = wire.call(ApiKey.LIST_GROUPS, 5, states_filter=["Empty"], types_filter=[])
    assert group not in [each.group_id for each in empty.groups]


@pytest.mark.parametrize("version", versions(ApiKey.DELETE_GROUPS))
def test_deleting_in_every_version(wire: Any, group: str, topic: str, version: int) -> None:
    member_id = settle(wire, group)
    commit(wire, group, topic, 3, generation_id_or_member_epoch=1, member_id=member_id)

    def delete() -> list[int]:
        answer = wire.call(ApiKey.DELETE_GROUPS, version, groups_names=[group, "group-never"])
        return [int(each.error_code) for each in answer.results]

    assert delete() == [ErrorCode.NON_EMPTY_GROUP, ErrorCode.GROUP_ID_NOT_FOUND]
    wire.call(ApiKey.LEAVE_GROUP, 0, group_id=group, member_id=member_id)
    assert delete() == [ErrorCode.NONE, ErrorCode.GROUP_ID_NOT_FOUND]
    assert committed(wire, group, topic) == -1


def test_offsets_can_be_deleted(wire: Any, group: str, topic: str) -> None:
    commit(wire, group, topic, 3)
    topics = [
        {"name": topic, "partitions": [{"partition_index": each} for each in (0, 7, -1)]},
        {"name": "never-made", "partitions": [{"partition_index": 0}]},
    ]
    answer = wire.call(ApiKey.OFFSET_DELETE, 0, group_id=group, topics=topics)
    codes = [part.error_code for each in answer.topics for part in each.partitions]
    assert codes == [ErrorCode.NONE] + [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION] * 3
    assert committed(wire, group, topic) == -1
    unknown = wire.call(ApiKey.OFFSET_DELETE, 0, group_id="group-never", topics=topics)
    assert unknown.error_code == ErrorCode.GROUP_ID_NOT_FOUND
    nameless = wire.call(ApiKey.OFFSET_DELETE, 0, group_id="", topics=topics)
    assert nameless.error_code == ErrorCode.INVALID_GROUP_ID


# -- bad input ------------------------------------------------------------------------------------


def test_an_empty_group_id_is_refused(wire: Any, group: str) -> None:
    assert join(wire, "").error_code == ErrorCode.INVALID_GROUP_ID
    answer = wire.call(ApiKey.HEARTBEAT, 4, group_id="", generation_id=1, member_id="m")
    assert answer.error_code == ErrorCode.INVALID_GROUP_ID
    settle(wire, group)


def test_a_group_id_of_64_kib_closes_the_connection_and_harms_nobody(
    connect: Callable[[], Any], group: str
) -> None:
    wire = connect()
    wire.request(ApiKey.HEARTBEAT, 4, group_id="x" * 65_536, generation_id=1, member_id="m")
    assert wire.is_closed()
    settle(connect(), group)


def test_a_long_group_id_is_as_good_as_any(wire: Any, topic: str) -> None:
    group = "x" * 32_767
    assert commit(wire, group, topic, 8) == ErrorCode.NONE
    assert committed(wire, group, topic) == 8


def test_a_subscription_that_does_not_parse_is_the_members_own_affair(
    wire: Any, group: str, topic: str
) -> None:
    protocols = [{"name": "range", "metadata": b"\x00\x01\x7f\xff\xff\xff"}]
    member_id = settle(wire, group, protocols=protocols)
    code = commit(wire, group, topic, 3, generation_id_or_member_epoch=1, member_id=member_id)
    assert code == ErrorCode.NONE
    topics = [{"name": topic, "partitions": [{"partition_index": 0}]}]
    answer = wire.call(ApiKey.OFFSET_DELETE, 0, group_id=group, topics=topics)
    assert answer.topics[0].partitions[0].error_code == ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC


def test_a_stale_generation_and_an_unknown_member_commit_nothing(wire: Any, group: str, topic: str) -> None:
    member_id = settle(wire, group)
    stale = commit(wire, group, topic, 1, generation_id_or_member_epoch=0, member_id=member_id)
    assert stale == ErrorCode.ILLEGAL_GENERATION
    unknown = commit(wire, group, topic, 1, generation_id_or_member_epoch=1, member_id="nobody")
    assert unknown == ErrorCode.UNKNOWN_MEMBER_ID
    fenced = commit(
        wire, group, topic, 1, generation_id_or_member_epoch=1, member_id=member_id, group_instance_id="i"
    )
    assert fenced == ErrorCode.UNKNOWN_MEMBER_ID
    assert committed(wire, group, topic) == -1


def beat(wire: Any, group: str, member_id: str, generation: int, instance: str | None = None) -> int:
    answer = wire.call(
        ApiKey.HEARTBEAT,
        4,
        group_id=group,
        generation_id=generation,
        member_id=member_id,
        group_instance_id=instance,
    )
    return int(answer.error_code)


def sync(wire: Any, group: str, member_id: str, generation: int, instance: str | None = None) -> Any:
    return wire.call(
        ApiKey.SYNC_GROUP,
        5,
        group_id=group,
        generation_id=generation,
        member_id=member_id,
        group_instance_id=instance,
        protocol_type="consumer",
        protocol_name="range",
        assignments=[{"member_id": member_id, "assignment": b"theirs"}],
    )


def test_whoever_is_no_member_or_late_gets_nowhere_and_the_group_goes_on(
    wire: Any, group: str, topic: str
) -> None:
    member_id = settle(wire, group)
    assert commit(wire, group, topic, 4, generation_id_or_member_epoch=1, member_id=member_id) == 0
    assert beat(wire, group, "nobody", 1) == ErrorCode.UNKNOWN_MEMBER_ID
    assert sync(wire, group, "nobody", 1).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert join(wire, group, "nobody").error_code == ErrorCode.UNKNOWN_MEMBER_ID
    for generation in (0, 2, -1, 2**31 - 1):
        assert beat(wire, group, member_id, generation) == ErrorCode.ILLEGAL_GENERATION
        assert sync(wire, group, member_id, generation).error_code == ErrorCode.ILLEGAL_GENERATION
    (described,) = wire.call(ApiKey.DESCRIBE_GROUPS, 5, groups=[group]).groups
    assert (described.group_state, [each.member_id for each in described.members]) == ("Stable", [member_id])
    assert beat(wire, group, member_id, 1) == ErrorCode.NONE
    assert bytes(sync(wire, group, member_id, 1).assignment) == b"mine"
    assert committed(wire, group, topic) == 4


def test_a_fenced_instance_gets_nowhere_and_its_successor_goes_on(
    connect: Callable[[], Any], group: str, topic: str
) -> None:
    old, new = connect(), connect()
    first = str(join(old, group, group_instance_id="one").member_id)
    assert sync(old, group, first, 1, "one").error_code == ErrorCode.NONE
    back = join(new, group, group_instance_id="one")
    assert (back.error_code, back.generation_id) == (ErrorCode.NONE, 1)
    assert back.member_id != first
    owner = {"generation_id_or_member_epoch": 1, "member_id": back.member_id, "group_instance_id": "one"}
    assert commit(new, group, topic, 6, **owner) == ErrorCode.NONE

    fenced = ErrorCode.FENCED_INSTANCE_ID
    assert beat(old, group, first, 1, "one") == fenced
    assert sync(old, group, first, 1, "one").error_code == fenced
    assert join(old, group, first, group_instance_id="one").error_code == fenced
    assert commit(old, group, topic, 5, **{**owner, "member_id": first}) == fenced
    leaving = [{"member_id": first, "group_instance_id": "one"}]
    assert old.call(ApiKey.LEAVE_GROUP, 5, group_id=group, members=leaving).members[0].error_code == fenced

    (described,) = new.call(ApiKey.DESCRIBE_GROUPS, 5, groups=[group]).groups
    assert [each.member_id for each in described.members] == [back.member_id]
    assert beat(new, group, back.member_id, 1, "one") == ErrorCode.NONE
    assert bytes(sync(new, group, back.member_id, 1, "one").assignment) == b"theirs"
    assert committed(new, group, topic) == 6


def test_a_commit_for_a_deleted_topic_is_refused_and_its_offsets_go(
    wire: Any, group: str, topic: str, make_topic: Callable[[], str], delete_topic: Callable[[str], None]
) -> None:
    other = make_topic()
    assert commit(wire, group, topic, 5) == ErrorCode.NONE
    assert commit(wire, group, other, 6) == ErrorCode.NONE
    delete_topic(topic)
    assert commit(wire, group, topic, 7) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    # Offsets go in the background; each request that is answered gives it its turn.
    assert any(committed(wire, group, topic) == -1 for _ in range(2000))
    assert committed(wire, group, other) == 6


@pytest.mark.parametrize("version", [2, 9, 10])
def test_a_commit_for_a_partition_that_is_not_there_is_refused(
    wire: Any, group: str, topic: str, version: int
) -> None:
    parts = [
        {"partition_index": index, "committed_offset": 5, "committed_metadata": ""} for index in (1, 0, -1)
    ]
    values = {"generation_id_or_member_epoch": -1, "member_id": ""}
    topics = [{**named(wire, topic, version), "partitions": parts}]
    answer = wire.call(ApiKey.OFFSET_COMMIT, version, group_id=group, topics=topics, **values)
    codes = {each.partition_index: each.error_code for each in answer.topics[0].partitions}
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert codes == {1: unknown, 0: ErrorCode.NONE, -1: unknown}
    (found,) = wire.call(ApiKey.OFFSET_FETCH, 9, groups=[{"group_id": group, "topics": None}]).groups
    assert [each.partition_index for each in found.topics[0].partitions] == [0]


@pytest.mark.parametrize("version", [2, 4])
def test_offsets_may_be_kept_for_ever(wire: Any, group: str, topic: str, version: int) -> None:
    for_ever = {"retention_time_ms": 2**63 - 1}
    assert commit(wire, group, topic, 5, version=version, **for_ever) == ErrorCode.NONE
    assert committed(wire, group, topic) == 5


def test_metadata_that_is_too_long_is_refused(wire: Any, group: str, topic: str) -> None:
    assert commit(wire, group, topic, 5, metadata="x" * 4097) == ErrorCode.OFFSET_METADATA_TOO_LARGE
    assert committed(wire, group, topic) == -1


def test_share_groups_are_not_coordinated(wire: Any) -> None:
    answer = wire.call(ApiKey.FIND_COORDINATOR, 6, key_type=2, coordinator_keys=["g:x:0"])
    assert answer.coordinators[0].error_code == ErrorCode.INVALID_REQUEST


def test_clients_do_not_write_to_internal_topics(
    wire: Any, group: str, batch: Callable[..., bytes], topic: str
) -> None:
    result = wire.produce("__consumer_offsets", batch(b"x"))
    assert result.error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
    assert commit(wire, group, topic, 5) == ErrorCode.NONE


def test_a_join_waits_while_other_connections_go_on(connect: Callable[[], Any], group: str) -> None:
    first = connect()
    member_id = settle(first, group)
    second = connect()
    given = join(second, group).member_id
    values = {
        "session_timeout_ms": 10_000,
        "rebalance_timeout_ms": 10_000,
        "protocol_type": "consumer",
        "protocols": [{"name": "range", "metadata": b"meta"}],
    }
    number = second.request(ApiKey.JOIN_GROUP, 9, group_id=group, member_id=given, **values)
    told = ErrorCode.NONE
    while told == ErrorCode.NONE:
        beat = first.call(ApiKey.HEARTBEAT, 4, group_id=group, generation_id=1, member_id=member_id)
        told = beat.error_code
    assert told == ErrorCode.REBALANCE_IN_PROGRESS
    assert join(first, group, member_id).generation_id == 2
    assert second.response(ApiKey.JOIN_GROUP, 9, number).generation_id == 2


def test_the_internal_topic_is_as_in_kafka(wire: Any, group: str) -> None:
    answer = wire.call(ApiKey.METADATA, 9, topics=[{"name": "__consumer_offsets"}])
    (found,) = answer.topics
    assert (found.is_internal, len(found.partitions)) == (True, 50)
    assert {len(each.replica_nodes) for each in found.partitions} == {1}, "as many as there are brokers"
    resources = [{"resource_type": 2, "resource_name": "__consumer_offsets", "configuration_keys": None}]
    described = wire.call(ApiKey.DESCRIBE_CONFIGS, 4, resources=resources)
    configs = {each.name: each.value for each in described.results[0].configs}
    assert configs["cleanup.policy"] == "compact"
    assert configs["segment.bytes"] == "104857600"


def test_a_group_that_is_not_there_is_told_from_one_of_the_classic_kind(wire: Any, group: str) -> None:
    settle(wire, group)
    asked = {"group_ids": [group, "never-made"], "include_authorized_operations": False}
    answer = wire.call(ApiKey.CONSUMER_GROUP_DESCRIBE, 1, **asked)
    assert [(each.error_code, each.error_message) for each in answer.groups] == [
        (ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group} is not a consumer group."),
        (ErrorCode.GROUP_ID_NOT_FOUND, "Group never-made not found."),
    ]
