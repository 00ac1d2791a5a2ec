"""The command line of `python -m chaos run`, checked whole before anything is started."""

from __future__ import annotations

import importlib.util
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from chaos.harness.tasks import Library
from kraft.local_cluster import MAX_NODES

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_NEEDED = {Library.CONFLUENT: "confluent_kafka", Library.AIOKAFKA: "aiokafka", Library.KRAFT: "kraft.client"}


class Workload(StrEnum):
    """What clients do."""

    PRODUCE = "produce"
    """Idempotent producers, and consumers that read along."""
    GROUP = "group"
    """Consumer groups that commit."""
    COPY = "copy"
    """Consume, produce and commit in transactions."""


class OptionError(Exception):
    """Something on the command line that cannot be done; one line."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """A run. Times are seconds; `records` are those of all producers together; `command` runs it again."""

    controllers: int
    brokers: int
    nemeses: tuple[str, ...]
    duration: float
    every: float
    seed: int
    records: int
    workloads: tuple[Workload, ...]
    libraries: tuple[Library, ...]
    out: Path
    keep: bool
    command: str

    @property
    def replication_factor(self) -> int:
        return min(3, self.brokers)

    @property
    def min_insync_replicas(self) -> int:
        return min(2, self.brokers)


def parse_nodes(text: str) -> tuple[int, int]:
    """`CONTROLLERS+BROKERS`; raises OptionError."""
    match = re.fullmatch(r"(\d{1,4})\+(\d{1,4})", text.strip(), re.ASCII)
    if match is None:
        raise OptionError(f"--nodes {text}: is not CONTROLLERS+BROKERS, as in 3+3")
    controllers, brokers = int(match[1]), int(match[2])
    if not 1 <= controllers <= MAX_NODES or not 1 <= brokers <= MAX_NODES:
        raise OptionError(
            f"--nodes {text}: a cluster has 1 to {MAX_NODES} controllers and 1 to {MAX_NODES} brokers"
        )
    return controllers, brokers


def parse_duration(text: str, option: str = "--for") -> float:
    """`90`, `90s`, `10m` or `1h` in seconds; raises OptionError."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smh]?)", text.strip(), re.ASCII)
    seconds = 0.0 if match is None else float(match[1]) * _UNITS[match[2]]
    if seconds <= 0:
        raise OptionError(f"{option} {text}: is no time, as in 90s, 10m or 1h")
    return seconds


def parse_seed(text: str | None, option: str = "--seed") -> int:
    """The seed, a new one if none is given; raises OptionError."""
    if text is None:
        return secrets.randbelow(2**32)
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise OptionError(f"{option} {text}: is not a whole number from 0 on")
    return int(text)


def parse_workloads(text: str) -> tuple[Workload, ...]:
    """Names with commas; raises OptionError."""
    return tuple(Workload(name) for name in _names(text, "--workload", [*Workload]))


def parse_libraries(text: str | None) -> tuple[Library, ...]:
    """Names with commas, of libraries that are installed; all of those if none is given."""
    installed = [library for library in Library if importlib.util.find_spec(_NEEDED[library]) is not None]
    if text is None:
        return tuple(installed)
    wanted = [Library(name) for name in _names(text, "--clients", [*Library])]
    for library in wanted:
        if library not in installed:
            package = _NEEDED[library].replace("_", "-")
            raise OptionError(
                f"--clients {text}: {library} needs the package {package}, which is not installed"
            )
    return tuple(wanted)


def _names(text: str, option: str, known: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in known:
            raise OptionError(f"{option} {name}: is unknown; there are {', '.join(known)}")
    if not names:
        raise OptionError(f"{option}: names none; there are {', '.join(known)}")
    return names


def parse_nemeses(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Names with commas; raises OptionError."""
    return tuple(_names(text, "--nemesis", known))
