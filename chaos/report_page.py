"""The page of a run: one HTML file that needs nothing else, in light and in dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from chaos.anomalies import Anomaly, Judgement
from chaos.report import RunRecord, Verdict, totals_of, verdict_of

STYLE = Path(__file__).with_name("report.css")
MAX_ROWS = 500
"""Of each list; what is more is said to be more."""


_CLASSES = {Verdict.HELD: "held", Verdict.BROKEN: "broken"}


def page(record: RunRecord, picture: str) -> str:
    """The whole page; `picture` is an `<svg>` element that uses the colours of the page's style."""
    verdict, sentence = verdict_of(record)
    style = STYLE.read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{verdict.value}: {escape(record.title)}</title>
<style>
{style}</style>
</head>
<body>
<header class="{_CLASSES.get(verdict, "open")}">
<h1>{verdict.value}</h1>
<div class="title">{escape(record.title)}</div>
<p>{escape(sentence)}</p>
</header>
<main>
{_tiles(record)}
{_facts(record)}
<figure>{picture}</figure>
{_anomalies(record.judgement)}
{_faults(record)}
{_silences(record)}
{_elections(record)}
</main>
</body>
</html>
"""


def _facts(record: RunRecord) -> str:
    rows = [
        ("again with", f"<code>{escape(record.command)}</code>"),
        ("seed", "none" if record.seed is None else f"<code>{record.seed}</code>"),
        ("version", escape(record.version)),
        ("started", f"{record.started:%Y-%m-%d %H:%M:%S %Z}, ran for {record.duration:,.1f} s"),
    ]
    if record.interrupted is not None:
        rows.append(
            ("interrupted", f"{escape(record.interrupted)}; what follows is what was seen until then")
        )
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows) + "</dl>"


def _tiles(record: RunRecord) -> str:
    tiles = (
        f'<div class="tile{" bad" if bad else ""}"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value, bad in totals_of(record)
    )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _anomalies(judgement: Judgement | None) -> str:
    if judgement is None:
        return ""
    rows = []
    for kind in sorted(Anomaly, key=lambda each: -judgement.count(each)):
        if count := judgement.count(kind):
            examples = "".join(f"<li>{escape(text)}</li>" for text in judgement.examples.get(kind, ()))
            cells = f"{escape(kind.value)}<ul>{examples}</ul>"
            rows.append(f'<tr><td class="number bad">{count:,}</td><td>{cells}</td></tr>')
    absent = ", ".join(kind.value for kind in Anomaly if not judgement.count(kind))
    found = f"<h2>What is wrong</h2><table>{''.join(rows)}</table>" if rows else ""
    return f"{found}<h2>Looked for, and not found</h2><p>{absent}</p>"


def _faults(record: RunRecord) -> str:
    rows = [
        (
            f"{fault.start:.2f}",
            "never mended" if fault.end is None else f"{fault.end - fault.start:.2f}",
            fault.kind,
            fault.target,
            fault.text,
        )
        for fault in record.faults
    ]
    return _list("Faults", ("at, s", "for, s", "what", "where", ""), rows)


def _silences(record: RunRecord) -> str:
    rows = [(f"{each.start:.2f}", f"{each.end - each.start:.2f}", each.text) for each in record.unavailable]
    return _list("Unavailability", ("at, s", "for, s", ""), rows)


def _elections(record: RunRecord) -> str:
    rows = [(f"{each.at:.2f}", each.what, each.text) for each in record.elections]
    return _list("Elections", ("at, s", "what", ""), rows)


def _list(title: str, columns: Sequence[str], rows: Sequence[Iterable[str]]) -> str:
    """A table that unfolds; columns that end in `, s` are figures."""
    if not rows:
        return ""

    def cells(tag: str, values: Iterable[str]) -> str:
        styles = [' class="number"' if column.endswith(", s") else "" for column in columns]
        pairs = zip(styles, values, strict=True)
        return "".join(f"<{tag}{style}>{escape(value)}</{tag}>" for style, value in pairs)

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows[:MAX_ROWS])
    more = f"<p>and {len(rows) - MAX_ROWS:,} more</p>" if len(rows) > MAX_ROWS else ""
    head = f"<tr>{cells('th', columns)}</tr>"
    return f"<details><summary>{title} ({len(rows):,})</summary><table>{head}{body}</table>{more}</details>"
