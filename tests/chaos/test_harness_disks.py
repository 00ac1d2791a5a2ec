"""What nemeses do to files, and what is noticed of it in the end."""

from __future__ import annotations

import errno
import signal
import struct
import subprocess
import sys
from pathlib import Path

from chaos.faults import Faults
from chaos.harness.nemeses.disks import flip_bit
from chaos.harness.replicas import differing
from chaos.harness.skewed_node import set_offset, skewed
from kraft.local_cluster import LocalCluster, plan_cluster
from kraft.processes import ManagedProcess


def test_replicas_are_compared_whatever_their_segments(tmp_path: Path) -> None:
    plan = plan_cluster(1, 3, tmp_path)
    segments = {
        "broker-1": {"0.log": b"abcdef"},
        "broker-2": {"0.log": b"abc", "3.log": b"", "4.log": b"def", "0.index": b"?"},
        "broker-3": {"0.log": b"a", "1.log": b"bcdef"},
    }
    for node, files in segments.items():
        for name, data in files.items():
            path = tmp_path / node / "t-0" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    assert differing(plan, [("t", 2)]) == []
    flip_bit(tmp_path / "broker-2" / "t-0" / "4.log", 1, 0)
    assert differing(plan, [("t", 1)]) == ["t-0 of broker-1 and broker-2 differ at byte 4"]
    (tmp_path / "broker-3" / "t-0" / "2.log").write_bytes(b"g")
    assert differing(plan, [("t", 1)])[1:] == ["t-0 of broker-1 and broker-3 differ at byte 6"]


WRITER = """
import os, signal, sys
from kraft.processes import die_with_parent
from kraft.readiness import NodeAddresses, announce_ready
die_with_parent(int(sys.argv[5]))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
file = open(sys.argv[1], "ab", buffering=0)
announce_ready(int(sys.argv[3]), NodeAddresses(1, ("127.0.0.1", 1)))
signal.sigwait([signal.SIGUSR1])
try:
    file.write(b"one more")
except OSError as error:
    sys.exit(error.errno)
"""


async def test_a_full_disk_takes_nothing_more_in_a_log_although_closed_segments_are_larger(
    tmp_path: Path,
) -> None:
    plan = plan_cluster(1, 1, tmp_path)
    (node,) = plan.nodes
    log = tmp_path / node.name / "t-0"
    log.mkdir(parents=True)
    closed, active = log / f"{0:020}.log", log / f"{1000:020}.log"
    closed.write_bytes(bytes(1000))
    active.write_bytes(bytes(100))
    process = ManagedProcess("writer", [sys.executable, "-c", WRITER, str(active)], tmp_path / "writer.log")
    cluster = LocalCluster(plan)
    cluster.processes[node.node_id] = process
    await process.start()
    try:
        assert Faults(cluster, lambda _: None).fill_disk(node.node_id) == 100
        process.send_signal(signal.SIGUSR1)
        assert await process.wait() == errno.EFBIG
    finally:
        await process.kill()
    assert active.stat().st_size == 100


def test_a_clock_follows_its_file(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    set_offset(path, 0.0)
    seconds, nanoseconds = skewed(path)
    before = seconds()
    set_offset(path, -3600.0)
    assert before - 3601 < seconds() < before - 3590
    assert abs(nanoseconds() / 1e9 - seconds()) < 5
    assert path.stat().st_size == struct.calcsize("d")


def test_a_skewed_node_is_a_node_with_another_clock(tmp_path: Path) -> None:
    set_offset(tmp_path / "clock", 86400.0)
    done = subprocess.run(
        [sys.executable, "-m", "chaos.harness.skewed_node", str(tmp_path / "clock"), "run", "--node-id", "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "python -m kraft run" in done.stderr
