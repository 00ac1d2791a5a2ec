"""Structured logs: one line an event, for people and for programs."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from kraft.events import Events, LogFormat, configure_logging


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("kraft")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(our_level)


def test_an_event_is_one_readable_line() -> None:
    out = io.StringIO()
    configure_logging(LogFormat.HUMAN, node_id=3, stream=out)
    Events("broker").info("partition.led", topic="orders", partition=3, why="the leader\nis gone")
    line = out.getvalue()
    assert line.count("\n") == 1
    assert line.endswith(
        'INFO    [3] broker partition.led topic=orders partition=3 why="the leader\\nis gone"\n'
    )


def test_an_event_is_one_json_object() -> None:
    out = io.StringIO()
    configure_logging(LogFormat.JSON, node_id=3, stream=out)
    Events("broker", topic="orders").bind(partition=1).warning("partition.lost", event="kill", lag=1.5)
    line = json.loads(out.getvalue())
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "warning",
        "from": "broker",
        "event": "partition.lost",
        "node": 3,
        "topic": "orders",
        "partition": 1,
        "event_": "kill",
        "lag": 1.5,
    }


def test_a_traceback_stays_inside_its_json_line() -> None:
    out = io.StringIO()
    configure_logging(LogFormat.JSON, stream=out)
    try:
        int("bad")
    except ValueError as error:
        Events("node").error("node.crashed", failure=error)
    (line,) = out.getvalue().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["trace"]


def test_other_libraries_are_heard_from_warning_up() -> None:
    out = io.StringIO()
    configure_logging(LogFormat.JSON, stream=out)
    logging.getLogger("elsewhere").info("quiet")
    logging.getLogger("elsewhere").warning("%d things", 2)
    (line,) = map(json.loads, out.getvalue().splitlines())
    assert (line["from"], line["event"], line["message"]) == ("elsewhere", "log", "2 things")


def test_configuring_again_replaces() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging(LogFormat.HUMAN, stream=first)
    configure_logging(LogFormat.HUMAN, stream=second, level=logging.ERROR)
    Events("node").info("node.quiet")
    Events("node").error("node.loud")
    assert first.getvalue() == ""
    assert "node.loud" in second.getvalue()
    assert "node.quiet" not in second.getvalue()
