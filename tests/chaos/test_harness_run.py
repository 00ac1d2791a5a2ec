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

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("processes")]


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "chaos", "run", *options]


async def finished(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(120):
        output, _ = await process.communicate()
    return output.decode()


async def run(*options: str, tmp_path: Path, **more: object) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *command(*options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        **more,  # type: ignore[arg-type]
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
    assert said.splitlines()[-1] == "it held: nothing lost, nothing doubled, nothing out of order"
    figures = dict(re.findall(r"^([a-z ]+?) +([\d,]+)$", said, re.MULTILINE))
    assert figures["acknowledged"] == figures["sent"] == figures["read"] == "3,000"
    assert int(figures["faults"]) >= 2
    if "isolate-controller" in said.partition("seed 4:")[0]:
        assert int(figures["failovers"]) >= 1
    assert list(scratch.iterdir()) == []
    assert processes_in(scratch) == []
    assert not (tmp_path / "out" / "evidence").exists()


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
    assert said.splitlines()[-1] == "not finished: interrupted"
    assert list(scratch.iterdir()) == []
    assert processes_in(scratch) == []


async def test_a_node_that_does_not_come_up_is_named(tmp_path: Path) -> None:
    nodes = tmp_path / "out" / "data" / "nodes"
    nodes.mkdir(parents=True)
    (nodes / "broker-2").write_text("a file where a directory should be")
    status, said = await run(
        "--nodes", "1+2", "--out", str(tmp_path / "out"), "--keep", tmp_path=tmp_path
    )  # fmt: skip
    assert status == 1
    assert re.fullmatch(r"not finished: broker-2 did not start: .*broker-2: File exists\n", said), said
    assert processes_in(tmp_path) == []


async def test_without_a_free_port_nothing_is_started(tmp_path: Path) -> None:
    def few_descriptors() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))

    status, said = await run("--out", str(tmp_path / "out"), tmp_path=tmp_path, preexec_fn=few_descriptors)
    assert status == 1
    assert said.splitlines()[-1].startswith("not finished: no free ports: ")
