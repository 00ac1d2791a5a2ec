"""How many files a node may have open."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from kraft.local_cluster import LocalCluster, plan_cluster

FEW = 256


@pytest.fixture
def few_files() -> Iterator[int]:
    """What is started has the usual low limit, which it may raise to the number that this is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FEW, soft), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_node_may_open_as_many_files_as_the_system_allows(tmp_path: Path, few_files: int) -> None:
    async with LocalCluster(plan_cluster(1, 1, tmp_path)) as cluster:
        await cluster.start()
        (process,) = cluster.processes.values()
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (few_files, few_files)
        assert await process.terminate() == 0
