"""A run: a cluster of real processes, clients at work, and faults; in the end everything is read back."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live

from chaos.faults import Fault, Faults
from chaos.harness.crew import ClientError, Crew
from chaos.harness.links import Network, behind_proxies
from chaos.harness.nemeses.clocks import ClockSkew
from chaos.harness.nemeses.power import PowerCut
from chaos.harness.observations import Observations
from chaos.harness.options import RunOptions
from chaos.harness.picture import Scene, describe, picture, status_line
from chaos.harness.power.disks import Disks
from chaos.harness.replicas import differing
from chaos.harness.schedule import BOUND, NotRecoveredError, Schedule
from chaos.harness.skewed_node import set_offset
from chaos.harness.stage import NodeEndedError, Stage, clock_file
from chaos.harness.tasks import Role
from chaos.harness.watcher import Watcher
from chaos.harness.workloads import Cast, cast, read_back_task
from chaos.observer import Observer
from kafkawire.errors import KafkaError
from kraft.client.cluster import Cluster
from kraft.client.connections import CONNECTION_FAILURES
from kraft.local_cluster import ClusterPlan, LocalCluster, NodePlan, kraft_program, plan_cluster
from kraft.processes import StartError

SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "6",
    "transaction.state.log.num.partitions": "6",
}
"""Fewer partitions of the internal topics, so that most of them have something to lose."""

SEGMENT_BYTES = 1024 * 1024
"""Of our topics: a run shall have closed segments as well."""

GRACE = 120.0
"""Seconds that producers have, after the last fault, to send what is left."""

LOOK_EVERY = 0.25
LOOKS_A_LINE = 20

FAILURES = (ClientError, NodeEndedError, NotRecoveredError, StartError, KafkaError, *CONNECTION_FAILURES)


@dataclass(slots=True)
class Run:
    """One run and what came of it; `failure` says in a line why it did not come to its end."""

    options: RunOptions
    directory: Path
    console: Console
    scene: Scene | None = None
    journals: list[Path] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    failure: str | None = None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: float = 0.0
    replaced: int = 0
    differing: Sequence[str] = ()

    async def execute(self) -> None:
        """All of it but the judgement. Whatever happens, no process is left behind."""
        try:
            plan = behind_proxies(
                plan_cluster(self.options.controllers, self.options.brokers, self.directory / "nodes")
            )
        except OSError as error:
            self.failure = f"no free ports: {error.strerror or error}"
            return
        try:
            await self._on(plan)
        except FAILURES as error:
            self.failure = str(error) or type(error).__name__
        except asyncio.CancelledError:
            self.failure = "interrupted"

    async def _on(self, plan: ClusterPlan) -> None:
        (self.directory / "clients").mkdir(parents=True)
        observations = Observations()
        async with (
            self._disks(plan) as disks,
            LocalCluster(plan, self._settings(), self._program(plan)) as nodes,
            Network(plan, self.directory / "proxy.log") as network,
            Cluster(plan.bootstrap) as client,
            Cluster(plan.bootstrap) as eye,
            Crew(self.directory / "clients", observations) as crew,
        ):
            people = cast(self.options, plan.bootstrap, self.directory / "clients")
            stage = Stage(
                nodes, network, Observer(client, BOUND), Faults(nodes, _say_nothing),
                list(people.topics), list(people.groups), disks,
            )  # fmt: skip
            schedule = Schedule(stage, self.options.nemeses, self.options.seed, self.options.every)
            scene = Scene(time.monotonic(), people.records, observations, Watcher(eye), schedule)
            self.scene = scene
            try:
                async with self._shown(scene, crew):
                    await self._act(scene, crew, people)
            finally:
                self.ended = time.monotonic()
                self.journals, self.replaced = crew.journals, crew.replaced
                self.tracebacks = _tracebacks(nodes)

    async def _act(self, scene: Scene, crew: Crew, people: Cast) -> None:
        stage = scene.schedule.stage
        await stage.nodes.start()
        for topic, partitions in people.topics:
            await stage.observer.admin.create_topic(
                topic,
                partitions=partitions,
                replication_factor=self.options.replication_factor,
                configs={
                    "min.insync.replicas": str(self.options.min_insync_replicas),
                    "segment.bytes": str(SEGMENT_BYTES),
                },
            )
        await stage.until_whole()
        await crew.start(people.tasks)
        scene.phase = "hurting"
        await scene.schedule.run(time.monotonic() + self.options.duration)
        scene.phase = "finishing"
        stage.check_that_all_run()
        await stage.mend()
        await stage.until_whole()
        await crew.done(Role.PRODUCE, timeout=GRACE)
        await crew.finish(Role.PRODUCE)
        await crew.finish(Role.GROUP, Role.COPY, Role.READ)
        scene.phase = "reading back"
        await crew.start([read_back_task(people, stage.nodes.plan.bootstrap, self.directory / "clients")])
        await crew.done(Role.READ_BACK, timeout=BOUND + self.options.records / 5000)
        if crew.running(Role.READ_BACK):
            raise ClientError("reading everything back took too long")
        scene.phase = "judging"
        stage.check_that_all_run()
        await stage.nodes.stop()
        self.differing = await asyncio.to_thread(differing, stage.nodes.plan, people.topics)

    def _program(self, plan: ClusterPlan) -> Callable[[NodePlan], Sequence[str]]:
        """How nodes are run: with clocks that can be set if that is to happen."""
        if ClockSkew.name not in self.options.nemeses:
            return kraft_program

        def skewed(node: NodePlan) -> Sequence[str]:
            path = clock_file(plan.directory, node)
            return (sys.executable, "-m", "chaos.harness.skewed_node", str(path))

        plan.directory.mkdir(parents=True, exist_ok=True)
        for node in plan.nodes:
            set_offset(clock_file(plan.directory, node), 0.0)
        return skewed

    @contextlib.asynccontextmanager
    async def _disks(self, plan: ClusterPlan) -> AsyncIterator[Disks | None]:
        """Disks that forget, if the power is to be cut."""
        if PowerCut.name not in self.options.nemeses:
            yield None
            return
        async with Disks(plan, self.directory / "volume") as disks:
            yield disks

    def _settings(self) -> dict[str, str]:
        factor, in_sync = str(self.options.replication_factor), str(self.options.min_insync_replicas)
        flushed = {"log.flush.interval.messages": "1"} if PowerCut.name in self.options.nemeses else {}
        return {
            **SETTINGS,
            **flushed,  # nothing else survives when the power is cut everywhere
            "offsets.topic.replication.factor": factor,
            "transaction.state.log.replication.factor": factor,
            "transaction.state.log.min.isr": in_sync,
            "min.insync.replicas": in_sync,
        }

    @contextlib.asynccontextmanager
    async def _shown(self, scene: Scene, crew: Crew) -> AsyncIterator[None]:
        """Look and show while the body runs; if looking finds that a client has failed, the body ends."""
        body = asyncio.current_task()
        watching = asyncio.create_task(scene.watcher.watch())
        showing = asyncio.create_task(self._show(scene, crew))
        failed: list[BaseException] = []

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None and body is not None:
                failed.append(task.exception() or ClientError("a client failed"))
                body.cancel()

        showing.add_done_callback(ended)
        watching.add_done_callback(ended)
        try:
            yield
        except asyncio.CancelledError:
            if failed:
                raise failed[0] from None
            raise
        finally:
            for task in (watching, showing):
                task.cancel()
            await asyncio.gather(watching, showing, return_exceptions=True)

    async def _show(self, scene: Scene, crew: Crew) -> None:
        console, told, looks = self.console, 0, 0
        live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        with live or contextlib.nullcontext():
            while True:
                await asyncio.sleep(LOOK_EVERY)
                crew.look()
                if live is not None:
                    live.update(picture(scene, time.monotonic()), refresh=True)
                    continue
                injuries = scene.schedule.injuries
                while told < len(injuries) and injuries[told].recovered is not None:
                    console.print(describe(injuries[told], scene.began), highlight=False, soft_wrap=True)
                    told += 1
                looks += 1
                if looks % LOOKS_A_LINE == 0:
                    console.print(status_line(scene, time.monotonic()), highlight=False, soft_wrap=True)


def _say_nothing(_: Fault) -> None:
    """The schedule keeps the record of what was done."""


def _tracebacks(nodes: LocalCluster) -> list[str]:
    """Names of nodes whose log shows a mistake of ours."""
    found = []
    for process in nodes.processes.values():
        with contextlib.suppress(OSError):
            if "Traceback" in process.log_path.read_text(errors="replace"):
                found.append(process.name)
    return found
