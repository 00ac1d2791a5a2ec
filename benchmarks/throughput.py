"""What one broker pays for a gigabyte, one partition, one replica, with confluent-kafka as the client.

A node with both roles is one process. A producer with acks=all, linger 5 ms and the default batch size fills
a topic; a consumer reads it back from the page cache. The figure is the node's CPU time (user and system,
/proc) per 10⁹ bytes of values: unlike records per second it does not depend on how fast the client is. Right
before each produce the same amount is checked and written without a broker, which shows how the machine is;
both write to warm pages (`warm_pages`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks import clients, floor
from benchmarks.bench import Bench, Measured, node_pids
from benchmarks.clients import Load
from benchmarks.figures import Figure
from benchmarks.warm_pages import warm_pages
from kraft.local_cluster import LocalCluster

PRODUCE_BOUND = 0.8
CONSUME_BOUND = 0.7


async def measure(bench: Bench) -> Sequence[Figure]:
    """Both directions, with values of 1 KiB and of 100 bytes."""
    big = Load(bench.rounds(1_000_000, 300_000), 1024)
    small = Load(bench.rounds(5_000_000, 2_000_000), 100)
    async with bench.cluster(1, 1) as cluster:
        await _produced(bench, cluster, Load(100_000, 1024), "warm up")
        figures = []
        for load, name, bounded in ((big, "1 KiB", True), (small, "100 B", False)):
            with bench.directory() as directory:
                bare = floor.checksum_and_write(directory, round(load.gigabytes * 1.2e9))
            produced = await _produced(bench, cluster, load, f"produce {name}")
            consumed = await _consumed(bench, cluster, load, f"consume {name}")
            figures += [
                _figure(f"produce {name}, broker", load, produced, PRODUCE_BOUND if bounded else None),
                Figure(f"produce {name}, crc32c + pwrite alone", bare, "CPU-s/GB", note="the floor"),
                _figure(f"consume {name}, broker", load, consumed, CONSUME_BOUND if bounded else None),
            ]
    return figures


async def _produced(bench: Bench, cluster: LocalCluster, load: Load, label: str) -> Measured:
    bench.say(f"{label}: {load.records:,} records")
    topic, bootstrap = label.replace(" ", "-"), cluster.plan.bootstrap
    await asyncio.to_thread(clients.create_topic, bootstrap, topic)
    with (
        bench.directory() as reserve,
        warm_pages(reserve, cluster.plan.directory, round(load.gigabytes * 1.2e9)),
        bench.metered(label, node_pids(cluster)) as measured,
    ):
        await asyncio.to_thread(clients.produce, bootstrap, topic, load)
    return measured


async def _consumed(bench: Bench, cluster: LocalCluster, load: Load, label: str) -> Measured:
    bench.say(f"{label}: {load.records:,} records")
    topic = label.replace("consume", "produce").replace(" ", "-")
    with bench.metered(label, node_pids(cluster)) as measured:
        await asyncio.to_thread(clients.consume, cluster.plan.bootstrap, topic, load.records)
    return measured


def _figure(name: str, load: Load, measured: Measured, bound: float | None) -> Figure:
    (cpu,) = measured.cpu.values()
    rate = load.records / measured.seconds
    note = f"{rate / 1000:,.0f}k records/s, {rate * load.size / 1e6:,.0f} MB/s, {cpu.split()}"
    return Figure(name, cpu.total / load.gigabytes, "CPU-s/GB", bound, note)
