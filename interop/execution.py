"""Running one client's script, and reading what it tells."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from interop.clients import ROOT, Client
from interop.steps import EXPECTED, FAILED, MISSING, OK, UNSUPPORTED
from interop.targets import Target
from kafkawire.errors import ErrorCode

_LINE_LIMIT = 1 << 20
_STDERR_KEPT = 1 << 16
_WORDS = frozenset({OK, FAILED, UNSUPPORTED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one step came to: `ok`, an error's name, `unsupported`, `failed` or `missing`; and why."""

    outcome: str
    detail: str = ""


@dataclass(slots=True)
class Report:
    """All that a script told. `trouble` is what went wrong with the script itself, empty if nothing did."""

    client: str
    library: str = ""
    version: str = ""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    trouble: str = ""
    complaints: str = ""

    def outcome(self, step: str) -> Outcome:
        """That of any step of the table."""
        return self.outcomes.get(step, Outcome(MISSING, "the script did not report it"))


class TellingError(Exception):
    """A script printed what is not as README.md says."""


def read_line(report: Report, line: bytes) -> None:
    """Add one line of a script's standard output to its report. Raises TellingError."""
    if not line.strip():
        return
    try:
        said = json.loads(line)
    except ValueError as bad:
        raise TellingError(f"not JSON: {line[:200]!r}") from bad
    match said:
        case {"library": str(library), "version": str(version)}:
            report.library, report.version = library, version
        case {"step": str(step), "outcome": str(outcome), **rest}:
            _check(report, step, outcome)
            report.outcomes[step] = Outcome(outcome, _one_line(rest.get("detail", "")))
        case _:
            raise TellingError(f"neither a library nor a step: {line[:200]!r}")


def _check(report: Report, step: str, outcome: str) -> None:
    if step not in EXPECTED:
        raise TellingError(f"there is no step {step!r}")
    if step in report.outcomes:
        raise TellingError(f"{step} was reported twice")
    if outcome not in _WORDS and outcome not in ErrorCode.__members__:
        raise TellingError(f"{step}: {outcome!r} is no outcome and no error of Kafka's")


def _one_line(detail: Any) -> str:
    return re.sub(r"\s+", " ", str(detail)).strip()[:500]


async def run(client: Client, target: Target) -> Report:
    """Run the script until it ends or its time is up. Whatever it started is dead afterwards."""
    report = Report(client.name)
    arguments = ["--bootstrap", target.bootstrap, "--prefix", f"{client.name}-{secrets.token_hex(4)}"]
    arguments += ["--replication-factor", str(target.replication_factor)]
    process = await asyncio.create_subprocess_exec(
        *client.command(*arguments),
        cwd=client.home,
        env=_environment(os.environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LINE_LIMIT,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    complaints = asyncio.create_task(_tail(process.stderr))
    try:
        async with asyncio.timeout(client.seconds):
            await _listen(process.stdout, report)
            status = await process.wait()
        if status != 0:
            report.trouble = report.trouble or f"the script ended with status {status}"
    except TimeoutError:
        report.trouble = f"killed after {client.seconds} s"
    finally:
        # Its session is its own, so this reaches what it started and nothing else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        report.complaints = await complaints
    return report


async def _listen(stream: asyncio.StreamReader, report: Report) -> None:
    async for line in stream:
        try:
            read_line(report, line)
        except TellingError as bad:
            report.trouble = str(bad)


async def _tail(stream: asyncio.StreamReader) -> str:
    kept = b""
    while piece := await stream.read(_STDERR_KEPT):
        kept = (kept + piece)[-_STDERR_KEPT:]
    return kept.decode(errors="replace")


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    return {**own, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
