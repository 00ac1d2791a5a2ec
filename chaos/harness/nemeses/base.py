"""What every nemesis is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from random import Random
from typing import ClassVar

from chaos.harness.stage import Stage


class Nemesis(ABC):
    """One thing that is done once and undone once. Whom it hits is drawn from `rng` alone, and is `hit` then.

    `hold` is how many seconds may lie between the two. The caller bounds the time of injecting and healing.
    """

    name: ClassVar[str]
    hold: ClassVar[tuple[float, float]] = (1.5, 4.0)
    in_default: ClassVar[bool] = True

    def __init__(self, stage: Stage, rng: Random) -> None:
        self.stage = stage
        self.rng = rng
        self.hit: list[int] = []

    @classmethod
    def refusal(cls, controllers: int, brokers: int) -> str | None:
        """Why this cannot be done here, in one line; None if it can."""
        del controllers, brokers
        return None

    @abstractmethod
    async def inject(self) -> str:
        """Do it; returns who was hit, in a few words."""

    @abstractmethod
    async def heal(self) -> None:
        """Undo it. The cluster may need time to recover, which is not part of it."""


def needs_three_brokers(brokers: int) -> str | None:
    """The refusal of what needs a majority of brokers to stay."""
    return None if brokers >= 3 else "needs three brokers at least"


def needs_two_nodes(controllers: int, brokers: int) -> str | None:
    """The refusal of what happens between two nodes."""
    return "needs two nodes at least" if controllers == brokers == 1 else None
