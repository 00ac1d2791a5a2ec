"""OffsetFetch (key 9): how far groups have come. Versions 1-10, from version 8 several groups at
once, by topic id in version 10.

What is told is committed: replicated to every in-sync replica. Offsets of open transactions are held back
from those who ask for stable ones (UNSTABLE_OFFSET_COMMIT).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_messages import has_group_error, names_topics_by_id
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.handlers.topic_names import find_topic, why_unknown
from kraft.coordinator.group.commands import FetchedOffset, FetchedOffsets, FetchOffsets


class OffsetFetchHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._groups = context.groups
        self._metadata = context.metadata
        self._response = response_class(ApiKey.OFFSET_FETCH)

    async def __call__(self, request: Request, message: Any) -> Any:
        stable = bool(message.require_stable)
        groups = await asyncio.gather(*(self._fetch(request, group, stable) for group in message.groups))
        return self._response(throttle_time_ms=0, groups=groups)

    def _name(self, topic: Any) -> str | None:
        found = find_topic(self._metadata.image.topics, topic, by_id=True)
        return None if found is None else found.name

    async def _fetch(self, request: Request, group: Any, require_stable: bool) -> Any:
        by_id = names_topics_by_id(request.version)
        topics, unknown = None, []
        if group.topics is not None:
            named = [(topic, self._name(topic) if by_id else topic.name) for topic in group.topics]
            topics = tuple(
                (name, tuple(topic.partition_indexes)) for topic, name in named if name is not None
            )
            unknown = [topic for topic, name in named if name is None]
        command = FetchOffsets(group.group_id, topics, require_stable, group.member_id, group.member_epoch)
        code = ErrorCode.NONE
        try:
            found = await self._groups.observe(
                command.group_id, lambda shard, *now: shard.fetch(command, *now)
            )
        except KafkaError as error:
            code = error.code
            found = () if has_group_error(request.version) else _refused(command, code)
        answered = [self._topic(name, partitions, by_id=by_id) for name, partitions in found]
        if code is ErrorCode.NONE:
            answered += [self._unknown(topic) for topic in unknown]
        return self._response.OffsetFetchResponseGroup(
            group_id=command.group_id,
            error_code=code,
            topics=[topic for topic in answered if topic is not None],
        )

    def _topic(self, name: str, partitions: Sequence[FetchedOffset], *, by_id: bool) -> Any:
        """One topic of the answer; None for one that has no id any more, where it would need one."""
        topic = self._metadata.image.topics.get(name) if by_id else None
        if by_id and topic is None:
            return None
        make = self._response.OffsetFetchResponseGroup.OffsetFetchResponseTopics
        return make(
            name=name,
            topic_id=None if topic is None else topic.topic_id,
            partitions=[
                make.OffsetFetchResponsePartitions(
                    partition_index=each.partition,
                    committed_offset=each.offset,
                    committed_leader_epoch=each.leader_epoch,
                    metadata=each.metadata,
                    error_code=each.error,
                )
                for each in partitions
            ],
        )

    def _unknown(self, topic: Any) -> Any:
        make = self._response.OffsetFetchResponseGroup.OffsetFetchResponseTopics
        return make(
            topic_id=topic.topic_id,
            partitions=[
                make.OffsetFetchResponsePartitions(
                    partition_index=partition,
                    committed_offset=-1,
                    committed_leader_epoch=-1,
                    metadata="",
                    error_code=why_unknown(by_id=True),
                )
                for partition in topic.partition_indexes
            ],
        )


def _refused(command: FetchOffsets, code: ErrorCode) -> FetchedOffsets:
    return tuple(
        (name, tuple(FetchedOffset(partition, -1, -1, "", code) for partition in partitions))
        for name, partitions in command.topics or ()
    )
