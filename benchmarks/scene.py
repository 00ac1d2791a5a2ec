"""A cluster to be hurt again and again: three controllers, three brokers, one partition on all three."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import aiohttp
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks import clients
from benchmarks.bench import Bench
from benchmarks.clients import ClientFailedError, Setting, quiet
from benchmarks.figures import Figure, percentile
from benchmarks.traffic import Traffic
from kraft.local_cluster import HOST, LocalCluster
from kraft.processes import ManagedProcess

TOPIC = "trials"
PATIENCE = 30.0
CLEAR_AFTER = 1.0
"""Seconds after a blow in which a wait may begin: detection that hits clients late counts as well."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What every trial needs."""

    cluster: LocalCluster
    admin: AdminClient
    traffic: Traffic

    async def leader(self) -> ManagedProcess:
        """The leader's process, as soon as all three replicas are in sync."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            partition = await asyncio.to_thread(self._partition)
            if partition is not None and partition[0] >= 0 and len(partition[1]) == 3:
                return self.cluster.processes[partition[0]]
            await asyncio.sleep(0.05)
        raise ClientFailedError("the replicas did not get in sync again")

    def _partition(self) -> tuple[int, list[int]] | None:
        try:
            found = self.admin.list_topics(TOPIC, timeout=2).topics[TOPIC].partitions[0]
        except KafkaException:
            return None
        return found.leader, found.isrs

    async def active_controller(self) -> ManagedProcess:
        """The process of the controller that says that it is active."""
        await self.leader()
        deadline = time.monotonic() + PATIENCE
        timeout = aiohttp.ClientTimeout(total=1)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while time.monotonic() < deadline:
                for node in self.cluster.plan.nodes:
                    if node.votes and await _is_active(http, node.node_port):
                        return self.cluster.processes[node.node_id]
                await asyncio.sleep(0.05)
        raise ClientFailedError("no controller became active")

    async def wait_after(self, blow: Callable[[], None]) -> float:
        """Deal the blow, and return the longest silence around it when traffic flows again."""
        await self.traffic.flows(time.perf_counter())
        struck = time.perf_counter()
        blow()
        await asyncio.sleep(CLEAR_AFTER)
        await self.traffic.flows(time.perf_counter())
        return self.traffic.longest_silence(struck)

    async def create_topic(self, name: str) -> float:
        """Ask until a creation is acknowledged; return when that was."""
        deadline = time.monotonic() + PATIENCE
        attempt = 0
        while time.monotonic() < deadline:
            attempt += 1
            new = NewTopic(f"{name}-{attempt}", 1, 3)
            try:
                created = self.admin.create_topics([new], request_timeout=10)[new.topic]
                await asyncio.to_thread(created.result)
            except KafkaException:
                await asyncio.sleep(0.02)
            else:
                return time.perf_counter()
        raise ClientFailedError("no topic could be created")


async def _is_active(http: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with http.get(f"http://{HOST}:{port}/status") as response:
            return bool((await response.json())["controller"]["active"])
    except (aiohttp.ClientError, TimeoutError):
        return False


@contextlib.asynccontextmanager
async def scene(bench: Bench, settings: dict[str, Setting]) -> AsyncIterator[Scene]:
    """The cluster, running, with traffic by a producer with these settings."""
    async with bench.cluster(3, 3) as cluster:
        bootstrap = cluster.plan.bootstrap
        await asyncio.to_thread(clients.create_topic, bootstrap, TOPIC, 1, 3, {"min.insync.replicas": "2"})
        with Traffic(bootstrap, TOPIC, settings) as traffic:
            yield Scene(cluster, AdminClient(quiet(bootstrap)), traffic)


async def trials(what: str, count: int, trial: Callable[[], Awaitable[float]], bench: Bench) -> list[float]:
    """The wait of each trial."""
    waits = []
    for number in range(count):
        waits.append(await trial())
        bench.say(f"{what}, {number + 1}/{count}: {waits[-1] * 1000:.0f} ms")
    return waits


def figures(name: str, waits: Sequence[float], bounds: tuple[float, float], note: str = "") -> list[Figure]:
    """p50 and p99, with a bound each."""
    middle, high = bounds
    spread = f"{len(waits)} trials, {min(waits) * 1000:.0f} to {max(waits) * 1000:.0f} ms"
    return [
        Figure(f"{name}, p50", statistics.median(waits), "s", middle, spread),
        Figure(f"{name}, p99", percentile(waits, 0.99), "s", high, note),
    ]
