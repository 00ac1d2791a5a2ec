"""What three replicas with acks=all cost: throughput, CPU of each node, latency at 1,000 records a second.

Three controllers and three brokers, one partition. The same paced producer (linger 0) also writes to a topic
with one replica in the same cluster: what replication adds to the latency is the difference.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient

from benchmarks import clients
from benchmarks.bench import Bench, node_pids
from benchmarks.clients import ClientFailedError, Load, quiet
from benchmarks.figures import Figure, percentile
from benchmarks.warm_pages import warm_pages
from kraft.local_cluster import LocalCluster

RATE = 1000
VALUE = b"v" * 100


async def measure(bench: Bench) -> Sequence[Figure]:
    """Latency first, while the machine is calm, then throughput."""
    async with bench.cluster(3, 3) as cluster:
        latencies = [await _latency(bench, cluster, replicas) for replicas in (1, 3)]
        return [*(figure for pair in latencies for figure in pair), *await _throughput(bench, cluster)]


async def _throughput(bench: Bench, cluster: LocalCluster) -> list[Figure]:
    load = Load(bench.rounds(500_000, 150_000), 1024)
    bench.say(f"three replicas: {load.records:,} records of 1 KiB")
    bootstrap, topic = cluster.plan.bootstrap, "replicated"
    await asyncio.to_thread(clients.create_topic, bootstrap, topic, 1, 3)
    await asyncio.to_thread(clients.produce, bootstrap, topic, Load(50_000, 1024))
    metadata = await asyncio.to_thread(AdminClient(quiet(bootstrap)).list_topics, topic, 5)
    leader = cluster.processes[metadata.topics[topic].partitions[0].leader].name
    with (
        bench.directory() as reserve,
        warm_pages(reserve, cluster.plan.directory, round(3 * load.gigabytes * 1.2e9)),
        bench.metered("replicated", node_pids(cluster)) as measured,
    ):
        await asyncio.to_thread(clients.produce, bootstrap, topic, load)
    cost = {name: cpu.total / load.gigabytes for name, cpu in measured.cpu.items()}
    followers = [cost[name] for name in cost if name.startswith("broker") and name != leader]
    controllers = [cost[name] for name in cost if name.startswith("controller")]
    return [
        Figure(
            "1 KiB, 3 replicas, acks=all, throughput",
            load.records * load.size / measured.seconds / 1e6,
            "MB/s",
            note="client, three brokers and three controllers share the cores",
        ),
        Figure("the same, leader", cost[leader], "CPU-s/GB", note=measured.cpu[leader].split()),
        Figure("the same, each follower", sum(followers) / len(followers), "CPU-s/GB"),
        Figure("the same, all controllers", sum(controllers), "CPU-s/GB"),
    ]


async def _latency(bench: Bench, cluster: LocalCluster, replicas: int) -> list[Figure]:
    seconds = bench.rounds(20, 5)
    bench.say(f"{RATE} records/s for {seconds} s, {replicas} replicas")
    topic = f"paced-{replicas}"
    bootstrap = cluster.plan.bootstrap
    await asyncio.to_thread(clients.create_topic, bootstrap, topic, 1, replicas)
    await asyncio.to_thread(paced, bootstrap, topic, 1)
    with bench.metered(topic, node_pids(cluster)) as measured:
        taken = await asyncio.to_thread(paced, bootstrap, topic, seconds)
    name = f"{RATE}/s of 100 B, {replicas} replica{'s' * (replicas > 1)}, acks=all"
    used = sorted((cpu.total / measured.seconds for cpu in measured.cpu.values()), reverse=True)
    note = "CPU of the brokers: " + ", ".join(f"{share:.0%}" for share in used[:replicas])
    return [
        Figure(f"{name}, p50", percentile(taken, 0.5) * 1000, "ms", note=note),
        Figure(f"{name}, p99", percentile(taken, 0.99) * 1000, "ms"),
    ]


def paced(bootstrap: str, topic: str, seconds: int) -> list[float]:
    """Produce RATE records a second and return the seconds that each took from `produce` to its report."""
    producer = Producer({**quiet(bootstrap), "acks": "all", "linger.ms": 0})
    taken: list[float] = []

    def send() -> None:
        sent = time.perf_counter()

        def reported(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                raise ClientFailedError(str(error))
            taken.append(time.perf_counter() - sent)

        producer.produce(topic, VALUE, partition=0, on_delivery=reported)

    started = time.perf_counter()
    for number in range(seconds * RATE):
        due = started + number / RATE
        while (left := due - time.perf_counter()) > 0:
            producer.poll(left)
        send()
    producer.flush(10)
    if len(taken) != seconds * RATE:
        raise ClientFailedError(f"{seconds * RATE - len(taken)} records unacknowledged")
    return taken
