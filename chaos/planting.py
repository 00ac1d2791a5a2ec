"""Bugs put in from outside: a function, a method or a constant replaced for a while. The product has no
switch for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_SLIPS = re.compile(r"\b(?:TypeError|AttributeError|NameError)\b")

Replacement = tuple[Any, str, Any]
"""Owner (a module or a class), name, new value."""


class MisfitError(Exception):
    """What was planted does not fit the code any more: that it fails shows nothing."""


def fits(problem: str) -> bool:
    """Whether a history failed for what a planted bug does, not for the parameters that it takes."""
    return _SLIPS.search(problem) is None


@dataclass(frozen=True, slots=True)
class Mutant:
    """A known mistake. `nodes` is how many voters a history of the quorum has to have to show it."""

    description: str
    replacements: tuple[Replacement, ...]
    nodes: int | None = None

    @contextmanager
    def applied(self) -> Iterator[None]:
        """While inside, the mistake is made."""
        originals = [(owner, name, owner.__dict__[name]) for owner, name, _ in self.replacements]
        for owner, name, value in self.replacements:
            setattr(owner, name, value)
        try:
            yield
        finally:
            for owner, name, value in originals:
                setattr(owner, name, value)
