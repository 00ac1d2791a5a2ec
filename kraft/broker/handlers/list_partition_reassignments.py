"""ListPartitionReassignments (key 46): which partitions are moving, as this broker's metadata has it. Version
0 (KIP-455).

Without topics all are listed. What does not exist or does not move is left out.
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from metadata.image import MetadataImage, TopicImage


class ListPartitionReassignmentsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.LIST_PARTITION_REASSIGNMENTS)

    def __call__(self, request: Request, message: Any) -> Any:
        image = self._context.metadata.image
        topics = [self._topic(topic, indexes) for topic, indexes in _asked(image, message.topics)]
        return self._response(
            throttle_time_ms=0,
            error_code=0,
            error_message=None,
            topics=[topic for topic in topics if topic.partitions],
        )

    def _topic(self, topic: TopicImage, indexes: list[int]) -> Any:
        make = self._response.OngoingTopicReassignment
        moving = []
        for index in indexes:
            partition = topic.partition(index)
            if partition is not None and (partition.adding or partition.removing):
                moving.append(
                    make.OngoingPartitionReassignment(
                        partition_index=index,
                        replicas=list(partition.replicas),
                        adding_replicas=list(partition.adding),
                        removing_replicas=list(partition.removing),
                    )
                )
        return make(name=topic.name, partitions=moving)


def _asked(image: MetadataImage, topics: Any) -> list[tuple[TopicImage, list[int]]]:
    if topics is None:
        return [(topic, list(range(len(topic.partitions)))) for topic in image.topics]
    return [
        (known, each.partition_indexes)
        for each in topics
        if (known := image.topics.get(each.name)) is not None
    ]
