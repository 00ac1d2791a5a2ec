"""One transactional id: which producer writes under it, and how far its transaction is.

    Empty ──────► Ongoing ──► PrepareCommit ──► CompleteCommit
      ▲             │ ▲                              │
      │             ▼ └──────────────────────────────┤
      │        PrepareAbort ──► CompleteAbort ───────┤
      └──────────────────────────────────────────────┘

A transition is a method that returns the next value; whether it is allowed is for the shard to say. Times are
wall clock milliseconds. Source: Kafka's `TransactionMetadata` and `TransactionState` (KIP-98, KIP-360).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from kafkawire.records import ControlType
from kraft.coordinator.decision import NO_PRODUCER_ID, Producer

TopicPartition = tuple[str, int]

NO_EPOCH: Final = -1
NEVER: Final = -1
MAX_EPOCH: Final = 2**15 - 1
"""The largest epoch there is. No client gets it: it is kept to fence the one that has the last but one."""


class TransactionStatus(IntEnum):
    """The numbers and names of the states, in the log and for whoever lists transactions.

    The last two are never seen: a fencing epoch is chosen and the abort decided in one step, and of an id
    that is dead nothing is left but a tombstone.
    """

    EMPTY = 0
    ONGOING = 1
    PREPARE_COMMIT = 2
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6
    PREPARE_EPOCH_FENCE = 7

    @property
    def title(self) -> str:
        """Kafka's spelling: `PrepareCommit`."""
        return "".join(word.capitalize() for word in self.name.split("_"))


@dataclass(frozen=True, slots=True)
class Empty:
    """A producer was initialised and has not begun a transaction."""


@dataclass(frozen=True, slots=True)
class Ongoing:
    """A transaction is open on these partitions."""

    partitions: frozenset[TopicPartition]
    started_ms: int


@dataclass(frozen=True, slots=True)
class PrepareCommit:
    """It will be committed, whatever happens; the partitions are being told."""

    partitions: frozenset[TopicPartition]
    started_ms: int


@dataclass(frozen=True, slots=True)
class PrepareAbort:
    """It will be aborted, whatever happens; the partitions are being told."""

    partitions: frozenset[TopicPartition]
    started_ms: int


@dataclass(frozen=True, slots=True)
class CompleteCommit:
    """It was committed, and every partition knows."""

    started_ms: int


@dataclass(frozen=True, slots=True)
class CompleteAbort:
    """It was aborted, and every partition knows."""

    started_ms: int


Prepared = PrepareCommit | PrepareAbort
Idle = Empty | CompleteCommit | CompleteAbort
State = Idle | Ongoing | Prepared

STATUS: Final[dict[type[State], TransactionStatus]] = {
    Empty: TransactionStatus.EMPTY,
    Ongoing: TransactionStatus.ONGOING,
    PrepareCommit: TransactionStatus.PREPARE_COMMIT,
    PrepareAbort: TransactionStatus.PREPARE_ABORT,
    CompleteCommit: TransactionStatus.COMPLETE_COMMIT,
    CompleteAbort: TransactionStatus.COMPLETE_ABORT,
}


@dataclass(frozen=True, slots=True)
class Transaction:
    """What is known of one transactional id."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    timeout_ms: int
    state: State
    updated_ms: int
    previous_producer_id: int = NO_PRODUCER_ID
    """The producer id before this one, whose epochs were used up: its owner may ask again for the answer
    that it missed."""
    next_producer_id: int = NO_PRODUCER_ID
    client_version: int = 0
    """The transaction version of the client (KIP-890). Kept as it was read; 0 is all that is served."""

    @property
    def producer(self) -> Producer:
        return Producer(self.producer_id, self.producer_epoch)

    @property
    def status(self) -> TransactionStatus:
        return STATUS[type(self.state)]

    @property
    def partitions(self) -> frozenset[TopicPartition]:
        """The partitions in the transaction; none when it is over."""
        if isinstance(self.state, Ongoing | PrepareCommit | PrepareAbort):
            return self.state.partitions
        return frozenset()

    @property
    def started_ms(self) -> int:
        """When the transaction began, the last one if it is over; NEVER (-1) before the first."""
        return NEVER if isinstance(self.state, Empty) else self.state.started_ms

    @property
    def epochs_used_up(self) -> bool:
        """Whether no epoch of this producer id is left for a client."""
        return self.producer_epoch >= MAX_EPOCH - 1

    # -- transitions ------------------------------------------------------------------------------

    def initialised(self, producer: Producer, timeout_ms: int, now_ms: int) -> Transaction:
        """A producer begins anew under this id and epoch."""
        rotated = producer.producer_id != self.producer_id
        return replace(
            self,
            producer_id=producer.producer_id,
            producer_epoch=producer.producer_epoch,
            previous_producer_id=self.producer_id if rotated else self.previous_producer_id,
            timeout_ms=timeout_ms,
            state=Empty(),
            updated_ms=max(now_ms, self.updated_ms),
        )

    def with_partitions(self, partitions: frozenset[TopicPartition], now_ms: int) -> Transaction:
        """These partitions are part of the transaction, which begins with the first ones."""
        if isinstance(self.state, Ongoing):
            state = Ongoing(self.state.partitions | partitions, self.state.started_ms)
        else:
            state = Ongoing(partitions, now_ms)
        return replace(self, state=state, updated_ms=max(now_ms, self.updated_ms))

    def fenced(self) -> Transaction:
        """No request of the present epoch counts any more. That epoch goes to nobody: it only aborts."""
        return replace(self, producer_epoch=min(self.producer_epoch + 1, MAX_EPOCH))

    def ended(self, kind: ControlType, now_ms: int) -> Transaction:
        """The fate of the open transaction is decided, at a time that no other record of this id has: by it
        one transaction is told from the next."""
        assert isinstance(self.state, Ongoing)
        make = PrepareCommit if kind is ControlType.COMMIT else PrepareAbort
        state = make(self.state.partitions, self.state.started_ms)
        return replace(self, state=state, updated_ms=max(now_ms, self.updated_ms + 1))

    def completed(self, now_ms: int) -> Transaction:
        """Every partition knows of it."""
        assert isinstance(self.state, PrepareCommit | PrepareAbort)
        make = CompleteCommit if isinstance(self.state, PrepareCommit) else CompleteAbort
        return replace(self, state=make(self.state.started_ms), updated_ms=max(now_ms, self.updated_ms))
