"""Where the replicas of new partitions go: evenly over brokers, apart over racks, away from fenced brokers.

Each partition takes the brokers that hold the fewest replicas of the topic so far, of racks that it does
not use yet; among equals those that lead less, then those that share fewer partitions with the brokers
already chosen, then by turns. The preferred leader is the chosen broker that leads least; the next in line
is another one each time, so that the leaderships of a broker that dies fall on many. Racks come first:
where they differ in size, evenness yields to spread, as in Kafka's `StripedReplicaPlacer`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from kafkawire.errors import ErrorCode, KafkaError
from metadata.image import BrokerImage

Replicas = tuple[int, ...]

_ROUNDS: Final = 20
"""How often leaderships are passed on at most; a few rounds are enough in practice."""


def check_replication_factor(brokers: Sequence[BrokerImage], factor: int) -> None:
    """Raise KafkaError(INVALID_REPLICATION_FACTOR) when the brokers cannot carry so many replicas."""
    problem = ""
    if factor > len(brokers):
        problem = (
            f"The target replication factor of {factor} cannot be reached because only {len(brokers)} "
            "broker(s) are registered."
        )
    elif not any(broker.active for broker in brokers):
        problem = "All brokers are currently fenced or in controlled shutdown."
    if problem:
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"Unable to replicate the partition {factor} time(s): {problem}",
        )


def place(
    brokers: Sequence[BrokerImage], count: int, factor: int, turn: int, existing: Iterable[Replicas] = ()
) -> list[Replicas]:
    """Replicas for `count` partitions, the preferred leader first. `turn` says who comes first among equals;
    `existing` are the partitions that the topic has. Raises like `check_replication_factor`."""
    check_replication_factor(brokers, factor)
    placement = _Placement(brokers, factor, turn)
    for replicas in existing:
        placement.count(replicas)
    placed = [placement.next() for _ in range(count)]
    placement.even_out(placed)
    return placed


class _Placement:
    """The partitions placed so far, counted."""

    def __init__(self, brokers: Sequence[BrokerImage], factor: int, turn: int) -> None:
        active = [broker for broker in brokers if broker.active]
        pool = active if len(active) >= factor else list(brokers)
        self._racks = {broker.broker_id: broker.rack for broker in pool}
        self._resting = {broker.broker_id for broker in pool if not broker.active}
        self._order = sorted(self._racks)
        self._factor = factor
        self._turn = turn
        self._held: Counter[int] = Counter()
        self._led: Counter[int] = Counter()
        self._together: Counter[tuple[int, int]] = Counter()
        self._next: Counter[tuple[int, ...]] = Counter()

    def count(self, replicas: Replicas) -> None:
        """A partition has these replicas."""
        self._held.update(replicas)
        self._led[replicas[0]] += 1
        self._next[replicas[:2]] += 1
        self._together.update((one, other) for one in replicas for other in replicas)

    def next(self) -> Replicas:
        """The replicas of the next partition."""
        first = self._turn % len(self._order)
        self._turn += 1
        by_turn = self._order[first:] + self._order[:first]
        chosen: list[int] = []
        while len(chosen) < self._factor:
            chosen.append(self._best(by_turn, chosen))
        replicas = self._in_order(chosen)
        self.count(replicas)
        return replicas

    def even_out(self, placed: list[Replicas]) -> None:
        """Pass leaderships on inside partitions, where choosing one by one left a broker with two too
        many."""
        for _ in range(_ROUNDS):
            changed = False
            for number, replicas in enumerate(placed):
                better = self._in_order(replicas)
                if self._led[better[0]] < self._led[replicas[0]] - 1:
                    self._led[replicas[0]] -= 1
                    self._led[better[0]] += 1
                    placed[number], changed = better, True
            if not changed:
                return

    def _in_order(self, chosen: Sequence[int]) -> Replicas:
        """The brokers of a partition, those first that should lead first."""
        leader = min(chosen, key=lambda broker: (broker in self._resting, self._led[broker]))
        followers = sorted(
            (broker for broker in chosen if broker != leader),
            key=lambda broker: (broker in self._resting, self._next[leader, broker]),
        )
        return (leader, *followers)

    def _best(self, by_turn: Sequence[int], chosen: Sequence[int]) -> int:
        used = [self._racks[broker] for broker in chosen]

        def cost(broker: int) -> tuple[bool, int, int, int, int]:
            rack = self._racks[broker]
            return (
                broker in self._resting,
                0 if rack is None else used.count(rack),
                self._held[broker],
                self._led[broker],
                sum(self._together[broker, other] for other in chosen),
            )

        return min((broker for broker in by_turn if broker not in chosen), key=cost)
