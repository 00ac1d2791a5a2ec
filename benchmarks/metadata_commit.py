"""How long the commit of one metadata record takes with three controllers.

A peer calls the active controller directly and creates topics (one partition: two records, one proposal), one
at a time. The answer comes when a majority has the records on disk. The time includes the call's own way,
which a call that commits nothing shows, and two syncs one after the other or at the same time, which a bare
write with fdatasync shows.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Any

import aiohttp

from benchmarks import floor
from benchmarks.bench import Bench, node_pids
from benchmarks.clients import ClientFailedError
from benchmarks.figures import Figure, percentile
from kraft.local_cluster import HOST, LocalCluster
from kraft.transport import Peer
from metadata.calls import COMMAND_PREFIX, DESCRIBE_QUORUM
from metadata.controller.commands import CreateTopics, NewTopic
from metadata.serde import to_wire

SECRET = "0123456789abcdef0123456789abcdef"
BOUND = 3.0
SELF_ID = 9000
PATIENCE = 20.0


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
            with bench.metered("commits", node_pids(cluster)):
                commits = await _times(peer, count, lambda number: _create(f"topic-{number}"))
            calls = await _times(peer, count, lambda _: (DESCRIBE_QUORUM, None))
        finally:
            await peer.close()
    return [
        Figure(
            "commit of one record, 3 controllers, median",
            statistics.median(commits) * 1000,
            "ms",
            BOUND,
            f"p99 {percentile(commits, 0.99) * 1000:.1f} ms; "
            f"a call without a commit {statistics.median(calls) * 1000:.2f} ms, "
            f"write + fdatasync {sync * 1000:.2f} ms",
        )
    ]


def _create(name: str) -> tuple[str, Any]:
    command = CreateTopics((NewTopic(name, 1, 1),))
    return COMMAND_PREFIX + CreateTopics.__name__, to_wire(command)


async def _times(peer: Peer, count: int, call: Any) -> list[float]:
    taken = []
    for number in range(count):
        method, value = call(number)
        started = time.perf_counter()
        await peer.call(method, value, timeout=5)
        taken.append(time.perf_counter() - started)
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
