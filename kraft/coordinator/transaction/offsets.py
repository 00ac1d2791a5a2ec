"""What transactions need of the group coordinator: offsets that count when their transaction is committed.

A consumer's offsets become part of a transaction in two steps. AddOffsetsToTxn makes the group's partition of
`__consumer_offsets` part of it, as any other partition. TxnOffsetCommit then writes the offsets there in the
producer's name; they stay pending until the marker of that transaction comes to the same partition.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from kraft.coordinator.decision import TransactionMarker

CONSUMER_OFFSETS: Final = "__consumer_offsets"


class TransactionalOffsets(Protocol):
    """The group coordinator, as transactions see it."""

    def partition_of(self, group_id: str) -> int:
        """The partition of `__consumer_offsets` that holds the group; -1 while there is no such topic."""

    def complete(self, index: int, marker: TransactionMarker) -> asyncio.Future[None]:
        """Write the marker behind the pending offsets of its producer in partition `index`, which count from
        now on or are dropped. Resolved when that is committed. Raises KafkaError NOT_COORDINATOR,
        COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, TRANSACTION_COORDINATOR_FENCED,
        INVALID_PRODUCER_EPOCH."""
