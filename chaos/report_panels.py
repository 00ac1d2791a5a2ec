"""The panels of a run's picture, one above the other on one axis of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from chaos.report import FaultSpan, Latency, Rates, RunRecord

Interval = TypeVar("Interval", Rates, Latency)

MIN_SHARE = 0.004
"""No fault is drawn shorter than this share of the run: a kill takes no time at all."""
BAR = 0.62
"""How much of a lane a bar takes."""
MAX_LANES = 24
MOST_STEPS = 720
MANY_STEPS = 250
"""From here on lines are thin, for steps to be seen."""
MAX_LETTERS = 14
CLUSTER = "cluster"
"""The lane of faults whose target is no node."""
FAULT_COLOURS = (
    "#e0533d", "#3b82c4", "#e39b2d", "#5aa469", "#9467bd", "#c2699f", "#8c6d46", "#17a2b8", "#8a8f98",
    "#b5b52a", "#f08a7a", "#7fb2e5", "#f2c57c", "#93cfa0", "#bfa2db", "#e6a5cc", "#c4a883", "#7fd1de",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of text, lines and warnings."""

    ink: str
    faint: str
    grid: str
    blue: str
    green: str
    amber: str
    grey: str
    red: str


def length_of(record: RunRecord) -> float:
    """The seconds that the axis of time shows."""
    return max(record.duration, 1.0)


def lanes_of(record: RunRecord) -> list[str]:
    """The rows of the timeline: nodes, what else faults name, and one for the cluster if need be."""
    lanes = list(dict.fromkeys(record.nodes))
    for fault in record.faults:
        if fault.target and fault.target not in lanes and len(lanes) < MAX_LANES - 1:
            lanes.append(fault.target)
    if any(fault.target not in lanes for fault in record.faults):
        lanes.append(CLUSTER)
    return lanes or [CLUSTER]


def fault_colours(faults: Sequence[FaultSpan]) -> dict[str, str]:
    """A colour for each kind of fault, in the order of their coming."""
    kinds = dict.fromkeys(fault.kind for fault in faults)
    return {kind: FAULT_COLOURS[number % len(FAULT_COLOURS)] for number, kind in enumerate(kinds)}


def shortened(text: str, letters: int = MAX_LETTERS) -> str:
    """`text` cut to so many letters."""
    return text if len(text) <= letters else text[: letters - 1] + "…"


def clock_text(seconds: float, step: float = 1.0) -> str:
    """A time of the run for the axis: `12 s`, `3:20`, `1:03:20`; tenths of a second in small steps."""
    if seconds < 60 and step < 30:
        return f"{seconds:.0f} s" if step >= 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def draw_faults(axes: Axes, record: RunRecord, lanes: Sequence[str], palette: Palette) -> None:
    """A lane for each node with its faults, one for elections, one for when nothing went through.

    The bar of fault n has the id `fault-n`.
    """
    colours, shortest = fault_colours(record.faults), MIN_SHARE * length_of(record)
    rows = {lane: row for row, lane in enumerate(lanes)}
    for number, fault in enumerate(record.faults):
        row = rows.get(fault.target, rows.get(CLUSTER, 0))
        end = record.duration if fault.end is None else fault.end
        length = max(end - fault.start, shortest)
        bar = Rectangle((fault.start, row - BAR / 2), length, BAR, color=colours[fault.kind], linewidth=0)
        bar.set_gid(f"fault-{number}")
        axes.add_patch(bar)
    elections, silence = len(lanes), len(lanes) + 1
    times = [election.at for election in record.elections]
    axes.plot(times, [elections] * len(times), "|", color=palette.ink, markersize=9, markeredgewidth=1.2)
    windows = [(each.start, max(each.end - each.start, shortest / 3)) for each in record.unavailable]
    axes.broken_barh(windows, (silence - BAR / 2, BAR), color=palette.red, linewidth=0)
    axes.set_ylim(len(lanes) + 1.6, -0.6)
    axes.set_yticks(range(len(lanes) + 2), [*map(shortened, lanes), "elections", "unavailable"])
    axes.axhline(len(lanes) - 0.5, color=palette.grid, linewidth=0.8)
    title = f"Faults ({len(record.faults):,}) and elections ({len(record.elections):,})"
    axes.set_title(title, color=palette.ink)
    if not record.faults:
        axes.text(0.5 * length_of(record), 0, "no faults", ha="center", va="center", color=palette.faint)


def draw_rates(axes: Axes, record: RunRecord, palette: Palette) -> None:
    """Acknowledged and read records of every second, or their means over several in a long run."""
    groups = grouped(record.rates)
    times = [group[0].at for group in groups]
    acknowledged = [fmean(rates.acknowledged for rates in group) for group in groups]
    read = [fmean(rates.read for rates in group) for group in groups]
    _steps(axes, record, times, read, palette.green, 1.1)
    _steps(axes, record, times, acknowledged, palette.blue, 1.3, filled=True)
    axes.set_title("Records a second", color=palette.ink)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylim(0, 1.08 * max([1.0, *acknowledged, *read]))
    axes.grid(True, axis="y", color=palette.grid, linewidth=0.8)
    _keys(axes, {"acknowledged": palette.blue, "read": palette.green}, palette, empty=not record.rates)


def draw_latencies(axes: Axes, record: RunRecord, palette: Palette) -> None:
    """Percentiles of every interval, or the worst of several in a long run, on a logarithmic scale."""
    groups = grouped(record.latencies)
    times = [group[0].at for group in groups]
    lines = {
        "p50": (palette.blue, [max(latency.p50 for latency in group) for group in groups]),
        "p99": (palette.amber, [max(latency.p99 for latency in group) for group in groups]),
        "longest": (palette.grey, [max(latency.longest for latency in group) for group in groups]),
    }
    axes.set_yscale("log")
    values = [max(value, 0.001) for _, line in lines.values() for value in line] or [1.0, 1000.0]
    for colour, line in reversed(lines.values()):
        _steps(axes, record, times, [max(value, 0.001) for value in line], colour, 1.2)
    axes.set_title("Acknowledgement latency", color=palette.ink)
    axes.set_ylim(min(values) / 1.5, max(values) * 1.6)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _duration(value)))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.grid(True, axis="y", color=palette.grid, linewidth=0.8)
    colours = {name: colour for name, (colour, _) in lines.items()}
    _keys(axes, colours, palette, empty=not record.latencies)


def grouped(intervals: Sequence[Interval]) -> list[Sequence[Interval]]:
    """Neighbours put together where there are more than can be told apart."""
    size = max(1, -(-len(intervals) // MOST_STEPS))
    return [intervals[start : start + size] for start in range(0, len(intervals), size)]


def _steps(
    axes: Axes,
    record: RunRecord,
    times: Sequence[float],
    values: Sequence[float],
    colour: str,
    width: float,
    *,
    filled: bool = False,
) -> None:
    """A step for each interval; the last one is as long as the one before, within the run."""
    if not times:
        return
    usual = times[-1] - times[-2] if len(times) > 1 else 1.0
    stretched = [*times, max(times[-1], min(times[-1] + usual, length_of(record)))]
    closed = [*values, values[-1]]
    width *= 0.6 if len(times) > MANY_STEPS else 1.0
    axes.step(stretched, closed, where="post", color=colour, linewidth=width)
    if filled:
        axes.fill_between(stretched, closed, step="post", color=colour, alpha=0.18, linewidth=0)


def _duration(milliseconds: float) -> str:
    return f"{milliseconds / 1000:g} s" if milliseconds >= 1000 else f"{milliseconds:g} ms"


def _keys(axes: Axes, names: Mapping[str, str], palette: Palette, *, empty: bool) -> None:
    if empty:
        where = axes.transAxes
        axes.text(0.5, 0.5, "nothing was measured", transform=where, ha="center", color=palette.faint)
        return
    lines = [Line2D([], [], color=colour, linewidth=2, label=name) for name, colour in names.items()]
    axes.legend(
        handles=lines,
        loc="lower right",
        bbox_to_anchor=(1.0, 0.98),
        ncols=len(lines),
        frameon=False,
        labelcolor=palette.ink,
    )
