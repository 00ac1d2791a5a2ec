"""All nemeses by name."""

from __future__ import annotations

from chaos.harness.nemeses.base import Nemesis
from chaos.harness.nemeses.clocks import ClockSkew
from chaos.harness.nemeses.disks import BitFlip, FullDisk, Truncation
from chaos.harness.nemeses.network import (
    Cut,
    IsolateController,
    IsolateCoordinator,
    IsolateLeader,
    OneWayCut,
    PartialCut,
    SlowLink,
)
from chaos.harness.nemeses.power import PowerCut
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
    FullDisk,
    BitFlip,
    Truncation,
    ClockSkew,
    PowerCut,
)
NEMESES = {nemesis.name: nemesis for nemesis in ALL}
EVERY = "all"


def choose(text: str | None, controllers: int, brokers: int) -> tuple[str, ...]:
    """The names that `--nemesis` means; without it, those that are in the default and can be done here.

    Raises OptionError for an unknown name and for one that cannot be done here.
    """
    if text is None or text.strip() == EVERY:
        wanted = [nemesis for nemesis in ALL if text is not None or nemesis.in_default]
        return tuple(nemesis.name for nemesis in wanted if nemesis.refusal(controllers, brokers) is None)
    names = parse_nemeses(text, [*NEMESES])
    for name in names:
        refusal = NEMESES[name].refusal(controllers, brokers)
        if refusal is not None:
            raise OptionError(f"--nemesis {name}: {refusal}")
    return names


def refused(controllers: int, brokers: int) -> dict[str, str]:
    """What cannot be done here, and why."""
    told = {name: nemesis.refusal(controllers, brokers) for name, nemesis in NEMESES.items()}
    return {name: reason for name, reason in told.items() if reason is not None}
