"""What transactions need of the group coordinator: offsets that count when their transaction is committed.

A consumer's offsets become part of a transaction in two steps. AddOffsetsToTxn makes the group's partition of
`__consumer_offsets` part of it, as any other partition. TxnOffsetCommit then writes the offsets there in the
producer's name; they stay pending until the marker of that transaction comes to the same partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from kafkawire.errors import ErrorCode
from kraft.coordinator.decision import TransactionMarker
from kraft.coordinator.group.commands import CommitOffsets


class TransactionalOffsets(Protocol):
    """The group coordinator, as transactions see it."""

    def partition_for(self, group_id: str) -> int:
        """The partition of `__consumer_offsets` that holds the group. Raises KafkaError
        COORDINATOR_NOT_AVAILABLE while there is no such topic."""

    def commit(self, index: int, command: CommitOffsets) -> asyncio.Future[Sequence[ErrorCode]]:
        """Keep the offsets pending for `command.producer`; one code for each offset, in their order.

        Whether the group's partition is part of the producer's transaction was verified before. Raises
        KafkaError NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, and what the
        group says of member and generation (UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION).
        """

    def complete(self, index: int, marker: TransactionMarker) -> asyncio.Future[None]:
        """Write the marker behind the pending offsets of its producer in partition `index`, which count from
        now on or are dropped. Resolved when that is committed. Raises KafkaError NOT_COORDINATOR,
        COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, TRANSACTION_COORDINATOR_FENCED,
        INVALID_PRODUCER_EPOCH."""
