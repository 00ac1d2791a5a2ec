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

from enum import IntEnum
from typing import Final

import msgspec
from msgspec.structs import replace

from kafkawire.records import ControlType
from kraft.coordinator.decision import NO_PRODUCER_ID, Producer

TopicPartition = tuple[str, int]

NO_EPOCH: Final = -1
NEVER: Final = -1
MAX_EPOCH: Final = 2**15 - 1
"""The largest epoch there is. No client gets it: it is kept to fence the one that has the last but one."""


TRANSACTION_V2: Final = 2
"""The version in which each transaction has an epoch of its own (KIP-890, second part)."""


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


class Empty(msgspec.Struct, frozen=True):
    """A producer was initialised and has not begun a transaction."""


class Ongoing(msgspec.Struct, frozen=True):
    """A transaction is open on these partitions."""

    partitions: frozenset[TopicPartition]
    started_ms: int


class PrepareCommit(msgspec.Struct, frozen=True):
    """It will be committed, whatever happens; the partitions are being told."""

    partitions: frozenset[TopicPartition]
    started_ms: int


class PrepareAbort(msgspec.Struct, frozen=True):
    """It will be aborted, whatever happens; the partitions are being told."""

    partitions: frozenset[TopicPartition]
    started_ms: int


class CompleteCommit(msgspec.Struct, frozen=True):
    """It was committed, and every partition knows."""

    started_ms: int


class CompleteAbort(msgspec.Struct, frozen=True):
    """It was aborted, and every partition knows."""

    started_ms: int


def successor(producer: Producer, next_producer_id: int) -> Producer:
    """Who a producer is after its transaction: under the next producer id, if it was given one."""
    return producer if next_producer_id == NO_PRODUCER_ID else Producer(next_producer_id, 0)


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


class Transaction(msgspec.Struct, frozen=True):
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
    """The producer id under which the client goes on, once every partition knows how it ended."""
    client_version: int = 0
    """The transaction version of the client. When the transaction is sealed or over, TRANSACTION_V2 says that
    its end has bumped the epoch."""

    @property
    def producer(self) -> Producer:
        return Producer(self.producer_id, self.producer_epoch)

    @property
    def successor(self) -> Producer:
        """Who the client is, when the transaction is over."""
        return successor(self.producer, self.next_producer_id)

    def was_ended_by(self, producer: Producer) -> bool:
        """Whether this producer has ended the transaction, and by that become another one: it may ask again
        for the answer that it missed."""
        if self.client_version < TRANSACTION_V2:
            return False
        match self.state:
            case PrepareCommit() | PrepareAbort():
                return self.producer == Producer(producer.producer_id, producer.producer_epoch + 1)
            case CompleteCommit() | CompleteAbort():
                rotated = Producer(self.previous_producer_id, MAX_EPOCH - 1) == producer
                return self.producer == Producer(producer.producer_id, producer.producer_epoch + 1) or (
                    rotated and self.producer_epoch == 0
                )
            case _:
                return False

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
            client_version=0,
            updated_ms=max(now_ms, self.updated_ms),
        )

    def with_partitions(
        self, partitions: frozenset[TopicPartition], now_ms: int, client_version: int = 0
    ) -> Transaction:
        """These partitions are part of the transaction, which begins with the first ones."""
        if isinstance(self.state, Ongoing):
            state = Ongoing(self.state.partitions | partitions, self.state.started_ms)
        else:
            state = Ongoing(partitions, now_ms)
        return replace(
            self, state=state, client_version=client_version, updated_ms=max(now_ms, self.updated_ms)
        )

    def fenced(self) -> Transaction:
        """No request of the present epoch counts any more. That epoch goes to nobody: it only aborts."""
        return replace(self, producer_epoch=min(self.producer_epoch + 1, MAX_EPOCH), client_version=0)

    def bumped(self, spare_producer_id: int) -> Transaction:
        """The transaction ends under an epoch of its own, under which the client goes on; when that is the
        last one, under `spare_producer_id`."""
        return replace(
            self,
            producer_epoch=self.producer_epoch + 1,
            next_producer_id=spare_producer_id if self.epochs_used_up else NO_PRODUCER_ID,
            client_version=TRANSACTION_V2,
        )

    def unbumped(self) -> Transaction:
        """The transaction ends under the epoch in which it was written."""
        return replace(self, client_version=0)

    def ended(self, kind: ControlType, now_ms: int) -> Transaction:
        """The fate of the transaction is decided, at a time that no other record of this id has: by it one
        transaction is told from the next. One that nothing was added to may be aborted as well."""
        assert not isinstance(self.state, PrepareCommit | PrepareAbort)
        make = PrepareCommit if kind is ControlType.COMMIT else PrepareAbort
        begun = isinstance(self.state, Ongoing)
        state = make(self.partitions, self.started_ms if begun else now_ms)
        return replace(self, state=state, updated_ms=max(now_ms, self.updated_ms + 1))

    def completed(self, now_ms: int) -> Transaction:
        """Every partition knows of it."""
        assert isinstance(self.state, PrepareCommit | PrepareAbort)
        make = CompleteCommit if isinstance(self.state, PrepareCommit) else CompleteAbort
        rotates = self.next_producer_id != NO_PRODUCER_ID
        return replace(
            self,
            producer_id=self.successor.producer_id,
            producer_epoch=self.successor.producer_epoch,
            previous_producer_id=self.producer_id if rotates else self.previous_producer_id,
            next_producer_id=NO_PRODUCER_ID,
            state=make(self.state.started_ms),
            updated_ms=max(now_ms, self.updated_ms),
        )
