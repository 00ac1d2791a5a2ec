"""The demonstration: a real input through a real cluster, while the processes that matter most are killed.

Three controllers and three brokers as six processes. Every line of the input goes to a topic with three
replicas, at least two in sync. When half is acknowledged, the leader of partition 0 is killed, later the
active controller, both with SIGKILL, and both are started again. Then everything is read back and compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.live import Live

from chaos.anomalies import Judgement
from chaos.faults import Fault, Faults
from chaos.history import encode_value, record_of
from chaos.producer_history import ProducerHistory
from chaos.view import Progress, Wait, live_view, progress_line, report_lines
from chaos.waits import WaitMeter
from chaos.workload import Line
from kafkawire.errors import KafkaError
from kraft.client.admin import Admin
from kraft.client.cluster import Backoff, Cluster
from kraft.client.connections import CONNECTION_FAILURES
from kraft.client.consumer import EARLIEST, LATEST, Consumer, TopicPartition
from kraft.client.lanes import Acknowledged, ProducerOptions
from kraft.client.partitioning import partition_for_key
from kraft.client.producer import IdempotentProducer
from kraft.local_cluster import LocalCluster, plan_cluster

TOPIC = "lines"
PRODUCER = "demo"
LEADER_DIES_AT = 0.5
CONTROLLER_DIES_AT = 0.75
LEADER_DEAD_AT = 0.6
CONTROLLER_DEAD_AT = 0.85
"""What comes after these shares is held back until the one, then the other has died: it has to go through."""
READ_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How large the demonstration is."""

    controllers: int = 3
    brokers: int = 3
    partitions: int = 6
    replication_factor: int = 3
    min_insync_replicas: int = 2


@dataclass(slots=True)
class Run:
    """What one demonstration has seen so far."""

    history: ProducerHistory
    progress: Progress
    started: float
    meter: WaitMeter = field(default_factory=WaitMeter)
    suffered: list[tuple[str, Fault, Sequence[int]]] = field(default_factory=list)
    half: asyncio.Event = field(default_factory=asyncio.Event)
    late: asyncio.Event = field(default_factory=asyncio.Event)
    leader_dead: asyncio.Event = field(default_factory=asyncio.Event)
    controller_dead: asyncio.Event = field(default_factory=asyncio.Event)

    def on_acknowledged(self, acknowledged: Acknowledged) -> None:
        """Take a batch's acknowledgement down; wakes who waits for a share of the whole."""
        self.history.acknowledged(acknowledged.partition, acknowledged.count, acknowledged.base_offset)
        self.meter.acknowledged(acknowledged.partition, acknowledged.count, time.monotonic())
        self.progress.acknowledged += acknowledged.count
        share = self.progress.acknowledged / self.progress.total
        if share >= LEADER_DIES_AT:
            self.half.set()
        if share >= CONTROLLER_DIES_AT:
            self.late.set()

    def tell(self, event: str) -> None:
        """Add a line to what the viewer sees."""
        self.progress.events.append(f"{time.monotonic() - self.started:6.1f} s  {event}")

    def waits(self) -> list[Wait]:
        """How long each fault, up to the next, kept the producer waiting in a partition that it hit."""
        ends = [fault.at for _, fault, _ in self.suffered[1:]] + [math.inf]
        return [
            Wait(what, 1000 * self.meter.longest(hit, fault.at, end))
            for (what, fault, hit), end in zip(self.suffered, ends, strict=True)
        ]


async def run_demo(
    lines: list[Line], directory: Path, console: Console, options: DemoOptions | None = None
) -> int:
    """Run it whole; returns the exit status: 0 if the cluster kept its word."""
    options = options or DemoOptions()
    gc.freeze()  # the input stays: the collector need not go through it again and again
    started = time.monotonic()
    run = Run(ProducerHistory(PRODUCER, TOPIC, time.monotonic), Progress(len(lines)), started)
    plan = plan_cluster(options.controllers, options.brokers, directory)
    async with (
        LocalCluster(plan) as nodes,
        Cluster(plan.bootstrap) as watcher,
        _watched(run, watcher, console),
    ):
        await nodes.start()
        run.tell(f"{len(plan.nodes)} processes are ready; bootstrap {plan.bootstrap}")
        await Admin(watcher, timeout=30).create_topic(
            TOPIC,
            partitions=options.partitions,
            replication_factor=options.replication_factor,
            configs={"min.insync.replicas": str(options.min_insync_replicas)},
        )
        await watcher.partition_count(TOPIC)
        faults = Faults(nodes, lambda fault: run.tell(f"node {fault.node_id} {fault.what}"))
        try:
            async with Cluster(plan.bootstrap) as client, asyncio.TaskGroup() as group:
                group.create_task(_hurt(run, faults, watcher))
                group.create_task(_stream(run, client, lines, options.partitions))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        run.tell("everything is acknowledged; reading it back")
        async with Cluster(plan.bootstrap) as client:
            await _read_back(run, client, options.partitions)
        await nodes.stop()
    judgement = run.history.judgement()
    for line in report_lines(judgement, run.waits(), time.monotonic() - started):
        console.print(line, highlight=False)
    return exit_status(judgement)


def exit_status(judgement: Judgement) -> int:
    """0 if nothing is wrong and everything was acknowledged, else 1."""
    totals = judgement.totals
    return 0 if judgement.held and totals.acknowledged == totals.sent == totals.read else 1


async def _stream(run: Run, client: Cluster, lines: list[Line], partitions: int) -> None:
    options = ProducerOptions(buffer_size=4 * 1024 * 1024)
    places: dict[bytes, int] = {}
    gates = {
        int(len(lines) * LEADER_DEAD_AT): run.leader_dead,
        int(len(lines) * CONTROLLER_DEAD_AT): run.controller_dead,
    }
    async with IdempotentProducer(client, options, on_acknowledged=run.on_acknowledged) as producer:
        for number, line in enumerate(lines):
            if number in gates:
                await gates[number].wait()
            partition = places.get(line.key)
            if partition is None:
                partition = places[line.key] = partition_for_key(line.key, partitions)
            value = encode_value(run.history.sent(partition), PRODUCER, line.key, line.text)
            run.meter.sent(partition, time.monotonic())
            await producer.send(TOPIC, value, key=line.key, partition=partition)
            run.progress.sent += 1


async def _hurt(run: Run, faults: Faults, watcher: Cluster) -> None:
    """Kill the leader of partition 0 at half, the active controller later; start both again."""
    await run.half.wait()
    await watcher.refresh([TOPIC])
    leader = await watcher.leader(TOPIC, 0)
    led = [each.index for each in watcher.topics[TOPIC].partitions if each.leader == leader.node_id]
    fault = await faults.kill(leader.node_id)
    run.suffered.append((f"leader {leader.node_id} killed", fault, led))
    run.leader_dead.set()
    successor = await _until_led_by_another(watcher, leader.node_id)
    run.tell(f"node {successor} leads partition 0 after {1000 * (time.monotonic() - fault.at):.0f} ms")
    await faults.restart(leader.node_id)
    await run.late.wait()
    admin = Admin(watcher)
    controller = (await admin.quorum()).leader_id
    fault = await faults.kill(controller)
    everything = [each.index for each in watcher.topics[TOPIC].partitions]
    run.suffered.append((f"active controller {controller} killed", fault, everything))
    run.controller_dead.set()
    successor = await _until_another_is_active(admin, controller)
    run.tell(f"controller {successor} is active after {1000 * (time.monotonic() - fault.at):.0f} ms")
    await faults.restart(controller)


async def _until_led_by_another(watcher: Cluster, node_id: int) -> int:
    backoff = Backoff()
    while True:
        with contextlib.suppress(*CONNECTION_FAILURES):
            await watcher.refresh([TOPIC])
        leader = watcher.known_leader(TOPIC, 0)
        if leader is not None and leader.node_id != node_id:
            return leader.node_id
        await backoff.pause()


async def _until_another_is_active(admin: Admin, node_id: int) -> int:
    backoff = Backoff()
    while (quorum := await admin.quorum()).leader_id in (node_id, -1):
        await backoff.pause()
    return quorum.leader_id


async def _read_back(run: Run, client: Cluster, partitions: int) -> None:
    """Read every partition from its start to the end that it has now."""
    names = [TopicPartition(TOPIC, index) for index in range(partitions)]
    async with Consumer(client) as consumer, asyncio.timeout(READ_TIMEOUT):
        consumer.assign(await consumer.offsets(names, EARLIEST))
        ends = await consumer.offsets(names, LATEST)
        while any(consumer.positions[name] < end for name, end in ends.items()):
            for fetched in await consumer.poll():
                index = fetched.partition.partition
                run.history.polled(
                    index,
                    [record.offset for record in fetched.records],
                    [record_of(record.value, record.key or b"") for record in fetched.records],
                )
                run.progress.read += len(fetched.records)
    for name, end in ends.items():
        run.history.read_back(name.partition, end)


@contextlib.asynccontextmanager
async def _watched(run: Run, watcher: Cluster, console: Console) -> AsyncIterator[None]:
    """Show progress while the body runs: a live picture on a terminal, a line a second elsewhere."""
    watching = asyncio.create_task(_watch(run, watcher))
    showing = asyncio.create_task(_show(run, console))
    try:
        yield
    finally:
        for task in (watching, showing):
            task.cancel()
        await asyncio.gather(watching, showing, return_exceptions=True)


async def _show(run: Run, console: Console) -> None:
    progress = run.progress
    shown = before = 0
    with (
        Live(console=console, auto_refresh=False) if console.is_terminal else contextlib.nullcontext() as live
    ):
        for tick in itertools.count():
            await asyncio.sleep(0.25)
            done = progress.read or progress.acknowledged
            progress.elapsed = time.monotonic() - run.started
            progress.rate = max(0, done - before) / 0.25
            before = done
            if live is not None:
                live.update(live_view(progress), refresh=True)
                continue
            for event in progress.events[shown:]:
                console.print(event, highlight=False)
            shown = len(progress.events)
            if tick % 4 == 3:
                console.print(progress_line(progress), highlight=False)


async def _watch(run: Run, watcher: Cluster) -> None:
    """Look at leaders and high watermarks a few times a second; it may well be that nobody answers."""
    async with Consumer(watcher) as consumer:
        while True:
            await asyncio.sleep(0.25)
            topic = watcher.topics.get(TOPIC)
            if topic is None:
                continue
            with contextlib.suppress(KafkaError, *CONNECTION_FAILURES):
                await watcher.refresh([TOPIC])
                run.progress.partitions = watcher.topics[TOPIC].partitions
                names = [TopicPartition(TOPIC, each.index) for each in run.progress.partitions]
                async with asyncio.timeout(0.5):
                    ends = await consumer.offsets(names, LATEST)
                run.progress.high_watermarks = {name.partition: end for name, end in ends.items()}
