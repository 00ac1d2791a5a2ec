"""A node's command line without Typer: the same options, and whatever is unusual is left to Typer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cli import plain_arguments
from cli.app import app
from cli.plain_arguments import read_arguments
from cli.run import KEYS, RunOptions

LINES = [
    [],
    ["--role", "controller,broker", "--node-id", "7"],
    ["--role=broker", "--node-id=7", "--set", "a=b", "--set=c=d=e", "--log-format", "json"],
    ["--config", "some/server.properties", "--listeners", "PLAINTEXT://:9092", "--log-dirs", "a,b"],
    ["--node-listener", "127.0.0.1:0", "--controller-quorum-voters", "1@a:2", "--advertised-listeners", "x"],
    ["--node-id", "1", "--node-id", "2"],
]
UNUSUAL = [
    ["--help"],
    ["--node-id", "seven"],
    ["--node-id"],
    ["--ready-fd", "-3"],
    ["--log-format", "xml"],
    ["--no-such-option", "1"],
    ["word"],
    ["--role", "--node-id"],
]


def test_both_know_the_same_options() -> None:
    command = get_command(app).get_command(None, "run")  # type: ignore[attr-defined]
    names = {name for parameter in command.params for name in parameter.opts}
    assert names - {"--help"} == plain_arguments._ONCE | {"--set"}
    assert set(KEYS) < plain_arguments._ONCE


@pytest.mark.parametrize("line", LINES)
def test_both_read_the_same(line: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[RunOptions] = []

    def run_node(options: RunOptions) -> int:
        read.append(options)
        return 0

    monkeypatch.setattr("cli.run.run_node", run_node)
    result = CliRunner().invoke(app, ["run", *line])
    assert result.exit_code == 0, result.output
    assert read == [read_arguments(line)]


@pytest.mark.parametrize("line", UNUSUAL)
def test_what_is_unusual_is_left_to_typer(line: Sequence[str]) -> None:
    assert read_arguments(line) is None
