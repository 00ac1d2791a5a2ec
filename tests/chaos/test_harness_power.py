"""Disks that forget: what was synced is there after a power cut, and what was not may be gone."""

from __future__ import annotations

import errno
import subprocess
import sys
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chaos.harness.power.mounting import refusal
from chaos.harness.power.volume import ROOT, Volume, VolumeError

CAPACITY = 10_000


def disk() -> tuple[Volume, int]:
    """A volume with the durable directory `node` in its root."""
    volume = Volume(CAPACITY)
    return volume, volume.create(ROOT, "node", 0o755, 0.0, directory=True).number


def content(volume: Volume, *path: str) -> bytes | None:
    """What a file holds, None if it is not there."""
    number = ROOT
    for name in ("node", *path):
        found = volume.node(number).names.get(name)
        if found is None:
            return None
        number = found
    return bytes(volume.node(number).data)


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from(["write", "truncate", "sync"]), st.integers(0, 60), st.binary(max_size=30)),
        max_size=25,
    ),
    st.integers(0, 1000),
)
@example([("truncate", 45, b""), ("sync", 0, b""), ("write", 44, b"\x01\x00")], 0)  # torn, over the end
@example([("write", 45, b"")], 0)
def test_what_is_left_is_a_moment_since_the_last_sync(steps: list[tuple[str, int, bytes]], seed: int) -> None:
    volume, directory = disk()
    node = volume.create(directory, "log", 0o644, 0.0)
    volume.node(directory).sync()
    moments, model = [b""], b""
    for step, position, data in steps:
        match step:
            case "write":
                volume.write(node.number, position, data, 1.0)
                padded = model.ljust(position if data else 0, b"\0")
                model = padded[:position] + data + padded[position + len(data) :]
                moments.append(model)
            case "truncate":
                volume.truncate(node.number, position, 1.0)
                model = model[:position].ljust(position, b"\0")
                moments.append(model)
            case _:
                node.sync()
                moments = [model]
        assert bytes(node.data) == model
        assert volume.used == len(model)
    volume.power_cut("node", Random(seed))
    left = content(volume, "log")
    assert left is not None
    # A moment, and of the change after it perhaps the beginning of what it added.
    assert any(
        left == moment
        or (
            len(left) > len(moment) and later.startswith(left) and left[: len(moment)] == later[: len(moment)]
        )
        for moment, later in zip(moments, [*moments[1:], moments[-1]], strict=True)
    )
    assert volume.used == len(left)


def test_a_name_is_durable_when_its_directory_was_synced() -> None:
    volume, directory = disk()
    kept = volume.create(directory, "kept", 0o644, 0.0)
    volume.write(kept.number, 0, b"new", 0.0)
    kept.sync()
    volume.node(directory).sync()
    gone = volume.create(directory, "gone", 0o644, 0.0)
    gone.sync()
    volume.remove(directory, "kept")
    volume.rename(directory, "gone", directory, "renamed")
    volume.power_cut("node", Random(1))
    assert content(volume, "kept") == b"new"
    assert content(volume, "gone") is None
    assert content(volume, "renamed") is None
    assert set(volume.nodes) == {ROOT, directory, kept.number}


def test_a_rename_that_was_not_synced_leaves_the_old_file() -> None:
    volume, directory = disk()
    for name, text in (("checkpoint", b"old"), ("checkpoint.tmp", b"new")):
        node = volume.create(directory, name, 0o644, 0.0)
        volume.write(node.number, 0, text, 0.0)
        node.sync()
        if name == "checkpoint":
            volume.node(directory).sync()
    volume.rename(directory, "checkpoint.tmp", directory, "checkpoint")
    assert content(volume, "checkpoint") == b"new"
    volume.power_cut("node", Random(1))
    assert content(volume, "checkpoint") == b"old"
    assert content(volume, "checkpoint.tmp") is None


def test_other_nodes_keep_everything() -> None:
    volume, directory = disk()
    other = volume.create(ROOT, "other", 0o755, 0.0, directory=True)
    for parent in (directory, other.number):
        volume.create(parent, "unsynced", 0o644, 0.0)
    volume.power_cut("node", Random(1))
    assert content(volume, "unsynced") is None
    assert "unsynced" in other.names


def test_system_calls_fail_as_they_should() -> None:
    volume, directory = disk()
    node = volume.create(directory, "file", 0o644, 0.0)
    volume.node(directory).sync()
    for action, number in (
        (lambda: volume.look_up(directory, "none"), errno.ENOENT),
        (lambda: volume.look_up(node.number, "none"), errno.ENOTDIR),
        (lambda: volume.create(directory, "file", 0o644, 0.0), errno.EEXIST),
        (lambda: volume.remove(ROOT, "node", directory=True), errno.ENOTEMPTY),
        (lambda: volume.remove(ROOT, "node"), errno.EISDIR),
        (lambda: volume.remove(directory, "file", directory=True), errno.ENOTDIR),
        (lambda: volume.write(node.number, CAPACITY, b"x", 0.0), errno.ENOSPC),
        (lambda: volume.truncate(node.number, CAPACITY + 1, 0.0), errno.ENOSPC),
        (lambda: volume.node(99), errno.ESTALE),
    ):
        with pytest.raises(VolumeError) as caught:
            action()
        assert caught.value.number == number
    volume.write(node.number, 0, bytes(CAPACITY), 0.0)
    volume.remove(directory, "file")
    volume.collect()
    assert volume.used == CAPACITY  # its name may come back
    volume.node(directory).sync()
    volume.collect()
    assert volume.used == 0


MOUNTED = """
import asyncio, mmap, os, sys
from pathlib import Path
from chaos.harness.power.disks import Disks
from chaos.harness.power.mounting import enter_private_mounts
from kraft.local_cluster import plan_cluster

async def main(directory: Path) -> None:
    plan = plan_cluster(1, 1, directory / "nodes")
    node = plan.nodes[0]
    async with Disks(plan, directory / "volume") as disks:
        await asyncio.to_thread(use, plan.directory / node.name)
        await disks.cut_power(node.node_id, "1")
        await asyncio.to_thread(look, plan.directory / node.name)
    assert not any((plan.directory / node.name).iterdir())

def use(home: Path) -> None:
    (home / "topic-0").mkdir()
    log = os.open(home / "topic-0" / "log", os.O_RDWR | os.O_CREAT)
    os.pwrite(log, b"a" * 3_000_000, 0)
    os.fdatasync(log)
    for directory in (home, home / "topic-0"):
        descriptor = os.open(directory, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    os.pwrite(log, b"b" * 100, 3_000_000)
    assert os.fstat(log).st_size == 3_000_100
    receiver, sender = os.pipe()
    assert os.sendfile(sender, log, 2_999_990, 20) == 20
    assert os.read(receiver, 20) == b"a" * 10 + b"b" * 10
    os.ftruncate(log, 3_000_050)
    (home / "topic-0" / "other").write_text("x")
    os.rename(home / "topic-0" / "other", home / "topic-0" / "another")
    assert sorted(os.listdir(home / "topic-0")) == ["another", "log"]
    assert os.statvfs(home).f_bavail > 0
    os.close(log)
    (home / "gone").mkdir()
    (home / "gone").rmdir()

def look(home: Path) -> None:
    assert sorted(os.listdir(home)) == ["topic-0"]
    assert os.listdir(home / "topic-0") == ["log"]
    data = (home / "topic-0" / "log").read_bytes()
    assert data[:3_000_000] == b"a" * 3_000_000
    assert len(data) <= 3_000_100

enter_private_mounts()
asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.skipif(refusal() is not None, reason=str(refusal()))
def test_a_real_mount_forgets_what_was_not_synced(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MOUNTED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        assert str(tmp_path) not in mounts.read()


def test_without_fuse_the_power_cut_is_refused_in_one_line() -> None:
    reason = refusal()
    assert reason is None or (reason.startswith("needs FUSE") and "\n" not in reason)
