"""Processes that die, stop for a while, or are restarted in turn."""

from __future__ import annotations

import asyncio

from chaos.harness.nemeses.base import Nemesis


class Kill(Nemesis):
    """SIGKILL to a leader, the active controller, a coordinator, or any; then it is started again."""

    name = "kill"
    hold = (0.5, 3.0)

    async def inject(self) -> str:
        """Kill it."""
        victim, part = await self.stage.a_victim(self.rng)
        self.hit = [victim]
        await self.stage.faults.kill(victim)
        return f"node {victim}, {part}"

    async def heal(self) -> None:
        """Start it."""
        await asyncio.gather(*map(self.stage.faults.restart, self.hit))


class KillAll(Nemesis):
    """SIGKILL to every node at once; what was acknowledged is in the page cache."""

    name = "kill-all"
    hold = (0.2, 1.0)

    async def inject(self) -> str:
        """Kill them."""
        self.hit = self.stage.everybody
        await asyncio.gather(*map(self.stage.faults.kill, self.hit))
        return "every node"

    async def heal(self) -> None:
        """Start them."""
        await asyncio.gather(*map(self.stage.faults.restart, self.hit))


class Pause(Nemesis):
    """SIGSTOP to one node: its connections stay, nothing moves on them. Afterwards it goes on as a zombie."""

    name = "pause"
    hold = (2.0, 5.0)

    async def inject(self) -> str:
        """Stop it."""
        victim, part = await self.stage.a_victim(self.rng)
        self.hit = [victim]
        self.stage.faults.pause(victim)
        return f"node {victim}, {part}"

    async def heal(self) -> None:
        """Let it go on."""
        for node_id in self.hit:
            self.stage.faults.resume(node_id)


class RollingRestart(Nemesis):
    """SIGTERM to one node after the other; each is back before the next one goes."""

    name = "rolling-restart"
    hold = (0.0, 0.0)

    async def inject(self) -> str:
        """Restart all in an order that is drawn."""
        order = self.rng.sample(self.stage.everybody, len(self.stage.everybody))
        self.hit = order
        for node_id in order:
            await self.stage.faults.stop(node_id)
            await self.stage.faults.restart(node_id)
            await self.stage.until_whole()
        return "every node in turn"

    async def heal(self) -> None:
        """Everybody is back already."""


__all__ = ["Kill", "KillAll", "Pause", "RollingRestart"]
