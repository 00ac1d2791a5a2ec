"""The report of a run: one page and one picture that say whether the cluster held, and how to see it again.

Everything is a value: whoever runs a cluster fills in a `RunRecord`, also when it was interrupted half way.
Times are seconds since the start of the run.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from chaos.anomalies import Judgement

HTML_NAME = "report.html"
PNG_NAME = "report.png"


class FaultSpan(NamedTuple):
    """A fault of `kind` ("kill", "cut", …) on `target`, a node's name as in `RunRecord.nodes`.

    `end` is None if it was never mended; a fault of a moment ends when it begins.
    """

    kind: str
    target: str
    start: float
    end: float | None
    text: str = ""


class Rates(NamedTuple):
    """Records of the second that begins at `at`."""

    at: float
    acknowledged: int
    read: int


class Latency(NamedTuple):
    """How long acknowledgements took in the interval that begins at `at`, in milliseconds."""

    at: float
    p50: float
    p99: float
    longest: float


class Unavailability(NamedTuple):
    """From `start` to `end` nothing was acknowledged although something was asked for; `text` says where."""

    start: float
    end: float
    text: str = ""


class Election(NamedTuple):
    """Someone new leads: `what` is "controller", "partition" or "coordinator"."""

    at: float
    what: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """All that is told of a run. `command` repeats it; `figures` are more totals, by their names.

    `interrupted` says why it ended early, None if it did not; `judgement` is None if it was not judged;
    `complaints` say what is wrong beside the history.
    """

    title: str
    seed: int | None
    command: str
    version: str
    started: datetime
    duration: float
    nodes: Sequence[str] = ()
    faults: Sequence[FaultSpan] = ()
    rates: Sequence[Rates] = ()
    latencies: Sequence[Latency] = ()
    unavailable: Sequence[Unavailability] = ()
    elections: Sequence[Election] = ()
    judgement: Judgement | None = None
    interrupted: str | None = None
    complaints: Sequence[str] = ()
    figures: Mapping[str, str] = field(default_factory=dict)


class Verdict(Enum):
    """What a reader should take away."""

    HELD = "HELD"
    BROKEN = "BROKEN"
    INTERRUPTED = "INTERRUPTED"
    """Nothing was wrong so far."""
    NOTHING_SHOWN = "NOTHING SHOWN"
    """There was no judgement, or nothing to judge: no record was acknowledged and read."""


def verdict_of(record: RunRecord) -> tuple[Verdict, str]:
    """The verdict and a sentence that says what it rests on."""
    judgement = record.judgement
    counts = {} if judgement is None else judgement.counts
    wrong = [f"{kind.value} {count:,}" for kind, count in counts.items() if count] + [*record.complaints]
    if wrong:
        early = "; the run was interrupted as well" if record.interrupted is not None else ""
        return Verdict.BROKEN, f"The cluster did not keep its word: {', '.join(wrong)}{early}."
    if record.interrupted is not None:
        return Verdict.INTERRUPTED, f"{record.interrupted}. Nothing is known to be wrong with what was seen."
    if judgement is None:
        return Verdict.NOTHING_SHOWN, "The run was not judged."
    totals = judgement.totals
    if not totals.acknowledged or not totals.read:
        return Verdict.NOTHING_SHOWN, "No record was acknowledged and read: this run shows nothing."
    faults = f"{len(record.faults):,} fault{'' if len(record.faults) == 1 else 's'}"
    sentence = f"{totals.acknowledged:,} records acknowledged through {faults}: all there, once, in order."
    if totals.unjudged:
        sentence += f" {totals.unjudged:,} were never looked for."
    return Verdict.HELD, sentence


class Total(NamedTuple):
    """One figure of a run; `bad` ones ought to be zero and are not."""

    name: str
    value: str
    bad: bool = False


def totals_of(record: RunRecord) -> list[Total]:
    """The figures to look at first."""
    totals: list[Total] = []
    judgement = record.judgement
    if judgement is not None:
        counted = judgement.totals
        lost, duplicated, reordered = judgement.lost, judgement.duplicated, judgement.reordered
        others = sum(judgement.counts.values()) - lost - duplicated - reordered
        totals += [
            Total("sent", f"{counted.sent:,}"),
            Total("acknowledged", f"{counted.acknowledged:,}"),
            Total("read", f"{counted.read:,}"),
            Total("lost", f"{lost:,}", lost > 0),
            Total("duplicated", f"{duplicated:,}", duplicated > 0),
            Total("reordered", f"{reordered:,}", reordered > 0),
            Total("other anomalies", f"{others:,}", others > 0),
        ]
    longest = max((window.end - window.start for window in record.unavailable), default=0.0)
    totals += [
        Total("faults", f"{len(record.faults):,}"),
        Total("longest unavailable", f"{longest:.2f} s"),
        Total("elections", f"{len(record.elections):,}"),
    ]
    if judgement is not None and judgement.totals.transactions:
        counted = judgement.totals
        totals.append(
            Total("of transactions committed", f"{counted.committed:,} of {counted.transactions:,}")
        )
    return totals + [Total(name, value) for name, value in record.figures.items()]


class ReportError(Exception):
    """There can be no report; the message says what is missing."""


def require_drawing() -> None:
    """Raises ReportError if what draws the pictures is not installed: ask before a long run, not after."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ReportError("a report needs matplotlib: pip install 'kraft-node[chaos]'")


def write_report(record: RunRecord, directory: Path) -> tuple[Path, Path]:
    """Write `report.html` and `report.png` into `directory`, which is made if need be; returns both paths.

    Raises ReportError without matplotlib, and OSError.
    """
    require_drawing()
    from chaos.report_drawing import draw_png, draw_svg
    from chaos.report_page import page

    directory.mkdir(parents=True, exist_ok=True)
    html, png = directory / HTML_NAME, directory / PNG_NAME
    html.write_text(page(record, draw_svg(record)), encoding="utf-8")
    draw_png(record, png)
    return html, png
