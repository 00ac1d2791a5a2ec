"""What every benchmark is given: how long it may take, clusters of real processes, meters."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.machine import Cpu, CpuMeter
from benchmarks.profiles import Profiles
from kraft.local_cluster import LocalCluster, plan_cluster


@dataclass(slots=True)
class Measured:
    """What a metered block took, filled in when it ends."""

    seconds: float = 0.0
    cpu: dict[str, Cpu] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bench:
    """`quick` asks for fewer rounds. Data goes below `parent`, a file system of one's choice."""

    quick: bool
    parent: Path | None
    profiles: Profiles | None

    def rounds(self, full: int, quick: int) -> int:
        """How often something is to be done."""
        return quick if self.quick else full

    def say(self, text: str) -> None:
        """Progress, for whoever waits."""
        print(f"  {text}", flush=True)

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """A directory that is gone afterwards."""
        path = Path(tempfile.mkdtemp(prefix="kraft-bench-", dir=self.parent))
        try:
            yield path
        finally:
            shutil.rmtree(path)

    @contextlib.asynccontextmanager
    async def cluster(
        self, controllers: int, brokers: int, settings: Mapping[str, str] | None = None
    ) -> AsyncIterator[LocalCluster]:
        """A running cluster of processes, killed afterwards."""
        with self.directory() as directory:
            async with LocalCluster(plan_cluster(controllers, brokers, directory), settings) as cluster:
                await cluster.start()
                yield cluster

    @contextlib.contextmanager
    def metered(self, label: str, pids: Mapping[str, int]) -> Iterator[Measured]:
        """Measure the time of the block and the CPU that these processes use in it; profile them if asked."""
        measured = Measured()
        with contextlib.ExitStack() as stack:
            if self.profiles is not None:
                stack.enter_context(self.profiles.taken(label.replace(" ", "-"), pids))
            meter, started = CpuMeter(pids), time.perf_counter()
            yield measured
            measured.seconds = time.perf_counter() - started
            measured.cpu = meter.read()


Benchmark = Callable[[Bench], Awaitable[Sequence[Figure]]]


def node_pids(cluster: LocalCluster) -> dict[str, int]:
    """The process ids of all running nodes, by name."""
    return {process.name: process.pid for process in cluster.processes.values() if process.running}
