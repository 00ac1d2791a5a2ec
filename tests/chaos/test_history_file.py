"""A history that goes to disk comes back as it was, and says so when it is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from chaos.__main__ import app
from chaos.history import (
    Assigned,
    Committed,
    Compacted,
    Ended,
    Ending,
    Event,
    OffsetFetched,
    Outcome,
    Polled,
    Read,
    ReadBack,
    Sent,
    Settled,
    Stored,
    Trimmed,
)
from chaos.history_file import HistoryFileError, HistoryWriter, read_history, recorded

ONE_OF_EACH: list[Event] = [
    Sent("p", 0.25, 1, "t", 0, 7),
    Sent("pé", 1, 2, "t", 0, 7, 3, 1),
    Settled("p", 0.5, 1, Outcome.ACKNOWLEDGED, 0),
    Settled("p", 0.5, 2, Outcome.UNKNOWN, None),
    Stored("p", 0.5, (1, 2), 0),
    Stored("p", 0.5, (), None),
    Assigned("c", 0.5, 1, (("t", 0), ("u", 3))),
    Polled("c", 0.5, 1, (Read("t", 0, 0, 1), Read("t", 0, 1, -1)), committed_only=True, transaction=3),
    Polled("c", 0.5, 1, ()),
    Ending("p", 0.5, 3, commit=True),
    Ended("p", 0.5, 3, commit=False, outcome=Outcome.REFUSED),
    Committed("c", 0.5, "g", "t", 0, 1, Outcome.ACKNOWLEDGED, None, 0.375),
    OffsetFetched("c", 0.5, "g", "t", 0, None, 0.5),
    ReadBack("c", 0.5, "t", 0, 2),
    ReadBack("c", 0.5, "t", 0, 2, committed_only=True),
    Trimmed("c", 0.5, "t", 0, 1),
    Compacted("c", 0.5, "t"),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "history.jsonl"
    with HistoryWriter(path) as writer:
        for event in ONE_OF_EACH:
            writer.append(event)
    return path


def test_every_event_comes_back(file: Path) -> None:
    back = list(read_history(file))
    assert back == ONE_OF_EACH
    assert [type(event) for event in back] == [type(event) for event in ONE_OF_EACH]
    assert {type(event) for event in back} == set(Event.__args__), "an event is missing in this test"
    assert back[2].outcome is Outcome.ACKNOWLEDGED
    assert isinstance(back[7].records[0], Read)


def test_a_file_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    with HistoryWriter(path) as writer:
        writer.append(ONE_OF_EACH[0])
        writer.flush()
        assert list(read_history(path)) == ONE_OF_EACH[:1]


def test_events_are_written_as_they_pass(tmp_path: Path) -> None:
    passed = recorded(ONE_OF_EACH, tmp_path / "history.jsonl")
    assert next(passed) == ONE_OF_EACH[0]
    assert [ONE_OF_EACH[0], *passed] == ONE_OF_EACH
    assert list(read_history(tmp_path / "history.jsonl")) == ONE_OF_EACH


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_a_torn_last_line_is_left_out(file: Path, data: st.DataObject) -> None:
    whole = file.read_bytes()
    head = whole.index(b"\n") + 1
    length = data.draw(st.integers(head, len(whole)))
    torn = file.with_name("torn")
    torn.write_bytes(whole[:length])
    back = list(read_history(torn))
    assert back == ONE_OF_EACH[: len(back)]
    complete = whole[:length].count(b"\n") - 1
    assert len(back) in (complete, complete + 1), "a line may be whole but for its end"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{}",
        "[]",
        "nonsense",
        '["Nothing", 1]',
        '["Sent", "p"]',
        '["Sent", "p", 0, "one", "t", 0, 0]',
        '["Settled", "p", 0, 1, "perhaps"]',
        '["Polled", "c", 0, 0, [["t", 0, 0]]]',
        '["Polled", "c", 0, 0, [["t", 0, "0", 1]]]',
        '["Compacted", "c", 0, "t", 1]',
        '["Stored", "p", 0, [1, "2"], 0]',
    ],
)
def test_a_line_that_is_no_event_is_named(file: Path, line: str) -> None:
    lines = file.read_text().splitlines()
    lines.insert(3, line)
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(HistoryFileError, match=r"^line 4 is no event"):
        list(read_history(file))


@pytest.mark.parametrize("content", ["", "x", "[1]", "[1, 2, 3]", '["kraft-history", 2]', "17", "\xff\x00"])
def test_another_file_is_no_history(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(HistoryFileError, match=r"^this is"):
        list(read_history(path))


def test_what_is_no_event_is_not_written(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "history") as writer, pytest.raises(TypeError, match="does not belong"):
        writer.append(Sent("p", 0.0, object(), "t", 0, 0))


def judged(path: Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", str(path)])
    return result.exit_code, " ".join(result.output.split())


def written(path: Path, *events: Event) -> Path:
    with HistoryWriter(path) as writer:
        for event in events:
            writer.append(event)
    return path


def test_the_command_judges(tmp_path: Path) -> None:
    sent, settled = Sent("p", 0.0, 1, "t", 0, 7), Settled("p", 0.0, 1, Outcome.ACKNOWLEDGED, 0)
    read, end = Polled("c", 0.0, 0, (Read("t", 0, 0, 1),)), ReadBack("c", 0.0, "t", 0, 1)
    status, output = judged(written(tmp_path / "good", sent, settled, read, end))
    assert status == 0
    assert output.startswith("sent 1 acknowledged 1 refused 0 read 1")
    assert output.endswith("HELD")
    status, output = judged(written(tmp_path / "bad", sent, settled, end))
    assert status == 1
    assert "lost write: 1 record 1 of p was acknowledged at offset 0 of t-0, and is not there" in output
    assert output.endswith("BROKEN")
    status, output = judged(written(tmp_path / "partial", sent, settled))
    assert status == 0
    assert "1 acknowledged records were not read, and nobody looked for them" in output


def test_the_command_refuses_what_is_no_history(tmp_path: Path) -> None:
    status, output = judged(tmp_path / "none")
    assert status == 2
    assert output.endswith("No such file or directory")
    (tmp_path / "other").write_text("x")
    status, output = judged(tmp_path / "other")
    assert status == 2
    assert "this is no history" in output
    sent = Sent("p", 0.0, 1, "t", 0, 7)
    status, output = judged(written(tmp_path / "twice", sent, sent))
    assert status == 2
    assert "record 1 of p is not a new one" in output
