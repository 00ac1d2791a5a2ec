"""Members of a group, against a real node: who reads what, from where, and what a lost member leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import Consumer as ConfluentConsumer

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kraft.client.cluster import Cluster
from kraft.client.fetcher import FetchOptions
from kraft.client.group_consumer import GroupConsumer
from kraft.client.lanes import ProducerOptions
from kraft.client.membership import GroupOptions
from kraft.client.offset_lookup import EARLIEST, LATEST, TopicPartition
from kraft.client.producer import IdempotentProducer

QUICK = FetchOptions(max_wait=0.05)


def options(group: str, **changes: Any) -> GroupOptions:
    settings = {"session_timeout": 10.0, "heartbeat_interval": 0.05, "reset": EARLIEST} | changes
    return GroupOptions(group, **settings)


def member(cluster: Cluster, topic: str, group: str, **changes: Any) -> GroupConsumer:
    return GroupConsumer(cluster, [topic], options(group, **changes), QUICK)


async def write(cluster: Cluster, topic: str, count: int, partitions: int = 1) -> None:
    async with IdempotentProducer(cluster, ProducerOptions(linger=0.0)) as producer:
        for number in range(count):
            await producer.send(topic, b"%d" % number, partition=number % partitions)


async def read(consumer: GroupConsumer, count: int, max_records: int | None = None) -> list[int]:
    values: list[int] = []
    while len(values) < count:
        for fetched in await consumer.poll(0.2, max_records):
            values += [int(record.value or b"-1") for record in fetched.records]
    return values


async def until_assigned(consumers: Sequence[GroupConsumer], partitions: int) -> None:
    """Poll all of them until each has something, and together they have everything."""
    while True:
        held = [each.assignment for each in consumers]
        if all(held) and sum(map(len, held)) == partitions:
            return
        await asyncio.gather(*(each.poll(0.05) for each in consumers))


async def members(cluster: Cluster, group: str) -> int:
    request_class = messages.request_class(ApiKey.DESCRIBE_GROUPS)
    request = request_class(groups=[group], include_authorized_operations=False)
    response = await cluster.call_any(ApiKey.DESCRIBE_GROUPS, request)
    return len(response.groups[0].members)


async def test_a_member_that_is_closed_while_it_joins_leaves_nothing_in_the_group(
    cluster: Cluster, make_topic: Any
) -> None:
    topic = await make_topic(2)
    async with member(cluster, topic, "hasty") as first:
        await until_assigned([first], 2)
        async with member(cluster, topic, "hasty") as second:
            while await members(cluster, "hasty") < 2:  # it waits for the first one now, which does not poll
                await second.poll(0.05)
        assert await members(cluster, "hasty") == 1


async def test_a_member_reads_everything_and_the_next_one_goes_on_where_it_committed(
    cluster: Cluster, make_topic: Any
) -> None:
    topic = await make_topic(3)
    await write(cluster, topic, 60, partitions=3)
    heard: list[tuple[str, tuple[TopicPartition, ...]]] = []
    everything = tuple(TopicPartition(topic, index) for index in range(3))
    async with GroupConsumer(
        cluster,
        [topic],
        options("resumed"),
        QUICK,
        on_assigned=lambda partitions: heard.append(("assigned", partitions)),
        on_revoked=lambda partitions: heard.append(("revoked", partitions)),
    ) as first:
        assert sorted(await read(first, 60)) == list(range(60))
        await first.commit({everything[0]: 5, everything[1]: 20})
        assert first.positions == dict.fromkeys(everything, 20)
        offsets = {each: found.offset for each, found in (await first.committed(everything)).items()}
        assert offsets == {everything[0]: 5, everything[1]: 20}
    assert heard == [("assigned", everything), ("revoked", everything)]
    async with member(cluster, topic, "resumed") as second:
        # Partition 0 from where it was committed, 2 from its beginning.
        wanted = [*range(15, 60, 3), *range(2, 60, 3)]
        assert sorted(await read(second, len(wanted))) == sorted(wanted)
        await second.commit()
        assert {each.offset for each in (await second.committed(everything)).values()} == {20}


async def test_two_members_share_and_one_that_leaves_is_replaced_at_once(
    cluster: Cluster, make_topic: Any
) -> None:
    topic = await make_topic(4)
    async with member(cluster, topic, "shared") as first:
        await until_assigned([first], 4)
        generation = first.group_metadata.generation
        async with member(cluster, topic, "shared") as second:
            await until_assigned([first, second], 4)
            indexes = [[each.partition for each in one.assignment] for one in (first, second)]
            assert sorted(indexes) == [[0, 1], [2, 3]]
            assert first.group_metadata.generation > generation
        await until_assigned([first], 4)


async def test_a_member_that_is_gone_without_a_word_is_replaced_after_its_session(
    cluster: Cluster, make_topic: Any, real_node: str
) -> None:
    topic = await make_topic(2)
    quick = {"session_timeout": 0.5, "rebalance_timeout": 1.0}
    async with member(cluster, topic, "deserted", **quick) as first:
        async with Cluster(real_node) as other:
            second = member(other, topic, "deserted", **quick)
            await until_assigned([first, second], 2)
            await second.close(leave=False)
        await until_assigned([first], 2)


async def test_a_member_that_was_away_too_long_commits_nothing_and_joins_again(
    cluster: Cluster, make_topic: Any
) -> None:
    topic = await make_topic(2)
    quick = {"session_timeout": 0.5, "rebalance_timeout": 1.0}
    revoked: list[tuple[TopicPartition, ...]] = []
    lazy = options("away", **(quick | {"heartbeat_interval": 60.0}))
    async with (
        member(cluster, topic, "away", **quick) as first,
        GroupConsumer(cluster, [topic], lazy, QUICK, on_revoked=revoked.append) as second,
    ):
        await until_assigned([first, second], 2)
        (held,) = second.assignment
        await until_assigned([first], 2)
        with pytest.raises(KafkaError) as refused:
            await second.commit({held: 1})
        assert refused.value.code is ErrorCode.UNKNOWN_MEMBER_ID
        await until_assigned([first, second], 2)
        assert (held,) in revoked


async def test_a_static_member_comes_back_to_its_partitions(cluster: Cluster, make_topic: Any) -> None:
    topic = await make_topic(2)
    async with member(cluster, topic, "static", instance_id="a") as first:
        second = member(cluster, topic, "static", instance_id="b")
        await until_assigned([first, second], 2)
        before, generation = second.assignment, second.group_metadata.generation
        await second.close()
        second = member(cluster, topic, "static", instance_id="b")
        await until_assigned([first, second], 2)
        assert (second.assignment, second.group_metadata.generation) == (before, generation)
        # Whoever takes its name over fences it.
        async with member(cluster, topic, "static", instance_id="b") as third:
            await until_assigned([first, third], 2)
            with pytest.raises(KafkaError) as fenced:
                await until_assigned([second], 3)
            assert fenced.value.code is ErrorCode.FENCED_INSTANCE_ID
            await second.close()


@pytest.mark.parametrize(("instance_id", "stays"), [(None, False), ("a", True)])
async def test_who_does_not_poll_leaves_unless_its_place_is_kept(
    cluster: Cluster, make_topic: Any, instance_id: str | None, stays: bool
) -> None:
    group = f"polls too late {instance_id}"
    consumer = member(cluster, await make_topic(), group, instance_id=instance_id, rebalance_timeout=0.3)
    async with consumer:
        await until_assigned([consumer], 1)
        heartbeats = consumer._membership._heartbeats
        assert heartbeats is not None
        await heartbeats
        assert not consumer.group_metadata.member_id
        request = messages.request_class(ApiKey.DESCRIBE_GROUPS)(
            groups=[group], include_authorized_operations=False
        )
        (described,) = (await cluster.call_any(ApiKey.DESCRIBE_GROUPS, request)).groups
        assert len(described.members) == stays


async def test_polls_hand_out_no_more_than_asked_and_positions_follow(
    cluster: Cluster, make_topic: Any
) -> None:
    topic = await make_topic()
    await write(cluster, topic, 20)
    async with member(cluster, topic, "portions") as consumer:
        read_so_far = 0
        while read_so_far < 20:
            fetched = await consumer.poll(0.2, 7)
            read_so_far += sum(len(each.records) for each in fetched)
            assert sum(len(each.records) for each in fetched) <= 7
            if fetched:
                assert consumer.positions == {TopicPartition(topic, 0): read_so_far}
        consumer.seek(TopicPartition(topic, 0), 18)
        assert await read(consumer, 2) == [18, 19]


async def test_without_a_committed_offset_it_begins_where_it_is_told_to(
    cluster: Cluster, make_topic: Any
) -> None:
    topic = await make_topic()
    await write(cluster, topic, 10)
    async with member(cluster, topic, "latest", reset=LATEST) as consumer:
        await until_assigned([consumer], 1)
        assert consumer.positions == {TopicPartition(topic, 0): 10}
        consumer.seek(TopicPartition(topic, 0), 1000)  # past the end: it is reset
        while consumer.positions != {TopicPartition(topic, 0): 10}:
            assert await consumer.poll(0.2) == []


async def test_partitions_that_are_added_are_found(cluster: Cluster, make_topic: Any) -> None:
    topic = await make_topic(1)
    async with member(cluster, topic, "growing", metadata_max_age=0.1) as consumer:
        await until_assigned([consumer], 1)
        request_class = messages.request_class(ApiKey.CREATE_PARTITIONS)
        grown = request_class.CreatePartitionsTopic(name=topic, count=3, assignments=None)
        request = request_class(topics=[grown], timeout_ms=5000, validate_only=False)
        await cluster.call_any(ApiKey.CREATE_PARTITIONS, request, 5.0)
        while len(consumer.assignment) < 3:
            await consumer.poll(0.1)


async def test_who_is_no_member_commits_nothing(cluster: Cluster, make_topic: Any) -> None:
    topic = await make_topic()
    async with member(cluster, topic, "nobody") as consumer:
        with pytest.raises(KafkaError) as refused:
            await consumer.commit({TopicPartition(topic, 0): 1})
        assert refused.value.code is ErrorCode.UNKNOWN_MEMBER_ID
        with pytest.raises(ValueError, match="not assigned"):
            consumer.seek(TopicPartition(topic, 0), 1)


async def test_it_shares_a_group_with_librdkafka(cluster: Cluster, make_topic: Any, real_node: str) -> None:
    topic = await make_topic(4)
    theirs = ConfluentConsumer(
        {
            "bootstrap.servers": real_node,
            "group.id": "mixed",
            "heartbeat.interval.ms": 50,
            "session.timeout.ms": 6000,
            "fetch.wait.max.ms": 50,
        }
    )
    theirs.subscribe([topic])
    try:
        async with member(cluster, topic, "mixed") as ours:
            seen: set[tuple[tuple[int, ...], ...]] = set()
            while not {((0, 1), (2, 3)), ((2, 3), (0, 1))} & seen:
                theirs.poll(0)
                await ours.poll(0.02)
                held = tuple(sorted(each.partition for each in theirs.assignment()))
                seen.add((tuple(each.partition for each in ours.assignment), held))
    finally:
        theirs.close()
