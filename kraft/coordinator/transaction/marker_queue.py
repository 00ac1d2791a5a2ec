"""Who has yet to be told how a transaction ended. Pure: takes what is decided, says what to send to which
broker, and hears what became of it.

Every partition is told until it acknowledges, or its topic is gone. To be told twice does no harm while the
transaction is not complete: its producer begins no other one before. Source: Kafka's
`TransactionMarkerChannelManager` and `TransactionMarkerRequestCompletionHandler`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from kafkawire.errors import ErrorCode
from kafkawire.records import ControlType
from kraft.coordinator.decision import Producer
from kraft.coordinator.transaction.commands import Decided
from kraft.coordinator.transaction.states import TopicPartition

MAX_PARTITIONS: Final = 2000
"""Partitions that one call names at most."""

NO_LEADER: Final = -1

LeaderOf = Callable[[TopicPartition], int | None]
"""The broker that leads a partition, NO_LEADER if none does now, None if there is no such partition."""

_TOLD: Final = frozenset(
    {
        ErrorCode.NONE,
        # Its format has no transactions, so that nothing of one is there.
        ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        # A later epoch has written there, which none gets before this transaction is complete: it was.
        ErrorCode.INVALID_PRODUCER_EPOCH,
    }
)


class Marker(NamedTuple):
    """What to tell a broker of one transaction."""

    producer: Producer
    kind: ControlType
    coordinator_epoch: int
    partitions: tuple[TopicPartition, ...]
    bumped: bool = False
    """Its epoch is its own: a partition that has it, or a later one, was told (KIP-890, second part)."""


class Delivery:
    """A transaction whose partitions are being told, for the shard of partition `index`."""

    __slots__ = ("decided", "index", "left", "unsent")

    def __init__(self, index: int, decided: Decided) -> None:
        self.index = index
        self.decided = decided
        self.left = set(decided.partitions)
        self.unsent = set(decided.partitions)

    def marker(self, partitions: Iterable[TopicPartition]) -> Marker:
        """The marker for some of the partitions."""
        decided = self.decided
        return Marker(
            decided.producer,
            decided.kind,
            decided.coordinator_epoch,
            tuple(sorted(partitions)),
            decided.bumped,
        )


class Parcel(NamedTuple):
    """Part of a delivery, in one call to one broker."""

    delivery: Delivery
    marker: Marker


class MarkerQueue:
    """See the module. Deliveries that are complete are in `take_told` until somebody takes them."""

    def __init__(self) -> None:
        self._deliveries: dict[tuple[int, Decided], Delivery] = {}
        self._waiting: dict[Delivery, None] = {}
        self._told: list[Delivery] = []

    def __len__(self) -> int:
        """Transactions of which some partition does not know yet."""
        return len(self._deliveries)

    @property
    def waiting(self) -> bool:
        """Whether there is anything to send that is not on its way."""
        return bool(self._waiting)

    def add(self, index: int, decided: Decided) -> None:
        """Tell the partitions of this transaction, unless that is being done."""
        key = (index, decided)
        if key in self._deliveries:
            return
        delivery = Delivery(index, decided)
        self._deliveries[key] = delivery
        if delivery.left:
            self._waiting[delivery] = None
        else:
            self._finish(delivery)

    def forget(self, index: int) -> None:
        """Another broker coordinates partition `index`: it tells whoever has to be told."""
        for key, delivery in tuple(self._deliveries.items()):
            if key[0] == index:
                self._drop(delivery)

    def take_told(self) -> list[Delivery]:
        """The deliveries that became complete since the last time."""
        told, self._told = self._told, []
        return told

    def take(self, leader_of: LeaderOf, may_send: Callable[[int], bool]) -> list[tuple[int, list[Parcel]]]:
        """What to send now: (broker, parcels) for each call. The rest stays: for a broker to which no more
        may be sent, or for partitions without a leader."""
        calls: dict[int, list[Parcel]] = {}
        sizes: dict[int, int] = {}
        for delivery in tuple(self._waiting):
            for broker, partitions in self._by_leader(delivery, leader_of).items():
                if not may_send(broker) or sizes.get(broker, 0) >= MAX_PARTITIONS:
                    continue
                taken = partitions[: MAX_PARTITIONS - sizes.get(broker, 0)]
                sizes[broker] = sizes.get(broker, 0) + len(taken)
                delivery.unsent.difference_update(taken)
                calls.setdefault(broker, []).append(Parcel(delivery, delivery.marker(taken)))
            if not delivery.unsent:
                self._waiting.pop(delivery, None)
        return list(calls.items())

    def _by_leader(self, delivery: Delivery, leader_of: LeaderOf) -> dict[int, list[TopicPartition]]:
        brokers: dict[int, list[TopicPartition]] = {}
        for partition in sorted(delivery.unsent):
            broker = leader_of(partition)
            if broker is None:
                delivery.unsent.discard(partition)
                self._acknowledge(delivery, partition)
            elif broker != NO_LEADER:
                brokers.setdefault(broker, []).append(partition)
        return brokers

    def answered(self, parcel: Parcel, codes: Iterable[ErrorCode]) -> None:
        """A broker answered: one code for each partition of the parcel's marker."""
        for partition, code in zip(parcel.marker.partitions, codes, strict=True):
            if code in _TOLD:
                self._acknowledge(parcel.delivery, partition)
            elif code is ErrorCode.TRANSACTION_COORDINATOR_FENCED:
                self._drop(parcel.delivery)
            else:
                self._again(parcel.delivery, partition)

    def lost(self, parcel: Parcel) -> None:
        """There was no answer: some of it may have arrived."""
        for partition in parcel.marker.partitions:
            self._again(parcel.delivery, partition)

    def _acknowledge(self, delivery: Delivery, partition: TopicPartition) -> None:
        delivery.left.discard(partition)
        if not delivery.left and self._is_current(delivery):
            self._finish(delivery)

    def _again(self, delivery: Delivery, partition: TopicPartition) -> None:
        if self._is_current(delivery) and partition in delivery.left:
            delivery.unsent.add(partition)
            self._waiting[delivery] = None

    def _finish(self, delivery: Delivery) -> None:
        self._drop(delivery)
        self._told.append(delivery)

    def _drop(self, delivery: Delivery) -> None:
        if self._is_current(delivery):
            del self._deliveries[delivery.index, delivery.decided]
        self._waiting.pop(delivery, None)

    def _is_current(self, delivery: Delivery) -> bool:
        return self._deliveries.get((delivery.index, delivery.decided)) is delivery
