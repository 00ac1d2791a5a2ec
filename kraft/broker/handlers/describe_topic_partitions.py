"""DescribeTopicPartitions (key 75): topics in pages, with their eligible leader replicas. Version 0
(KIP-966).

Topics come in the order of their names; a cursor says where the next page begins. Empty lists, never null
ones, stand for no eligible leader replicas: Java's admin client does not survive null.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from kafkawire.apis import ApiKey
from kafkawire.authorized_operations import ON_TOPIC, bits
from kafkawire.errors import ErrorCode
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.handlers.metadata import offline_replicas
from kraft.broker.handlers.topic_names import why_missing
from metadata.image import MetadataImage, PartitionImage

MAX_PARTITIONS = 2000
_NO_ID = UUID(int=0)


class DescribeTopicPartitionsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.DESCRIBE_TOPIC_PARTITIONS)

    def __call__(self, request: Request, message: Any) -> Any:
        image = self._context.metadata.image
        names = sorted({topic.name for topic in message.topics}) or sorted(image.topics.by_name)
        first_index = 0
        if message.cursor is not None:
            names = [name for name in names if name >= message.cursor.topic_name]
            at_cursor = names[:1] == [message.cursor.topic_name]
            if message.cursor.partition_index < 0 or (message.topics and not at_cursor):
                return self._refuse(message)
            if at_cursor:
                first_index = message.cursor.partition_index
        room = min(max(message.response_partition_limit, 1), MAX_PARTITIONS)
        topics = []
        cursor = None
        for name in names:
            if room <= 0:
                cursor = self._response.Cursor(topic_name=name, partition_index=0)
                break
            described, told, more = self._topic(image, name, first_index, room)
            topics.append(described)
            room -= told
            if more is not None:
                cursor = self._response.Cursor(topic_name=name, partition_index=more)
                break
            first_index = 0
        return self._response(throttle_time_ms=0, topics=topics, next_cursor=cursor)

    def _refuse(self, message: Any) -> Any:
        """The answer to a cursor that points to nothing that is asked for."""
        topics = [self._failed(topic.name, ErrorCode.INVALID_REQUEST) for topic in message.topics]
        return self._response(throttle_time_ms=0, topics=topics, next_cursor=None)

    def _failed(self, name: str, code: ErrorCode) -> Any:
        return self._response.DescribeTopicPartitionsResponseTopic(
            error_code=code, name=name, topic_id=_NO_ID, is_internal=False, partitions=[]
        )

    def _topic(self, image: MetadataImage, name: str, first: int, room: int) -> tuple[Any, int, int | None]:
        """The topic's partitions from `first` on, how many, and where the next page begins."""
        make = self._response.DescribeTopicPartitionsResponseTopic
        topic = image.topics.get(name)
        if topic is None:
            return self._failed(name, why_missing(name)), 0, None
        last = min(len(topic.partitions), first + room)
        partitions = [
            self._partition(make, image, index, topic.partitions[index]) for index in range(first, last)
        ]
        described = make(
            error_code=0,
            name=name,
            topic_id=topic.topic_id,
            is_internal=topic.internal,
            partitions=partitions,
            topic_authorized_operations=bits(ON_TOPIC),
        )
        return described, len(partitions), last if last < len(topic.partitions) else None

    def _partition(self, make: Any, image: MetadataImage, index: int, partition: PartitionImage) -> Any:
        return make.DescribeTopicPartitionsResponsePartition(
            error_code=0 if partition.has_leader else ErrorCode.LEADER_NOT_AVAILABLE,
            partition_index=index,
            leader_id=partition.leader,
            leader_epoch=partition.leader_epoch,
            replica_nodes=list(partition.replicas),
            isr_nodes=list(partition.isr),
            eligible_leader_replicas=list(partition.elr),
            last_known_elr=list(partition.last_known_elr),
            offline_replicas=offline_replicas(image, partition),
        )
