"""Which nemesis comes when: drawn from the seed, one after the other. After each the cluster must recover."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from chaos.harness.nemeses.base import Nemesis
from chaos.harness.nemeses.registry import NEMESES
from chaos.harness.stage import Stage

BOUND = 90.0
"""Seconds that injecting, healing and recovering may take, each."""


@dataclass(slots=True)
class Injury:
    """One fault of a run; times are seconds of the monotonic clock, None while it lasts.

    `healed` is when the nemesis was undone, `recovered` when every replica was in sync again.
    """

    name: str
    began: float
    target: str = ""
    hit: Sequence[int] = ()
    healed: float | None = None
    recovered: float | None = None


@dataclass(slots=True)
class Schedule:
    """Inflicts nemeses until `deadline`; `every` seconds lie between two at least."""

    stage: Stage
    names: Sequence[str]
    seed: int
    every: float
    injuries: list[Injury] = field(default_factory=list)
    present: str = ""

    async def run(self, deadline: float) -> None:
        """Raises TimeoutError if the cluster does not recover within BOUND."""
        for number, name in enumerate(self._names()):
            now = time.monotonic()
            if now + self.every > deadline:
                return
            await self._inflict(NEMESES[name](self.stage, Random(f"{self.seed}/{number}")))
            rest = now + self.every - time.monotonic()
            await asyncio.sleep(max(0.5, rest))

    def _names(self) -> Iterator[str]:
        """Each name as often as the others, in an order that is drawn."""
        rng = Random(f"{self.seed}/order")
        while True:
            yield from rng.sample(self.names, len(self.names))

    async def _inflict(self, nemesis: Nemesis) -> None:
        injury = Injury(nemesis.name, time.monotonic())
        self.injuries.append(injury)
        self.present = nemesis.name
        async with _bounded(f"{nemesis.name} could not be injected"):
            injury.target = await nemesis.inject()
        injury.hit = nemesis.hit
        self.present = f"{nemesis.name}: {injury.target}"
        await asyncio.sleep(min(nemesis.rng.uniform(*nemesis.hold), self.every * 0.6))
        async with _bounded(f"{nemesis.name} ({injury.target}) could not be healed"):
            await nemesis.heal()
        injury.healed = time.monotonic()
        self.present = f"recovering from {nemesis.name}"
        async with _bounded(f"the cluster did not recover from {nemesis.name} ({injury.target})"):
            await self.stage.until_whole()
        injury.recovered = time.monotonic()
        self.present = ""


class NotRecoveredError(Exception):
    """Something took longer than BOUND: the run has failed, whatever its history says."""


@contextlib.asynccontextmanager
async def _bounded(complaint: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(BOUND):
            yield
    except TimeoutError:
        raise NotRecoveredError(f"{complaint} within {BOUND:.0f} s") from None
