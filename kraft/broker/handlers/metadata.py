"""Metadata (key 3): brokers, topics, and who leads what. Versions 0-13.

Topics are asked for by name or by id; None asks for all, an empty list for none. Where there is an id the
name beside it means nothing: Kafka's Java client leaves it empty instead of null. With
`auto.create.topics.enable` a topic that is not there is created first, unless the client forbids it; the
answer waits a moment for its leaders.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any
from uuid import UUID

from kafkawire.admin_messages import metadata_by_id
from kafkawire.apis import ApiKey
from kafkawire.authorized_operations import ON_CLUSTER, ON_TOPIC
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.handlers.topic_names import why_missing
from metadata.controller.commands import CreateTopics, CreateTopicsReply, NewTopic
from metadata.image import INTERNAL_TOPICS, MetadataImage, PartitionImage, TopicImage
from metadata.records import NO_LEADER

CREATION_TIMEOUT = 5.0
LEADERS_TIMEOUT = 2.0
"""Seconds to wait for an automatically created topic to be known here with its leaders."""

_NO_ID = UUID(int=0)


class MetadataHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.METADATA)

    def __call__(self, request: Request, message: Any) -> Any | Awaitable[Any]:
        if not metadata_by_id(request.version) and _asks_by_id(message):
            return self._refuse(message)
        names = self._missing(message)
        if names:
            return self._create_and_answer(request, message, names)
        if self._leaders_elsewhere(message):
            return self._look_and_answer(request, message)
        return self._answer(request, message, {})

    def _refuse(self, message: Any) -> Any:
        """The answer to a version that cannot be asked by id."""
        topics = [
            self._unknown(asked.name or "", asked.topic_id or _NO_ID, ErrorCode.INVALID_REQUEST)
            for asked in message.topics
        ]
        return self._response(
            throttle_time_ms=0, brokers=[], cluster_id=None, controller_id=-1, topics=topics
        )

    def _leaders_elsewhere(self, message: Any) -> set[int]:
        """Other brokers that lead what is asked for."""
        topics = self._context.metadata.image.topics
        asked = topics if message.topics is None else (topics.get(each.name or "") for each in message.topics)
        leaders = {partition.leader for topic in asked if topic is not None for partition in topic.partitions}
        return leaders - {self._context.node_id, NO_LEADER}

    async def _look_and_answer(self, request: Request, message: Any) -> Any:
        context = self._context
        await context.suspected_leaders.replaced(lambda: self._leaders_elsewhere(message), request.connection)
        return self._answer(request, message, {})

    def _missing(self, message: Any) -> list[str]:
        """Names to create, if that is wanted by both sides."""
        if not message.allow_auto_topic_creation or not message.topics:
            return []
        if not self._context.configuration.auto_create_topics:
            return []
        known = self._context.metadata.image.topics
        return [
            topic.name
            for topic in message.topics
            if topic.name and topic.name not in known and topic.topic_id in (None, _NO_ID)
        ]

    async def _create_and_answer(self, request: Request, message: Any, names: Sequence[str]) -> Any:
        internal = [name for name in names if name in INTERNAL_TOPICS]
        others = [name for name in names if name not in INTERNAL_TOPICS]
        errors = await self._create_internal(internal)
        if others:
            errors |= await self._create(others)
        return self._answer(request, message, errors)

    async def _create_internal(self, names: Iterable[str]) -> dict[str, ErrorCode]:
        """They are made in the cluster's own way, whoever asks for them first."""
        errors: dict[str, ErrorCode] = {}
        for name in names:
            try:
                await self._context.internal_topics.ensure(name)
            except KafkaError:
                errors[name] = ErrorCode.LEADER_NOT_AVAILABLE
        return errors

    async def _create(self, names: Sequence[str]) -> dict[str, ErrorCode]:
        topics = tuple(self._new_topic(name) for name in dict.fromkeys(names))
        try:
            reply = await self._context.controller.call(CreateTopics(topics), CREATION_TIMEOUT)
            assert isinstance(reply, CreateTopicsReply)
        except KafkaError:
            return dict.fromkeys(names, ErrorCode.LEADER_NOT_AVAILABLE)
        existing = (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS)
        errors = {topic.name: topic.error_code for topic in reply.topics if topic.error_code not in existing}
        wanted = [name for name in names if name not in errors]
        await self._context.metadata.wait_until(
            lambda image: all(_is_led(image, name) for name in wanted), LEADERS_TIMEOUT
        )
        return errors

    def _new_topic(self, name: str) -> NewTopic:
        # As in Kafka it is this broker's defaults that count here, not the controller's.
        configuration = self._context.configuration
        return NewTopic(
            name, configuration.number("num.partitions"), configuration.number("default.replication.factor")
        )

    def _answer(self, request: Request, message: Any, errors: dict[str, ErrorCode]) -> Any:
        context = self._context
        image = context.metadata.image
        if message.topics is None:
            topics = [self._topic(image, topic) for topic in image.topics]
        else:
            once = {(asked.name, asked.topic_id): asked for asked in message.topics}
            topics = [self._asked(image, asked, errors) for asked in once.values()]
        if message.include_topic_authorized_operations:
            for topic in topics:
                topic.authorized_operations = ON_TOPIC
        brokers = []
        for broker in image.brokers_for_clients():
            endpoint = broker.endpoint(request.connection.listener)
            if endpoint is not None:
                brokers.append(
                    self._response.MetadataResponseBroker(
                        node_id=broker.broker_id, host=endpoint.host, port=endpoint.port, rack=broker.rack
                    )
                )
        return self._response(
            throttle_time_ms=0,
            brokers=brokers,
            cluster_id=context.cluster_id,
            # Clients send what is for the controller to any broker, which forwards it (KIP-590).
            controller_id=context.node_id if brokers else -1,
            topics=topics,
            authorized_operations=ON_CLUSTER if message.include_cluster_authorized_operations else None,
        )

    def _asked(self, image: MetadataImage, asked: Any, errors: dict[str, ErrorCode]) -> Any:
        topic_id = asked.topic_id or _NO_ID
        if asked.name is None or topic_id != _NO_ID:
            topic = image.topics.by_id.get(topic_id)
            if topic is None:
                return self._unknown(None, topic_id, ErrorCode.UNKNOWN_TOPIC_ID)
            return self._topic(image, topic)
        topic = image.topics.get(asked.name)
        if topic is not None:
            return self._topic(image, topic)
        code = errors.get(asked.name)
        return self._unknown(asked.name, _NO_ID, why_missing(asked.name) if code is None else code)

    def _unknown(self, name: str | None, topic_id: UUID, code: ErrorCode) -> Any:
        return self._response.MetadataResponseTopic(
            error_code=code, name=name, topic_id=topic_id, is_internal=False, partitions=[]
        )

    def _topic(self, image: MetadataImage, topic: TopicImage) -> Any:
        make = self._response.MetadataResponseTopic
        partitions = [
            self._partition(make, image, index, partition) for index, partition in enumerate(topic.partitions)
        ]
        return make(
            error_code=0,
            name=topic.name,
            topic_id=topic.topic_id,
            is_internal=topic.internal,
            partitions=partitions,
        )

    def _partition(self, make: Any, image: MetadataImage, index: int, partition: PartitionImage) -> Any:
        leader = partition.leader
        alive = (
            leader in image.brokers
            and not image.brokers[leader].fenced
            and not self._context.suspected_leaders.suspects(leader)
        )
        return make.MetadataResponsePartition(
            error_code=0 if alive else ErrorCode.LEADER_NOT_AVAILABLE,
            partition_index=index,
            leader_id=leader if alive else -1,
            leader_epoch=partition.leader_epoch,
            replica_nodes=list(partition.replicas),
            isr_nodes=list(partition.isr),
            offline_replicas=offline_replicas(image, partition),
        )


def _asks_by_id(message: Any) -> bool:
    return any(asked.name is None or asked.topic_id not in (None, _NO_ID) for asked in message.topics or ())


def _is_led(image: MetadataImage, name: str) -> bool:
    topic = image.topics.get(name)
    return topic is not None and all(partition.has_leader for partition in topic.partitions)


def offline_replicas(image: MetadataImage, partition: PartitionImage) -> list[int]:
    """Replicas whose broker is not there to serve them."""
    return [
        broker_id
        for broker_id in partition.replicas
        if broker_id not in image.brokers or image.brokers[broker_id].fenced
    ]
