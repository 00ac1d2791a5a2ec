"""A run as its report wants it: `chaos.report.RunRecord`."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from chaos.anomalies import Judgement
from chaos.harness.picture import Scene
from chaos.harness.run import Run
from chaos.harness.verdict import OUTAGE, complaints, failovers, percentiles, unproven
from chaos.harness.watcher import CONTROLLER
from chaos.report import Election, FaultSpan, Latency, Rates, RunRecord, Unavailability

SEVERAL = "several"


def run_record(run: Run, judgement: Judgement) -> RunRecord:
    """All of a run, also of one that was cut short."""
    options, scene = run.options, run.scene
    told = RunRecord(
        title=f"{options.controllers}+{options.brokers} nodes under {', '.join(options.nemeses)}",
        seed=options.seed,
        command=options.command,
        version=version(),
        started=run.started,
        duration=0.0,
        judgement=judgement,
        interrupted=unproven(run, judgement),
        complaints=complaints(run),
    )
    if scene is None:
        return told
    nodes = scene.schedule.stage.nodes.plan.nodes
    names = {node.node_id: node.name for node in nodes}
    return replace(
        told,
        duration=max(0.0, run.ended - scene.began),
        nodes=tuple(names.values()),
        faults=tuple(_faults(scene, names)),
        rates=tuple(_rates(scene)),
        latencies=tuple(_latencies(scene)),
        unavailable=tuple(_outages(scene)),
        elections=tuple(_elections(scene)),
        figures={
            "failovers": f"{failovers(scene):,}",
            "clients replaced": f"{run.replaced:,}",
            "clients": ", ".join(options.libraries),
        },
    )


def version() -> str:
    """The version, and the commit if this is a checkout."""
    number = importlib.metadata.version("kraft-node")
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{number} ({asked.stdout.strip()})" if asked.returncode == 0 else number


def _faults(scene: Scene, names: dict[int, str]) -> Iterator[FaultSpan]:
    """A span for each, in the lane of the node that was hit, or in one for all that hit several."""
    for injury in scene.schedule.injuries:
        end = None if injury.healed is None else injury.healed - scene.began
        target = names[injury.hit[0]] if len(injury.hit) == 1 else SEVERAL
        yield FaultSpan(injury.name, target, injury.began - scene.began, end, injury.target)


def _rates(scene: Scene) -> Iterator[Rates]:
    seconds = scene.observations.seconds
    if seconds:
        for number in range(min(seconds), max(seconds) + 1):
            second = seconds.get(number)
            if second is None:
                yield Rates(max(0.0, number - scene.began), 0, 0)
            else:
                yield Rates(max(0.0, number - scene.began), second.acknowledged, second.read)


def _latencies(scene: Scene) -> Iterator[Latency]:
    for number, second in sorted(scene.observations.seconds.items()):
        if second.latencies:
            half, most, longest = percentiles(second.latencies, 0.5, 0.99, 1.0)
            yield Latency(number - scene.began, 1000 * half, 1000 * most, 1000 * longest)


def _outages(scene: Scene) -> Iterator[Unavailability]:
    for place, pause in scene.observations.waits.longer_than(OUTAGE):
        yield Unavailability(pause.start - scene.began, pause.end - scene.began, str(place))


def _elections(scene: Scene) -> Iterator[Election]:
    for each in scene.watcher.elections:
        what = "controller" if each.what == CONTROLLER else "partition"
        yield Election(each.at - scene.began, what, f"{each.what}: {each.before} → {each.after}")
