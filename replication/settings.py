"""What the configuration says to a replica, in its own terms."""

from __future__ import annotations

import msgspec


class ReplicationSettings(msgspec.Struct, frozen=True):
    """The topic's and the broker's settings that replication obeys. Times in seconds."""

    min_insync_replicas: int = 1
    replica_lag_time_max: float = 30.0
    sync_before_acknowledging: bool = False
    """flush.messages=1: nothing counts as held before it is synced, so that acknowledged records survive a
    power cut of every replica."""
