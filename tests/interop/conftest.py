"""One node with both roles, for other people's clients to talk to."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator

import pytest

from interop.targets import SETTINGS
from kraft.client.admin import Admin
from kraft.client.cluster import Cluster
from kraft.local_cluster import LocalCluster, plan_cluster


@pytest.fixture(scope="session")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the node is reached. Its log must show no traceback in the end."""
    with asyncio.Runner() as runner:
        plan = plan_cluster(1, 1, tmp_path_factory.mktemp("interop"))
        cluster = LocalCluster(plan, SETTINGS)
        (process,) = cluster.processes.values()
        try:
            runner.run(cluster.start())
            yield plan.bootstrap
            assert runner.run(process.terminate()) == 0
            assert "Traceback" not in process.log_path.read_text()
        finally:
            process.kill_now()


_names = itertools.count(1)


@pytest.fixture
def make_topic(bootstrap: str) -> Callable[[int], str]:
    """Creates a topic with so many partitions and a name that no other test has."""

    def create(partitions: int) -> str:
        async def ask(name: str) -> None:
            async with Cluster(bootstrap) as cluster:
                await Admin(cluster).create_topic(name, partitions=partitions, replication_factor=1)

        name = f"interop-{next(_names)}"
        with asyncio.Runner() as runner:
            runner.run(ask(name))
        return name

    return create
