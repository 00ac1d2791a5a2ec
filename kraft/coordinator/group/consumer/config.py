"""What the node's configuration says to KIP-848 groups."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

import msgspec


class MigrationPolicy(Enum):
    """In which direction groups with members may change their protocol."""

    DISABLED = "disabled"
    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    BIDIRECTIONAL = "bidirectional"

    @property
    def upgrades(self) -> bool:
        return self in (MigrationPolicy.UPGRADE, MigrationPolicy.BIDIRECTIONAL)

    @property
    def downgrades(self) -> bool:
        return self in (MigrationPolicy.DOWNGRADE, MigrationPolicy.BIDIRECTIONAL)


class Timing(NamedTuple):
    """How often members of one group are told to beat, and after how long without they are out."""

    heartbeat_interval_ms: int
    session_timeout_ms: int


TimingOf = Callable[[str], Timing]
"""What counts now for the group of that id."""


class ConsumerGroupConfig(msgspec.Struct, frozen=True):
    """Each is Kafka's `group.consumer.` key of the same name. The first of the assignors is the default; the
    times are those of groups that were given none of their own."""

    heartbeat_interval_ms: int = 5000
    session_timeout_ms: int = 45_000
    max_size: int = 2**31 - 1
    assignors: tuple[str, ...] = ("uniform", "range")
    migration_policy: MigrationPolicy = MigrationPolicy.BIDIRECTIONAL

    def timing(self, group_id: str) -> Timing:
        """The times of every group."""
        del group_id  # has none of its own
        return Timing(self.heartbeat_interval_ms, self.session_timeout_ms)
