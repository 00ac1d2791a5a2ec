"""The command `run` of `python -m chaos`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

from chaos.harness.nemeses.registry import NEMESES, choose
from chaos.harness.options import (
    OptionError,
    RunOptions,
    parse_duration,
    parse_libraries,
    parse_nodes,
    parse_seed,
    parse_workloads,
)
from chaos.harness.trial import run_chaos
from chaos.report import ReportError
from kraft.complaints import MISUSE, complain

RECORDS_A_SECOND = 500


def run_trial(
    nodes: Annotated[str, typer.Option(help="CONTROLLERS+BROKERS")] = "3+3",
    nemesis: Annotated[
        str | None,
        typer.Option(
            help=f"Names with commas, or all; without it all but power-cut. There are {', '.join(NEMESES)}"
        ),
    ] = None,
    for_: Annotated[str, typer.Option("--for", help="How long it is hurt: 90s, 10m, 1h")] = "1m",
    every: Annotated[str, typer.Option(help="The time from one fault to the next, at least")] = "8s",
    seed: Annotated[str | None, typer.Option(help="Decides what happens to whom; drawn if not given")] = None,
    records: Annotated[
        int | None,
        typer.Option(min=1, help="How many to acknowledge; 500 for each second of --for if not given"),
    ] = None,
    workload: Annotated[
        str, typer.Option(help="Names with commas: produce, group, copy")
    ] = "produce,group,copy",
    clients: Annotated[
        str | None,
        typer.Option(
            help="Names with commas: confluent, aiokafka, kraft; all that are installed if not given"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the report goes; chaos-SEED if not given")] = None,
    keep: Annotated[bool, typer.Option(help="Leave data, logs and journals beside the report")] = False,
) -> None:
    """Run clients against a cluster of real processes, hurt it, read everything back, and judge."""
    console = Console()
    text = RunText(nodes, nemesis, for_, every, seed, workload, clients)
    try:
        status = run_chaos(parse_options(text, records, out, keep=keep), console)
    except (OptionError, ReportError, OSError) as error:
        status = complain(str(error), MISUSE)
    raise typer.Exit(status)


class RunText(NamedTuple):
    """Options as they were written."""

    nodes: str
    nemesis: str | None
    duration: str
    every: str
    seed: str | None
    workload: str
    clients: str | None


def parse_options(text: RunText, records: int | None, out: Path | None, *, keep: bool) -> RunOptions:
    """Check all; raises OptionError."""
    controllers, brokers = parse_nodes(text.nodes)
    duration = parse_duration(text.duration)
    seed = parse_seed(text.seed)
    nemeses = choose(text.nemesis, controllers, brokers)
    records = int(duration * RECORDS_A_SECOND) if records is None else records
    command = (
        f"python -m chaos run --nodes {text.nodes} --nemesis {','.join(nemeses)} --for {text.duration} "
        f"--every {text.every} --seed {seed} --records {records} --workload {text.workload}"
    )
    return RunOptions(
        controllers=controllers,
        brokers=brokers,
        nemeses=nemeses,
        duration=duration,
        every=parse_duration(text.every, "--every"),
        seed=seed,
        records=records,
        workloads=parse_workloads(text.workload),
        libraries=parse_libraries(text.clients),
        out=out or Path(f"chaos-{seed}"),
        keep=keep,
        command=command if text.clients is None else f"{command} --clients {text.clients}",
    )
