"""`python -m chaos`: the demonstration, simulations, trials of real processes, the judge of histories. All of
it from a checkout."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chaos.check_command import check_history
from chaos.demo import run_demo
from chaos.harness.command import run_trial
from chaos.simulation_command import mutants, sim
from chaos.workload import file_lines, standard_library
from kafkawire.errors import KafkaError
from kraft.client.connections import CONNECTION_FAILURES
from kraft.complaints import complain
from kraft.processes import StartError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def chaos() -> None:
    """Hurts clusters, simulated ones and real processes, and looks whether they keep their word."""


@app.command()
def demo(
    input_: Annotated[
        Path | None, typer.Option("--input", help="A text file instead of the standard library's sources")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where data and logs stay; without it they go when it ends")
    ] = None,
) -> None:
    """Stream every line of a text through six processes, kill a leader and the active controller, compare."""
    console = Console()
    directory = (data_dir or Path(tempfile.mkdtemp(prefix="kraft-demo-"))).absolute()
    try:
        lines = list(standard_library() if input_ is None else file_lines(input_))
        if not lines:
            raise typer.BadParameter("there is not a line in it", param_hint="--input")
        status = asyncio.run(run_demo(lines, directory, console))
    except (StartError, KafkaError, *CONNECTION_FAILURES) as error:
        status = complain(str(error))
    finally:
        if data_dir is None:
            shutil.rmtree(directory, ignore_errors=True)
    raise typer.Exit(status)


app.command("check")(check_history)
app.command("run")(run_trial)
app.command("sim")(sim)
app.command("mutants")(mutants)


if __name__ == "__main__":
    app()
