"""Creates the topics that the cluster keeps for itself, when they are first needed."""

from __future__ import annotations

import asyncio

import msgspec

from kafkawire.errors import ErrorCode, KafkaError
from kraft.broker.configuration import BrokerConfiguration
from kraft.broker.controller_channel import ControllerChannel
from kraft.broker.metadata_cache import MetadataCache
from kraft.coordinator.group.service import CONSUMER_OFFSETS
from kraft.coordinator.transaction.coordinator import TOPIC as TRANSACTION_STATE
from metadata.controller.commands import ConfigEntry, CreateTopics, CreateTopicsReply, NewTopic
from metadata.image import MetadataImage

CREATION_TIMEOUT = 5.0
"""Seconds to wait until the topic is there and led."""

_PREFIXES = {CONSUMER_OFFSETS: "offsets.topic", TRANSACTION_STATE: "transaction.state.log"}
"""How the keys begin that say what each topic is like."""


class Wanted(msgspec.Struct, frozen=True):
    """What the configuration asks of a topic. `min_isr` is None where the topic has none of its own."""

    replicas: int
    min_isr: int | None


def wanted_topics(configuration: BrokerConfiguration) -> dict[str, Wanted]:
    """Every internal topic by name."""
    number = configuration.number
    return {
        name: Wanted(
            number(f"{prefix}.replication.factor"),
            number(f"{prefix}.min.isr") if name == TRANSACTION_STATE else None,
        )
        for name, prefix in _PREFIXES.items()
    }


class InternalTopics:
    """One creation at a time for each topic, however many ask."""

    def __init__(
        self, configuration: BrokerConfiguration, metadata: MetadataCache, controller: ControllerChannel
    ) -> None:
        self._configuration = configuration
        self._metadata = metadata
        self._controller = controller
        self._creating: dict[str, asyncio.Task[None]] = {}

    def exists(self, name: str) -> bool:
        """Whether nothing has to be created."""
        return name in self._metadata.image.topics

    async def ensure(self, name: str) -> None:
        """Create the topic unless it is there. Raises KafkaError(COORDINATOR_NOT_AVAILABLE)."""
        if self.exists(name):
            return
        task = self._creating.get(name)
        if task is None:
            task = self._creating[name] = asyncio.ensure_future(self._create(name))
            task.add_done_callback(lambda _: self._creating.pop(name, None))
        # Whoever asked first may give up; the others still wait.
        await asyncio.shield(task)

    async def _create(self, name: str) -> None:
        command = CreateTopics((self._topic(name),), internal=True)
        try:
            reply = await self._controller.call(command, CREATION_TIMEOUT)
        except KafkaError as error:
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, error.message) from error
        assert isinstance(reply, CreateTopicsReply)
        (result,) = reply.topics
        if result.error_code not in (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS):
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, result.error_message or "")
        await self._metadata.wait_until(lambda image: _is_led(image, name), CREATION_TIMEOUT)

    def _topic(self, name: str) -> NewTopic:
        number = self._configuration.number
        prefix, wanted = _PREFIXES[name], wanted_topics(self._configuration)[name]
        # Kafka waits for as many brokers as it wants replicas; a small cluster would wait for ever. Once
        # there are more, `internal_topic_growth` adds what is missing.
        brokers = max(len(self._metadata.image.brokers), 1)
        replicas = min(wanted.replicas, brokers)
        configs = [
            ConfigEntry("cleanup.policy", "compact"),
            ConfigEntry("compression.type", "producer"),
            ConfigEntry("segment.bytes", str(number(f"{prefix}.segment.bytes"))),
        ]
        if wanted.min_isr is not None:
            # Whatever the cluster's default is: no other leader takes back what was decided.
            configs += [
                ConfigEntry("unclean.leader.election.enable", "false"),
                ConfigEntry("min.insync.replicas", str(min(wanted.min_isr, replicas))),
            ]
        return NewTopic(name, number(f"{prefix}.num.partitions"), replicas, configs=tuple(configs))


def _is_led(image: MetadataImage, name: str) -> bool:
    topic = image.topics.get(name)
    return topic is not None and all(partition.has_leader for partition in topic.partitions)
