"""Trials with real processes: one that holds, one that is interrupted, and those that do not get far."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import sys
from pathlib import Path

import pytest
from rich.console import Console

from chaos.anomalies import check
from chaos.harness.command import RunText, parse_options
from chaos.harness.run import Run
from chaos.harness.verdict import verdict_lines

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("processes")]


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "chaos", "run", *options]


async def finished(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(120):
        output, _ = await process.communicate()
    return output.decode()


BROKEN_NODE = """
import os, sys
if "--node-id" in sys.orig_argv:
    if sys.orig_argv[sys.orig_argv.index("--node-id") + 1] == "2":
        os.write(2, b"it has no wish to")
        os._exit(1)
"""


async def run(*options: str, tmp_path: Path, **environment: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *command(*options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment, "TMPDIR": str(tmp_path)},
    )
    said = await finished(process)
    return process.returncode, said


def processes_in(directory: Path) -> list[str]:
    """Command lines that name a directory: what a run would have left behind."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(directory) in line and "chaos run" not in line:
                found.append(line)
    return found


async def test_a_short_run_holds_and_leaves_nothing_behind(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    status, said = await run(
        *("--nemesis", "kill,pause,isolate-controller", "--for", "12s", "--every", "4s", "--seed", "4"),
        *("--records", "3000", "--workload", "produce", "--out", str(tmp_path / "out")),
        tmp_path=scratch,
    )
    assert status == 0, said
    assert said.splitlines()[-2] == "it held: nothing lost, nothing doubled, nothing out of order"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.html", "report.png"}
    figures = dict(re.findall(r"^([a-z ]+?) +([\d,]+)$", said, re.MULTILINE))
    assert figures["acknowledged"] == figures["sent"] == figures["read"] == "3,000"
    assert int(figures["faults"]) >= 2
    if "isolate-controller" in said.partition("seed 4:")[0]:
        assert int(figures["failovers"]) >= 1
    assert list(scratch.iterdir()) == []
    assert processes_in(scratch) == []


async def test_an_interrupted_run_says_so_and_leaves_nothing_behind(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = await asyncio.create_subprocess_exec(
        *command("--nodes", "1+1", "--nemesis", "kill", "--workload", "produce", "--clients", "kraft"),
        *("--for", "10m", "--every", "1s", "--out", str(tmp_path / "out")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"undone" not in await process.stdout.readline():
            assert process.returncode is None
    process.send_signal(signal.SIGTERM)
    said = await finished(process)
    assert process.returncode == 130, said
    assert "not finished: interrupted" in said.splitlines()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.html", "report.png"}
    assert list(scratch.iterdir()) == []
    assert processes_in(scratch) == []


async def test_a_node_that_does_not_come_up_is_named(tmp_path: Path) -> None:
    scratch, site = tmp_path / "scratch", tmp_path / "site"
    scratch.mkdir()
    site.mkdir()
    (site / "sitecustomize.py").write_text(BROKEN_NODE)
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    status, said = await run(
        "--nodes", "1+2", "--out", str(tmp_path / "out"), tmp_path=scratch, PYTHONPATH=path
    )  # fmt: skip
    assert status == 1
    first, second = said.splitlines()
    assert first == "not finished: broker-2 did not start: it has no wish to"
    assert second == f"report: {tmp_path / 'out' / 'report.html'}"
    assert list(scratch.iterdir()) == []
    assert processes_in(scratch) == []


async def test_without_a_free_port_nothing_is_started(tmp_path: Path) -> None:
    text = RunText("3+3", "kill", "10s", "5s", "1", "produce", "kraft")
    trial = Run(parse_options(text, 100, tmp_path / "out", keep=False), tmp_path, Console())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        await trial.execute()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert trial.failure == "no free ports: Too many open files"
    assert list(verdict_lines(trial, check([]))) == [f"not finished: {trial.failure}"]
