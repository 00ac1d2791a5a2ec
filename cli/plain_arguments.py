"""The command line of `kraft-node run`, read without Typer, which would stay in a node's memory as long as it
runs, and takes longer to import than anything else that a start needs.

What programs and scripts write is understood here. For anything else, help and mistakes above all, the answer
is None: then Typer, which has the same options, does the talking.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cli.run import KEYS, RunOptions
from kraft.events import LogFormat

_NUMBERS: Final = frozenset({"--node-id", "--ready-fd", "--parent-pid"})
_ONCE: Final = frozenset({*KEYS, "--config", "--log-format", "--ready-fd", "--parent-pid"})


def read_arguments(arguments: Sequence[str]) -> RunOptions | None:
    """The options in `arguments`, what follows `run`; None if Typer has to look at them."""
    given: dict[str, str] = {}
    assignments: list[str] = []
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if not equals:
            value = next(words, "-")
            if value.startswith("-"):
                return None
        if flag == "--set":
            assignments.append(value)
        elif flag in _ONCE:
            given[flag] = value
        else:
            return None
    if any(flag in given and not _is_number(given[flag]) for flag in _NUMBERS):
        return None
    log_format = given.get("--log-format", LogFormat.HUMAN.value)
    if log_format not in {each.value for each in LogFormat}:
        return None
    config = Path(given["--config"]) if "--config" in given else None
    flags = {key: (flag, given.get(flag)) for flag, key in KEYS.items()}
    numbers = (int(given[flag]) if flag in given else None for flag in ("--ready-fd", "--parent-pid"))
    return RunOptions(config, flags, tuple(assignments), log_format, *numbers)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
