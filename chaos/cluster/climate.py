"""What the cluster of a history is like, and how rough its life is: all drawn from the seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

CALM = 0.25
"""The part of the histories in which nothing fails."""

FAULTS: Mapping[str, tuple[float, float, float]] = {
    "kill": (1.0, 8.0, 0.25),
    "kill-controller": (2.0, 10.0, 0.5),
    "power-cut": (2.0, 8.0, 0.4),
    "power-cut-all": (5.0, 15.0, 0.8),
    "pause": (2.0, 8.0, 0.5),
    "leave": (3.0, 12.0, 0.6),
    "cut": (1.0, 6.0, 0.4),
    "one-way-cut": (1.0, 6.0, 0.5),
    "partial-cut": (2.0, 8.0, 0.6),
    "isolate": (2.0, 8.0, 0.6),
    "delay": (2.0, 8.0, 0.6),
    "reconnect": (1.0, 5.0, 0.5),
    "slow-disk": (2.0, 8.0, 0.6),
    "full-disk": (4.0, 12.0, 0.75),
    "failed-sync": (3.0, 10.0, 0.7),
    "bit-flip": (3.0, 10.0, 0.7),
    "clock-step": (2.0, 8.0, 0.6),
    "add-topic": (3.0, 10.0, 0.7),
    "add-partitions": (3.0, 10.0, 0.7),
    "configure": (2.0, 8.0, 0.6),
    "elect": (2.0, 8.0, 0.6),
    "reassign": (3.0, 10.0, 0.6),
    "pause-client": (1.0, 6.0, 0.5),
}
"""Of each kind: seconds between two, on average, from … to …, and in which part of the histories it is
missing."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The cluster of one history. Times are seconds."""

    controllers: int
    brokers: int
    partitions: int
    min_isr: int
    flush: bool
    """Every batch is synced before it is acknowledged, so that it survives any power cut."""
    roll: float | None
    """Segments are closed after so long."""
    lag: float
    latency: float
    producers: int
    readers: int
    members: int
    copiers: int
    index_interval: int
    """Bytes of log between two entries of its indexes."""

    def settings(self) -> dict[str, str]:
        """The nodes' configuration."""
        settings = {
            "offsets.topic.num.partitions": "2",
            "transaction.state.log.num.partitions": "2",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "500",
            "broker.heartbeat.interval.ms": "900",
            "broker.session.timeout.ms": "2000",
            "min.insync.replicas": str(self.min_isr),
            "default.replication.factor": "3",
            "log.cleaner.enable": "false",
            "log.index.interval.bytes": str(self.index_interval),
            "replica.lag.time.max.ms": str(round(self.lag * 1000)),
            "replica.fetch.wait.max.ms": str(round(self.lag * 600)),
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        }
        if self.roll is not None:
            settings["log.roll.ms"] = str(round(self.roll * 1000))
        if self.flush:
            settings["log.flush.interval.messages"] = "1"
        return settings

    @staticmethod
    def quorum() -> dict[str, float]:
        """How the quorum is tuned: slower than on real machines, where a heartbeat costs nothing."""
        return {
            "election_timeout_min": 1.2,
            "election_timeout_max": 2.4,
            "heartbeat_interval": 0.39,
            "check_quorum_timeout": 1.1,
        }


@dataclass(frozen=True, slots=True)
class Climate:
    """How rough a history is. Times are seconds."""

    every: Mapping[str, float]
    """Mean time between two faults of a kind; kinds that are missing do not happen."""
    down: float
    """How long a dead process stays away, on average."""
    lasting: float
    """How long cuts, pauses and the like last, on average."""


def draw_shape(rng: random.Random) -> Shape:
    """What the cluster is like."""
    return Shape(
        controllers=rng.choice((1, 1, 3)),
        brokers=rng.choice((3, 3, 3, 4)),
        partitions=rng.choice((1, 2, 3)),
        min_isr=rng.choice((1, 2, 2, 2)),
        flush=rng.random() < 0.25,
        roll=rng.choice((None, None, 1.0, 4.0)),
        lag=rng.choice((1.5, 3.0)),
        latency=rng.choice((0.001, 0.003, 0.01)),
        producers=rng.choice((1, 2, 2)),
        readers=rng.choice((0, 1)),
        members=rng.choice((0, 0, 2, 3)),
        copiers=rng.choice((0, 1, 2)),
        index_interval=rng.choice((300, 4096)),
    )


def draw_climate(rng: random.Random) -> Climate:
    """No two histories are alike: some faults are missing, others come in swarms."""
    every = {}
    calm = rng.random() < CALM
    for kind, (low, high, missing) in FAULTS.items():
        mean, present = rng.uniform(low, high), rng.random() >= missing
        if present and not calm:
            every[kind] = mean
    return Climate(every, down=rng.uniform(0.1, 2.0), lasting=rng.uniform(0.2, 3.0))
