"""The power goes out: what was not synced may be gone."""

from __future__ import annotations

import asyncio

from chaos.harness.nemeses.base import Nemesis
from chaos.harness.power import mounting


class PowerCut(Nemesis):
    """One node, or every third time all of them, die and lose what they had not synced."""

    name = "power-cut"
    hold = (0.5, 2.0)
    in_default = False

    @classmethod
    def refusal(cls, controllers: int, brokers: int) -> str | None:
        """A file system of ours has to be mounted."""
        del controllers, brokers
        return mounting.refusal()

    async def inject(self) -> str:
        """Kill, and let the disks forget."""
        everybody = self.rng.random() < 1 / 3
        victim, part = await self.stage.a_victim(self.rng)
        self.hit = self.stage.everybody if everybody else [victim]
        await asyncio.gather(*map(self.stage.faults.kill, self.hit))
        lost = [await self.stage.cut_power(node_id, f"{self.rng.random()}") for node_id in self.hit]
        who = "every node" if everybody else f"node {victim}, {part}"
        return f"{who}, {sum(lost):,} changes gone"

    async def heal(self) -> None:
        """Start them."""
        await asyncio.gather(*map(self.stage.faults.restart, self.hit))
