"""The command line: what people see, and that every mistake is one line."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from typer.testing import CliRunner

from cli.app import app
from cli.dev import DevOptions, run_dev
from cli.render import cluster_view, topic_view
from cli.run import RunOptions, gather_config
from cli.session import administer
from kraft.client.admin import Admin, ClusterState, Quorum, Voter
from kraft.client.cluster import Broker, Partition, Topic
from kraft.config import ConfigError
from kraft.events import LogFormat

SECRET = "a secret of the cluster"


def drawn(view: RenderableType) -> list[list[str]]:
    """The words of each line."""
    console = Console(file=io.StringIO(), width=100, color_system=None)
    with console.capture() as capture:
        console.print(view)
    return [line.split() for line in capture.get().splitlines()]


def options(
    config: Path | None = None, flags: dict[str, tuple[str, str | None]] | None = None, *assignments: str
) -> RunOptions:
    return RunOptions(config, flags or {}, assignments, "json", 7, None)


TOPIC = Topic(
    "orders",
    False,
    (Partition(0, 1, 4, (1, 2, 3), (1, 2, 3), ()), Partition(1, -1, 5, (2, 3), (3,), (2, 3))),
)


def test_a_topic_is_a_row_for_each_partition() -> None:
    lines = drawn(topic_view(TOPIC, {"retention.ms": "1000"}))
    assert lines[0] == ["orders", "2", "partitions"]
    assert lines[1] == ["retention.ms=1000"]
    assert lines[3] == ["orders", "0", "1", "4", "1,2,3", "1,2,3"]
    assert lines[4] == ["orders", "1", "none", "5", "2,3", "3"]


def test_a_cluster_shows_who_leads_and_what_lacks_a_replica() -> None:
    quorum = Quorum(
        101, 9, 50, (Voter(101, 50, 0), Voter(102, 48, 0), Voter(103, -1, -1)), (Voter(1, 49, 0),)
    )
    brokers = (Broker(1, "10.0.0.1", 9092, "r1"), Broker(2, "10.0.0.2", 9092))
    lines = drawn(cluster_view(ClusterState("abc", brokers, (TOPIC,), quorum)))
    assert lines[0] == ["cluster", "abc"]
    assert ["1", "10.0.0.1:9092", "r1", "1", "1", "1"] in lines
    assert ["2", "10.0.0.2:9092", "0", "2", "1"] in lines
    assert ["101", "active", "9", "50", "0"] in lines
    assert ["102", "voter", "48", "2"] in lines
    assert ["103", "voter", "?", "?"] in lines
    assert ["1", "observer", "49", "1"] in lines
    assert ["1", "topic,", "2", "partitions,", "1", "under-replicated"] in lines
    assert lines[-1] == ["orders", "1", "none", "5", "2,3", "3"]


def test_a_cluster_without_an_active_controller_says_so() -> None:
    assert ["no", "active", "controller"] in drawn(cluster_view(ClusterState(None, (), (), None)))


def test_flags_win_over_the_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "server.properties"
    file.write_text(f"node.id=1\nnum.partitions=2\nbroker.rack=file\ncluster.secret={SECRET}\nlog.dirs=/a\n")
    environment = {"KRAFT_NODE_ID": "2", "KRAFT_BROKER_RACK": "environment", "HOME": "/root"}
    flags = {"node.id": ("--node-id", "3"), "log.dirs": ("--log-dirs", None)}
    config = gather_config(options(file, flags, "broker.rack=set", "node.id=4"), environment)
    assert (config.node_id, config.rack, config.log_dirs) == (3, "set", ("/a",))
    assert config.settings["num.partitions"] == 2
    assert (config.process.log_format, config.process.ready_fd) == (LogFormat.JSON, 7)


def test_a_mistake_names_where_it_was_made(tmp_path: Path) -> None:
    file = tmp_path / "server.properties"
    file.write_text("node.id=x")
    with pytest.raises(ConfigError, match=r"^node\.id=x: must be a number .*server\.properties\)$"):
        gather_config(options(file), {})
    with pytest.raises(ConfigError, match=r"\(KRAFT_NODE_ID\)$"):
        gather_config(options(), {"KRAFT_NODE_ID": "x"})
    with pytest.raises(ConfigError, match=r"\(--role\)$"):
        gather_config(options(None, {"process.roles": ("--role", "x")}), {"KRAFT_NODE_ID": "1"})
    with pytest.raises(ConfigError, match=r"nowhere: No such file or directory$"):
        gather_config(options(tmp_path / "nowhere"), {})


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["run", "--node-id", "1", "--set", "a.b=c"], "a.b: is not a configuration key (--set)", 2),
        (["run", "--node-id", "1", "--set", "a.b"], "--set a.b: not of the form key=value", 2),
        (["run"], "node.id: is needed (--node-id, KRAFT_NODE_ID or in the file)", 2),
        (
            ["topics", "list", "--bootstrap-server", "nowhere"],
            "--bootstrap-server: 'nowhere' is not host:port",
            2,
        ),
        (["topics", "create", "t", "--config", "x"], "--config x: not of the form key=value", 2),
        (["dev", "--brokers", "0"], "a cluster has 1 to 100 controllers and 1 to 100 brokers", 2),
        (["dev", "--set", "x"], "--set x: not of the form key=value", 2),
        (["dev", "--brokers", "0", "--set", "log.dirs=/d"], "--set log.dirs: dev gives each node its own", 2),
        (["dev", "--brokers", "0", "--set", "node.id=7"], "--set node.id: dev gives each node its own", 2),
        (["dev", "--port", "65536"], "port 65536 is out of range", 2),
    ],
)
def test_a_wrong_command_is_one_line(arguments: list[str], message: str, status: int) -> None:
    result = CliRunner().invoke(app, arguments)
    lines = result.stderr.splitlines()
    assert (lines, result.exit_code) == ([f"error: {message}"], status)


def test_the_version_is_the_installed_one() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    result = CliRunner().invoke(app, ["--version"])
    assert (result.stdout, result.exit_code) == (f"{project['version']}\n", 0)


@pytest.mark.parametrize(("flag", "number"), [("--partitions", 1 << 31), ("--replication-factor", 1 << 15)])
def test_a_number_that_no_request_can_hold_is_refused(flag: str, number: int) -> None:
    result = CliRunner().invoke(app, ["topics", "create", "t", flag, str(number)])
    assert result.exit_code == 2
    assert f"Invalid value for '{flag}'" in result.stderr


def test_a_name_that_is_no_text_is_not_blamed_on_the_servers(capsys: pytest.CaptureFixture[str]) -> None:
    async def work(_: Admin) -> None:
        "\udcff".encode()

    assert administer("localhost:9092", work) == 2
    assert capsys.readouterr().err.startswith("error: 'utf-8' codec can't encode character '\\udcff'")


def test_a_reader_that_has_enough_is_no_mistake() -> None:
    """`kraft topics list | head -1`"""
    program = (
        "import sys; from cli.session import administer\n"
        "async def work(_): print('orders')\n"
        "sys.exit(administer('localhost:9092', work))"
    )
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        ended = subprocess.run(
            [sys.executable, "-c", program], stdout=write_end, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(write_end)
    assert (ended.stderr, ended.returncode) == (b"", 1)


def test_a_cluster_that_does_not_answer_is_one_line() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        bootstrap = f"127.0.0.1:{unused.getsockname()[1]}"
        result = CliRunner().invoke(app, ["cluster"], env={"KRAFT_BOOTSTRAP": bootstrap})
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: no broker answers at {bootstrap} (")
    assert result.exit_code == 1


def test_dev_says_which_port_is_taken(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert run_dev(DevOptions(1, 1, tmp_path, port, ())) == 1
    expected = f"error: port {port}: address already in use; --port chooses another one\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(("controllers", "brokers"), [(1, 1), (1, 2), (5, 3)])
def test_dev_does_not_change_the_controllers_of_what_was_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, controllers: int, brokers: int
) -> None:
    for name in ("controller-101", "controller-102", "controller-103", "broker-1"):
        (tmp_path / name).mkdir()
        text = f"version=1\nnode.id={name.rpartition('-')[2]}\ncluster.id=c\ndirectory.id=d\n"
        (tmp_path / name / "meta.properties").write_text(text)
    assert run_dev(DevOptions(controllers, brokers, tmp_path, 0, ())) == 2
    expected = (
        f"error: {tmp_path}: has data of controller-101, controller-102, controller-103, "
        "and the set of controllers is fixed at the start\n"
    )
    assert capsys.readouterr().err == expected


def test_help_does_not_load_the_server() -> None:
    program = (
        "import sys; from typer.testing import CliRunner; from cli.app import app;"
        "result = CliRunner().invoke(app, ['--help']); assert result.exit_code == 0;"
        "print([name for name in ('aiohttp', 'pysyncobj', 'kraft.node') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
