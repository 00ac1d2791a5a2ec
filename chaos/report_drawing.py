"""The picture of a run: faults on the nodes, throughput, latency, and when nothing went through.

The colours of the SVG are names that the page's style fills in, so that it can be read in light and in dark;
the PNG is light and carries verdict and totals itself.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MultipleLocator

from chaos.report import FaultSpan, RunRecord, Verdict, totals_of, verdict_of
from chaos.report_panels import (
    Palette,
    clock_text,
    draw_faults,
    draw_latencies,
    draw_rates,
    fault_colours,
    lanes_of,
    length_of,
    shortened,
)

WIDTH = 13.0
"""Inches, of which the PNG has 120 dots each."""
DPI = 120
LEFT = 0.095
"""Where the panels begin, as a share of the width: it has room for the names of the lanes."""
RIGHT = 0.975
MARGIN = 0.025
LANE = 0.3
PANEL = 1.9
KINDS_A_ROW = 8
TIME_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
COMMAND_LETTERS = 170

_LIGHT = Palette(
    ink="#1f2328",
    faint="#656d76",
    grid="#e3e6ea",
    blue="#2563eb",
    green="#0f9d76",
    amber="#b7791f",
    grey="#9aa1aa",
    red="#d1242f",
)
_STAND_INS = {name: f"#0a0b{number:02x}" for number, name in enumerate(Palette.__slots__)}
"""No colours of a picture: `draw_svg` puts the style's names in their place."""
_VERDICT_COLOURS = {Verdict.HELD: "#1a7f37", Verdict.BROKEN: "#c62828"}
_OPEN_COLOUR = "#9a5b00"
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "kraft-node",
}


def draw_svg(record: RunRecord) -> str:
    """The picture as an `<svg>` element for a page that defines the colours; faults tell what they are."""
    with mpl.rc_context(_STYLE):
        figure = _draw(record, Palette(**_STAND_INS), head=0.0)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    for name, stand_in in _STAND_INS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    svg = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1var(--font)", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 width="100%"', svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return _with_titles(svg, record.faults)


def draw_png(record: RunRecord, path: Path) -> None:
    """The picture as a file, under a head with verdict, totals, seed and command."""
    with mpl.rc_context(_STYLE):
        command = textwrap.wrap(f"$ {record.command}", COMMAND_LETTERS, subsequent_indent="    ")
        figure = _draw(record, _LIGHT, head=2.2 + 0.18 * len(command))
        _draw_head(figure, record, command)
        figure.savefig(path, format="png", dpi=DPI, facecolor="white", metadata={"Software": "kraft-node"})


def _draw(record: RunRecord, palette: Palette, head: float) -> Figure:
    """All panels below `head` inches that are left free."""
    lanes, colours = lanes_of(record), fault_colours(record.faults)
    legend = 0.23 * -(-len(colours) // KINDS_A_ROW)
    heights = (LANE * (len(lanes) + 2) + 0.1, PANEL, PANEL)
    margins = (head + legend + 0.45, 0.62, 0.62, 0.4)
    height = sum(heights) + sum(margins)
    figure = Figure(figsize=(WIDTH, height))
    axes: list[Axes] = []
    top = height
    for margin, size in zip(margins, heights, strict=False):
        top -= margin + size
        area = (LEFT, top / height, RIGHT - LEFT, size / height)
        axes.append(figure.add_axes(area, sharex=axes[0] if axes else None))
    draw_faults(axes[0], record, lanes, palette)
    draw_rates(axes[1], record, palette)
    draw_latencies(axes[2], record, palette)
    _draw_time(axes, record, palette)
    if colours:
        _draw_legend(figure, colours, palette, (height - head - legend / 2 - 0.06) / height)
    return figure


def _draw_time(axes: Sequence[Axes], record: RunRecord, palette: Palette) -> None:
    """The axes of time, and through all panels a shade where nothing went through."""
    end = length_of(record)
    step = next((step for step in TIME_STEPS if end / step <= 12), end / 10)
    for each in axes:
        each.set_xlim(0, end)
        each.xaxis.set_major_locator(MultipleLocator(step))
        each.xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock_text(value, step)))
        each.tick_params(which="both", color=palette.grid, labelcolor=palette.faint, length=3)
        each.grid(True, axis="x", color=palette.grid, linewidth=0.8)
        each.set_axisbelow(True)
        for spine in each.spines.values():
            spine.set_color(palette.grid)
        shades = [(window.start, max(window.end - window.start, end / 1000)) for window in record.unavailable]
        whole = each.get_xaxis_transform()
        style: Any = {"color": palette.red, "alpha": 0.13, "linewidth": 0, "zorder": 0.4}
        each.broken_barh(shades, (0, 1), transform=whole, **style)


def _draw_legend(figure: Figure, colours: Mapping[str, str], palette: Palette, height: float) -> None:
    figure.legend(
        handles=[Patch(color=colour, label=shortened(kind, 20)) for kind, colour in colours.items()],
        loc="center left",
        bbox_to_anchor=(LEFT - 0.005, height),
        ncols=KINDS_A_ROW,
        frameon=False,
        labelcolor=palette.ink,
        handlelength=1.0,
        columnspacing=1.4,
    )


def _draw_head(figure: Figure, record: RunRecord, command: Sequence[str]) -> None:
    verdict, sentence = verdict_of(record)
    height = figure.get_figheight()
    colour = _VERDICT_COLOURS.get(verdict, _OPEN_COLOUR)

    def write(inches: float, left: float, text: str, **style: Any) -> None:
        figure.text(left, 1 - inches / height, text, va="center", **style)

    band = Rectangle((0, 1 - 1 / height), 1, 1 / height, transform=figure.transFigure, color=colour, lw=0)
    figure.add_artist(band)
    write(0.42, MARGIN, verdict.value, fontsize=30, fontweight="bold", color="white")
    write(0.82, MARGIN, shortened(sentence, 150), fontsize=10.5, color="white")
    write(0.42, 1 - MARGIN, shortened(record.title, 56), ha="right", fontsize=13, color="white")
    totals = totals_of(record)[:9]
    for number, (name, value, bad) in enumerate(totals):
        left = MARGIN + number * (1 - MARGIN) / 9
        ink = _LIGHT.red if bad else _LIGHT.ink
        write(1.25, left, shortened(value, 13), fontsize=13, fontweight="bold", color=ink)
        write(1.47, left, shortened(name, 20), fontsize=8, color=_LIGHT.faint)
    seed = "no seed" if record.seed is None else f"seed {record.seed}"
    ran = f"ran for {clock_text(record.duration, 60)}"
    facts = seed, shortened(record.version, 40), f"{record.started:%Y-%m-%d %H:%M %Z}", ran
    write(1.82, MARGIN, "   ·   ".join(facts), color=_LIGHT.ink, fontsize=9.5)
    for number, line in enumerate(command):
        style = {"family": "DejaVu Sans Mono", "fontsize": 8}
        write(2.06 + 0.18 * number, MARGIN, line, color=_LIGHT.faint, **style)


def _with_titles(svg: str, faults: Sequence[FaultSpan]) -> str:
    """Put what a fault was into its bar, which browsers show to whoever points at it."""

    def titled(match: re.Match[str]) -> str:
        fault = faults[int(match[1])]
        until = "to the end" if fault.end is None else f"to {fault.end:.1f} s"
        words = f"{fault.kind} {fault.target}, {fault.start:.1f} s {until}", fault.text
        return f"{match[0]}<title>{escape(': '.join(filter(None, words)))}</title>"

    return re.sub(r'<g id="fault-(\d+)">', titled, svg)
