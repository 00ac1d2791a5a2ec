"""Python clients, and kcat where it is installed, walk through every step of interop/README.md.

They run side by side against one node; each step of each is a test of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from interop.clients import Client, check_needs, every_client, prepare
from interop.execution import Report, run
from interop.judgement import expected, known_differences
from interop.recording import KAFKA, Recording
from interop.steps import EXPECTED, UNSUPPORTED
from interop.targets import Target, Unavailable

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("interop")]


def able() -> list[str]:
    """Clients that need nothing to be fetched."""
    names = []
    for name, client in every_client().items():
        try:
            check_needs(client)
        except Unavailable:
            continue
        if not client.install:
            names.append(name)
    return names


CLIENTS = able()


@pytest.fixture(scope="session")
def reports(bootstrap: str) -> Mapping[str, Report]:
    """What each client told."""
    target = Target("one node", bootstrap, 1)

    async def one(client: Client) -> Report:
        await asyncio.to_thread(prepare, client)
        return await run(client, target)

    async def every_one() -> list[Report]:
        return await asyncio.gather(*(one(every_client()[name]) for name in CLIENTS))

    return {report.client: report for report in asyncio.run(every_one())}


@pytest.mark.parametrize("client", CLIENTS)
def test_the_walk_ends_well(reports: Mapping[str, Report], client: str) -> None:
    report = reports[client]
    assert report.trouble == "", report.complaints[-2000:]
    assert report.version


@pytest.mark.parametrize("step", EXPECTED)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_step_comes_to_what_it_does_on_apache_kafka(
    reports: Mapping[str, Report], client: str, step: str
) -> None:
    found = reports[client].outcome(step)
    kafka = Recording.read(KAFKA).outcomes(client)
    wanted = expected(step, kafka)
    known = [each for each in known_differences() if each.covers(client, step, found.outcome, wanted)]
    if found.outcome == UNSUPPORTED and kafka is None:
        return
    assert found.outcome == wanted or known, found.detail
