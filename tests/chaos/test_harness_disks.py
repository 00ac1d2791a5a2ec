"""What nemeses do to files, and what is noticed of it in the end."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

from chaos.harness.nemeses.disks import flip_bit
from chaos.harness.replicas import differing
from chaos.harness.skewed_node import set_offset, skewed
from kraft.local_cluster import plan_cluster


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
