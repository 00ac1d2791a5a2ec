"""The group coordinator, wired to one broker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from uuid import UUID, uuid5

from kraft.broker.configuration import BrokerConfiguration
from kraft.broker.metadata_cache import MetadataCache
from kraft.clock import Clock
from kraft.coordinator.group.config import GroupConfig
from kraft.coordinator.group.consumer.config import ConsumerGroupConfig, MigrationPolicy, Timing
from kraft.coordinator.group.service import CONSUMER_OFFSETS, GroupCoordinator
from kraft.coordinator.runtime import RuntimeWorld
from replication.leader import Leader
from replication.partition import Partition
from replication.replicas import Replicas


def group_coordinator(
    configuration: BrokerConfiguration,
    clock: Clock,
    replicas: Replicas,
    metadata: MetadataCache,
    on_failure: Callable[[BaseException], None],
    incarnation: UUID,
) -> GroupCoordinator:
    """The coordinator of the groups whose partitions this broker leads.

    Members' ids follow from the incarnation of this process, so that they never come twice.
    """
    numbers = count()

    def partition_count() -> int:
        topic = metadata.image.topics.by_name.get(CONSUMER_OFFSETS)
        return 0 if topic is None else len(topic.partitions)

    config = group_config(configuration)

    def timing(group_id: str) -> Timing:
        image = metadata.image
        if not image.configs.group(group_id):
            return config.consumer.timing(group_id)
        number = partial(configuration.group_number, image, group_id)
        return Timing(number("consumer.heartbeat.interval.ms"), number("consumer.session.timeout.ms"))

    world = RuntimeWorld(clock, lambda: led_partitions(replicas, CONSUMER_OFFSETS), on_failure)
    return GroupCoordinator(
        config,
        world,
        partition_count,
        lambda: str(uuid5(incarnation, str(next(numbers)))),
        timing,
    )


def led_partitions(replicas: Replicas, topic: str) -> list[Partition]:
    """The partitions of `topic` that this broker leads."""
    return [partition for partition in replicas.of_topic(topic) if isinstance(partition.role, Leader)]


def group_config(configuration: BrokerConfiguration) -> GroupConfig:
    """What the node's keys say to the coordinator."""
    number = configuration.number
    assignors = configuration.value("group.consumer.assignors")
    assert isinstance(assignors, tuple)
    policy = MigrationPolicy(configuration.value("group.consumer.migration.policy"))
    return GroupConfig(
        min_session_timeout_ms=number("group.min.session.timeout.ms"),
        max_session_timeout_ms=number("group.max.session.timeout.ms"),
        initial_rebalance_delay_ms=number("group.initial.rebalance.delay.ms"),
        max_size=number("group.max.size"),
        offset_metadata_max_bytes=number("offset.metadata.max.bytes"),
        offsets_retention_ms=number("offsets.retention.minutes") * 60_000,
        retention_check_interval_ms=number("offsets.retention.check.interval.ms"),
        consumer=ConsumerGroupConfig(
            heartbeat_interval_ms=number("group.consumer.heartbeat.interval.ms"),
            session_timeout_ms=number("group.consumer.session.timeout.ms"),
            max_size=number("group.consumer.max.size"),
            assignors=assignors,
            migration_policy=policy,
        ),
    )
