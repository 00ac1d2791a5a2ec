"""`python -m chaos sim` and `python -m chaos mutants`: histories in virtual time, by the seed."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from dataclasses import replace
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

from chaos.cluster.plan import LENGTH, Plan
from chaos.cluster.shrinking import shrink
from chaos.harness.options import OptionError, parse_seed
from chaos.layers import LAYERS, Outcome, find, leave_the_dead_alone, run_plan_aside, run_seeds
from chaos.simulation import run_plan
from kraft.complaints import MISUSE, complain

LayerName = Annotated[
    str, typer.Option(help=" | ".join(f"{name}: {layer.what}" for name, layer in LAYERS.items()))
]
Jobs = Annotated[int, typer.Option(min=1, max=256, help="Processes that run histories at the same time")]


class _WithProcess(logging.Formatter):
    """What a node logs, as a line of the trace."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            name, now = "", 0.0
        else:
            name, now = getattr(loop, "name", ""), loop.time()
        fields = getattr(record, "kraft_fields", {})
        values = " ".join(f"{key}={value}" for key, value in fields.items())
        return f"{now:.6f} {name} {record.getMessage()} {values}"


def sim(
    seed: Annotated[str, typer.Option(help="The first seed")] = "0",
    histories: Annotated[int, typer.Option(min=1, help="How many seeds")] = 1,
    jobs: Jobs = 1,
    layer: LayerName = "cluster",
    trace: Annotated[bool, typer.Option(help="Print what happens, a line for each event")] = False,
    shrink_: Annotated[
        bool,
        typer.Option(
            "--shrink",
            help="Make a failing history smaller: leave out faults and clients while it still fails",
        ),
    ] = False,
    without: Annotated[
        str,
        typer.Option(
            help="What to leave out, with commas: faults (pause), one of them (pause#3), clients (writer-1)"
        ),
    ] = "",
    length: Annotated[float, typer.Option(min=0.1, max=3600, help="Virtual seconds of faults")] = LENGTH,
) -> None:
    """Run histories of a simulated cluster; exit status 1 if one of them fails."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    _check_layer(layer)
    first = _seed(seed, "--seed")
    plan = Plan(first, frozenset(filter(None, without.split(","))), length)
    special = trace or shrink_ or plan != Plan(first)
    if special and (layer != "cluster" or histories != 1):
        raise typer.BadParameter(
            "--trace, --shrink, --without and --length are for one history of the cluster"
        )
    if trace:
        raise typer.Exit(_trace(console, plan))
    if shrink_:
        raise typer.Exit(_shrink(console, plan))
    if special:
        raise typer.Exit(_tell(console, layer, plan, run_plan_aside(plan)))
    raise typer.Exit(_run_many(console, layer, first, histories, jobs))


def _check_layer(layer: str) -> None:
    if layer not in LAYERS:
        raise typer.BadParameter(f"{layer!r} is none of {', '.join(LAYERS)}", param_hint="--layer")


def _seed(text: str, option: str) -> int:
    """The number; what is none is told in a line, which ends the program."""
    try:
        return parse_seed(text, option)
    except OptionError as error:
        raise typer.Exit(complain(str(error), MISUSE)) from None


def _run_many(console: Console, layer: str, seed: int, histories: int, jobs: int) -> int:
    began, failed, digest = time.monotonic(), 0, 0
    for outcome in run_seeds(layer, seed, histories, jobs):
        digest = (digest * 31 + outcome.trace) & 0xFFFFFFFF
        if outcome.problem is not None:
            failed += 1
            _tell(console, layer, Plan(outcome.seed), outcome)
    seconds = time.monotonic() - began
    pace = f"{histories / seconds * 60 / jobs:,.0f} a minute for each job"
    console.print(f"{histories} histories, {failed} failed, trace {digest:08x}, {seconds:.1f} s, {pace}")
    return 1 if failed else 0


def _trace(console: Console, plan: Plan) -> int:
    leave_the_dead_alone()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_WithProcess())
    logging.getLogger("kraft").addHandler(handler)
    logging.getLogger("kraft").setLevel(logging.INFO)
    # A reader that has enough, as in `| head`, ends the history; it is nothing that happened in it.
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        return _tell(console, "cluster", plan, run_plan(plan, printed=True))
    finally:
        sys.stdout.flush()
        signal.signal(signal.SIGPIPE, before)


def _tell(console: Console, layer: str, plan: Plan, outcome: Outcome) -> int:
    if outcome.problem is None:
        console.print(f"seed {outcome.seed} held, trace {outcome.trace:08x}")
        return 0
    console.print(f"seed {outcome.seed} FAILED: {outcome.problem}")
    chosen = "" if layer == "cluster" else f"--layer {layer} "
    console.print(f"  replay: python -m chaos sim {chosen}{plan.arguments()}")
    return 1


def _shrink(console: Console, plan: Plan) -> int:
    def tell(smaller: Plan) -> None:
        console.print(f"  still fails: {smaller.arguments()}")

    try:
        smallest, result = shrink(plan, run_plan_aside, tell)
    except ValueError as error:
        console.print(str(error))
        return 0
    _tell(console, "cluster", replace(smallest), result)
    console.print(f"  faults: {', '.join(result.faults) or 'none'}; clients: {', '.join(result.clients)}")
    return 1


class Search(NamedTuple):
    """The search for a planted bug, from seed `first` on through `within` histories, and what came of it."""

    layer: str
    name: str
    first: int
    within: int
    found: Outcome | None
    seconds: float


TABLE_HEAD = """\
| planted bug | layer | what it does | found by | in | what the history showed |
|---|---|---|---|---|---|"""
SHOWN = 150
"""Characters of a problem."""


def _line(search: Search) -> str:
    layer, name, first, within, found, seconds = search
    if found is None:
        return f"MISSED {layer:<12}{name:<32}in {within} histories, {seconds:.1f} s"
    number = found.seed - first + 1
    what = f"found  {layer:<12}{name:<32}seed {found.seed:<6}history {number:<6}{seconds:6.1f} s"
    return f"{what}\n       {(found.problem or '')[:SHOWN]}"


def _table_row(search: Search) -> str:
    layer, name, first, within, found, seconds = search
    what, cells = LAYERS[layer].mutants[name].description, ["not found", f"{within} histories", ""]
    if found is not None:
        problem = (found.problem or "").replace("|", "\\|")
        shown = problem if len(problem) <= SHOWN else f"{problem[:SHOWN]}…"
        number = found.seed - first + 1
        looked_through = f"{number} {'history' if number == 1 else 'histories'}, {seconds:.1f} s"
        cells = [f"seed {found.seed}", looked_through, f"`{shown}`"]
    return f"| {' | '.join([f'`{name}`', layer, what, *cells])} |"


def mutants(
    only: Annotated[
        str, typer.Option(help="One bug by its name, or a layer: cluster, replication, quorum")
    ] = "",
    within: Annotated[int, typer.Option(min=1, help="Histories to look through for each")] = 10_000,
    first: Annotated[str, typer.Option(help="The first seed")] = "0",
    jobs: Jobs = 1,
    markdown: Annotated[bool, typer.Option(help="Print a table in Markdown")] = False,
) -> None:
    """Plant each known bug and look for a history that betrays it; exit status 1 if one is not found."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    chosen = [
        (layer, name)
        for layer, definition in LAYERS.items()
        for name in definition.mutants
        if only in ("", layer, name)
    ]
    if not chosen:
        raise typer.BadParameter(f"{only!r} is neither a planted bug nor a layer", param_hint="--only")
    seed, missed = _seed(first, "--first"), 0
    tell = _table_row if markdown else _line
    if markdown:
        console.print(TABLE_HEAD)
    for layer, name in chosen:
        began = time.monotonic()
        found = find(layer, name, seed, within, jobs)
        seconds = time.monotonic() - began
        missed += found is None
        console.print(tell(Search(layer, name, seed, within, found, seconds)))
    if markdown:
        console.print()
    console.print(f"{len(chosen) - missed} of {len(chosen)} planted bugs found")
    raise typer.Exit(1 if missed else 0)
