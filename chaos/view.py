"""What a run looks like: a live picture on a terminal, plain lines elsewhere, a report at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from chaos.anomalies import Anomaly, Judgement
from kraft.client.cluster import Partition

MAX_EVENTS = 8


@dataclass(frozen=True, slots=True)
class Wait:
    """How long one fault kept the producer waiting, in milliseconds."""

    fault: str
    producer_ms: float


@dataclass(slots=True)
class Progress:
    """The state of a run, filled in by those who watch it. Times are seconds since its start."""

    total: int
    sent: int = 0
    acknowledged: int = 0
    read: int = 0
    elapsed: float = 0.0
    rate: float = 0.0
    partitions: Sequence[Partition] = ()
    high_watermarks: Mapping[int, int] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)


def progress_line(progress: Progress) -> str:
    """One line for where there is no terminal."""
    return (
        f"{progress.elapsed:6.1f} s  sent {progress.sent:,}  acknowledged {progress.acknowledged:,} "
        f"of {progress.total:,}  {progress.rate:,.0f} records/s"
    )


def live_view(progress: Progress) -> RenderableType:
    """The whole picture."""
    done = progress.read or progress.acknowledged
    head = Text.assemble(
        ("reading back " if progress.read else "streaming ", "bold"),
        f"{done:,} of {progress.total:,} records   {progress.rate:,.0f}/s   {progress.elapsed:.1f} s",
    )
    bar = ProgressBar(total=max(1, progress.total), completed=done, width=60)
    bar_line = Table.grid()
    bar_line.add_row(bar)
    return Group(head, bar_line, _partition_table(progress), *map(Text, progress.events[-MAX_EVENTS:]))


def _partition_table(progress: Progress) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in ("partition", "leader", "epoch", "in sync", "high watermark"):
        table.add_column(column, justify="left" if column == "in sync" else "right")
    for partition in progress.partitions:
        whole = len(partition.isr) >= len(partition.replicas)
        watermark = progress.high_watermarks.get(partition.index)
        table.add_row(
            str(partition.index),
            Text("none", style="bold red") if partition.leader < 0 else str(partition.leader),
            str(partition.leader_epoch),
            Text(",".join(map(str, partition.isr)), style="default" if whole else "yellow"),
            "" if watermark is None else f"{watermark:,}",
        )
    return table


def report_lines(judgement: Judgement, waits: Sequence[Wait], seconds: float) -> list[str]:
    """The result of a run, a figure a line."""
    figures = (
        ("sent", judgement.totals.sent),
        ("acknowledged", judgement.totals.acknowledged),
        ("read", judgement.totals.polled),
        ("lost", judgement.lost),
        ("duplicated", judgement.duplicated),
        ("reordered", judgement.reordered),
    )
    lines = [f"{name:<14}{count:>12,}" for name, count in figures]
    if altered := judgement.count(Anomaly.ALTERED):
        lines.append(f"{'altered':<14}{altered:>12,}")
    lines += [f"{wait.fault}: the producer waited {wait.producer_ms:.0f} ms" for wait in waits]
    lines += judgement.lines()
    word = "nothing was lost" if judgement.held else "THE CLUSTER DID NOT KEEP ITS WORD"
    lines.append(f"{word}, in {seconds:.1f} s")
    return lines
