"""Topics by id (KIP-516): a topic that was deleted is gone, whatever another one of its name is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode

Batch = Callable[..., bytes]
NEVER = UUID("00000000-0000-4000-8000-00000000dead").bytes
NEW_SESSION = (0, 0)


@pytest.fixture
def recreate(connect: Any, delete_topic: Callable[[str], None]) -> Callable[[str], None]:
    """Deletes a topic and creates it again under its name."""

    def again(name: str) -> None:
        delete_topic(name)
        new = [{"name": name, "num_partitions": 1, "replication_factor": 1}]
        answer = connect().call(ApiKey.CREATE_TOPICS, 7, topics=new, timeout_ms=5000)
        assert answer.topics[0].error_code == ErrorCode.NONE, answer

    return again


def test_the_old_id_reads_and_writes_nothing_of_the_new_topic(
    wire: Any, topic: str, batch: Batch, recreate: Callable[[str], None]
) -> None:
    old = wire.topic_id(topic)
    assert wire.produce(old, batch(b"old"), version=13).error_code == ErrorCode.NONE
    recreate(topic)
    new = wire.topic_id(topic)
    assert new != old
    assert wire.produce(topic, batch(b"new")).base_offset == 0
    refused = wire.produce(old, batch(b"astray"), version=13)
    assert (refused.topic, refused.error_code, refused.base_offset) == (old, ErrorCode.UNKNOWN_TOPIC_ID, -1)
    unread = wire.fetch_one(old, 0, version=18)
    assert (unread.topic, unread.error_code, unread.records.size) == (old, ErrorCode.UNKNOWN_TOPIC_ID, 0)
    for ref, version in ((new, 18), (topic, 12)):
        assert [record.value for record in wire.read(ref, version=version)] == [b"new"]


def test_a_session_ends_for_a_topic_that_is_replaced(
    wire: Any, topic: str, batch: Batch, delete_topic: Callable[[str], None], recreate: Callable[[str], None]
) -> None:
    """As in Kafka it is the name that is looked for, once the session knows it."""
    old = wire.topic_id(topic)
    opened = wire.fetch((old, 0, 0), version=17, session=NEW_SESSION)
    assert [(result.topic, result.error_code) for result in opened.results] == [(old, ErrorCode.NONE)]
    elsewhere = wire.fetch((NEVER, 0, 0), version=17, session=NEW_SESSION)
    assert [result.error_code for result in elsewhere.results] == [ErrorCode.UNKNOWN_TOPIC_ID]
    recreate(topic)
    assert wire.produce(topic, batch(b"new")).error_code == ErrorCode.NONE
    told = wire.fetch(version=17, session=(opened.session_id, 1))
    assert [(r.topic, r.error_code, r.records.size) for r in told.results] == [
        (old, ErrorCode.INCONSISTENT_TOPIC_ID, 0)
    ]
    new = wire.topic_id(topic)
    changed = wire.fetch((new, 0, 0), version=17, session=(opened.session_id, 2), forgotten=[(old, 0)])
    (result,) = changed.results
    assert (result.topic, [record.value for record in wire.records_of(result)]) == (new, [b"new"])
    delete_topic(topic)
    gone = wire.fetch(version=17, session=(opened.session_id, 3))
    assert [(r.topic, r.error_code) for r in gone.results] == [(new, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)]


def test_a_waiting_fetch_is_told_when_its_topic_is_deleted(
    connect: Any, topic: str, delete_topic: Callable[[str], None]
) -> None:
    reader = connect()
    old = reader.topic_id(topic)
    number = reader.send_fetch([(old, 0, 0)], version=18, max_wait_ms=60_000)
    delete_topic(topic)
    (result,) = reader.fetched(number, 18).results
    assert result.error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_a_session_is_continued_as_it_was_begun(wire: Any, topic: str) -> None:
    by_name = wire.fetch((topic, 0, 0), session=NEW_SESSION)
    by_id = wire.fetch((wire.topic_id(topic), 0, 0), version=13, session=NEW_SESSION)
    for opened, other in ((by_name, 13), (by_id, 12)):
        refused = wire.fetch(version=other, session=(opened.session_id, 1))
        assert (refused.error_code, refused.results) == (ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR, [])
    for opened, same in ((by_name, 12), (by_id, 13)):
        assert wire.fetch(version=same, session=(opened.session_id, 1)).error_code == ErrorCode.NONE


@pytest.mark.parametrize("nobody", [NEVER, bytes(16)], ids=["unknown", "zero"])
def test_an_id_that_no_topic_has(wire: Any, unharmed: str, batch: Batch, nobody: bytes) -> None:
    known = wire.topic_id(unharmed)
    number = wire.send_produce([(nobody, 0, batch(b"x")), (known, 7, batch(b"x"))], version=13)
    assert [result.error_code for result in wire.produced(number, 13)] == [
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]
    told = wire.fetch((nobody, 0, 0), (known, -1, 0), (known, 0, 0), version=18, max_wait_ms=60_000)
    assert [result.error_code for result in told.results] == [
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.NONE,
    ]
    (answer,) = wire.call(ApiKey.METADATA, 13, topics=[{"topic_id": UUID(bytes=nobody), "name": None}]).topics
    assert answer.error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_internal_topics_are_closed_under_their_id_as_well(wire: Any, batch: Batch) -> None:
    while (
        wire.call(ApiKey.FIND_COORDINATOR, 4, key_type=0, coordinator_keys=["anybody"])
        .coordinators[0]
        .error_code
    ):
        pass
    internal = wire.topic_id("__consumer_offsets")
    refused = wire.produce(internal, batch(b"x"), version=13)
    assert refused.error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_offsets_belong_to_the_topic_of_the_id(
    wire: Any, topic: str, recreate: Callable[[str], None]
) -> None:
    group = f"group-of-{topic}"
    while (
        wire.call(ApiKey.FIND_COORDINATOR, 4, key_type=0, coordinator_keys=[group]).coordinators[0].error_code
    ):
        pass

    def commit(topic_id: bytes, offset: int) -> int:
        part = {"partition_index": 0, "committed_offset": offset, "committed_metadata": ""}
        answer = wire.call(
            ApiKey.OFFSET_COMMIT,
            10,
            group_id=group,
            generation_id_or_member_epoch=-1,
            member_id="",
            topics=[{"topic_id": UUID(bytes=topic_id), "partitions": [part]}],
        )
        assert answer.topics[0].topic_id == UUID(bytes=topic_id)
        return int(answer.topics[0].partitions[0].error_code)

    def committed(*topic_ids: bytes) -> list[tuple[bytes, int, int]]:
        asked = [{"topic_id": UUID(bytes=each), "partition_indexes": [0]} for each in topic_ids]
        (found,) = wire.call(
            ApiKey.OFFSET_FETCH, 10, groups=[{"group_id": group, "topics": asked or None}]
        ).groups
        assert found.error_code == ErrorCode.NONE
        return [
            (each.topic_id.bytes, each.partitions[0].error_code, each.partitions[0].committed_offset)
            for each in found.topics
        ]

    old = wire.topic_id(topic)
    assert commit(old, 40) == ErrorCode.NONE
    assert committed(old) == committed() == [(old, ErrorCode.NONE, 40)]
    recreate(topic)
    new = wire.topic_id(topic)
    assert commit(old, 41) == ErrorCode.UNKNOWN_TOPIC_ID
    assert committed(new, old) == [(new, ErrorCode.NONE, -1), (old, ErrorCode.UNKNOWN_TOPIC_ID, -1)]
    assert commit(new, 1) == ErrorCode.NONE
    assert committed() == [(new, ErrorCode.NONE, 1)]
