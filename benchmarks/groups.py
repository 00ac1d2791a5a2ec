"""What consumer groups cost their coordinator, and how long their members wait.

Commits: ready-made OffsetCommit requests of one partition each, on eight connections with twenty under way on
each; `__consumer_offsets` has three replicas. Idle groups: a thousand groups of one member each on one node,
first silent, then with a heartbeat every three seconds. Members: confluent-kafka's consumer, on one node that
runs as `kraft-node dev` does (no initial rebalance delay). The members beat every 100 ms, since who stays
hears of a rebalance with a heartbeat: that is the client's part of the wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import Consumer

from benchmarks import clients
from benchmarks.bench import Bench, node_pids
from benchmarks.clients import SESSION_TIMEOUT, ClientFailedError, Load, member_settings
from benchmarks.figures import Figure
from benchmarks.wire import Wire
from kafkawire.apis import ApiKey
from kafkawire.messages import decode_response, encode_request, request_class
from kraft.local_cluster import LocalCluster

TOPIC = "grouped"
PARTITIONS = 4
NO_DELAY = {"group.initial.rebalance.delay.ms": "0"}
CONNECTIONS = 8
UNDER_WAY = 20
GROUPS = 1000
BEAT_EVERY = 3.0
WARM_UP = 3
"""Heartbeats of each member before those that count: the broker has to know them for quiet."""
PATIENCE = 30.0


async def measure(bench: Bench) -> Sequence[Figure]:
    """Commits, idle groups, members."""
    return [*await _commits(bench), *await _idle(bench), *await _members(bench)]


# -- commits --------------------------------------------------------------------------------------


def _commit() -> bytes:
    request = request_class(ApiKey.OFFSET_COMMIT)
    part = request.OffsetCommitRequestTopic.OffsetCommitRequestPartition(
        partition_index=0, committed_offset=5, committed_leader_epoch=-1, committed_metadata=""
    )
    topic = request.OffsetCommitRequestTopic(name=TOPIC, partitions=[part])
    commit = request(
        group_id="committing",
        generation_id_or_member_epoch=-1,
        member_id="",
        group_instance_id=None,
        topics=[topic],
    )
    return encode_request(ApiKey.OFFSET_COMMIT, 8, 1, commit, "benchmark")


async def _commits(bench: Bench) -> list[Figure]:
    each = bench.rounds(12_500, 2_500) // UNDER_WAY * UNDER_WAY
    count = each * CONNECTIONS
    bench.say(f"{count:,} commits, three replicas")
    async with bench.cluster(1, 3) as cluster:
        bootstrap = cluster.plan.bootstrap
        await asyncio.to_thread(clients.create_topic, bootstrap, TOPIC)
        host, port, node_id = await asyncio.to_thread(_coordinator, bootstrap)
        links = [await asyncio.open_connection(host, port) for _ in range(CONNECTIONS)]
        burst = _commit() * UNDER_WAY
        size = await _answer_size(*links[0])
        await asyncio.gather(*(_bursts(link, burst, size, UNDER_WAY) for link in links))
        with bench.metered("commits", node_pids(cluster)) as measured:
            await asyncio.gather(*(_bursts(link, burst, size, each) for link in links))
        for _, writer in links:
            writer.close()
    cpu = measured.cpu[cluster.processes[node_id].name]
    name = f"offset commits, {CONNECTIONS * UNDER_WAY} under way, three replicas"
    note = f"{cpu.total / count * 1e6:.0f} CPU-µs each at the coordinator; the client shares the cores"
    return [Figure(name, count / measured.seconds, "1/s", 10_000, note, at_least=True)]


def _coordinator(bootstrap: str) -> tuple[str, int, int]:
    request = request_class(ApiKey.FIND_COORDINATOR)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with _wire(bootstrap) as wire:
            answer = wire.call(
                ApiKey.FIND_COORDINATOR, 4, request(key_type=0, coordinator_keys=["committing"])
            )
        (found,) = answer.coordinators
        if not found.error_code:
            return found.host, found.port, found.node_id
        time.sleep(0.05)
    raise ClientFailedError("the group has no coordinator")


def _wire(bootstrap: str) -> Wire:
    host, _, port = bootstrap.partition(",")[0].partition(":")
    return Wire(host, int(port))


async def _answer_size(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    writer.write(_commit())
    size = int.from_bytes(await reader.readexactly(4))
    answer = decode_response(ApiKey.OFFSET_COMMIT, 8, await reader.readexactly(size))
    if code := answer.topics[0].partitions[0].error_code:
        raise ClientFailedError(f"a commit is answered with error {code}")
    return size + 4


async def _bursts(
    link: tuple[asyncio.StreamReader, asyncio.StreamWriter], burst: bytes, size: int, count: int
) -> None:
    reader, writer = link
    for _ in range(count // UNDER_WAY):
        writer.write(burst)
        await reader.readexactly(size * UNDER_WAY)


# -- idle groups ----------------------------------------------------------------------------------


async def _idle(bench: Bench) -> list[Figure]:
    seconds = bench.rounds(15, 6)
    bench.say(f"{GROUPS} groups, {seconds} s silent and {seconds} s with heartbeats")
    async with bench.cluster(1, 1, NO_DELAY) as cluster:
        with contextlib.ExitStack() as stack:
            members = await asyncio.to_thread(_join_all, cluster.plan.bootstrap, stack)
            with bench.metered("idle groups", node_pids(cluster)) as silent:
                await asyncio.sleep(seconds)
            for _ in range(WARM_UP):
                await asyncio.to_thread(_beat, members, 1, GROUPS)
            with bench.metered("heartbeats", node_pids(cluster)) as beating:
                await asyncio.to_thread(_beat, members, seconds, GROUPS / BEAT_EVERY)
    return [
        Figure(f"{GROUPS} groups, {name}", 100 * cpu.total / measured.seconds, "% of a core", bound, note)
        for name, measured, bound, note in (
            ("idle", silent, 5, ""),
            ("a heartbeat each every 3 s", beating, 5, f"{GROUPS / BEAT_EVERY:.0f}/s, each alone"),
        )
        for cpu in measured.cpu.values()
    ]


def _join_all(bootstrap: str, stack: contextlib.ExitStack) -> list[tuple[Wire, bytes]]:
    with _wire(bootstrap) as wire:
        find = request_class(ApiKey.FIND_COORDINATOR)
        wire.call(ApiKey.FIND_COORDINATOR, 4, find(key_type=0, coordinator_keys=["idle-0"]))
    return [_join(stack.enter_context(_wire(bootstrap)), f"idle-{number}") for number in range(GROUPS)]


def _join(wire: Wire, group_id: str) -> tuple[Wire, bytes]:
    """The member's connection, and its heartbeat."""
    join, sync = request_class(ApiKey.JOIN_GROUP), request_class(ApiKey.SYNC_GROUP)
    beat = request_class(ApiKey.HEARTBEAT)
    asks: dict[str, Any] = {
        "group_id": group_id,
        "session_timeout_ms": 45_000,
        "rebalance_timeout_ms": 45_000,
        "group_instance_id": None,
        "protocol_type": "consumer",
        "protocols": [join.JoinGroupRequestProtocol(name="range", metadata=b"")],
    }
    member_id = wire.call(ApiKey.JOIN_GROUP, 5, join(member_id="", **asks)).member_id
    joined = wire.call(ApiKey.JOIN_GROUP, 5, join(member_id=member_id, **asks))
    given = sync.SyncGroupRequestAssignment(member_id=member_id, assignment=b"x")
    who = {"group_id": group_id, "generation_id": joined.generation_id, "member_id": member_id}
    synced = wire.call(ApiKey.SYNC_GROUP, 3, sync(**who, group_instance_id=None, assignments=[given]))
    if synced.error_code:
        raise ClientFailedError(f"a member is told {synced.error_code}")
    return wire, encode_request(ApiKey.HEARTBEAT, 3, 1, beat(**who, group_instance_id=None), "benchmark")


def _beat(members: list[tuple[Wire, bytes]], seconds: float, rate: float) -> None:
    """Each member in its turn, so many a second. None waits for another's answer: each takes its own before
    it beats again."""
    started = time.monotonic()
    beats = round(seconds * rate)
    for number in range(beats):
        wire, beat = members[number % GROUPS]
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        if number >= GROUPS:
            _expect_answer(wire)
        wire.socket.sendall(beat)
    for number in range(max(0, beats - GROUPS), beats):
        _expect_answer(members[number % GROUPS][0])


def _expect_answer(wire: Wire) -> None:
    answer = decode_response(ApiKey.HEARTBEAT, 3, wire.receive())
    if answer.error_code:
        raise ClientFailedError(f"a heartbeat is answered with error {answer.error_code}")


# -- members --------------------------------------------------------------------------------------


async def _members(bench: Bench) -> list[Figure]:
    rounds = bench.rounds(10, 4)
    bench.say(f"{rounds} consumers that start, {rounds} that leave, {rounds // 2} that are killed")
    async with bench.cluster(1, 1, NO_DELAY) as cluster:
        bootstrap = cluster.plan.bootstrap
        await asyncio.to_thread(clients.create_topic, bootstrap, TOPIC, PARTITIONS)
        await asyncio.to_thread(clients.produce, bootstrap, TOPIC, Load(100, 100))
        starts = [await asyncio.to_thread(_first_record, bootstrap, number) for number in range(rounds + 1)]
        left = [await _rebalance(cluster, kill=False) for _ in range(rounds)]
        killed = [await _rebalance(cluster, kill=True) for _ in range(rounds // 2)]
    session = SESSION_TIMEOUT + 0.5
    return [
        _seconds("a consumer subscribes: first record", starts[1:], 0.15),
        _seconds("a member leaves: the other has everything", left, 0.5),
        _seconds(f"a member is killed, session {SESSION_TIMEOUT:.0f} s: the same", killed, session),
    ]


def _seconds(name: str, taken: list[float], bound: float) -> Figure:
    return Figure(f"{name}, median", statistics.median(taken), "s", bound, f"slowest {max(taken):.2f} s")


def _first_record(bootstrap: str, number: int) -> float:
    settings = member_settings(bootstrap) | {"group.id": f"starting-{number}"}
    consumer = Consumer(settings)
    try:
        # The connection is there before, as in a program that has done something else first.
        consumer.list_topics(TOPIC, timeout=PATIENCE)
        started = time.perf_counter()
        consumer.subscribe([TOPIC])
        message = consumer.poll(PATIENCE)
        taken = time.perf_counter() - started
        if message is None or message.error() is not None:
            raise ClientFailedError("no record came")
        return taken
    finally:
        consumer.close()


@contextlib.contextmanager
def _other_member(bootstrap: str) -> Iterator[subprocess.Popen[bytes]]:
    command = (sys.executable, "-m", "benchmarks.group_member", bootstrap, TOPIC)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as member:
        try:
            yield member
        finally:
            member.kill()


async def _rebalance(cluster: LocalCluster, *, kill: bool) -> float:
    return await asyncio.to_thread(_rebalanced, cluster.plan.bootstrap, kill)


def _rebalanced(bootstrap: str, kill: bool) -> float:
    """Seconds from the end of one of two members until the other has all partitions."""
    consumer = Consumer(member_settings(bootstrap))
    try:
        consumer.subscribe([TOPIC])
        _until_assigned(consumer, PARTITIONS)
        with _other_member(bootstrap) as other:
            _until_assigned(consumer, PARTITIONS // 2)
            assert other.stdout is not None
            assert other.stdin is not None
            other.stdout.readline()
            started = time.perf_counter()
            if kill:
                other.kill()
            else:
                other.stdin.close()
            _until_assigned(consumer, PARTITIONS)
            return time.perf_counter() - started
    finally:
        consumer.close()


def _until_assigned(consumer: Consumer, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(consumer.assignment()) != count:
        consumer.poll(0.01)
        if time.monotonic() > deadline:
            raise ClientFailedError(f"a member never got {count} partitions")
