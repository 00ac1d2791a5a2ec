"""A controller without a quorum: its records are committed the moment they are decided.

For tests and simulations of what stands on the metadata and does not care how it is replicated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from metadata.controller.commands import Command, Reply
from metadata.controller.controller import Controller
from metadata.controller.decision import ControllerConfig, RandomSource
from metadata.image import EMPTY_IMAGE, MetadataImage
from metadata.records import Record

Observer = Callable[[MetadataImage, MetadataImage], None]


def _ignore(old: MetadataImage, new: MetadataImage) -> None:
    del old, new


class InstantController:
    """`observe(old, new)` is called after each change from the first command on. `log` has every record since
    the start."""

    def __init__(
        self, config: ControllerConfig, random: RandomSource, now: float = 0.0, observe: Observer = _ignore
    ) -> None:
        self.image: MetadataImage = EMPTY_IMAGE
        self.log: list[Record] = []
        self.config = config
        self._random = random
        self._observe: Observer = _ignore
        self._term = 0
        self.take_over(now)
        self._observe = observe

    def take_over(self, now: float) -> None:
        """Another controller becomes the active one, by `config`, and knows nothing but the image."""
        self._term += 1
        self._controller = Controller(self.config, self.image, self._term, now, self._random)
        self.commit(self._controller.begin(self.image).records)

    def ask(self, command: Command, now: float, now_ms: int = 0) -> Reply:
        """Decide and commit. Raises KafkaError like the controller."""
        decision = self._controller.decide(self.image, command, now, now_ms)
        self.commit(decision.records)
        return decision.reply

    def tick(self, now: float, now_ms: int = 0) -> None:
        """Let the controller act on time alone."""
        for decision in self._controller.tick(self.image, now, now_ms):
            self.commit(decision.records)

    def was_away(self, now: float, away: float) -> None:
        """The controller did not run for a while, up to `now`."""
        self._controller.was_away(now, away)

    def next_deadline(self, now: float) -> float:
        """When to call `tick` next."""
        return self._controller.next_deadline(now)

    def commit(self, records: Sequence[Record]) -> None:
        """Commit records, whoever decided on them."""
        if not records:
            return
        old = self.image
        self.image = old.apply(records, old.next_offset)
        self.log += records
        self._observe(old, self.image)
