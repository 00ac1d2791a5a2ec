"""What a cluster goes through, one fault at a time, while idempotent producers keep sending."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.fetch import FetchPartition, FetchRequest, FetchResult
from kafkawire.fetch_client import FetchResponse, decode_fetch_response, encode_fetch_request
from kafkawire.metadata_client import MetadataRequest
from kafkawire.produce import ProducePartition, ProduceRequest
from kafkawire.records import build_batch

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.asyncio(loop_scope="session"),
]

SESSION_TIMEOUT = 3.0


def produce_request(topic: str, batch: bytes, timeout_ms: int = 5000) -> ProduceRequest:
    """Asks for one batch in partition 0, acknowledged by all."""
    return ProduceRequest(None, -1, timeout_ms, [ProducePartition(topic, 0, memoryview(batch))])


async def produce(world: Any, topic: str, batch: bytes) -> Any:
    """Produce one batch to the leader of partition 0, whoever it is; the answer has no error."""

    async def done() -> Any:
        leader = await world.leader(topic)
        response = await world.client.call(leader, ApiKey.PRODUCE, produce_request(topic, batch), 6.0)
        (result,) = response.results
        return result if result.error_code == ErrorCode.NONE else None

    return await world.until(done)


async def test_sigterm_moves_leaderships_first(world: Any, start_load: Callable[..., Any]) -> None:
    topic = await world.create_topic(3)
    load = start_load(topic, 3)
    await load.more(100)
    leader = await world.leader(topic)
    leaving = asyncio.create_task(world.nodes.processes[leader].terminate())
    moved = asyncio.create_task(world.until_led_by_another(topic, leader))
    done, _ = await asyncio.wait([leaving, moved], return_when=asyncio.FIRST_COMPLETED)
    assert done == {moved}, "the process ended before its leadership had moved"
    assert await leaving == 0
    assert "left_uncontrolled" not in world.nodes.processes[leader].log_path.read_text()
    await load.more(100)
    await world.faults.restart(leader)
    await world.until_in_sync(topic)
    await load.stop()
    verdict = await load.verdict()
    assert verdict.held, verdict
    assert verdict.totals.read == verdict.totals.sent == verdict.totals.acknowledged


async def test_the_controller_knows_how_far_brokers_are_with_the_metadata(world: Any) -> None:
    async def all_up_to_date() -> Any:
        quorum = (await world.admin.state()).quorum
        if quorum is None:
            return None
        ends = {each.node_id: each.log_end_offset for each in quorum.observers}
        return ends if set(ends.values()) == {quorum.high_watermark} else None

    assert set(await world.until(all_up_to_date)) == set(world.brokers)


async def test_a_paused_leader_is_replaced_and_fenced(world: Any, start_load: Callable[..., Any]) -> None:
    topic = await world.create_topic(3)
    load = start_load(topic, 3)
    await load.more(100)
    leader = await world.leader(topic)
    connection = await world.client.connection(leader)
    paused = world.faults.pause(leader)
    # This request waits in the paused process and is read before it knows that it has been replaced.
    to_zombie = connection.send(
        ApiKey.PRODUCE, produce_request(topic, build_batch([(0, b"zombie", b"-1\tzombie")]))
    )
    await world.until_led_by_another(topic, leader)
    assert time.monotonic() - paused.at < SESSION_TIMEOUT + 2
    await load.more(100)
    world.faults.resume(leader)
    try:
        async with asyncio.timeout(20):
            answer = await to_zombie
        assert answer.results[0].error_code in (
            ErrorCode.NOT_LEADER_OR_FOLLOWER,
            ErrorCode.REQUEST_TIMED_OUT,
            ErrorCode.NOT_ENOUGH_REPLICAS,
            ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        )
    except ConnectionError:
        pass  # as good an answer
    await world.until_in_sync(topic)
    await load.stop()
    verdict = await load.verdict()
    assert verdict.held, verdict
    assert verdict.totals.read == verdict.totals.sent


async def test_idempotence_survives_the_death_of_all(world: Any, read_back: Callable[..., Any]) -> None:
    """Every process is killed at once. A batch that is sent again is answered as the first time; so it is by
    the leader that comes after."""
    topic = await world.create_topic(1)
    now_ms = time.time_ns() // 1_000_000  # producers of long ago are forgotten, as in Kafka
    batches = [
        build_batch(
            [(now_ms, b"k", b"%d" % index)], producer_id=9_000_000, producer_epoch=0, base_sequence=index
        )
        for index in range(8)
    ]
    assert [(await produce(world, topic, batch)).base_offset for batch in batches] == list(range(8))
    everybody = world.nodes.processes
    await asyncio.gather(*(process.kill() for process in everybody.values()))
    await world.nodes.start()
    await world.until_in_sync(topic)
    assert (await produce(world, topic, batches[-1])).base_offset == 7
    leader = await world.leader(topic)
    await world.faults.kill(leader)
    await world.until_led_by_another(topic, leader)
    assert (await produce(world, topic, batches[-2])).base_offset == 6
    following = build_batch([(now_ms, b"k", b"8")], producer_id=9_000_000, producer_epoch=0, base_sequence=8)
    assert (await produce(world, topic, following)).base_offset == 8
    records = await read_back(world.bootstrap, topic, 1)
    assert [record.value for _, record in records] == [b"%d" % index for index in range(9)]


async def test_leaders_go_on_without_controllers(world: Any, start_load: Callable[..., Any]) -> None:
    topic = await world.create_topic(3)
    load = start_load(topic, 3)
    await load.more(100)
    await asyncio.gather(*(world.faults.kill(node_id) for node_id in world.controllers))
    await load.more(1000)
    request = messages.request_class(ApiKey.CREATE_TOPICS)
    wanted = request.CreatableTopic(name="in-vain", num_partitions=1, replication_factor=1)
    refused = await world.client.call_any(
        ApiKey.CREATE_TOPICS, request(topics=[wanted], timeout_ms=500), timeout=10
    )
    assert refused.topics[0].error_code == ErrorCode.REQUEST_TIMED_OUT
    await asyncio.gather(*(world.faults.restart(node_id) for node_id in world.controllers))
    await load.more(100)
    await world.create_topic(1)
    await load.stop()
    verdict = await load.verdict()
    assert verdict.held, verdict
    assert verdict.totals.read == verdict.totals.sent


async def test_a_killed_leader_is_replaced_within_a_second(
    world: Any, start_load: Callable[..., Any]
) -> None:
    """The bound is loose: machines that run tests are slow. `make bench` measures."""
    topic = await world.create_topic(3)
    load = start_load(topic, 3)
    await load.more(100)
    leader = await world.leader(topic)
    fault = await world.faults.kill(leader)
    await world.until_led_by_another(topic, leader)
    assert time.monotonic() - fault.at < SESSION_TIMEOUT, "noticed by the broken link, not by the session"
    await load.more(100)
    await load.stop()
    verdict = await load.verdict()
    assert verdict.held, verdict


async def test_a_silent_controller_costs_no_broker_its_place(
    world: Any, start_load: Callable[..., Any]
) -> None:
    """Its links stay as they are, so that brokers find the next one seconds later, by its silence; the next
    one knows by their links to it that they live. Once it fenced them all."""
    topic = await world.create_topic(3)
    load = start_load(topic, 3)
    await load.more(50)
    before = (await world.topic(topic)).partitions
    silent = await world.active_controller()
    world.faults.pause(silent)
    fenced_by = time.monotonic() + SESSION_TIMEOUT + 1.5
    try:
        while time.monotonic() < fenced_by:
            await load.more(5)
    finally:
        world.faults.resume(silent)
    assert await world.active_controller() != silent
    after = (await world.topic(topic)).partitions
    assert [(each.leader, each.leader_epoch) for each in after] == [
        (each.leader, each.leader_epoch) for each in before
    ]
    await load.stop()


async def test_the_first_to_ask_after_a_kill_is_told_of_the_next_leader(world: Any) -> None:
    """A client that is told of no leader comes back when its own timer says so, up to a second later."""
    topic = await world.create_topic(1)
    leader = await world.leader(topic)
    other = min({1, 2, 3} - {leader})
    await world.client.connection(other)
    await world.faults.kill(leader)
    answer = await world.client.call(other, ApiKey.METADATA, MetadataRequest((topic,)), 5.0)
    (partition,) = answer.topics[0].partitions
    assert partition.error_code == ErrorCode.NONE
    assert partition.leader in {1, 2, 3} - {leader}


async def leader_told_by(world: Any, broker: int, name: str) -> bool:
    """Whether this broker has heard of the topic: one of them is told of it first."""
    response = await world.client.call(broker, ApiKey.METADATA, MetadataRequest((name,)), 5.0)
    (topic,) = response.topics
    return topic.error_code == ErrorCode.NONE and topic.partitions[0].leader >= 0


async def test_the_wrong_broker_names_the_right_one(world: Any) -> None:
    """KIP-951: so that the client need not ask for metadata first."""
    topic = await world.create_topic(1)
    leader = await world.leader(topic)
    partition = (await world.topic(topic)).partitions[0]
    batch = build_batch([(0, b"k", b"v")])
    for other in {1, 2, 3} - {leader}:
        await world.until(partial(leader_told_by, world, other, topic))
        refused = await world.client.call(other, ApiKey.PRODUCE, produce_request(topic, batch), 5.0)
        (result,) = refused.results
        assert result.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert result.leader == (leader, partition.leader_epoch)
        (endpoint,) = refused.endpoints
        assert (endpoint.node_id, endpoint.port) == (leader, world.client.brokers[leader].port)
        (described,) = (await world.client.metadata([topic])).topics
        by_id = FetchPartition(described.topic_id, 0, -1, 0, -1, -1, 1000)
        told = await fetch_by_id(world.client.brokers[other], by_id)
        (unread,) = told.results
        assert (unread.error_code, unread.leader) == (
            ErrorCode.NOT_LEADER_OR_FOLLOWER,
            (leader, partition.leader_epoch),
        )
        assert [(each.node_id, each.port) for each in told.endpoints] == [(leader, endpoint.port)]


async def fetch_by_id(broker: Any, partition: FetchPartition) -> FetchResponse:
    """One fetch in the newest version."""
    request = FetchRequest(-1, 0, 1, 1000, 0, 0, -1, [partition], [], "", topic_ids=True)
    reader, writer = await asyncio.open_connection(broker.host, broker.port)
    writer.write(encode_fetch_request(18, 1, request))
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    response = decode_fetch_response(18, memoryview(await reader.readexactly(size)))
    writer.close()
    return response


async def test_a_consumer_of_an_older_epoch_is_fenced(world: Any) -> None:
    topic = await world.create_topic(1)
    await produce(world, topic, build_batch([(0, b"k", b"v")]))
    old = (await world.topic(topic)).partitions[0]
    await world.faults.kill(old.leader)
    await world.until_led_by_another(topic, old.leader)
    new = (await world.topic(topic)).partitions[0]
    assert new.leader_epoch > old.leader_epoch

    async def fetch(epoch: int) -> FetchResult:
        wanted = [FetchPartition(topic, 0, epoch, 0, -1, -1, 1000)]
        asked = FetchRequest(-1, 0, 1, 1000, 0, 0, -1, wanted, [], "")
        (result,) = (await world.client.call(new.leader, ApiKey.FETCH, asked, 5.0)).results
        return result

    fenced = await fetch(old.leader_epoch)
    assert fenced.error_code == ErrorCode.FENCED_LEADER_EPOCH
    assert fenced.leader == (new.leader, new.leader_epoch)
    assert (await fetch(new.leader_epoch + 1)).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
    assert (await fetch(new.leader_epoch)).error_code == ErrorCode.NONE
