"""What a transaction coordinator is asked, and what it answers."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from kafkawire.records import ControlType
from kraft.coordinator.decision import NO_PRODUCER_ID, Producer
from kraft.coordinator.transaction.states import TopicPartition, TransactionStatus, successor

DAY_MS: Final = 86_400_000


class TransactionSettings(msgspec.Struct, frozen=True):
    """What the configuration says, under Kafka's names."""

    max_timeout_ms: int = 900_000
    """`transaction.max.timeout.ms`"""
    expiration_ms: int = 7 * DAY_MS
    """`transactional.id.expiration.ms`"""
    expiration_interval: float = 3600.0
    """`transaction.remove.expired.transaction.cleanup.interval.ms`, in seconds"""


class InitProducer(msgspec.Struct, frozen=True):
    """Begin anew under a transactional id.

    `expected` is who the client takes itself for, None if it starts (KIP-360). `spare_producer_id` is an id
    that is nobody's, to be used if one is wanted; -1 if none is at hand.
    """

    transactional_id: str
    timeout_ms: int
    expected: Producer | None = None
    spare_producer_id: int = -1


class SpareWanted(msgspec.Struct, frozen=True):
    """Nothing was changed: ask again with a spare producer id."""


class AddPartitions(msgspec.Struct, frozen=True):
    """Make partitions part of the transaction; the first ones begin it."""

    transactional_id: str
    producer: Producer
    partitions: frozenset[TopicPartition]
    client_version: int = 0
    """The transaction version of the client: TRANSACTION_V2 if it leaves it to the brokers to add them."""


class VerifyPartitions(msgspec.Struct, frozen=True):
    """Ask which of the partitions are part of the open transaction (KIP-890)."""

    transactional_id: str
    producer: Producer
    partitions: tuple[TopicPartition, ...]


class EndTransaction(msgspec.Struct, frozen=True):
    """Commit or abort.

    With `bumps_epoch` the client goes on under the next epoch, or under another producer id when there is
    none left, for which `spare_producer_id` is used; -1 if none is at hand (KIP-890, second part).
    """

    transactional_id: str
    producer: Producer
    kind: ControlType
    bumps_epoch: bool = False
    spare_producer_id: int = NO_PRODUCER_ID


class Decided(msgspec.Struct, frozen=True):
    """A transaction whose fate is sealed, and the partitions that have to be told."""

    transactional_id: str
    producer: Producer
    kind: ControlType
    partitions: frozenset[TopicPartition]
    coordinator_epoch: int
    sealed_ms: int
    """Tells it from the transaction before, which may be alike in everything else."""
    bumped: bool = False
    """Its end has an epoch of its own, which no record of it has."""
    next_producer_id: int = NO_PRODUCER_ID

    @property
    def successor(self) -> Producer:
        """Who its producer is from now on."""
        return successor(self.producer, self.next_producer_id)


class ListFilter(msgspec.Struct, frozen=True):
    """Which transactions to list; an empty set excludes none, `min_duration_ms` -1 neither."""

    states: frozenset[TransactionStatus] = frozenset()
    producer_ids: frozenset[int] = frozenset()
    min_duration_ms: int = -1


class Listed(NamedTuple):
    """One transactional id in a list."""

    transactional_id: str
    producer_id: int
    status: TransactionStatus
