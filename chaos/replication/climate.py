"""How rough a history of replication is, and what its cluster is like."""

from __future__ import annotations

import random
from dataclasses import dataclass

from chaos.replication.world import Shape


@dataclass(frozen=True, slots=True)
class Climate:
    """How rough a history is: mean seconds between events of a kind (None: never), and how long they last."""

    length: float
    crash: float | None
    power: float
    """Of the crashes, the part that takes unsynced bytes along."""
    together: float
    """Of the crashes, the part that hits every broker."""
    down: float
    cut: float | None
    cut_for: float
    pause: float | None
    pause_for: float
    leave: float | None
    take_over: float | None
    reconfigure: float | None
    elect: float | None


def draw_climate(rng: random.Random) -> Climate:
    """No two histories are alike: some faults are missing, others come in swarms."""

    def every(low: float, high: float, never: float) -> float | None:
        return None if rng.random() < never else rng.uniform(low, high)

    return Climate(
        length=rng.uniform(2.0, 5.0),
        crash=every(0.3, 3.0, 0.2),
        power=rng.random(),
        together=rng.choice((0.0, 0.2, 0.4)),
        down=rng.uniform(0.05, 1.0),
        cut=every(0.2, 2.0, 0.3),
        cut_for=rng.uniform(0.05, 2.0),
        pause=every(0.4, 3.0, 0.4),
        pause_for=rng.uniform(0.1, 2.0),
        leave=every(0.5, 4.0, 0.6),
        take_over=every(0.5, 4.0, 0.6),
        reconfigure=every(0.4, 3.0, 0.7),
        elect=every(0.2, 2.0, 0.6),
    )


def draw_shape(rng: random.Random) -> Shape:
    """What the cluster is like."""
    brokers = rng.choice((3, 3, 3, 4, 5))
    replicas = min(brokers, rng.choice((2, 3, 3, 3, 4)))
    return Shape(
        brokers=brokers,
        replicas=replicas,
        partitions=rng.choice((1, 1, 2)),
        min_isr=rng.randint(1, replicas),
        flush=rng.random() < 0.25,
        lag=rng.choice((0.4, 0.8, 1.5)),
        latency=rng.choice((0.001, 0.005, 0.02)),
        loss=rng.choice((0.0, 0.0, 0.02, 0.1)),
        segment_bytes=rng.choice((300, 1 << 20)),
        fetch_bytes=rng.choice((100, 1 << 20)),
    )
