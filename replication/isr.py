"""The in-sync replica set as its leader sees it: committed, or with one change on its way to the controller.

The high watermark is the minimum over the *maximal* ISR, committed members and proposed ones alike: the
controller may already have committed a change whose answer has not arrived, and may elect any member of it
(KIP-497; Kafka's `PartitionState.maximalIsr`).
"""

from __future__ import annotations

import msgspec


class CommittedIsr(msgspec.Struct, frozen=True):
    """The ISR that the controller has committed at `partition_epoch`; nothing is in flight."""

    members: frozenset[int]
    partition_epoch: int

    @property
    def committed(self) -> CommittedIsr:
        return self

    @property
    def maximal(self) -> frozenset[int]:
        return self.members


class PendingExpand(msgspec.Struct, frozen=True):
    """`adding` has caught up under `broker_epoch` and the controller has been asked to add it.

    The epoch is that of the process which caught up. One that comes after it may have lost records, and must
    not join by a change that is still on its way (KIP-903).
    """

    committed: CommittedIsr
    adding: int
    broker_epoch: int

    @property
    def maximal(self) -> frozenset[int]:
        return self.committed.members | {self.adding}

    @property
    def proposed(self) -> frozenset[int]:
        return self.maximal


class PendingShrink(msgspec.Struct, frozen=True):
    """`removing` have fallen behind; until the controller has agreed they still hold the high watermark
    back."""

    committed: CommittedIsr
    removing: frozenset[int]

    @property
    def maximal(self) -> frozenset[int]:
        return self.committed.members

    @property
    def proposed(self) -> frozenset[int]:
        return self.committed.members - self.removing


IsrState = CommittedIsr | PendingExpand | PendingShrink


class IsrChange(msgspec.Struct, frozen=True):
    """What a leader asks of the controller: AlterPartition for one partition.

    `members` are (broker id, broker epoch); an epoch of -1 leaves a member that stays unchecked. The
    controller accepts the change only at exactly `leader_epoch` and `partition_epoch` (compare and set).
    """

    topic: str
    partition: int
    topic_id: bytes
    leader_epoch: int
    partition_epoch: int
    members: tuple[tuple[int, int], ...]
