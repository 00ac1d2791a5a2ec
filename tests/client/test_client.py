"""The SDK against brokers that fail: what is promised to be stored is stored once and in order."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import records
from kraft.client.admin import Admin
from kraft.client.cluster import Cluster, ClusterOptions, parse_bootstrap
from kraft.client.connections import DisconnectedError
from kraft.client.consumer import EARLIEST, LATEST, Consumer, ConsumerOptions, TopicPartition
from kraft.client.lanes import Acknowledged, ProducerOptions
from kraft.client.partitioning import murmur2, partition_for_key
from kraft.client.producer import IdempotentProducer

TOPIC = "t"
SMALL = ProducerOptions(batch_size=200, linger=0.0)
IMPATIENT = ClusterOptions(connect_timeout=0.5, metadata_timeout=0.1)


def stored(partition: Any) -> list[bytes]:
    return [record.value or b"" for batch in partition.batches for record in records(batch)]


async def produce(fake: Any, count: int = 50, options: ProducerOptions = SMALL) -> list[Acknowledged]:
    """Send `count` numbered values to partition 0; all must be acknowledged."""
    heard: list[Acknowledged] = []
    async with (
        Cluster(fake.bootstrap, IMPATIENT) as cluster,
        IdempotentProducer(cluster, options, on_acknowledged=heard.append) as producer,
    ):
        for number in range(count):
            await producer.send(TOPIC, b"%d" % number, partition=0)
        async with asyncio.timeout(10):
            await producer.flush()
    assert sum(each.count for each in heard) == count
    assert stored(fake.partitions[0]) == [b"%d" % number for number in range(count)]
    return heard


async def test_records_arrive_once_in_order_and_know_their_offsets(fake: Any) -> None:
    heard = await produce(fake)
    assert len(fake.partitions[0].batches) > 5
    assert [each.base_offset for each in heard] == [
        next(iter(records(batch))).offset for batch in fake.partitions[0].batches
    ]


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.KAFKA_STORAGE_ERROR,
    ],
)
@pytest.mark.parametrize("after", [1, 3, 7])
async def test_what_a_retry_heals_is_retried(fake: Any, code: ErrorCode, after: int) -> None:
    fake.failures.extend([code] * after)
    await produce(fake)
    assert not fake.failures


async def test_a_reply_that_is_lost_does_not_double_the_record(fake: Any) -> None:
    fake.swallow = 3
    await produce(fake)
    assert fake.swallow == 0


async def test_a_new_leader_is_followed(fake: Any) -> None:
    async with Cluster(fake.bootstrap) as cluster, IdempotentProducer(cluster, SMALL) as producer:
        assert await (await producer.send(TOPIC, b"0", partition=0)) == 0
        fake.move(0, leader=2)
        assert await (await producer.send(TOPIC, b"1", partition=0)) == 1
    assert stored(fake.partitions[0]) == [b"0", b"1"]


async def test_a_leader_that_is_silent_is_left_for_its_successor(fake: Any) -> None:
    options = ProducerOptions(linger=0.0, stall_check=0.05)
    async with (
        Cluster(fake.bootstrap, IMPATIENT) as cluster,
        IdempotentProducer(cluster, options) as producer,
        asyncio.timeout(10),
    ):
        assert await (await producer.send(TOPIC, b"0", partition=0)) == 0
        fake.silent.add(1)
        delivery = await producer.send(TOPIC, b"1", partition=0)
        fake.move(0, leader=2)
        assert await delivery == 1
    assert stored(fake.partitions[0]) == [b"0", b"1"]


async def test_what_no_retry_heals_fails_the_delivery_and_all_behind_it(fake: Any) -> None:
    fake.failures.append(ErrorCode.MESSAGE_TOO_LARGE)
    async with Cluster(fake.bootstrap) as cluster:
        producer = IdempotentProducer(cluster, SMALL)
        delivery = await producer.send(TOPIC, b"x", partition=0)
        with pytest.raises(KafkaError, match="MESSAGE_TOO_LARGE"):
            await delivery
        with pytest.raises(KafkaError, match="MESSAGE_TOO_LARGE"):
            await producer.send(TOPIC, b"y", partition=0)
        with pytest.raises(KafkaError, match="MESSAGE_TOO_LARGE"):
            await producer.flush()
        assert await (await producer.send(TOPIC, b"other", partition=1)) == 0
        await producer.__aexit__(KafkaError, KafkaError(ErrorCode.NONE), None)


async def until_identified(producer: IdempotentProducer) -> None:
    """However long its id takes: a busy machine may need longer than a test gives its records."""
    async with asyncio.timeout(10):
        while True:
            with suppress(KafkaError):
                await producer.identity()
                return


async def test_no_success_in_time_is_a_failure(fake: Any) -> None:
    fake.failures.extend([ErrorCode.NOT_ENOUGH_REPLICAS] * 1000)
    options = ProducerOptions(linger=0.0, delivery_timeout=0.2)
    async with Cluster(fake.bootstrap) as cluster:
        producer = IdempotentProducer(cluster, options)
        await until_identified(producer)
        with pytest.raises(KafkaError, match=r"no success within 0\.2 s"):
            await (await producer.send(TOPIC, b"x", partition=0))
        await producer.__aexit__(KafkaError, KafkaError(ErrorCode.NONE), None)


async def test_a_full_buffer_holds_the_sender_up(fake: Any) -> None:
    options = ProducerOptions(batch_size=200, linger=0.0, buffer_size=100)
    fake.silent |= {1, 2}
    async with Cluster(fake.bootstrap, IMPATIENT) as cluster:
        producer = IdempotentProducer(cluster, options)

        async def fill() -> None:
            for _ in range(1000):
                await producer.send(TOPIC, b"x" * 10, partition=0)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fill(), 0.05)
        fake.silent.clear()
        async with asyncio.timeout(10):
            await producer.send(TOPIC, b"last", partition=0)
            await producer.flush()
        await producer.__aexit__(None, None, None)
    assert stored(fake.partitions[0])[-1] == b"last"


async def test_everything_is_read_back_from_all_leaders(fake: Any) -> None:
    names = [TopicPartition(TOPIC, index) for index in range(2)]
    async with Cluster(fake.bootstrap) as cluster:
        async with IdempotentProducer(cluster, SMALL) as producer:
            for number in range(60):
                await producer.send(TOPIC, b"%d" % number, partition=number % 2)
        async with Consumer(cluster, ConsumerOptions(max_wait=0.05)) as consumer, asyncio.timeout(10):
            consumer.assign(await consumer.offsets(names, EARLIEST))
            ends = await consumer.offsets(names, LATEST)
            read: dict[int, list[bytes]] = {0: [], 1: []}
            fake.failures.extend([ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.OFFSET_NOT_AVAILABLE])
            while any(consumer.positions[name] < end for name, end in ends.items()):
                for fetched in await consumer.poll():
                    read[fetched.partition.partition] += [each.value or b"" for each in fetched.records]
    assert read == {index: [b"%d" % n for n in range(60) if n % 2 == index] for index in range(2)}


async def test_partitions_take_turns_where_a_reply_has_no_room_for_all(fake: Any) -> None:
    fake.move(1, leader=1)
    names = [TopicPartition(TOPIC, index) for index in range(2)]
    options = ConsumerOptions(max_wait=0.05, max_bytes=1)
    async with Cluster(fake.bootstrap) as cluster, asyncio.timeout(10):
        async with IdempotentProducer(cluster, ProducerOptions(linger=0.0)) as producer:
            for number in range(40):
                await (await producer.send(TOPIC, b"%d" % number, partition=number % 2))
        async with Consumer(cluster, options) as consumer:
            consumer.assign(dict.fromkeys(names, 0))
            served: list[int] = []
            while len(served) < 10:
                served += [fetched.partition.partition for fetched in await consumer.poll()]
    assert served.count(0) > 2
    assert served.count(1) > 2


async def test_seek_goes_into_the_middle_of_a_batch_and_past_the_end_is_an_error(fake: Any) -> None:
    name = TopicPartition(TOPIC, 0)
    await produce(fake, options=ProducerOptions(linger=0.0))
    async with Cluster(fake.bootstrap) as cluster, Consumer(cluster) as consumer, asyncio.timeout(10):
        consumer.assign({name: 0})
        consumer.seek(name, 48)
        fetched: list[bytes] = []
        while consumer.positions[name] < 50:
            fetched += [each.value or b"" for some in await consumer.poll() for each in some.records]
        assert fetched == [b"48", b"49"]
        consumer.seek(name, 1000)

        async def read_on() -> None:
            while True:
                await consumer.poll()

        with pytest.raises(KafkaError, match="OFFSET_OUT_OF_RANGE"):
            await read_on()
        with pytest.raises(ValueError, match="t-1 is not assigned"):
            consumer.seek(TopicPartition(TOPIC, 1), 0)


async def test_topics_are_created_and_deleted_through_any_broker(fake: Any) -> None:
    async with Cluster(fake.bootstrap) as cluster:
        admin = Admin(cluster, timeout=5)
        fake.controller_misses = 2
        await admin.create_topic("new", partitions=3, replication_factor=2, configs={"retention.ms": "1"})
        assert (fake.created["new"].num_partitions, fake.created["new"].configs[0].value) == (3, "1")
        with pytest.raises(KafkaError, match="TOPIC_ALREADY_EXISTS"):
            await admin.create_topic(TOPIC)
        await admin.delete_topic("new")
        with pytest.raises(KafkaError, match="UNKNOWN_TOPIC_OR_PARTITION"):
            await admin.delete_topic("new")
        assert [topic.name for topic in await admin.topics()] == [TOPIC]
        assert (await admin.topic(TOPIC)).partitions[1].leader == 2
        with pytest.raises(KafkaError, match="UNKNOWN_TOPIC_OR_PARTITION"):
            await admin.topic("none")


async def test_an_error_that_was_answered_is_not_hidden_by_a_last_try_without_time(fake: Any) -> None:
    """Nobody answers the last try, for which 0.1 s are left."""
    fake.controller_misses = 1

    def fall_silent(node_id: int, key: ApiKey) -> None:
        if key is ApiKey.CREATE_TOPICS and not fake.controller_misses:
            fake.silent |= {1, 2}

    fake.before = fall_silent
    async with Cluster(fake.bootstrap) as cluster:
        with pytest.raises(KafkaError) as failed:
            await Admin(cluster, timeout=0.05).create_topic("new")
    assert failed.value.code is ErrorCode.NOT_CONTROLLER


async def test_callers_at_one_time_share_a_metadata_request(fake: Any) -> None:
    async with Cluster(fake.bootstrap) as cluster:
        await asyncio.gather(*(cluster.refresh([TOPIC]) for _ in range(20)))
        assert sum(key.name == "METADATA" for _, key in fake.requests) == 1


async def test_an_older_epoch_does_not_bring_an_old_leader_back(fake: Any) -> None:
    async with Cluster(fake.bootstrap) as cluster:
        fake.move(0, leader=2)
        await cluster.refresh([TOPIC])
        fake.partitions[0].epoch, fake.partitions[0].leader = 0, 1
        await cluster.refresh([TOPIC])
        leader = cluster.known_leader(TOPIC, 0)
    assert leader == (2, 1)


async def test_nobody_there_is_one_error(fake: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        bootstrap = f"127.0.0.1:{unused.getsockname()[1]}"
        async with Cluster(bootstrap) as cluster:
            with pytest.raises(DisconnectedError, match=f"no broker answers at {bootstrap}"):
                await cluster.refresh([TOPIC])
            with pytest.raises(DisconnectedError, match="broker 9 is not known"):
                await cluster.connection(9)


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:x", "host:0", "host:65536", "a:1,,b:2"])
def test_a_bootstrap_list_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        parse_bootstrap(text)


def test_a_bootstrap_list() -> None:
    assert parse_bootstrap("a:1, [::1]:2") == (("a", 1), ("::1", 2))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_are_hashed_as_kafka_hashes_them(key: bytes, expected: int) -> None:
    """The values of Kafka's own `UtilsTest.testMurmur2`."""
    assert murmur2(key) == expected & 0xFFFFFFFF
    assert partition_for_key(key, 10) == (expected & 0x7FFFFFFF) % 10
