"""What a run looks like while it goes on: a live picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from chaos.harness.observations import Observations
from chaos.harness.schedule import Injury, Schedule
from chaos.harness.watcher import CONTROLLER, Watcher

LAST_FAULTS = 5
LAST_ELECTIONS = 3


@dataclass(slots=True)
class Scene:
    """Everything that can be seen of a run; times are seconds of the monotonic clock."""

    began: float
    records: int
    observations: Observations
    watcher: Watcher
    schedule: Schedule
    phase: str = "starting"


def rate(observations: Observations, now: float) -> tuple[int, int]:
    """Records acknowledged and read in the last whole second."""
    second = observations.seconds.get(int(now) - 1)
    return (0, 0) if second is None else (second.acknowledged, second.read)


def describe(injury: Injury, began: float) -> str:
    """A fault in a line."""
    text = f"{injury.began - began:7.1f} s  {injury.name}: {injury.target or '…'}"
    if injury.healed is not None:
        text += f", undone after {injury.healed - injury.began:.1f} s"
    if injury.recovered is not None and injury.healed is not None:
        text += f", in sync after {injury.recovered - injury.healed:.1f} s more"
    return text


def status_line(scene: Scene, now: float) -> str:
    """One line for where there is no terminal."""
    observations = scene.observations
    acknowledged, read = rate(observations, now)
    return (
        f"{now - scene.began:7.1f} s  {scene.phase}  acknowledged {observations.acknowledged:,} of "
        f"{scene.records:,} ({acknowledged:,}/s)  read {observations.read:,} ({read:,}/s)  "
        f"faults {len(scene.schedule.injuries)}  elections {len(scene.watcher.elections)}"
    )


def picture(scene: Scene, now: float) -> RenderableType:
    """The whole picture."""
    observations = scene.observations
    acknowledged, read = rate(observations, now)
    broken = scene.schedule.present
    head = Text.assemble((f"{scene.phase}  ", "bold"), f"{now - scene.began:.0f} s   ", _broken(broken))
    bar = Table.grid()
    bar.add_row(
        ProgressBar(
            total=max(1, scene.records), completed=min(observations.acknowledged, scene.records), width=60
        )
    )
    flow = Text(
        f"acknowledged {observations.acknowledged:,} of {scene.records:,} at {acknowledged:,}/s   "
        f"read {observations.read:,} at {read:,}/s   waiting {observations.waits.quiet_for(now):.1f} s"
    )
    return Group(head, bar, flow, _leaders(scene.watcher), _clients(observations), *_events(scene))


def _broken(present: str) -> Text:
    return Text(present, style="bold red") if present else Text("nothing is broken", style="green")


def _leaders(watcher: Watcher) -> Text:
    leads = Counter(partition.leader for partition in watcher.partitions.values())
    behind = sum(len(each.isr) < len(each.replicas) for each in watcher.partitions.values())
    headless = leads.pop(-1, 0)
    shares = "  ".join(f"{node_id}: {count}" for node_id, count in sorted(leads.items()))
    return Text.assemble(
        f"controller {watcher.controller}   leaders {shares}   ",
        (f"not in sync {behind}", "yellow" if behind else "default"),
        (f"   without leader {headless}" if headless else "", "bold red"),
    )


def _clients(observations: Observations) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in ("client", "sent", "acknowledged", "unknown", "read", "transactions", "last note"):
        table.add_column(
            column, justify="left" if column in ("client", "last note") else "right", no_wrap=True
        )
    for name, each in sorted(observations.clients.items()):
        numbers = (each.sent, each.acknowledged, each.unknown, each.read, each.committed + each.aborted)
        table.add_row(name, *(f"{number:,}" if number else "" for number in numbers), each.last_note[:50])
    return table


def _events(scene: Scene) -> list[Text]:
    faults = [Text(describe(injury, scene.began)) for injury in scene.schedule.injuries[-LAST_FAULTS:]]
    elections = [
        Text(
            f"{each.at - scene.began:7.1f} s  {_election(each.what)} {each.before} → {each.after}",
            style="dim",
        )
        for each in scene.watcher.elections[-LAST_ELECTIONS:]
    ]
    return faults + elections


def _election(what: str) -> str:
    return "controller" if what == CONTROLLER else f"leader of {what}"
