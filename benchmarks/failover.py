"""How long a producer waits when a node dies, with default settings of brokers and client.

Three controllers, three brokers, one partition with three replicas and min.insync.replicas=2. Leaders are
killed with SIGKILL, then active controllers, then leaders are paused with SIGSTOP; after each trial the node
comes back and the in-sync replicas are complete again before the next. A wait is the longest time without an
acknowledgement around the blow, seen by an idempotent producer that sends every 2 ms. For the controller it
is also the time from the kill until the creation of a topic is acknowledged.
"""

from __future__ import annotations

import asyncio
import signal
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import aiohttp
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks import clients
from benchmarks.bench import Bench
from benchmarks.clients import ClientFailedError, quiet
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

    bench: Bench
    cluster: LocalCluster
    admin: AdminClient
    traffic: Traffic

    async def leader(self) -> ManagedProcess:
        """The leader's process, as soon as all three replicas are in sync."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            partition = await asyncio.to_thread(self._partition)
            if partition is not None and len(partition[1]) == 3:
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


async def measure(bench: Bench) -> Sequence[Figure]:
    """Leaders killed, controllers killed, leaders paused."""
    async with bench.cluster(3, 3) as cluster:
        bootstrap = cluster.plan.bootstrap
        config = {"min.insync.replicas": "2"}
        await asyncio.to_thread(clients.create_topic, bootstrap, TOPIC, 1, 3, config)
        with Traffic(bootstrap, TOPIC) as traffic:
            scene = Scene(bench, cluster, AdminClient(quiet(bootstrap)), traffic)
            killed = await _trials("kill a leader", bench.rounds(30, 6), lambda: _kill_leader(scene), bench)
            creations: list[float] = []
            unseated = await _trials(
                "kill the active controller",
                bench.rounds(30, 6),
                lambda: _kill_controller(scene, creations),
                bench,
            )
            paused = await _trials("pause a leader", bench.rounds(5, 2), lambda: _pause_leader(scene), bench)
        note = f"{traffic.acknowledged:,} records acknowledged, none refused"
    return [
        *_figures("producer waits, leader killed", killed, (0.5, 1.0), note),
        *_figures("creating a topic waits, active controller killed", creations, (1.5, 1.5), ""),
        *_figures("producer waits, active controller killed", unseated, (1.5, 1.5), ""),
        *_figures("producer waits, leader paused (SIGSTOP)", paused, (5.0, 5.0), ""),
    ]


async def _trials(what: str, count: int, trial: Callable[[], Awaitable[float]], bench: Bench) -> list[float]:
    waits = []
    for number in range(count):
        waits.append(await trial())
        bench.say(f"{what}, {number + 1}/{count}: {waits[-1] * 1000:.0f} ms")
    return waits


async def _kill_leader(scene: Scene) -> float:
    leader = await scene.leader()
    wait = await scene.wait_after(lambda: leader.send_signal(signal.SIGKILL))
    await leader.wait()
    await leader.start()
    return wait


async def _kill_controller(scene: Scene, creations: list[float]) -> float:
    controller = await scene.active_controller()
    await scene.traffic.flows(time.perf_counter())
    struck = time.perf_counter()
    controller.send_signal(signal.SIGKILL)
    creations.append(await scene.create_topic(f"created-{len(creations)}") - struck)
    await scene.traffic.flows(time.perf_counter())
    wait = scene.traffic.longest_silence(struck)
    await controller.wait()
    await controller.start()
    return wait


async def _pause_leader(scene: Scene) -> float:
    leader = await scene.leader()
    wait = await scene.wait_after(lambda: leader.send_signal(signal.SIGSTOP))
    leader.send_signal(signal.SIGCONT)
    return wait


def _figures(name: str, waits: Sequence[float], bounds: tuple[float, float], note: str) -> list[Figure]:
    middle, high = bounds
    spread = f"{len(waits)} trials, {min(waits) * 1000:.0f} to {max(waits) * 1000:.0f} ms"
    return [
        Figure(f"{name}, p50", statistics.median(waits), "s", middle, spread),
        Figure(f"{name}, p99", percentile(waits, 0.99), "s", high, note),
    ]
