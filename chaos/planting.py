"""Bugs put in from outside: a function, a method or a constant replaced for a while. The product has no
switch for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Replacement = tuple[Any, str, Any]
"""Owner (a module or a class), name, new value."""


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
