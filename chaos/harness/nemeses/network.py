"""Links that are cut or slow. Processes go on; who cannot be heard has to be taken for dead, and is not."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from chaos.harness.links import CLIENT, both_ways
from chaos.harness.nemeses.base import Nemesis, needs_two_nodes
from chaos.harness.stage import minority

SLOWEST = 0.4
FASTEST = 0.05


class _OnLinks(Nemesis):
    """What is undone by letting everything flow."""

    hold = (3.5, 6.0)

    @classmethod
    def refusal(cls, controllers: int, brokers: int) -> str | None:
        """Two nodes at least."""
        return needs_two_nodes(controllers, brokers)

    async def heal(self) -> None:
        """Everything flows; what was held back arrives late."""
        await self.stage.network.heal()

    def others(self, *members: int) -> list[int | str]:
        """All other nodes; every second time the clients as well."""
        others: list[int | str] = [node for node in self.stage.everybody if node not in members]
        return [*others, CLIENT] if self.rng.random() < 0.5 else others


class Cut(_OnLinks):
    """A minority of controllers and brokers is on one side, everybody else on the other."""

    name = "cut"

    async def inject(self) -> str:
        """Cut both ways."""
        side: list[int] = []
        for members in (self.stage.controllers, self.stage.brokers):
            side += self.rng.sample(members, minority(members))
        side = sorted(set(side) or {self.rng.choice(self.stage.everybody)})
        self.hit, others = side, self.others(*side)
        await self.stage.network.cut(both_ways(side, others))
        return f"{_names(side)} from {_names(others)}"


class OneWayCut(_OnLinks):
    """One node is heard and hears nothing, or hears and is not heard."""

    name = "one-way-cut"

    async def inject(self) -> str:
        """Cut one way."""
        victim, part = await self.stage.a_victim(self.rng)
        self.hit = [victim]
        others = self.others(victim)
        if self.rng.random() < 0.5:
            await self.stage.network.cut((victim, other) for other in others)
            return f"node {victim}, {part}, is not heard by {_names(others)}"
        await self.stage.network.cut((other, victim) for other in others)
        return f"node {victim}, {part}, hears nothing of {_names(others)}"


class PartialCut(_OnLinks):
    """Some links only: who is reachable depends on whom one asks."""

    name = "partial-cut"

    async def inject(self) -> str:
        """Cut about a third of all pairs, one at least."""
        pairs = list(combinations(self.stage.everybody, 2))
        cut = [pair for pair in pairs if self.rng.random() < 0.33] or [self.rng.choice(pairs)]
        self.hit = sorted({node for pair in cut for node in pair})
        await self.stage.network.cut(way for one, other in cut for way in ((one, other), (other, one)))
        return ", ".join(f"{one}|{other}" for one, other in cut)


class _Isolate(_OnLinks):
    async def _isolate(self, victim: int) -> str:
        self.hit, others = [victim], self.others(victim)
        await self.stage.network.cut(both_ways([victim], others))
        return f"node {victim} from all nodes{' and clients' if CLIENT in others else ''}"


class IsolateLeader(_Isolate):
    """The leader of a partition is alone."""

    name = "isolate-leader"

    async def inject(self) -> str:
        """Isolate it."""
        return await self._isolate(await self.stage.a_leader(self.rng))


class IsolateController(_Isolate):
    """The active controller is alone."""

    name = "isolate-controller"

    async def inject(self) -> str:
        """Isolate it."""
        return await self._isolate(await self.stage.observer.active_controller())


class IsolateCoordinator(_Isolate):
    """The coordinator of a group is alone."""

    name = "isolate-coordinator"

    async def inject(self) -> str:
        """Isolate it."""
        return await self._isolate(await self.stage.a_coordinator(self.rng))


class SlowLink(_OnLinks):
    """Everything from and to one node arrives late."""

    name = "slow-link"
    hold = (3.0, 8.0)

    async def inject(self) -> str:
        """Delay it both ways."""
        victim, part = await self.stage.a_victim(self.rng)
        self.hit = [victim]
        delay = self.rng.uniform(FASTEST, SLOWEST)
        await self.stage.network.slow(both_ways([victim], [*self.others(victim), CLIENT]), delay)
        return f"node {victim}, {part}, by {1000 * delay:.0f} ms each way"


def _names(members: Iterable[int | str]) -> str:
    return ",".join(map(str, members))
