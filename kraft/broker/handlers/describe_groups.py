"""DescribeGroups (key 15): state and members of classic groups. Versions 0-6.

A group that is not there is "Dead"; so is one of another kind. Version 6 says so with an error, earlier ones
without (KIP-1043).
"""

from __future__ import annotations

import asyncio
from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.authorized_operations import ON_GROUP
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_messages import describes_missing_group
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.group.commands import DescribedGroup


class DescribeGroupsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._groups = context.groups
        self._response = response_class(ApiKey.DESCRIBE_GROUPS)

    async def __call__(self, request: Request, message: Any) -> Any:
        groups = await asyncio.gather(
            *(
                self._describe(request, group_id, message.include_authorized_operations)
                for group_id in message.groups
            )
        )
        return self._response(throttle_time_ms=0, groups=groups)

    async def _describe(self, request: Request, group_id: str, include_operations: bool) -> Any:
        try:
            group = await self._groups.observe(group_id, lambda shard, *now: shard.describe(group_id, *now))
        except KafkaError as error:
            group = DescribedGroup(group_id, "", error=error.code)
        missing = group.error is ErrorCode.GROUP_ID_NOT_FOUND
        hidden = missing and not describes_missing_group(request.version)
        told = ErrorCode.NONE if hidden else group.error
        make = self._response.DescribedGroup
        return make(
            error_code=told,
            error_message=f"Group {group_id} not found." if missing and not hidden else None,
            group_id=group_id,
            group_state=group.state,
            protocol_type=group.protocol_type,
            protocol_data=group.protocol,
            members=[
                make.DescribedGroupMember(
                    member_id=each.member_id,
                    group_instance_id=each.instance_id,
                    client_id=each.client_id,
                    client_host=each.client_host,
                    member_metadata=each.metadata,
                    member_assignment=each.assignment,
                )
                for each in group.members
            ],
            authorized_operations=ON_GROUP if include_operations and not told else None,
        )
