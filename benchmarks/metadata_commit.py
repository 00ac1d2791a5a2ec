"""How long the commit of one metadata record takes with three controllers.

A peer calls the active controller directly and changes a topic's config (one ConfigRecord), one change at a
time. The answer comes when a majority has the record on disk. The time includes the call's own way, which a
call that commits nothing shows, and two syncs, which overlap; a bare write with fdatasync shows one. The same
for the creation of a topic with one partition (two records and more to decide) is shown for information.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp

from benchmarks import floor
from benchmarks.bench import Bench, node_pids
from benchmarks.clients import ClientFailedError
from benchmarks.figures import Figure, percentile
from kraft.local_cluster import HOST, LocalCluster
from kraft.transport import Peer
from metadata.calls import COMMAND_PREFIX, DESCRIBE_QUORUM
from metadata.controller.commands import (
    AlterConfigOp,
    AlterConfigsResource,
    ConfigAlteration,
    CreateTopics,
    IncrementalAlterConfigs,
    NewTopic,
)
from metadata.records import ConfigResourceType
from metadata.serde import to_wire

SECRET = "0123456789abcdef0123456789abcdef"
BOUND = 3.0
SELF_ID = 9000
PATIENCE = 20.0

Call = tuple[str, Any]
"""Method and argument."""


async def measure(bench: Bench) -> Sequence[Figure]:
    """Commits one after the other, calls without one, syncs without a cluster."""
    with bench.directory() as directory:
        sync = floor.synced_write(directory)
    # A broker has to be there to take the partitions.
    async with bench.cluster(3, 1, {"cluster.secret": SECRET}) as cluster:
        peer = await _active(cluster)
        try:
            await _times(peer, 20, lambda number: _create(f"warm-{number}"))
            count = bench.rounds(500, 150)
            bench.say(f"{count} commits")
            with bench.metered("commits", node_pids(cluster)) as measured:
                commits = await _times(peer, count, _change)
            creations = await _times(peer, count, lambda number: _create(f"topic-{number}"))
            calls = await _times(peer, count, lambda _: (DESCRIBE_QUORUM, None))
        finally:
            await peer.close()
    used = max(measured.cpu.values(), key=lambda cpu: cpu.total).total / count
    return [
        Figure(
            "commit of one record, 3 controllers, median",
            statistics.median(commits) * 1000,
            "ms",
            BOUND,
            f"p99 {percentile(commits, 0.99) * 1000:.1f} ms, CPU of the active controller "
            f"{used * 1000:.1f} ms; a call without a commit {statistics.median(calls) * 1000:.2f} ms, "
            f"write + fdatasync {sync * 1000:.2f} ms",
        ),
        Figure(
            "creation of a topic, 3 controllers, median",
            statistics.median(creations) * 1000,
            "ms",
            note=f"p99 {percentile(creations, 0.99) * 1000:.1f} ms",
        ),
    ]


def _create(name: str) -> Call:
    command = CreateTopics((NewTopic(name, 1, 1),))
    return COMMAND_PREFIX + CreateTopics.__name__, to_wire(command)


def _change(number: int) -> Call:
    """Another value each time, since a change to the value that is there commits nothing."""
    change = ConfigAlteration("retention.ms", AlterConfigOp.SET, str(1_000_000 + number))
    command = IncrementalAlterConfigs((AlterConfigsResource(ConfigResourceType.TOPIC, "warm-0", (change,)),))
    return COMMAND_PREFIX + IncrementalAlterConfigs.__name__, to_wire(command)


async def _times(peer: Peer, count: int, call: Callable[[int], Call]) -> list[float]:
    taken = []
    for number in range(count):
        method, value = call(number)
        started = time.perf_counter()
        response = await peer.call(method, value, timeout=5)
        taken.append(time.perf_counter() - started)
        for result in response.value.get("topics", ()) or response.value.get("resources", ()):
            if result.get("error_code"):
                raise ClientFailedError(f"{method}: {result}")
    return taken


async def _active(cluster: LocalCluster) -> Peer:
    """A peer with a link to the active controller."""
    deadline = time.monotonic() + PATIENCE
    async with aiohttp.ClientSession() as http:
        while time.monotonic() < deadline:
            for node in (node for node in cluster.plan.nodes if node.votes):
                async with http.get(f"http://{HOST}:{node.node_port}/status") as response:
                    status = await response.json()
                if status["controller"]["active"]:
                    return await _linked(status["cluster_id"], node.node_id, (HOST, node.node_port))
            await asyncio.sleep(0.05)
    raise ClientFailedError("no controller became active")


async def _linked(cluster_id: str, node_id: int, address: tuple[str, int]) -> Peer:
    up = asyncio.Event()
    peer = Peer(SELF_ID, cluster_id, SECRET.encode(), node_id, address, on_up=up.set)
    peer.start()
    async with asyncio.timeout(PATIENCE):
        await up.wait()
    return peer
