"""Figures with the bounds they should keep, and the table that shows them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `bound` is the most it should be, or the least with `at_least`; None where it is
    shown for information."""

    name: str
    value: float
    unit: str
    bound: float | None = None
    note: str = ""
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or nothing where there is no bound."""
        if self.bound is None:
            return ""
        kept = self.value >= self.bound if self.at_least else self.value <= self.bound
        return "met" if kept else "missed"

    def cells(self) -> tuple[str, str, str, str, str]:
        """The row of the table: figure, measured, bound, verdict, note."""
        sign = "≥" if self.at_least else "≤"
        bound = "" if self.bound is None else f"{sign} {shown(self.bound)} {self.unit}"
        return self.name, f"{shown(self.value)} {self.unit}", bound, self.verdict, self.note

    def as_json(self) -> dict[str, object]:
        """All fields and the verdict, for `json.dump`."""
        return {**dataclasses.asdict(self), "verdict": self.verdict}


HEADINGS = ("figure", "measured", "bound", "", "how")


def shown(value: float) -> str:
    """A number with three significant digits, never in scientific notation."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def text_table(figures: Sequence[Figure]) -> str:
    """The table for a terminal."""
    rows = [HEADINGS, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    right = (False, True, True, False, False)
    lines = [
        "  ".join(
            cell.rjust(width) if aligned else cell.ljust(width)
            for cell, width, aligned in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def markdown_table(figures: Sequence[Figure]) -> str:
    """The table for a document."""
    rows = [HEADINGS, ("---", "---:", "---:", "---", "---"), *(figure.cells() for figure in figures)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
