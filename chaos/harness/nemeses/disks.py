"""Disks that are full, and files that change while nobody looks.

Only one replica is ever damaged, and a broker's: what a controller has synced it may not lose (Raft).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from chaos.harness.nemeses.base import Nemesis, needs_three_brokers

MOST_CUT = 64 * 1024


class FullDisk(Nemesis):
    """The largest log that a node writes to can grow no further: the node has to stop, and loses nothing."""

    name = "full-disk"

    async def inject(self) -> str:
        """Fill it."""
        victim, part = await self.stage.a_victim(self.rng)
        self.hit = [victim]
        size = self.stage.faults.fill_disk(victim)
        return f"node {victim}, {part}, at {size:,} bytes"

    async def heal(self) -> None:
        """There is room again; a node that has stopped is started."""
        for node_id in self.hit:
            await self.stage.faults.empty_disk(node_id)


class _DamagedFile(Nemesis):
    """A broker is ended, a segment of one of its replicas is changed, and it is started again."""

    hold = (0.5, 2.0)

    @classmethod
    def refusal(cls, controllers: int, brokers: int) -> str | None:
        """The others have to have what is damaged."""
        del controllers
        return needs_three_brokers(brokers)

    async def kill_one(self) -> Path | None:
        """Kill a broker; returns a segment of one of its replicas that has something in it."""
        return await self._end_one(self.stage.faults.kill)

    async def stop_one(self) -> Path | None:
        """The same after a clean stop: it will believe what it finds."""
        return await self._end_one(self.stage.faults.stop)

    async def _end_one(self, end: Callable[[int], Awaitable[object]]) -> Path | None:
        victim = self.rng.choice(self.stage.brokers)
        self.hit = [victim]
        await end(victim)
        found = self.stage.segments(victim)
        return self.rng.choice(found) if found else None

    async def heal(self) -> None:
        """Start it."""
        for node_id in self.hit:
            await self.stage.faults.restart(node_id)


def flip_bit(path: Path, position: int, bit: int) -> None:
    """Turn one bit of a file round."""
    with open(path, "r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))


class BitFlip(_DamagedFile):
    """One bit of a segment is another one."""

    name = "bit-flip"

    async def inject(self) -> str:
        """Flip it."""
        path = await (self.kill_one() if self.rng.random() < 0.5 else self.stop_one())
        if path is None:
            return f"node {self.hit[0]}, which has nothing yet"
        position = self.rng.randrange(path.stat().st_size)
        flip_bit(path, position, self.rng.randrange(8))
        return f"node {self.hit[0]}, {path.parent.name}/{path.name} at {position:,}"


class Truncation(_DamagedFile):
    """The end of a segment is missing."""

    name = "truncation"

    async def inject(self) -> str:
        """Cut it."""
        path = await self.kill_one()
        if path is None:
            return f"node {self.hit[0]}, which has nothing yet"
        size = path.stat().st_size
        left = size - self.rng.randint(1, min(size, MOST_CUT))
        os.truncate(path, left)
        return f"node {self.hit[0]}, {path.parent.name}/{path.name} from {size:,} to {left:,}"
