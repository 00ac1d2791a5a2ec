"""The demonstration on a small input: six real processes, two of them killed, and nothing lost."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("processes")]


def test_a_small_input_goes_through_while_leaders_die(tmp_path: Path) -> None:
    text = tmp_path / "input.txt"
    text.write_text("".join(f"line {number % 7}\n" for number in range(20_000)))
    command = [
        sys.executable,
        "-m",
        "chaos",
        "demo",
        "--input",
        str(text),
        "--data-dir",
        str(tmp_path / "data"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(re.findall(r"^(\w+) +([\d,]+)$", done.stdout, re.MULTILINE))
    assert counts == {
        "sent": "20,000",
        "acknowledged": "20,000",
        "read": "20,000",
        "lost": "0",
        "duplicated": "0",
        "reordered": "0",
    }
    assert re.search(r"^leader \d killed: the producer waited \d+ ms$", done.stdout, re.MULTILINE)
    assert re.search(
        r"^active controller 10\d killed: the producer waited \d+ ms$", done.stdout, re.MULTILINE
    )


def test_an_input_without_a_line_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    command = [sys.executable, "-m", "chaos", "demo", "--input", str(tmp_path / "empty")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is not a line in it" in done.stderr


def test_an_input_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chaos", "demo", "--input", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert "No such file or directory" in done.stderr
