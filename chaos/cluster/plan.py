"""Which history: a seed, less whatever shrinking has taken out of it."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

LENGTH = 25.0
"""Seconds, virtual, of work and faults: with coming up before and coming to rest after them some thirty."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`without` names what is left out: a kind of fault (`pause`), one of its occurrences (`pause#3`), or a
    client (`writer-1`). `length` is how long work and faults go on, in virtual seconds."""

    seed: int
    without: frozenset[str] = frozenset()
    length: float = LENGTH

    def chance(self, purpose: str) -> random.Random:
        """A source of randomness for one purpose alone: leaving one thing out does not change the others."""
        return random.Random(f"{self.seed}:{purpose}")

    def has(self, name: str) -> bool:
        """Whether this is to be part of the history."""
        return name not in self.without

    def less(self, name: str) -> Plan:
        """The same without one more thing."""
        return replace(self, without=self.without | {name})

    def arguments(self) -> str:
        """What replays it, on the command line."""
        parts = [f"--seed {self.seed}"]
        if self.without:
            parts.append(f"--without {','.join(sorted(self.without))}")
        if self.length != LENGTH:
            parts.append(f"--length {self.length:g}")
        return " ".join(parts)
