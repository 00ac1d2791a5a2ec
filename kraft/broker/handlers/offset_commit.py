"""OffsetCommit (key 8): note how far a group has come. Versions 2-10, by topic id in
version 10.

The answer leaves when every in-sync replica of the coordinator's partition has it. Topics that do not exist
are refused one by one.
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_messages import names_topics_by_id, tells_missing_group
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.handlers.topic_names import name_of, why_unknown
from kraft.coordinator.group.commands import CommitOffsets, NewOffset


class OffsetCommitHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.OFFSET_COMMIT)

    async def __call__(self, request: Request, message: Any) -> Any:
        by_id = names_topics_by_id(request.version)
        known = self._context.metadata.image.topics
        named = [(topic, name_of(known, topic, by_id=by_id)) for topic in message.topics]
        command = CommitOffsets(
            message.group_id,
            tuple(
                NewOffset(
                    name,
                    part.partition_index,
                    part.committed_offset,
                    part.committed_leader_epoch,
                    part.committed_metadata or "",
                )
                for topic, name in named
                if name is not None
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
        for topic, name in named:
            missing = None if name is not None else why_unknown(by_id=by_id)
            make = self._response.OffsetCommitResponseTopic
            partitions = [
                make.OffsetCommitResponsePartition(
                    partition_index=part.partition_index,
                    error_code=next(codes) if missing is None else missing,
                )
                for part in topic.partitions
            ]
            topics.append(make(name=topic.name, topic_id=topic.topic_id, partitions=partitions))
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
