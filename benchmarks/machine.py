"""The machine and what processes use of it, read from /proc."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


class Cpu(NamedTuple):
    """CPU seconds of all threads of a process."""

    user: float
    system: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.user + self.system

    def __sub__(self, earlier: Cpu) -> Cpu:
        return Cpu(self.user - earlier.user, self.system - earlier.system)

    def split(self) -> str:
        """What share the kernel had, for a note."""
        return f"{self.system / self.total:.0%} in the kernel" if self.total else "no CPU used"


def cpu_of(pid: int) -> Cpu:
    """What the process has used so far, in steps of 1/100 s."""
    # The name in parentheses may contain anything; the fields after it are numbers.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Cpu(int(fields[11]) / _TICKS, int(fields[12]) / _TICKS)


class CpuMeter:
    """Measures what some processes use from now on."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = {name: cpu_of(pid) for name, pid in self._pids.items()}

    def read(self) -> dict[str, Cpu]:
        """What each has used since the meter was made."""
        return {name: cpu_of(pid) - self._before[name] for name, pid in self._pids.items()}


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `pss` counts a page that n processes share as an n-th."""

    rss: int
    pss: int


def memory_of(pid: int) -> Memory:
    """What the process has in memory now."""
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0]) * 1024
    return Memory(sizes["Rss"], sizes["Pss"])


def event_loop() -> str:
    """The event loop that a node runs on here."""
    try:
        return f"uvloop {importlib.metadata.version('uvloop')}"
    except importlib.metadata.PackageNotFoundError:
        return "asyncio"


def busy_cores(seconds: float = 2.0) -> float:
    """How many cores' worth of work is done now, by whomever; sleeps for so long to see it."""

    def used() -> int:
        fields = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
        return sum(fields) - fields[3] - fields[4]

    before, started = used(), time.perf_counter()
    time.sleep(seconds)
    return (used() - before) / _TICKS / (time.perf_counter() - started)


def describe() -> str:
    """One line: processor, cores, memory, kernel, Python, event loop, client, what others do just now."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    parts = (
        model,
        f"{len(os.sched_getaffinity(0))} cores",
        f"{pages / 2**30:.0f} GiB",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
        event_loop(),
        f"confluent-kafka {importlib.metadata.version('confluent-kafka')}",
        f"others keep {busy_cores():.1f} cores busy",
    )
    return ", ".join(parts)
