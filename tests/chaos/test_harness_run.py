"""Trials with real processes: one that holds, one that is interrupted, and those that do not get far."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import resource
import signal
import sys
import termios
from pathlib import Path

import pytest
from rich.console import Console

from chaos.anomalies import check
from chaos.harness.command import RunText, parse_options
from chaos.harness.run import Run
from chaos.harness.verdict import verdict_lines
from kraft.client.cluster import Backoff

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


BROKEN_IN_THE_MIDDLE = """
import os, sys
if "--log-dirs" in sys.orig_argv:
    if os.path.exists(sys.orig_argv[sys.orig_argv.index("--log-dirs") + 1]):
        os.write(2, b"once is enough")
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


SMALL = (
    *("--nodes", "1+1", "--nemesis", "kill", "--workload", "produce", "--clients", "kraft"),
    *("--for", "10m", "--every", "1s", "--seed", "1"),
)


def reported(directory: Path) -> str:
    """The page of a run that did not come to its end, which is all that there is beside its picture."""
    assert {path.name for path in directory.iterdir()} == {"report.html", "report.png"}
    assert (directory / "report.png").stat().st_size > 1000
    return (directory / "report.html").read_text()


def nothing_is_left(scratch: Path) -> bool:
    return list(scratch.iterdir()) == [] and processes_in(scratch) == []


class Terminal:
    """A terminal with a command on it, which is the one that Ctrl-C is for."""

    OWN = """
import os, sys
os.setsid()
screen = os.open(sys.argv[1], os.O_RDWR)
for number in range(3):
    os.dup2(screen, number)
os.execv(sys.argv[2], sys.argv[2:])
"""

    def __init__(self) -> None:
        self._keys, self._screen = os.openpty()
        termios.tcsetwinsize(self._screen, (50, 200))
        self._said = b""
        self._more = asyncio.Event()

    async def run(self, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._keys, self._read)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", self.OWN, os.ttyname(self._screen), *arguments),
            env={**os.environ, "TERM": "xterm", **environment},
        )

    def _read(self) -> None:
        self._said += os.read(self._keys, 65536)
        self._more.set()

    async def until(self, pattern: str) -> None:
        """Wait until something like it has been shown."""
        async with asyncio.timeout(60):
            while re.search(pattern, self.text) is None:
                self._more.clear()
                await self._more.wait()

    @property
    def text(self) -> str:
        """All that was shown so far, without colours and jumps."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._said.decode(errors="replace"))

    def press(self, keys: bytes) -> None:
        os.write(self._keys, keys)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._keys)
        os.close(self._keys)
        os.close(self._screen)


async def test_ctrl_c_ends_a_run_with_a_line_and_a_report_of_what_was_seen(tmp_path: Path) -> None:
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    terminal = Terminal()
    with contextlib.closing(terminal):
        process = await terminal.run(*command(*SMALL, "--out", str(out)), TMPDIR=str(scratch))
        await terminal.until("undone")
        await terminal.until("acknowledged [1-9]")
        assert processes_in(scratch) != []
        terminal.press(b"\x03")
        async with asyncio.timeout(60):
            assert await process.wait() == 130
        said = terminal.text.split("\r\n")
    assert said[-3:] == ["not finished: interrupted", f"report: {out / 'report.html'}", ""]
    page = reported(out)
    assert "INTERRUPTED" in page
    assert "kill controller-broker-1" in page, "what was done until then"
    (acknowledged,) = [line.split()[1] for line in said if re.fullmatch(r"acknowledged +[\d,]+", line)]
    assert acknowledged != "0"
    assert f">{acknowledged}<" in page
    assert nothing_is_left(scratch)


async def test_a_run_that_is_interrupted_again_and_again_ends_none_the_less(tmp_path: Path) -> None:
    """From when its first process starts until its report is there."""
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    process = await asyncio.create_subprocess_exec(
        *command(*SMALL, "--out", str(out)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    backoff = Backoff()
    async with asyncio.timeout(60):
        while not processes_in(scratch):
            await backoff.pause()
    ended = asyncio.create_task(finished(process))
    numbers = itertools.cycle([signal.SIGINT, signal.SIGTERM])
    while not ended.done() and not any(out.iterdir()):
        process.send_signal(next(numbers))
        await asyncio.wait([ended], timeout=0.02)
    said = await ended
    assert process.returncode == 130
    assert said.splitlines() == ["not finished: interrupted", f"report: {out / 'report.html'}"]
    assert "INTERRUPTED" in reported(out)
    assert nothing_is_left(scratch)


def python_path(directory: Path, program: str) -> str:
    """One with which every Python runs this before anything else."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(program)
    return os.pathsep.join([str(directory), *filter(None, [os.environ.get("PYTHONPATH")])])


async def test_a_node_that_does_not_come_up_again_is_named(tmp_path: Path) -> None:
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    path = python_path(tmp_path / "site", BROKEN_IN_THE_MIDDLE)
    status, said = await run(*SMALL, "--out", str(out), tmp_path=scratch, PYTHONPATH=path)
    assert status == 1
    assert said.splitlines()[-2:] == [
        "not finished: controller-broker-1 did not start: once is enough",
        f"report: {out / 'report.html'}",
    ]
    page = (out / "report.html").read_text()
    assert "controller-broker-1 did not start: once is enough" in page
    assert "kill controller-broker-1" in page
    assert (out / "evidence" / "history.jsonl").stat().st_size > 0
    assert nothing_is_left(scratch)


async def test_a_node_that_does_not_come_up_is_named(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    path = python_path(tmp_path / "site", BROKEN_NODE)
    status, said = await run(
        "--nodes", "1+2", "--out", str(tmp_path / "out"), tmp_path=scratch, PYTHONPATH=path
    )  # fmt: skip
    assert status == 1
    first, second = said.splitlines()
    assert first == "not finished: broker-2 did not start: it has no wish to"
    assert second == f"report: {tmp_path / 'out' / 'report.html'}"
    page = (tmp_path / "out" / "report.html").read_text()
    assert "broker-2 did not start: it has no wish to" in page
    assert (tmp_path / "out" / "evidence" / "broker-2.log").read_text() == "it has no wish to"
    assert nothing_is_left(scratch)


WITHOUT_PORTS = """
import ctypes, fcntl, os, socket, struct, sys
NEW_USER, NEW_NETWORK, GET_FLAGS, SET_FLAGS, UP = 0x10000000, 0x40000000, 0x8913, 0x8914, 1
if ctypes.CDLL(None).unshare(NEW_NETWORK | (0 if os.geteuid() == 0 else NEW_USER)) != 0:
    sys.exit(77)
with socket.socket() as any_socket:
    request = bytearray(struct.pack("16sH22x", b"lo", 0))
    fcntl.ioctl(any_socket, GET_FLAGS, request)
    (flags,) = struct.unpack_from("H", request, 16)
    fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sH22x", b"lo", flags | UP))
with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as ports:
    ports.write("40000 40003")
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a command on a network of its own, with four ports to give away."""


async def test_without_a_free_port_it_ends_with_a_line_and_a_report(tmp_path: Path) -> None:
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    wanted = command("--nodes", "3+3", "--nemesis", "kill", "--seed", "1", "--out", str(out))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WITHOUT_PORTS, *wanted),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    said = await finished(process)
    if process.returncode == 77:
        pytest.skip("no network of one's own is allowed here")
    assert process.returncode == 1, said
    first, second = said.splitlines()
    assert re.fullmatch(
        "not finished: no free ports: .*([Aa]ddress already in use|assign requested .*)", first
    )
    assert second == f"report: {out / 'report.html'}"
    assert first.removeprefix("not finished: ") in (out / "report.html").read_text()
    assert nothing_is_left(scratch)


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
