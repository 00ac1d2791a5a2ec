"""Wall clocks that are wrong."""

from __future__ import annotations

from chaos.harness.nemeses.base import Nemesis
from chaos.harness.skewed_node import set_offset

LEAST, MOST = 1.0, 1800.0
"""Seconds; beyond an hour a broker refuses the timestamps of clients whose clocks are right."""


class ClockSkew(Nemesis):
    """The wall clock of one node jumps by seconds or minutes, ahead or back; later it is set right again."""

    name = "clock-skew"
    hold = (2.0, 5.0)

    async def inject(self) -> str:
        """Set it."""
        victim, part = await self.stage.a_victim(self.rng)
        self.hit = [victim]
        seconds = self.rng.choice([-1, 1]) * LEAST * (MOST / LEAST) ** self.rng.random()
        set_offset(self.stage.clock_file(victim), seconds)
        return f"node {victim}, {part}, by {seconds:+.0f} s"

    async def heal(self) -> None:
        """Set it right."""
        for node_id in self.hit:
            set_offset(self.stage.clock_file(node_id), 0.0)
