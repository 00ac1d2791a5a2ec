"""The command line of a trial: what is understood, and the one line for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from chaos.__main__ import app
from chaos.harness.nemeses.registry import NEMESES, choose
from chaos.harness.options import OptionError, parse_duration, parse_nodes, parse_seed


def test_what_is_understood() -> None:
    assert parse_nodes("3+5") == (3, 5)
    assert [parse_duration(text) for text in ("90", "1.5s", "10m", "1h")] == [90, 1.5, 600, 3600]
    assert parse_seed("0") == 0
    assert choose("pause, kill,pause", 3, 3) == ("pause", "kill")


def test_without_a_seed_one_is_drawn() -> None:
    assert parse_seed(None) != parse_seed(None)


def test_all_means_what_can_be_done_here_and_the_default_no_more_than_that() -> None:
    everything = choose("all", 3, 3)
    assert (
        {"kill", "kill-all", "pause", "cut"} <= set(choose(None, 3, 3)) <= set(everything) <= NEMESES.keys()
    )
    assert "cut" not in choose("all", 1, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nemesis", "kil"], "--nemesis kil: is unknown; there are kill, kill-all, pause"),
        (["--nemesis", ","], "--nemesis: names none"),
        (["--nodes", "1+1", "--nemesis", "cut"], "--nemesis cut: needs two nodes at least"),
        (["--seed", "x1"], "--seed x1: is not a whole number"),
        (["--seed", "-1"], "--seed -1: is not a whole number"),
        (["--nodes", "3"], "--nodes 3: is not CONTROLLERS+BROKERS"),
        (["--nodes", "3+0"], "--nodes 3+0: a cluster has 1 to 100"),
        (["--for", "10x"], "--for 10x: is no time"),
        (["--for", "0s"], "--for 0s: is no time"),
        (["--every", "soon"], "--every soon: is no time"),
        (["--workload", "quake"], "--workload quake: is unknown; there are produce, group, copy"),
        (["--clients", "java"], "--clients java: is unknown; there are confluent, aiokafka, kraft"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_started(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["run", *arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {said}")
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)
    assert not (tmp_path / "out").exists()


def test_records_are_counted_from_one() -> None:
    done = CliRunner().invoke(app, ["run", "--records", "0"])
    assert done.exit_code == 2


def test_a_place_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(app, ["run", "--out", str(tmp_path / "file" / "out")])
    assert done.exit_code == 2
    assert len(done.output.splitlines()) == 1


def test_numbers_that_only_look_like_numbers_are_none() -> None:
    for text in ("٣", "1_0", " ", ""):
        with pytest.raises(OptionError):
            parse_seed(text)
    with pytest.raises(OptionError):
        parse_nodes("٣+٣")
