"""Run other people's clients: `python -m interop [CLIENT…]`, or `make interop`.

Each client walks through the same steps; see interop/README.md. The exit status is 1 when a step comes to
something else than on Apache Kafka, unless interop/known_differences.toml gives the reason; and when no
client could be run, or one that was named could not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from rich.console import Console

from interop import apache_kafka, page
from interop.clients import CACHE, Client, InstallError, every_client, prepare
from interop.execution import Report, run
from interop.judgement import Difference, differences, known_differences
from interop.recording import KAFKA, OURS, Recording
from interop.steps import FAILED, MISSING
from interop.targets import Target, Unavailable, ours
from kraft.processes import StartError

_CONSOLE = Console(highlight=False, soft_wrap=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    clients = every_client()
    parser = argparse.ArgumentParser(prog="python -m interop", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=", ".join(clients))
    parser.add_argument(
        "--against", default="ours", metavar="WHAT", help="ours (the default), kafka, or HOST:PORT,…"
    )
    parser.add_argument(
        "--compare", action="store_true", help="against ours, and against Apache Kafka as well"
    )
    parser.add_argument(
        "--write-table", action="store_true", help="renew interop/recordings/ and docs/compatibility.md"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many clients at a time")
    parser.add_argument("--list", action="store_true", help="say which clients this machine can run")
    chosen = parser.parse_args()
    if unknown := set(chosen.clients) - set(clients):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(clients)}")
    if chosen.against not in ("ours", "kafka") and ":" not in chosen.against:
        parser.error("--against is ours, kafka, or HOST:PORT,…")
    if chosen.against != "ours" and chosen.compare:
        parser.error("--compare runs against both; --against is one")
    return chosen


def able(names: Sequence[str]) -> list[Client]:
    """The clients that this machine can run, installed. Says in a line why another is left out."""
    clients = every_client()
    found = []
    for name in names or clients:
        try:
            prepare(clients[name])
        except Unavailable as reason:
            _CONSOLE.print(f"left out: {reason}")
        else:
            found.append(clients[name])
    return found


def _started(against: str, folder: Path) -> contextlib.AbstractAsyncContextManager[Target]:
    if against == "ours":
        return ours(folder)
    return apache_kafka.running(CACHE, folder)


@contextlib.asynccontextmanager
async def target(against: str) -> AsyncIterator[Target]:
    """The cluster that was asked for. Raises Unavailable or StartError."""
    if against not in ("ours", "kafka"):
        yield Target(against, against, 1)
        return
    with tempfile.TemporaryDirectory(prefix="kraft-interop-") as folder:
        async with _started(against, Path(folder)) as running:
            yield running


async def run_all(clients: Sequence[Client], against: str, jobs: int) -> tuple[str, list[Report]]:
    """The cluster's title and each client's report, in the order of the clients."""
    free = asyncio.Semaphore(jobs)

    async def one(client: Client, at: Target) -> Report:
        async with free:
            _CONSOLE.print(f"{client.name} against {at.title} …")
            return await run(client, at)

    async with target(against) as at, asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(client, at)) for client in clients]
    return at.title, [task.result() for task in tasks]


def judge(reports: Sequence[Report], against: str, kafka: Recording) -> list[Difference]:
    """What fails the run: differences that nobody gave a reason for, and steps that fail on Apache Kafka."""
    known = known_differences()
    bad = []
    for report in reports:
        outcomes = {step: each.outcome for step, each in report.outcomes.items()}
        found = differences(report.client, outcomes, kafka.outcomes(report.client), known)
        if against == "kafka":
            bad += [each for each in found if each.ours in (FAILED, MISSING)]
        else:
            bad += [each for each in found if not each.reason]
    return bad


def show(title: str, reports: Sequence[Report], bad: Sequence[Difference]) -> None:
    """The table, and under it what is wrong."""
    by_name = {report.client: report for report in reports}
    _CONSOLE.print(
        page.run_table(title, reports, {(each.client, each.step) for each in bad}), soft_wrap=False
    )
    for each in bad:
        detail = by_name[each.client].outcome(each.step).detail
        _CONSOLE.print(
            f"{each.client} {each.step}: {each.ours}, should be {each.kafka}: {detail}", markup=False
        )
    for report in reports:
        if report.trouble:
            _CONSOLE.print(f"{report.client}: {report.trouble}\n{report.complaints[-3000:]}", markup=False)


def main() -> int:
    """Returns the exit status."""
    chosen = arguments()
    try:
        clients = able(chosen.clients)
        if chosen.list:
            _CONSOLE.print("\n".join(f"{each.name}: {each.title} ({each.language})" for each in clients))
            return 0
        if not clients:
            _CONSOLE.print("no client could be run")
            return 1
        return _run(chosen, clients)
    except (InstallError, StartError, Unavailable) as error:
        _CONSOLE.print(str(error), markup=False)
        return 1


def _run(chosen: argparse.Namespace, clients: Sequence[Client]) -> int:
    # Who was asked for by name and left out has not passed.
    failed = len(clients) < len(chosen.clients)
    recordings = {"kafka": Recording.read(KAFKA), "ours": Recording.read(OURS)}
    for against in ("kafka", "ours") if chosen.compare else (chosen.against,):
        title, reports = asyncio.run(run_all(clients, against, chosen.jobs))
        if against in recordings:
            recordings[against].renew(title, reports)
        bad = judge(reports, against, recordings["kafka"])
        show(title, reports, bad)
        failed = failed or bool(bad) or any(report.trouble for report in reports)
    if chosen.write_table:
        recordings["kafka"].write(KAFKA)
        recordings["ours"].write(OURS)
        text = page.generated(recordings["ours"], recordings["kafka"], known_differences(), every_client())
        page.write_page(text)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
