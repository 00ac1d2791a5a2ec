"""`python -m chaos check FILE`: judge a history that a run has left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chaos.anomalies import Judgement, check
from chaos.history_file import HistoryFileError, read_history
from kraft.complaints import MISUSE, complain


def check_history(
    file: Annotated[Path, typer.Argument(help="A history, as a run writes it (JSON lines)")],
) -> None:
    """Judge a history that was written down: exit status 0 if it held, 1 if not, 2 if it is none."""
    console = Console(highlight=False)
    try:
        judgement = check(read_history(file))
    except OSError as error:
        _refuse(f"{file}: {error.strerror}")
    except (HistoryFileError, ValueError, OverflowError) as error:
        _refuse(f"{file}: {error}")
    for line in judgement_lines(judgement):
        console.print(line, markup=False)
    raise typer.Exit(0 if judgement.held else 1)


def judgement_lines(judgement: Judgement) -> list[str]:
    """A judgement for people, a figure a line and the verdict at the end."""
    totals = judgement.totals
    figures = {
        "sent": totals.sent,
        "acknowledged": totals.acknowledged,
        "refused": totals.refused,
        "read": totals.read,
        "transactions": totals.transactions,
        "offset commits": totals.offset_commits,
    }
    lines = [f"{name:<16}{count:>12,}" for name, count in figures.items()]
    if totals.unjudged:
        lines.append(f"{totals.unjudged:,} acknowledged records were not read, and nobody looked for them")
    return [*lines, *judgement.lines(), "HELD" if judgement.held else "BROKEN"]


def _refuse(reason: str) -> None:
    raise typer.Exit(complain(reason, MISUSE))
