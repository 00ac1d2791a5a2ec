"""A trial from its options to its exit status: the run, the verdict, and what stays behind."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from chaos.anomalies import Judgement, check
from chaos.harness.account import run_record
from chaos.harness.interruptions import InterruptedRun, Interruptions
from chaos.harness.journal import events
from chaos.harness.nemeses.power import PowerCut
from chaos.harness.options import OptionError, RunOptions
from chaos.harness.power.mounting import enter_private_mounts
from chaos.harness.run import Run
from chaos.harness.verdict import held, verdict_lines
from chaos.history import Event
from chaos.history_file import HistoryWriter
from chaos.report import require_drawing, write_report

HELD, FAILED, INTERRUPTED = 0, 1, 130


def run_chaos(options: RunOptions, console: Console) -> int:
    """Returns the exit status: HELD only if the run came to its end and nothing happened that must not."""
    require_drawing()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.keep and (options.out / "data").exists():
        raise OptionError(f"--keep: {options.out / 'data'} exists already")
    directory = options.out / "data" if options.keep else Path(tempfile.mkdtemp(prefix="kraft-chaos-"))
    with Interruptions() as interruptions:
        try:
            return _tried(Run(options, directory.absolute(), console), interruptions)
        finally:
            if not options.keep:
                shutil.rmtree(directory, ignore_errors=True)


def _tried(run: Run, interruptions: Interruptions) -> int:
    """Execute it, judge it and write its report, whatever became of it; returns the exit status."""
    options = run.options
    run.directory.mkdir(exist_ok=True)
    if PowerCut.name in options.nemeses:
        enter_private_mounts()
    status = asyncio.run(_interruptible(run, interruptions))
    try:
        judgement = judge(run, interruptions)
    except InterruptedRun:
        run.failure, status, judgement = "interrupted", INTERRUPTED, check(())
    html, _ = write_report(run_record(run, judgement), options.out)
    for line in [*verdict_lines(run, judgement), f"report: {html}"]:
        run.console.print(line, highlight=False, markup=False, soft_wrap=True)
    if status:
        return status
    if held(run, judgement):
        return HELD
    keep_evidence(run, options.out / "evidence")
    return FAILED


async def _interruptible(run: Run, interruptions: Interruptions) -> int:
    """Execute it; an interruption ends it, and all is cleaned up: that is INTERRUPTED, otherwise 0."""
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(run.execute())
    status = 0

    def interrupt() -> None:
        nonlocal status
        if not status:  # once: whoever is impatient must not get in the way of cleaning up
            status = INTERRUPTED
            task.cancel()

    with interruptions.calling(lambda: loop.call_soon_threadsafe(interrupt)):
        await task
    return status


def history(run: Run) -> Iterator[Event]:
    """What the journals say, as events."""
    return events(run.journals, time.monotonic() if run.scene is None else run.scene.began)


def judge(run: Run, interruptions: Interruptions) -> Judgement:
    """Judge the history; of a run that was cut short, as much as there is. Raises InterruptedRun."""
    with interruptions.calling(_give_up):
        return check(history(run))


def _give_up() -> None:
    raise InterruptedRun


def keep_evidence(run: Run, directory: Path) -> None:
    """Logs, journals and history of a run that went wrong stay, beside the report."""
    directory.mkdir(exist_ok=True)
    with HistoryWriter(directory / "history.jsonl") as writer:
        for event in history(run):
            writer.append(event)
    for pattern in ("nodes/*.log", "clients/*.log", "clients/*.journal", "proxy.log"):
        for path in run.directory.glob(pattern):
            shutil.copy(path, directory / path.name)
