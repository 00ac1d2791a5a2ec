"""A node that cannot start says why in one line, and leaves what it found as it was."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kraft.processes import reserve_port

FLAGS = {"node_id", "listeners", "node_listener", "log_dirs"}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a node that is expected to end by itself; `settings` override what would let it start."""

    def start(**settings: str) -> subprocess.CompletedProcess[str]:
        given = {
            "node_id": "1",
            "listeners": f"PLAINTEXT://127.0.0.1:{reserve_port()}",
            "node_listener": f"127.0.0.1:{reserve_port()}",
            "log_dirs": str(tmp_path / "data"),
        } | settings
        command = [sys.executable, "-m", "kraft", "run"]
        for name, value in given.items():
            if name in FLAGS:
                command += [f"--{name.replace('_', '-')}", value]
            else:
                command += ["--set", f"{name.replace('_', '.')}={value}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    return start


def only_line(ended: subprocess.CompletedProcess[str]) -> str:
    """What it said besides its log, which is one line; and it failed."""
    assert ended.returncode == 1, ended
    assert "Traceback" not in ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.startswith("kraft-node: ")]
    assert len(said) == 1, ended.stderr
    return said[0].removeprefix("kraft-node: ")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """Somebody else's socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize("setting", ["listeners", "node_listener"])
def test_a_port_in_use(run: Run, listening: socket.socket, setting: str) -> None:
    port = listening.getsockname()[1]
    scheme = "PLAINTEXT://" if setting == "listeners" else ""
    line = only_line(run(**{setting: f"{scheme}127.0.0.1:{port}"}))
    assert f"127.0.0.1:{port}" in line
    assert "address already in use" in line.lower()


def test_an_address_of_another_machine(run: Run) -> None:
    line = only_line(run(listeners=f"PLAINTEXT://192.0.2.1:{reserve_port()}"))
    assert line.startswith("cannot listen on 192.0.2.1")


def test_a_file_where_the_directory_should_be(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    assert only_line(run()).startswith(str(tmp_path / "data"))
    assert (tmp_path / "data").read_text() == "mine"


def test_a_directory_below_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert str(tmp_path / "file" / "data") in only_line(run(log_dirs=str(tmp_path / "file" / "data")))


def stored(node_id: int = 1, cluster_id: str = "AAAAAAAAAAAAAAAAAAAAAA") -> str:
    return f"version=1\nnode.id={node_id}\ncluster.id={cluster_id}\ndirectory.id=BBBBBBBBBBBBBBBBBBBBBB\n"


@pytest.mark.parametrize(
    ("content", "settings", "reason"),
    [
        (stored(node_id=7), {}, "belongs to node 7, this is node 1"),
        (stored(), {"cluster_id": "CCCCCCCCCCCCCCCCCCCCCC"}, "belongs to cluster AAAAAAAAAAAAAAAAAAAAAA"),
        ("version=1\n", {}, "meta.properties"),
        ("\x00\x01 no properties", {}, "meta.properties"),
    ],
)
def test_a_directory_of_somebody_else(
    run: Run, tmp_path: Path, content: str, settings: dict[str, str], reason: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text(content)
    assert reason in only_line(run(**settings))
    assert (tmp_path / "data" / "meta.properties").read_text() == content
    assert {path.name for path in (tmp_path / "data").iterdir()} <= {"meta.properties", ".lock"}
