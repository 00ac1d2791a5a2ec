"""KIP-848 groups of unchanged clients (librdkafka) on a real node: shared, left, killed, static, migrated.

Each wait has a bound, and ends as soon as what it waits for is the case.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.messages import decode_response, encode_request, request_class
from kraft.local_cluster import LocalCluster, plan_cluster

pytestmark = pytest.mark.cluster

TIMEOUT = 30.0
PARTITIONS = 4
SESSION_MS = 1000
SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "group.consumer.session.timeout.ms": str(SESSION_MS),
    "group.consumer.heartbeat.interval.ms": "100",
}

KILLED = """
import sys
from confluent_kafka import Consumer
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": sys.argv[2], "group.protocol": "consumer"})
consumer.subscribe([sys.argv[3]])
while True:
    consumer.poll(0.02)
    if consumer.assignment():
        print("assigned", flush=True)
"""


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a node is reached that has both roles."""
    with asyncio.Runner() as runner:
        cluster = LocalCluster(plan_cluster(1, 1, tmp_path_factory.mktemp("groups")), SETTINGS)
        (process,) = cluster.processes.values()
        try:
            at = runner.run(cluster.start())[1].kafka
            assert at is not None
            yield f"{at[0]}:{at[1]}"
            assert runner.run(process.terminate()) == 0
            assert "Traceback" not in Path(process.log_path).read_text()
        finally:
            process.kill_now()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Member:
    """A consumer in group `group`, which is also its topic's name."""

    def __init__(self, bootstrap: str, group: str, stack: ExitStack, *topics: str, **config: Any) -> None:
        from confluent_kafka import Consumer

        settings = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "topic.metadata.refresh.interval.ms": 200,
        }
        self.consumer = Consumer({**settings, **config})
        self.seen: list[str] = []
        self.consumer.subscribe(list(topics) or [group])
        stack.callback(self.consumer.close)

    def owned(self) -> set[tuple[str, int]]:
        message = self.consumer.poll(0.02)
        if message is not None and message.error() is None:
            self.seen.append(message.value().decode())
        return {(each.topic, each.partition) for each in self.consumer.assignment()}

    def close(self) -> None:
        self.consumer.close()


def create(bootstrap: str, topic: str, partitions: int = PARTITIONS) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(TIMEOUT)


def produce(bootstrap: str, topic: str, count: int) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(count):
        producer.produce(topic, str(number), partition=number % PARTITIONS)
    assert producer.flush(TIMEOUT) == 0


def wait_for(true: Callable[[], bool]) -> float:
    """Ask until it is so; `true` takes its time (it polls). Returns how long it took, in seconds."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < TIMEOUT, "it did not become so in time"
    return time.monotonic() - started


def share(*members: Member) -> list[set[tuple[str, int]]]:
    """Poll until all partitions are shared out evenly; returns who has what."""
    shares: list[set[tuple[str, int]]] = []

    def even() -> bool:
        shares[:] = [member.owned() for member in members]
        total = sum(map(len, shares))
        return total == PARTITIONS == len(set().union(*shares)) and len({len(each) for each in shares}) == 1

    wait_for(even)
    return shares


def test_members_share_and_leave(bootstrap: str, stack: ExitStack) -> None:
    create(bootstrap, "shared")
    produce(bootstrap, "shared", 40)
    first = Member(bootstrap, "shared", stack)
    wait_for(lambda: bool(first.owned()) and len(first.seen) == 40)
    first.consumer.commit(asynchronous=False)
    second = Member(bootstrap, "shared", stack)
    share(first, second)
    produce(bootstrap, "shared", 40)
    wait_for(lambda: bool(first.owned() and second.owned()) and len(first.seen) + len(second.seen) == 80)
    first.consumer.commit(asynchronous=False)
    second.consumer.commit(asynchronous=False)
    second.close()
    share(first)
    found = first.consumer.committed(first.consumer.assignment(), timeout=TIMEOUT)
    assert [each.offset for each in found] == [20] * PARTITIONS


def test_a_killed_member_is_missed_after_its_session(bootstrap: str, stack: ExitStack) -> None:
    create(bootstrap, "killed")
    first = Member(bootstrap, "killed", stack)
    share(first)
    arguments = [sys.executable, "-c", KILLED, bootstrap, "killed", "killed"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as other:
        try:
            wait_for(lambda: len(first.owned()) == PARTITIONS / 2)
            assert other.stdout is not None
            assert other.stdout.readline() == b"assigned\n"
        finally:
            other.kill()
        took = wait_for(lambda: len(first.owned()) == PARTITIONS)
    assert took > SESSION_MS / 1000 / 2


def test_a_static_member_comes_back_to_what_it_had(bootstrap: str, stack: ExitStack) -> None:
    create(bootstrap, "static")
    first = Member(bootstrap, "static", stack)
    second = Member(bootstrap, "static", stack, **{"group.instance.id": "one"})
    kept, had = share(first, second)
    second.close()
    again = Member(bootstrap, "static", stack, **{"group.instance.id": "one"})
    wait_for(lambda: again.owned() == had)
    assert first.owned() == kept


def test_an_expression_finds_topics_as_they_come(bootstrap: str, stack: ExitStack) -> None:
    create(bootstrap, "wide-one")
    member = Member(bootstrap, "wide", stack, "^wide-.*")
    wait_for(lambda: len(member.owned()) == PARTITIONS)
    create(bootstrap, "wide-two", 2)
    wait_for(lambda: len(member.owned()) == PARTITIONS + 2)


def test_a_group_is_migrated_while_it_works(bootstrap: str, stack: ExitStack) -> None:
    create(bootstrap, "moved")
    classic = {
        "group.protocol": "classic",
        "partition.assignment.strategy": "cooperative-sticky",
        "heartbeat.interval.ms": 100,
        "session.timeout.ms": 6000,
    }
    old = Member(bootstrap, "moved", stack, **classic)
    share(old)
    assert kind(bootstrap, "moved") == "CLASSIC"
    new = Member(bootstrap, "moved", stack)
    share(old, new)
    assert kind(bootstrap, "moved") == "CONSUMER"
    old.consumer.commit(offsets=positions(old.consumer), asynchronous=False)
    new.close()
    share(old)
    assert kind(bootstrap, "moved") == "CLASSIC"


def positions(consumer: Any) -> list[Any]:
    from confluent_kafka import TopicPartition

    return [TopicPartition(each.topic, each.partition, 0) for each in consumer.assignment()]


def kind(bootstrap: str, group: str) -> str:
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": bootstrap})
    listed = admin.list_consumer_groups().result(TIMEOUT)
    return {each.group_id: each.type.name for each in listed.valid}[group]


def test_the_admin_client_sees_members(bootstrap: str, stack: ExitStack) -> None:
    from confluent_kafka.admin import AdminClient

    create(bootstrap, "seen")
    member = Member(bootstrap, "seen", stack)
    share(member)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    described = admin.describe_consumer_groups(["seen"])["seen"].result(TIMEOUT)
    assert (described.state.name, described.type.name) == ("STABLE", "CONSUMER")
    (found,) = described.members
    assert len(found.assignment.topic_partitions) == len(found.target_assignment.topic_partitions) == 4
    member.close()
    admin.delete_consumer_groups(["seen"])["seen"].result(TIMEOUT)


@pytest.mark.parametrize("version", [0, 1])
async def test_every_version_is_answered(bootstrap: str, version: int) -> None:
    host, _, port = bootstrap.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))

    async def ask(key: ApiKey, version: int = version, **fields: Any) -> Any:
        writer.write(encode_request(key, version, 1, request_class(key)(**fields)))
        async with asyncio.timeout(TIMEOUT):
            size = int.from_bytes(await reader.readexactly(4), "big")
            return decode_response(key, version, await reader.readexactly(size))

    group = f"wire-{version}"
    # Whoever looks for the first coordinator has its topic made.
    found = await ask(ApiKey.FIND_COORDINATOR, 4, key_type=0, coordinator_keys=[group])
    assert found.coordinators[0].error_code == ErrorCode.NONE
    join = {"group_id": group, "member_epoch": 0, "rebalance_timeout_ms": 1000, "topic_partitions": []}
    try:
        nameless = await ask(
            ApiKey.CONSUMER_GROUP_HEARTBEAT, member_id="", subscribed_topic_names=["none"], **join
        )
        if version == 0:
            assert (nameless.error_code, nameless.member_epoch) == (0, 1)
            assert nameless.member_id
        else:
            assert nameless.error_code == ErrorCode.INVALID_REQUEST
            assert nameless.error_message == "MemberId can't be empty."
        joined = await ask(
            ApiKey.CONSUMER_GROUP_HEARTBEAT, member_id="m", subscribed_topic_names=["none"], **join
        )
        assert (joined.error_code, joined.heartbeat_interval_ms) == (0, 100)
        assert joined.assignment.topic_partitions == []
        described = await ask(
            ApiKey.CONSUMER_GROUP_DESCRIBE,
            group_ids=[group, "nothing", ""],
        )
        found, missing, empty = described.groups
        members = {each.member_id: each.member_type for each in found.members}
        assert members["m"] == (1 if version else -1)
        assert missing.error_code == ErrorCode.GROUP_ID_NOT_FOUND
        assert empty.error_code == ErrorCode.INVALID_GROUP_ID
    finally:
        writer.close()
