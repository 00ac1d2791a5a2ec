"""The clusters that clients are run against."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from kraft.local_cluster import LocalCluster, plan_cluster


class Unavailable(Exception):  # noqa: N818 - a fact about this machine, not an error
    """Something can not be run on this machine; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Target:
    """A running cluster: how tables call it, where it is, and how many replicas a topic can have."""

    title: str
    bootstrap: str
    replication_factor: int


SETTINGS: Mapping[str, str] = {"group.initial.rebalance.delay.ms": "0"}
"""Broker settings that ours and Apache Kafka are both started with, so that they can be compared."""


@contextlib.asynccontextmanager
async def ours(directory: Path) -> AsyncIterator[Target]:
    """Three controllers and three brokers on loopback, killed afterwards. Raises StartError."""
    async with LocalCluster(plan_cluster(3, 3, directory), SETTINGS) as cluster:
        await cluster.start()
        yield Target(f"kraft-node {version('kraft-node')}", cluster.plan.bootstrap, 3)
