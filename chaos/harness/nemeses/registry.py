"""All nemeses by name."""

from __future__ import annotations

from chaos.harness.nemeses.base import Nemesis
from chaos.harness.nemeses.network import (
    Cut,
    IsolateController,
    IsolateCoordinator,
    IsolateLeader,
    OneWayCut,
    PartialCut,
    SlowLink,
)
from chaos.harness.nemeses.processes import Kill, KillAll, Pause, RollingRestart
from chaos.harness.nemeses.swaps import PartKill, PauseKill
from chaos.harness.options import OptionError, parse_nemeses

ALL: tuple[type[Nemesis], ...] = (
    Kill,
    KillAll,
    Pause,
    RollingRestart,
    Cut,
    OneWayCut,
    PartialCut,
    IsolateLeader,
    IsolateController,
    IsolateCoordinator,
    SlowLink,
    PartKill,
    PauseKill,
)
NEMESES = {nemesis.name: nemesis for nemesis in ALL}
EVERY = "all"


def choose(text: str | None, controllers: int, brokers: int) -> tuple[str, ...]:
    """The names that `--nemesis` means; without it, those that are in the default and can be done here.

    Raises OptionError for an unknown name and for one that cannot be done here.
    """
    refusals = {name: nemesis.refusal(controllers, brokers) for name, nemesis in NEMESES.items()}
    if text is None or text.strip() == EVERY:
        wanted = [name for name, nemesis in NEMESES.items() if text is not None or nemesis.in_default]
        return tuple(name for name in wanted if refusals[name] is None)
    names = parse_nemeses(text, [*NEMESES])
    for name in names:
        if refusals[name] is not None:
            raise OptionError(f"--nemesis {name}: {refusals[name]}")
    return names


def refused(controllers: int, brokers: int) -> dict[str, str]:
    """What cannot be done here, and why."""
    told = {name: nemesis.refusal(controllers, brokers) for name, nemesis in NEMESES.items()}
    return {name: reason for name, reason in told.items() if reason is not None}
