"""What is sent: the lines of real text."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LINES_PER_KEY = 1000
_NOT_OURS = {"site-packages", "dist-packages"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the input. All lines of a key go to one partition, where they keep their order."""

    key: bytes
    text: bytes


def standard_library() -> Iterator[Line]:
    """Every line of the running Python's own sources; a file is a key."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        if _NOT_OURS.isdisjoint(path.parts):
            key = path.relative_to(root).as_posix().encode()
            for text in path.read_bytes().splitlines():
                yield Line(key, text)


def file_lines(path: Path) -> Iterator[Line]:
    """Every line of one file; a thousand lines are a key."""
    with path.open("rb") as file:
        for number, text in enumerate(file):
            yield Line(b"%s:%d" % (path.name.encode(), number // LINES_PER_KEY), text.rstrip(b"\r\n"))
