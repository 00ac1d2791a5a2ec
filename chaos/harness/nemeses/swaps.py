"""Two minorities in turn: whoever comes back has to learn from the one that was there all the time.

One member is away, another dies, and nothing can be acknowledged. Then the first comes back and the second,
started again, is away: the majority is now the one that missed the last records and the one that has them.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from random import Random

from chaos.faults import Fault
from chaos.harness.links import CLIENT, both_ways
from chaos.harness.nemeses.base import Nemesis
from chaos.harness.stage import Stage

APART = (1.5, 3.0)


class _Swap(Nemesis):
    hold = (2.0, 4.0)

    def __init__(self, stage: Stage, rng: Random) -> None:
        super().__init__(stage, rng)
        self._first: list[int] = []
        self._second: list[int] = []

    @classmethod
    def refusal(cls, controllers: int, brokers: int) -> str | None:
        """A majority without two of its members needs three."""
        return (
            None if controllers >= 3 or brokers >= 3 else "needs three controllers or three brokers at least"
        )

    async def inject(self) -> str:
        """One is away, another killed; then the two change places."""
        for members in (self.stage.controllers, self.stage.brokers):
            if len(members) >= 3:
                first, second = self.rng.sample(members, 2)
                self._first.append(first)
                self._second.append(second)
        self.hit = [*self._first, *self._second]
        await self.send_away(self._first)
        await asyncio.gather(*map(self.stage.faults.kill, self._second))
        await asyncio.sleep(self.rng.uniform(*APART))
        await self.bring_back(self._first)
        await self.start_away(self._second)
        return f"{self._first} away, {self._second} killed, then the other way round"

    @abstractmethod
    async def send_away(self, members: list[int]) -> None:
        """Nobody hears of them any more."""

    @abstractmethod
    async def bring_back(self, members: list[int]) -> None:
        """They are here again."""

    @abstractmethod
    async def start_away(self, members: list[int]) -> None:
        """They run again, away from everybody."""


class PartKill(_Swap):
    """Cut off a minority, kill one of the majority, swap."""

    name = "part-kill"

    async def send_away(self, members: list[int]) -> None:
        """Cut them off."""
        others: list[int | str] = [node for node in self.stage.everybody if node not in members]
        await self.stage.network.cut(both_ways(members, [*others, CLIENT]))

    async def bring_back(self, members: list[int]) -> None:
        """Let everything flow."""
        del members  # nobody else is away
        await self.stage.network.heal()

    async def start_away(self, members: list[int]) -> None:
        """Start them, cut off: they are not ready before they are healed."""
        await self.send_away(members)
        self._starting: list[asyncio.Task[Fault]] = [
            asyncio.create_task(self.stage.faults.restart(node_id)) for node_id in members
        ]

    async def heal(self) -> None:
        """Let everything flow, and wait until those that started are ready."""
        await self.stage.network.heal()
        await asyncio.gather(*self._starting)


class PauseKill(_Swap):
    """Pause a minority, kill one of the majority, swap."""

    name = "pause-kill"

    async def send_away(self, members: list[int]) -> None:
        """Pause them."""
        for node_id in members:
            self.stage.faults.pause(node_id)

    async def bring_back(self, members: list[int]) -> None:
        """Let them go on."""
        for node_id in members:
            self.stage.faults.resume(node_id)

    async def start_away(self, members: list[int]) -> None:
        """Start them, and pause them as soon as they are there."""
        await asyncio.gather(*map(self.stage.faults.restart, members))
        await self.send_away(members)

    async def heal(self) -> None:
        """Let them go on."""
        await self.bring_back(self._second)
