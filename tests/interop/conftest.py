"""One node with both roles, for other people's clients to talk to."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator

import pytest

from kraft.client.admin import Admin
from kraft.client.cluster import Cluster
from kraft.local_cluster import LocalCluster, plan_cluster


@pytest.fixture(scope="session")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the node is reached. Its log must show no traceback in the end."""
    with asyncio.Runner() as runner:
        plan = plan_cluster(1, 1, tmp_path_factory.mktemp("interop"))
        cluster = LocalCluster(plan)
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


Row = tuple[bytes | None, bytes | None, int, list[tuple[str, bytes | None]]]


@pytest.fixture
def rows() -> list[Row]:
    """Key, value, timestamp and headers of records of every kind."""
    keys = [None, b"", b"key", "schlüssel".encode()]
    values = [b"value", None, b"", b"long" * 5000]
    headers: list[list[tuple[str, bytes | None]]] = [
        [],
        [("a", b"1")],
        [("a", b"1"), ("a", b""), ("b", None)],
    ]
    return [
        (keys[index % 4], values[index // 4 % 4], 1_700_000_000_000 + index, headers[index % 3])
        for index in range(48)
    ]


@pytest.fixture
def plain_rows(rows: list[Row]) -> list[Row]:
    """Those that the Python clients agree to send: a key or a value, and no header without a value."""
    return [
        (key, value, when, [header for header in headers if header[1] is not None])
        for key, value, when, headers in rows
        if key is not None or value is not None
    ]
