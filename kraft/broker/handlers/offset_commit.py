"""OffsetCommit (key 8): note how far a group has come. Versions 2-9.

The answer leaves when every in-sync replica of the coordinator's partition has it. Topics that do not exist
are refused one by one.
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_messages import tells_missing_group
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.group.commands import CommitOffsets, NewOffset


class OffsetCommitHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.OFFSET_COMMIT)

    async def __call__(self, request: Request, message: Any) -> Any:
        known = self._context.metadata.image.topics
        command = CommitOffsets(
            message.group_id,
            tuple(
                NewOffset(
                    topic.name,
                    part.partition_index,
                    part.committed_offset,
                    part.committed_leader_epoch,
                    part.committed_metadata or "",
                )
                for topic in message.topics
                if topic.name in known
                for part in topic.partitions
            ),
            message.generation_id_or_member_epoch,
            message.member_id,
            message.group_instance_id,
            message.retention_time_ms,
            None,
            tells_missing_group(request.version),
        )
        codes = iter(await self._commit(command))
        topics = []
        for topic in message.topics:
            missing = None if topic.name in known else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            make = self._response.OffsetCommitResponseTopic
            partitions = [
                make.OffsetCommitResponsePartition(
                    partition_index=part.partition_index,
                    error_code=next(codes) if missing is None else missing,
                )
                for part in topic.partitions
            ]
            topics.append(make(name=topic.name, partitions=partitions))
        return self._response(throttle_time_ms=0, topics=topics)

    async def _commit(self, command: CommitOffsets) -> tuple[ErrorCode, ...]:
        if not command.offsets:
            return ()
        try:
            return await self._context.groups.submit(
                command.group_id, lambda shard, *now: shard.commit(command, *now)
            )
        except KafkaError as error:
            return (error.code,) * len(command.offsets)
