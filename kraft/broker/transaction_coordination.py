"""Transactions, wired to one broker."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kraft.broker.configuration import BrokerConfiguration
from kraft.broker.group_coordination import led_partitions
from kraft.broker.metadata_cache import MetadataCache
from kraft.broker.neighbours import Neighbours
from kraft.broker.producer_ids import ProducerIds
from kraft.broker.transaction_markers import WRITE_MARKERS, MarkerChannel, MarkerWriter
from kraft.broker.transaction_verification import VERIFY, TransactionVerification
from kraft.clock import Clock
from kraft.coordinator.runtime import RuntimeWorld
from kraft.coordinator.transaction.commands import TransactionSettings
from kraft.coordinator.transaction.coordinator import TOPIC, TransactionCoordinator
from kraft.coordinator.transaction.marker_queue import NO_LEADER
from kraft.coordinator.transaction.offsets import TransactionalOffsets
from kraft.coordinator.transaction.states import TopicPartition
from kraft.transport.handlers import Handlers
from replication.replicas import Replicas


class TransactionWorld(msgspec.Struct, frozen=True):
    """What transactions need of their broker."""

    node_id: int
    configuration: BrokerConfiguration
    clock: Clock
    metadata: MetadataCache
    replicas: Replicas
    neighbours: Neighbours
    producer_ids: ProducerIds
    offsets: TransactionalOffsets
    on_failure: Callable[[BaseException], None]


class Transactions:
    """The parts of a broker that transactions consist of."""

    def __init__(self, world: TransactionWorld) -> None:
        self._metadata = world.metadata
        self.markers = MarkerWriter(world.replicas, world.offsets, world.clock, world.on_failure)
        channel = MarkerChannel(world.node_id, self.markers, world.neighbours)
        self.coordinator = TransactionCoordinator(
            transaction_settings(world.configuration),
            RuntimeWorld(world.clock, lambda: led_partitions(world.replicas, TOPIC), world.on_failure),
            self._partition_count,
            world.producer_ids.next,
            self._leader_of,
            channel.send,
        )
        self.verification = TransactionVerification(
            world.node_id, self.coordinator, world.neighbours, world.replicas, self._leader_of
        )

    def register(self, handlers: Handlers) -> None:
        """Add what this broker answers to other brokers."""
        handlers.handle(WRITE_MARKERS, self.markers.handle)
        handlers.handle(VERIFY, self.verification.handle)

    def _partition_count(self) -> int:
        topic = self._metadata.image.topics.get(TOPIC)
        return 0 if topic is None else len(topic.partitions)

    def _leader_of(self, partition: TopicPartition) -> int | None:
        name, index = partition
        topic = self._metadata.image.topics.get(name)
        if topic is None or index >= len(topic.partitions):
            return None
        found = topic.partitions[index]
        return found.leader if found.has_leader else NO_LEADER


def transaction_settings(configuration: BrokerConfiguration) -> TransactionSettings:
    """What the node's keys say to the coordinator."""
    return TransactionSettings(
        max_timeout_ms=configuration.number("transaction.max.timeout.ms"),
        expiration_ms=configuration.number("transactional.id.expiration.ms"),
        expiration_interval=configuration.seconds(
            "transaction.remove.expired.transaction.cleanup.interval.ms"
        ),
    )
