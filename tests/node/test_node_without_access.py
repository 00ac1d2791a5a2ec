"""A node whose data may not be written, or that has no room at all: it stops with one line that names the
place, and everything that was stored is there when it is started again as it should be."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from kraft.client.admin import Admin
from kraft.client.cluster import Cluster
from kraft.client.consumer import Consumer, TopicPartition
from kraft.client.producer import IdempotentProducer
from kraft.local_cluster import LocalCluster, plan_cluster
from kraft.processes import reserve_port

T = TypeVar("T")

pytestmark = pytest.mark.xdist_group("node-without-access")

TOPIC = "kept"
VALUES = [b"%d" % number for number in range(20)]

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24

WITHOUT_PRIVILEGE = f"""
import ctypes, os, sys
ask = ctypes.CDLL(None).prctl
for capability in ({CAP_DAC_OVERRIDE}, {CAP_DAC_READ_SEARCH}):
    if os.geteuid() == 0 and ask({PR_CAPBSET_READ}, capability, 0, 0, 0) == 1:
        if ask({PR_CAPBSET_DROP}, capability, 0, 0, 0) != 0:
            sys.exit("cannot give a privilege up")
os.execv(sys.executable, [sys.executable, "-m", "kraft", *sys.argv[1:]])
"""
"""Runs a node to which permissions apply, root or not."""

WITHOUT_ROOM = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
os.execv(sys.executable, [sys.executable, "-m", "kraft", *sys.argv[1:]])
"""
"""Runs a node that cannot add a byte to any file."""


SECRET = "0" * 32


async def with_a_node(directory: Path, work: Callable[[str], Awaitable[T]]) -> T:
    """Run one node with both roles, and do something with it."""
    plan = plan_cluster(1, 1, directory)
    async with LocalCluster(plan, {"cluster.secret": SECRET}) as nodes:
        await nodes.start()
        result = await work(plan.bootstrap)
        await nodes.stop()
    return result


async def store(bootstrap: str) -> None:
    async with Cluster(bootstrap) as client, IdempotentProducer(client) as producer:
        await Admin(client).create_topic(TOPIC, partitions=1, replication_factor=1)
        for value in VALUES:
            await producer.send(TOPIC, value, partition=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a node that was stopped, with records in it. Whatever the tests did, each as the
    disk was given back to it, they are there afterwards."""
    directory = tmp_path_factory.mktemp("access")
    with asyncio.Runner() as runner:
        runner.run(with_a_node(directory, store))
        yield directory / "controller-broker-1"
        assert runner.run(with_a_node(directory, stored)) == VALUES


async def stored(bootstrap: str) -> list[bytes | None]:
    found: list[bytes | None] = []
    async with Cluster(bootstrap) as client, Consumer(client) as consumer:
        await client.refresh([TOPIC])
        consumer.assign({TopicPartition(TOPIC, 0): 0})
        while len(found) < len(VALUES):
            for fetched in await consumer.poll():
                found += [record.value for record in fetched.records]
    return found


def refused(data: Path, script: str) -> str:
    """What the node of these data says, besides its log, when it does not start: one line."""
    ended = subprocess.run(
        [
            *(sys.executable, "-c", script, "run", "--node-id", "1"),
            *("--listeners", f"PLAINTEXT://127.0.0.1:{reserve_port()}"),
            *("--node-listener", f"127.0.0.1:{reserve_port()}"),
            *("--log-dirs", str(data), "--set", f"cluster.secret={SECRET}"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1, ended
    assert "Traceback" not in ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("kraft-node: ")]
    return line


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def permit(directory: Path, *, writing: bool) -> None:
    """Allow or forbid writing to everything below a directory."""
    for path in (directory, *directory.rglob("*")):
        path.chmod((0o700 if path.is_dir() else 0o600) if writing else (0o500 if path.is_dir() else 0o400))


def test_data_that_may_not_be_written(data: Path) -> None:
    before = contents(data)
    permit(data, writing=False)
    try:
        line = refused(data, WITHOUT_PRIVILEGE)
    finally:
        permit(data, writing=True)
    assert str(data) in line
    assert "Permission denied" in line
    assert contents(data) == before


def test_a_directory_whose_files_may_be_written_and_no_other(data: Path) -> None:
    """What is opened can be had, what is made anew cannot."""
    data.chmod(0o500)
    try:
        line = refused(data, WITHOUT_PRIVILEGE)
    finally:
        data.chmod(0o700)
    assert str(data) in line
    assert "Permission denied" in line


def test_data_that_may_not_be_read(data: Path) -> None:
    before = contents(data)
    data.chmod(0)
    try:
        line = refused(data, WITHOUT_PRIVILEGE)
    finally:
        data.chmod(0o700)
    assert str(data) in line
    assert "Permission denied" in line
    assert contents(data) == before


def test_no_room_for_what_a_start_writes(data: Path) -> None:
    line = refused(data, WITHOUT_ROOM)
    assert str(data) in line
    assert "File too large" in line


def test_a_vote_that_cannot_be_read(data: Path) -> None:
    """It is not taken for none: the node might vote twice."""
    (state,) = data.rglob("quorum-state")
    kept = state.read_bytes()
    state.write_bytes(kept[:-9])
    try:
        line = refused(data, WITHOUT_PRIVILEGE)
        assert state.read_bytes() == kept[:-9]
    finally:
        state.write_bytes(kept)
    assert line == f"kraft-node: {state}: not a quorum state"


def test_no_room_for_a_first_start(tmp_path: Path) -> None:
    line = refused(tmp_path / "data", WITHOUT_ROOM)
    assert str(tmp_path / "data") in line
    assert "File too large" in line


def test_no_permission_for_a_first_start(tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.mkdir(mode=0o500)
    line = refused(place, WITHOUT_PRIVILEGE)
    assert line == f"kraft-node: {place}: Permission denied"
    assert os.listdir(place) == []
