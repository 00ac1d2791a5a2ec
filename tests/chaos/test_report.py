"""A run's report: whatever the run was like, a page and a picture that say whether the cluster held."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from chaos.anomalies import Anomaly, Judgement, Totals
from chaos.report import (
    HTML_NAME,
    PNG_NAME,
    Election,
    FaultSpan,
    Latency,
    Rates,
    RunRecord,
    Unavailability,
    Verdict,
    totals_of,
    verdict_of,
    write_report,
)
from chaos.report_panels import clock_text, fault_colours, grouped, lanes_of

STARTED = datetime(2026, 11, 22, 21, 0, tzinfo=UTC)
CLEAN = Judgement(
    {}, Totals(sent=1_000_010, acknowledged=1_000_000, read=1_000_003, transactions=9, committed=8), {}
)
LOST = Judgement(
    {Anomaly.LOST_WRITE: 3}, Totals(sent=5, acknowledged=5, read=2), {Anomaly.LOST_WRITE: ("<record> 1",)}
)
NODES = ("controller-101", "controller-102", "controller-103", "broker-1", "broker-2", "broker-3")
KINDS = (
    "kill",
    "pause",
    "cut",
    "one-way cut",
    "slow link",
    "full disk",
    "clock skew",
    "bit flip",
    "power cut",
    "x" * 40,
)


def run(**how: object) -> RunRecord:
    """A record of which only what every run has is filled in, and `how`."""
    usual = {
        "title": "3 + 3 nodes",
        "seed": 42,
        "command": "python -m chaos run --seed 42",
        "version": "0.1.0",
        "started": STARTED,
        "duration": 60.0,
        "judgement": CLEAN,
    }
    return RunRecord(**(usual | how))  # type: ignore[arg-type]


def rich_run(**how: object) -> RunRecord:
    """Ten minutes, a hundred faults of ten kinds, all of it measured."""
    faults = [
        FaultSpan(
            KINDS[n % 10],
            NODES[n % 6] if n % 10 != 8 else "",
            6.0 * n,
            None if n == 99 else 6.0 * n + n % 5,
            "<why>",
        )
        for n in range(100)
    ]
    usual = {
        "nodes": NODES,
        "faults": faults,
        "duration": 600.0,
        "rates": [Rates(float(n), 3000 + n % 100, 3000 - n % 90) for n in range(600)],
        "latencies": [
            Latency(float(n), 4.0, 30.0 + n % 50, 900.0 if n % 6 == 0 else 90.0) for n in range(600)
        ],
        "unavailable": [Unavailability(6.0 * n, 6.0 * n + 0.4, "orders-1") for n in range(100)],
        "elections": [Election(6.0 * n + 0.3, "partition", "orders-1: broker-2") for n in range(100)],
        "figures": {"p99 of all": "31 ms"},
    }
    return run(**(usual | how))


class Page(HTMLParser):
    """What is on a page: texts by tag, and every tag that was opened and not closed."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.setdefault(self.open[-1], []).append(data.strip())

    @property
    def words(self) -> str:
        return " ".join(text for tag, texts in self.texts.items() if tag != "style" for text in texts)


def written(record: RunRecord, directory: Path) -> Page:
    """The page, after a look at the picture: both are there, and need nothing else."""
    html, png = write_report(record, directory / "reports" / "new")
    width, height = struct.unpack(">II", png.read_bytes()[16:24])
    assert width == 1560
    assert 700 < height < 2000
    text = html.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.tags & {"script", "link", "img", "iframe", "object"}
    outside = ("src", "xlink:href", "href", "srcset")
    assert [
        value for _, name, value in page.attributes if name in outside and not str(value).startswith("#")
    ] == []
    assert "@import" not in text
    svg = text[text.index("<svg") : text.index("</svg>") + len("</svg>")]
    assert len(list(ElementTree.fromstring(svg).iter())) > 50
    assert "#0a0b" not in text, "every stand-in has become a colour of the style"
    return page


def test_a_rich_run_that_held(tmp_path: Path) -> None:
    page = written(rich_run(), tmp_path)
    assert page.texts["h1"] == ["HELD"]
    assert ("header", "class", "held") in page.attributes
    assert "1,000,000 records acknowledged through 100 faults: all there, once, in order." in page.words
    for word in (
        "python -m chaos run --seed 42",
        "0.1.0",
        "2026-11-22 21:00:00 UTC",
        "p99 of all",
        "never mended",
    ):
        assert word in page.words
    assert "kill controller-101, 0.0 s to 0.0 s: <why>" in page.texts["title"], "a bar says what it is"
    assert len([text for text in page.texts["title"] if "<why>" in text]) == 100


def test_a_broken_run_takes_the_place_of_the_last_report(tmp_path: Path) -> None:
    (tmp_path / "reports" / "new").mkdir(parents=True)
    for name in (HTML_NAME, PNG_NAME):
        (tmp_path / "reports" / "new" / name).write_text("HELD" * 100_000)
    page = written(run(nodes=NODES, judgement=LOST, faults=[FaultSpan("kill", "broker-1", 3, 4)]), tmp_path)
    assert "HELD" not in page.words
    assert page.texts["h1"] == ["BROKEN"]
    assert ("header", "class", "broken") in page.attributes
    assert "The cluster did not keep its word: lost write 3." in page.words
    assert page.texts["li"] == ["<record> 1"]
    assert page.texts["td"][:2] == ["3", "lost write"]
    assert all(kind.value in page.words for kind in Anomaly), "what was looked for is all listed"


def test_an_empty_run(tmp_path: Path) -> None:
    page = written(run(duration=0.0, seed=None, judgement=None), tmp_path)
    assert page.texts["h1"] == ["NOTHING SHOWN"]
    assert ("header", "class", "open") in page.attributes
    assert page.words.count("nothing was measured") == 2
    assert "no faults" in page.words


def test_an_interrupted_run_and_texts_that_look_like_markup(tmp_path: Path) -> None:
    reason = "Stopped by Ctrl-C after 3 s of 600 s"
    odd = run(
        interrupted=reason, title="<b>$x^2$ & more</b>", command="run '$a' \"$b_\" </code>" * 20, duration=3.0
    )
    page = written(odd, tmp_path)
    assert page.texts["h1"] == ["INTERRUPTED"]
    assert f"{reason}. Nothing is known to be wrong with what was seen." in page.words
    assert "<b>$x^2$ & more</b>" in page.words


@pytest.mark.parametrize(
    ("how", "verdict"),
    [
        ({}, Verdict.HELD),
        ({"judgement": LOST}, Verdict.BROKEN),
        ({"judgement": LOST, "interrupted": "Stopped"}, Verdict.BROKEN),
        ({"complaints": ["t-0 of broker-1 and broker-2 differ at byte 4"]}, Verdict.BROKEN),
        ({"interrupted": "Stopped"}, Verdict.INTERRUPTED),
        ({"interrupted": "Stopped", "judgement": None}, Verdict.INTERRUPTED),
        ({"judgement": None}, Verdict.NOTHING_SHOWN),
        ({"judgement": Judgement({}, Totals(), {})}, Verdict.NOTHING_SHOWN),
        ({"judgement": Judgement({}, Totals(sent=9, acknowledged=9), {})}, Verdict.NOTHING_SHOWN),
    ],
)
def test_verdicts(how: dict[str, object], verdict: Verdict) -> None:
    assert verdict_of(run(**how))[0] is verdict


def test_a_verdict_says_what_nobody_looked_for() -> None:
    totals = Totals(sent=9, acknowledged=9, read=7, unjudged=2)
    assert verdict_of(run(judgement=Judgement({}, totals, {})))[1] == (
        "9 records acknowledged through 0 faults: all there, once, in order. 2 were never looked for."
    )


def test_totals_that_ought_to_be_zero_are_marked() -> None:
    totals = {total.name: total for total in totals_of(run(judgement=LOST))}
    assert (totals["lost"].value, totals["lost"].bad) == ("3", True)
    assert not totals["duplicated"].bad
    assert {total.name: total.value for total in totals_of(rich_run())}["longest unavailable"] == "0.40 s"


def test_lanes_are_nodes_and_whatever_else_was_hit() -> None:
    faults = [FaultSpan("kill", "extra", 0, 1), FaultSpan("kill all", "", 1, 2), FaultSpan("kill", "b", 0, 1)]
    assert lanes_of(run(nodes=["a", "b"], faults=faults)) == ["a", "b", "extra", "cluster"]
    many = [FaultSpan("cut", f"link-{number}", 0, 1) for number in range(100)]
    assert len(lanes_of(run(faults=many))) == 24
    assert lanes_of(run(faults=many))[-1] == "cluster"
    assert list(fault_colours(faults)) == ["kill", "kill all"]


@pytest.mark.parametrize(
    ("seconds", "step", "text"),
    [
        (0, 0.5, "0.0 s"),
        (12, 2, "12 s"),
        (0, 60, "0:00"),
        (200, 20, "3:20"),
        (3800, 600, "1:03:20"),
        (59.9, 60, "1:00"),
    ],
)
def test_times_on_the_axis(seconds: float, step: float, text: str) -> None:
    assert clock_text(seconds, step) == text


def test_neighbours_are_put_together_in_a_long_run() -> None:
    rates = [Rates(float(second), 1, 1) for second in range(7201)]
    groups = grouped(rates)
    assert len(groups) <= 720
    assert [each for group in groups for each in group] == rates
    assert grouped(rates[:720]) == [[each] for each in rates[:720]]
    assert grouped(rates[:0]) == []
