"""ConsumerGroupDescribe (key 69): state and members of KIP-848 groups. Versions 0-1, from version 1 on with
the protocol that each member speaks."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.authorized_operations import ON_GROUP, bits
from kafkawire.errors import KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.group.consumer.commands import DescribedConsumer, DescribedConsumerGroup
from kraft.coordinator.group.consumer.members import Assignment, by_topic

_CLASSIC, _CONSUMER = 0, 1


class ConsumerGroupDescribeHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._groups = context.groups
        self._response = response_class(ApiKey.CONSUMER_GROUP_DESCRIBE)

    async def __call__(self, request: Request, message: Any) -> Any:
        groups = await asyncio.gather(
            *(
                self._describe(group_id, message.include_authorized_operations)
                for group_id in message.group_ids
            )
        )
        return self._response(throttle_time_ms=0, groups=groups)

    async def _describe(self, group_id: str, include_operations: bool) -> Any:
        try:
            group = await self._groups.observe(
                group_id, lambda shard, *now: shard.describe_consumer(group_id, *now)
            )
        except KafkaError as error:
            group = DescribedConsumerGroup(group_id, error=error.code, message=error.message or None)
        return self._response.DescribedGroup(
            error_code=group.error,
            error_message=group.message,
            group_id=group.group_id,
            group_state=group.state,
            group_epoch=group.epoch,
            assignment_epoch=group.target_epoch,
            assignor_name=group.assignor,
            members=[self._member(each) for each in group.members],
            **({"authorized_operations": bits(ON_GROUP)} if include_operations and not group.error else {}),
        )

    def _member(self, described: DescribedConsumer) -> Any:
        member = described.member
        return self._response.DescribedGroup.Member(
            member_id=member.member_id,
            instance_id=member.instance_id,
            rack_id=member.rack_id,
            member_epoch=described.progress.epoch,
            client_id=member.client_id,
            client_host=member.client_host,
            subscribed_topic_names=list(member.topics),
            subscribed_topic_regex=member.regex,
            assignment=self._assignment(described.progress.assigned),
            target_assignment=self._assignment(described.target),
            member_type=_CONSUMER if member.classic is None else _CLASSIC,
        )

    def _assignment(self, assignment: Assignment) -> Any:
        make = self._response.DescribedGroup.Member.Assignment
        named = [
            (self._groups.topics.name_of(topic_id), topic_id, partitions)
            for topic_id, partitions in by_topic(assignment).items()
        ]
        return make(
            topic_partitions=[
                make.TopicPartitions(
                    topic_id=uuid.UUID(bytes=topic_id), topic_name=topic, partitions=partitions
                )
                for topic, topic_id, partitions in named
                if topic is not None
            ]
        )
