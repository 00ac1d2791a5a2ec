"""Partitions that move between real brokers under load, elections on demand, records deleted everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.messages import request_class
from kraft.client.cluster import Cluster
from kraft.client.consumer import Consumer, ConsumerOptions, TopicPartition
from kraft.client.transactions import TransactionalProducer

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.asyncio(loop_scope="session"),
]


async def reassign(world: Any, topic: str, replicas: list[int] | None) -> ErrorCode:
    """Ask for other replicas of partition 0; None gives that up."""
    make = request_class(ApiKey.ALTER_PARTITION_REASSIGNMENTS)
    topic_class = make.ReassignableTopic
    partition = topic_class.ReassignablePartition(partition_index=0, replicas=replicas)
    request = make(timeout_ms=30_000, topics=[topic_class(name=topic, partitions=[partition])])

    async def answered() -> Any:
        response = await world.client.call_any(ApiKey.ALTER_PARTITION_REASSIGNMENTS, request)
        return response if response.error_code == ErrorCode.NONE else None

    response = await world.until(answered)
    return ErrorCode(response.responses[0].partitions[0].error_code)


async def moving(world: Any) -> list[tuple[str, list[int], list[int]]]:
    """(topic, adding, removing) of what is under way."""
    request = request_class(ApiKey.LIST_PARTITION_REASSIGNMENTS)(timeout_ms=30_000, topics=None)
    response = await world.client.call_any(ApiKey.LIST_PARTITION_REASSIGNMENTS, request)
    return [
        (topic.name, each.adding_replicas, each.removing_replicas)
        for topic in response.topics
        for each in topic.partitions
    ]


async def until_on(world: Any, topic: str, replicas: list[int]) -> Any:
    """Wait until the partition has these replicas alone, all in sync."""

    async def settled() -> Any:
        partition = (await world.admin.topic(topic)).partitions[0]
        done = list(partition.replicas) == replicas and set(partition.isr) == set(replicas)
        return partition if done and partition.leader >= 0 else None

    return await world.until(settled)


def directories(world: Any, topic: str) -> set[int]:
    """The brokers that have a directory for partition 0."""
    plan = world.nodes.plan
    holders = {path.relative_to(plan.directory).parts[0] for path in plan.directory.rglob(f"{topic}-0")}
    return {node.node_id for node in plan.nodes if node.name in holders}


async def test_a_partition_moves_under_load_and_a_broker_dies_meanwhile(
    world: Any, start_load: Callable[[str, int], Any]
) -> None:
    topic = await world.create_topic(1)
    load = start_load(topic, 1)
    await load.more(500)
    # Away from the leader; then back, while whoever leads is killed.
    first = (await world.topic(topic)).partitions[0]
    stays = [broker for broker in first.replicas if broker != first.leader]
    assert await reassign(world, topic, stays) is ErrorCode.NONE
    await until_on(world, topic, stays)
    await load.more(200)
    wanted = [first.leader, *stays]
    assert await reassign(world, topic, wanted) is ErrorCode.NONE
    leader = await world.leader(topic)
    await world.nodes.processes[leader].kill()
    await world.until_led_by_another(topic, leader)
    await load.more(200)
    await world.nodes.processes[leader].start()
    await until_on(world, topic, wanted)
    await load.more(200)
    await load.stop()
    verdict = await load.verdict()
    assert verdict.held, verdict
    assert verdict.totals.read == verdict.totals.sent == verdict.totals.acknowledged
    assert await moving(world) == []


async def test_a_broker_drops_what_it_no_longer_holds_and_a_move_is_given_up(world: Any) -> None:
    topic = await world.create_topic(1)
    one, two, three = (await world.topic(topic)).partitions[0].replicas
    assert await reassign(world, topic, [one]) is ErrorCode.NONE
    await until_on(world, topic, [one])

    async def dropped() -> bool:
        return directories(world, topic) == {one}

    await world.until(dropped)
    # The one that is to come is down: the move waits for it, and is given up.
    await world.nodes.processes[two].kill()
    assert await reassign(world, topic, [two, one]) is ErrorCode.NONE
    assert (topic, [two], []) in await moving(world)
    assert await reassign(world, topic, None) is ErrorCode.NONE
    await until_on(world, topic, [one])
    assert await moving(world) == []
    assert await reassign(world, topic, None) is ErrorCode.NO_REASSIGNMENT_IN_PROGRESS
    await world.nodes.processes[two].start()
    assert await reassign(world, topic, [three, two, one]) is ErrorCode.NONE
    await until_on(world, topic, [three, two, one])


async def test_preferred_leaders_are_elected_on_demand(world: Any) -> None:
    preferred, unclean = 0, 1
    topic = await world.create_topic(1)
    wanted = (await world.topic(topic)).partitions[0].replicas[0]
    await world.nodes.processes[wanted].kill()
    await world.until_led_by_another(topic, wanted)
    assert await world.elect(topic, preferred) is ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE
    assert await world.elect(topic, unclean) is ErrorCode.ELECTION_NOT_NEEDED
    await world.nodes.processes[wanted].start()
    await world.until_in_sync(topic)

    async def elected() -> bool:
        return await world.elect(topic, preferred) in (ErrorCode.NONE, ErrorCode.ELECTION_NOT_NEEDED)

    await world.until(elected)
    assert await world.leader(topic) == wanted


async def open_transaction(world: Any, topic: str, broker: int | None = None) -> Any:
    """The producer with a transaction in partition 0 as its leader describes it, or another broker."""
    if broker is None:
        broker = await world.leader(topic)
    make = request_class(ApiKey.DESCRIBE_PRODUCERS)
    request = make(topics=[make.TopicRequest(name=topic, partition_indexes=[0])])
    response = await world.client.call(broker, ApiKey.DESCRIBE_PRODUCERS, request)
    ((partition,),) = [each.partitions for each in response.topics]
    assert partition.error_code == ErrorCode.NONE
    (producer,) = partition.active_producers
    return producer


async def abort_marker(world: Any, broker: int, topic: str, producer: Any) -> ErrorCode:
    """Ask a broker to abort what a producer has open in partition 0."""
    make = request_class(ApiKey.WRITE_TXN_MARKERS)
    marker = make.WritableTxnMarker(
        producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch,
        transaction_result=False,
        topics=[make.WritableTxnMarker.WritableTxnMarkerTopic(name=topic, partition_indexes=[0])],
        coordinator_epoch=0,
        transaction_version=0,
    )
    response = await world.client.call(broker, ApiKey.WRITE_TXN_MARKERS, make(markers=[marker]))
    ((partition,),) = [each.partitions for each in response.markers[0].topics]
    return ErrorCode(partition.error_code)


async def test_markers_follow_a_partition_that_moved(world: Any) -> None:
    topic = await world.create_topic(1)
    one, two, three = (await world.topic(topic)).partitions[0].replicas
    options = ConsumerOptions(max_wait=0.05, committed_only=True)
    async with (
        Cluster(world.bootstrap) as client,
        TransactionalProducer(client, topic) as producer,
        Consumer(client, options) as consumer,
    ):
        await producer.init()
        producer.begin()
        assert await (await producer.send(topic, b"begun here, committed there", partition=0)) == 0
        assert await world.leader(topic) == one
        known = {(await open_transaction(world, topic, each)).producer_id for each in (one, two, three)}
        assert len(known) == 1, "every replica describes it (KIP-664)"
        assert await reassign(world, topic, [two, one, three]) is ErrorCode.NONE

        async def moved() -> bool:
            await world.elect(topic, 0)
            return bool(await world.leader(topic) == two)

        await world.until(moved)
        begun = await open_transaction(world, topic)
        for broker in (one, three):
            code = await abort_marker(world, broker, topic, begun)
            assert code is ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert (await open_transaction(world, topic)).current_txn_start_offset == 0
        await producer.commit()
        consumer.assign({TopicPartition(topic, 0): 0})

        async def read() -> list[bytes | None]:
            return [record.value for each in await consumer.poll() for record in each.records]

        assert await world.until(read) == [b"begun here, committed there"]

    async def over() -> bool:
        return bool((await open_transaction(world, topic)).current_txn_start_offset == -1)

    await world.until(over)


async def test_records_are_deleted_on_every_replica(
    world: Any, start_load: Callable[[str, int], Any]
) -> None:
    topic = await world.create_topic(1)
    load = start_load(topic, 1)
    await load.more(100)
    await load.stop()
    make = request_class(ApiKey.DELETE_RECORDS)
    partition = make.DeleteRecordsTopic.DeleteRecordsPartition(partition_index=0, offset=50)
    request = make(topics=[make.DeleteRecordsTopic(name=topic, partitions=[partition])], timeout_ms=30_000)
    response = await world.client.call(await world.leader(topic), ApiKey.DELETE_RECORDS, request)
    (result,) = response.topics[0].partitions
    assert (result.error_code, result.low_watermark) == (ErrorCode.NONE, 50)
