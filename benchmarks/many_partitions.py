"""A topic with 1,000 partitions and three replicas: how long until it is there, and what it costs at rest.

Three controllers, three brokers. It is there when every broker, asked for its metadata, shows a leader and
three in-sync replicas for every partition. The CPU at rest is each broker's over ten seconds, after ten
seconds to settle.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from benchmarks import floor
from benchmarks.bench import Bench, node_pids
from benchmarks.clients import ClientFailedError
from benchmarks.figures import Figure
from benchmarks.machine import memory_of
from benchmarks.wire import Wire
from kafkawire.apis import ApiKey
from kafkawire.messages import request_class
from kraft.local_cluster import HOST, LocalCluster

PARTITIONS = 1000
REPLICAS = 3
CREATE_BOUND = 5.0
IDLE_BOUND = 10.0
SETTLE = 10.0
PATIENCE = 120.0
CREATE_VERSION = 5
METADATA_VERSION = 9


async def measure(bench: Bench) -> Sequence[Figure]:
    """Create, settle, rest."""
    async with bench.cluster(3, 3) as cluster:
        with bench.directory() as directory:
            sync = floor.synced_write(directory)
        bench.say(f"{PARTITIONS} partitions x {REPLICAS} replicas")
        pids = node_pids(cluster)
        with bench.metered("create 1000 partitions", pids) as creation:
            acknowledged, complete = await asyncio.to_thread(create, cluster)
        bench.say(f"created in {complete:.2f} s")
        await asyncio.sleep(SETTLE)
        with bench.metered("1000 partitions at rest", pids) as rest:
            await asyncio.sleep(bench.rounds(10, 5))
        idle = {name: cpu.total / rest.seconds * 100 for name, cpu in rest.cpu.items()}
        memory = {name: memory_of(pid).rss / 1e6 for name, pid in pids.items()}
    brokers = [name for name in pids if name.startswith("broker")]
    controllers = [name for name in pids if name not in brokers]
    used = ", ".join(f"{name} {creation.cpu[name].total:.2f}" for name in pids)
    return [
        Figure(
            f"{PARTITIONS} x {REPLICAS} partitions, created",
            complete,
            "s",
            CREATE_BOUND,
            f"acknowledged after {acknowledged:.2f} s; CPU-s: {used}; write + fdatasync {sync * 1000:.2f} ms",
        ),
        Figure(
            "the same at rest, busiest broker",
            max(idle[name] for name in brokers),
            "% of a core",
            IDLE_BOUND,
            ", ".join(f"{name} {idle[name]:.1f}" for name in brokers),
        ),
        Figure("the same at rest, busiest controller", max(idle[n] for n in controllers), "% of a core"),
        Figure("the same at rest, RSS of the largest node", max(memory.values()), "MB"),
    ]


def create(cluster: LocalCluster) -> tuple[float, float]:
    """Create the topic; the seconds until that was acknowledged, and until all brokers show it complete."""
    ports = [node.kafka_port for node in cluster.plan.nodes if node.kafka_port is not None]
    create_topics = request_class(ApiKey.CREATE_TOPICS)
    topic = create_topics.CreatableTopic(
        name="many", num_partitions=PARTITIONS, replication_factor=REPLICAS, assignments=[], configs=[]
    )
    started = time.perf_counter()
    with Wire(HOST, ports[0]) as wire:
        request = create_topics(topics=[topic], timeout_ms=30_000, validate_only=False)
        (result,) = wire.call(ApiKey.CREATE_TOPICS, CREATE_VERSION, request).topics
    if result.error_code:
        raise ClientFailedError(f"create topic: error {result.error_code} {result.error_message}")
    acknowledged = time.perf_counter() - started
    for port in ports:
        with Wire(HOST, port) as wire:
            while not shown_complete(wire):
                if time.perf_counter() - started > PATIENCE:
                    raise ClientFailedError(f"the broker at port {port} does not show all partitions in sync")
                time.sleep(0.1)
    return acknowledged, time.perf_counter() - started


def shown_complete(wire: Wire) -> bool:
    """Whether this broker shows a leader and a full ISR for every partition."""
    metadata = request_class(ApiKey.METADATA)
    request = metadata(topics=[metadata.MetadataRequestTopic(name="many")], allow_auto_topic_creation=False)
    (topic,) = wire.call(ApiKey.METADATA, METADATA_VERSION, request).topics
    return (
        not topic.error_code
        and len(topic.partitions) == PARTITIONS
        and all(
            partition.leader_id >= 0 and len(partition.isr_nodes) == REPLICAS
            for partition in topic.partitions
        )
    )
