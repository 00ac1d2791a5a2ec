"""OffsetFetch (key 9): how far groups have come. Versions 1-9, from version 8 several groups at once.

What is told is committed: replicated to every in-sync replica. Offsets of open transactions are held back
from those who ask for stable ones (UNSTABLE_OFFSET_COMMIT).
"""

from __future__ import annotations

import asyncio
from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_messages import has_group_error
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.group.commands import FetchedOffset, FetchedOffsets, FetchOffsets


class OffsetFetchHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._groups = context.groups
        self._response = response_class(ApiKey.OFFSET_FETCH)

    async def __call__(self, request: Request, message: Any) -> Any:
        stable = bool(message.require_stable)
        groups = await asyncio.gather(*(self._fetch(request, group, stable) for group in message.groups))
        return self._response(throttle_time_ms=0, groups=groups)

    async def _fetch(self, request: Request, group: Any, require_stable: bool) -> Any:
        topics = None
        if group.topics is not None:
            topics = tuple((each.name, tuple(each.partition_indexes)) for each in group.topics)
        command = FetchOffsets(group.group_id, topics, require_stable, group.member_id, group.member_epoch)
        code = ErrorCode.NONE
        try:
            found = await self._groups.observe(
                command.group_id, lambda shard, *now: shard.fetch(command, *now)
            )
        except KafkaError as error:
            code = error.code
            found = () if has_group_error(request.version) else _refused(command, code)
        make = self._response.OffsetFetchResponseGroup
        return make(
            group_id=command.group_id,
            error_code=code,
            topics=[
                make.OffsetFetchResponseTopics(
                    name=name,
                    partitions=[
                        make.OffsetFetchResponseTopics.OffsetFetchResponsePartitions(
                            partition_index=each.partition,
                            committed_offset=each.offset,
                            committed_leader_epoch=each.leader_epoch,
                            metadata=each.metadata,
                            error_code=each.error,
                        )
                        for each in partitions
                    ],
                )
                for name, partitions in found
            ],
        )


def _refused(command: FetchOffsets, code: ErrorCode) -> FetchedOffsets:
    return tuple(
        (name, tuple(FetchedOffset(partition, -1, -1, "", code) for partition in partitions))
        for name, partitions in command.topics or ()
    )
