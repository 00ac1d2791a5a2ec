"""`kraft-node dev` whole: it says where to connect, serves, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("processes")]


@contextmanager
def dev_cluster(*arguments: str, temporary: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A running `dev` and what it said until it named the bootstrap address."""
    # These tests may run under nohup, and what a process ignores, those that it starts ignore as well.
    heard = ["env", "--default-signal=HUP"]
    command = [*heard, sys.executable, "-m", "kraft", "dev", "--port", "0", *arguments]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            said: list[str] = []
            for line in process.stdout:
                said.append(line)
                if line.startswith("bootstrap: "):
                    break
            assert said[-1].startswith("bootstrap: "), "".join(said)
            yield process, said
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def kraft(bootstrap: str, *arguments: str) -> str:
    environment = {**os.environ, "KRAFT_BOOTSTRAP": bootstrap}
    return subprocess.run(
        [sys.executable, "-m", "kraft", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    ).stdout


def bootstrap_in(said: list[str]) -> str:
    return said[-1].split()[1]


def pids_in(said: list[str]) -> list[int]:
    return [int(pid) for line in said for pid in re.findall(r"pid (\d+)", line)]


def test_one_node_by_default_and_nothing_is_left(tmp_path: Path) -> None:
    with dev_cluster(temporary=tmp_path) as (process, said):
        (pid,) = pids_in(said)
        ended = os.pidfd_open(pid)
        assert (
            kraft(bootstrap_in(said), "topics", "create", "orders", "--partitions", "3") == "created orders\n"
        )
        assert kraft(bootstrap_in(said), "topics", "list") == "orders\n"
        assert "3 partitions" in kraft(bootstrap_in(said), "topics", "describe", "orders")
        assert "1 topic, 3 partitions, 0 under-replicated" in kraft(bootstrap_in(said), "cluster")
        assert kraft(bootstrap_in(said), "topics", "delete", "orders") == "deleted orders\n"
        assert kraft(bootstrap_in(said), "topics", "list") == ""
    assert process.returncode == 0
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(ended, signal.SIGTERM)
    os.close(ended)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_the_terminal_is_closed(tmp_path: Path) -> None:
    with dev_cluster(temporary=tmp_path) as (process, _):
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 0
    assert list(tmp_path.iterdir()) == []


def refused(bootstrap: str, *arguments: str) -> str:
    """The one line that a command ends with that a cluster does not obey."""
    command = [sys.executable, "-m", "kraft", *arguments, "--bootstrap-server", bootstrap]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    return line


def test_what_a_cluster_refuses_is_one_line_and_changes_nothing(tmp_path: Path) -> None:
    with dev_cluster(temporary=tmp_path) as (_, said):
        bootstrap = bootstrap_in(said)
        kraft(bootstrap, "topics", "create", "orders", "--partitions", "3")
        before = kraft(bootstrap, "topics", "describe", "orders")
        create, unknown = ("topics", "create"), "error: UNKNOWN_TOPIC_OR_PARTITION: "
        for arguments, line in (
            ((*create, "t", "--replication-factor", "2"), "error: INVALID_REPLICATION_FACTOR: "),
            ((*create, "t", "--partitions", "0"), "error: INVALID_PARTITIONS: "),
            ((*create, "a/b"), "error: INVALID_TOPIC_EXCEPTION: "),
            ((*create, "t", "--config", "retention.ms=soon"), "error: INVALID_CONFIG: "),
            ((*create, "orders"), "error: TOPIC_ALREADY_EXISTS: "),
            (("topics", "describe", "nothing"), unknown),
            (("topics", "delete", "nothing"), unknown),
        ):
            found = refused(bootstrap, *arguments)
            assert found.startswith(line), found
            assert len(found) > len(line), "it says what is wrong with it"
        assert kraft(bootstrap, "topics", "list") == "orders\n"
        assert kraft(bootstrap, "topics", "describe", "orders") == before


def test_several_nodes_are_processes_that_find_each_other(tmp_path: Path) -> None:
    data = tmp_path / "data"
    size = ["--controllers", "3", "--brokers", "2", "--data-dir", str(data)]
    with dev_cluster(*size, temporary=tmp_path) as (process, said):
        assert len(set(pids_in(said))) == 5
        arguments = ["topics", "create", "orders", "--replication-factor", "2"]
        assert kraft(bootstrap_in(said), *arguments) == "created orders\n"
        assert "0 under-replicated" in kraft(bootstrap_in(said), "cluster")
    assert process.returncode == 0
    assert (data / "broker-1" / "meta.properties").exists()
    with dev_cluster(*size, temporary=tmp_path) as (_, said):
        assert kraft(bootstrap_in(said), "topics", "list") == "orders\n", "the data was kept"


def test_a_broker_can_be_added_to_what_was_kept(tmp_path: Path) -> None:
    data = ("--data-dir", str(tmp_path / "data"))
    with dev_cluster("--brokers", "2", *data, temporary=tmp_path) as (_, said):
        kraft(bootstrap_in(said), "topics", "create", "orders")
    with dev_cluster("--brokers", "3", *data, temporary=tmp_path) as (_, said):
        assert len(pids_in(said)) == 4
        assert kraft(bootstrap_in(said), "topics", "list") == "orders\n"


def test_a_node_cannot_have_a_directory_that_is_in_use(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with dev_cluster("--data-dir", str(data), temporary=tmp_path):
        second = subprocess.run(
            [sys.executable, "-m", "kraft", "dev", "--port", "0", "--data-dir", str(data)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 1
    assert "is in use by another process" in second.stderr
    assert second.stderr.count("\n") == 1
