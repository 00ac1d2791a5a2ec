"""DescribeQuorum (key 55): who votes on the metadata log and how far everyone is. Versions 0-2 (KIP-595,
KIP-836).

The active controller knows; it is asked.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from metadata.calls import QuorumDescription

METADATA_TOPIC = "__cluster_metadata"
TIMEOUT = 5.0
_NO_ID = UUID(int=0)


class DescribeQuorumHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.DESCRIBE_QUORUM)

    async def __call__(self, request: Request, message: Any) -> Any:
        try:
            quorum = await self._context.controller.describe_quorum(TIMEOUT)
        except KafkaError as error:
            return self._response(
                error_code=error.code, error_message=error.message or None, topics=[], nodes=[]
            )
        topics = []
        for topic in message.topics:
            make = self._response.TopicData
            partitions = [
                self._partition(make.PartitionData, quorum)
                if topic.topic_name == METADATA_TOPIC and asked.partition_index == 0
                else self._unknown(make.PartitionData, asked.partition_index)
                for asked in topic.partitions
            ]
            topics.append(make(topic_name=topic.topic_name, partitions=partitions))
        nodes = [
            self._response.Node(
                node_id=voter.node_id,
                listeners=[self._response.Node.Listener(name="NODE", host=voter.host, port=voter.port)],
            )
            for voter in quorum.voters
        ]
        return self._response(error_code=0, error_message=None, topics=topics, nodes=nodes)

    def _partition(self, make: Any, quorum: QuorumDescription) -> Any:
        return make(
            partition_index=0,
            error_code=0,
            error_message=None,
            leader_id=quorum.leader_id,
            leader_epoch=quorum.term,
            high_watermark=quorum.high_watermark,
            current_voters=[self._state(make, voter) for voter in quorum.voters],
            observers=[self._state(make, observer) for observer in quorum.observers],
        )

    def _state(self, make: Any, replica: Any) -> Any:
        return make.ReplicaState(
            replica_id=replica.node_id,
            replica_directory_id=_NO_ID,
            log_end_offset=replica.log_end_offset,
            last_fetch_timestamp=replica.last_fetch_ms,
            last_caught_up_timestamp=replica.last_caught_up_ms,
        )

    def _unknown(self, make: Any, index: int) -> Any:
        return make(
            partition_index=index,
            error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            error_message=None,
            leader_id=-1,
            leader_epoch=-1,
            high_watermark=-1,
            current_voters=[],
            observers=[],
        )
