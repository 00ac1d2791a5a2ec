"""JoinGroup (key 11): become a member of a group, or stay one through a rebalance. Versions 0-9.

The answer waits until everybody has joined, or had the time to. From version 4 on a new member is told its
id first (MEMBER_ID_REQUIRED) and comes again with it.
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import KafkaError
from kafkawire.group_messages import requires_member_id, skips_assignment
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.group.commands import JoinGroup, JoinReply, Protocol


class JoinGroupHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._groups = context.groups
        self._response = response_class(ApiKey.JOIN_GROUP)

    async def __call__(self, request: Request, message: Any) -> Any:
        command = JoinGroup(
            message.group_id,
            message.member_id,
            message.group_instance_id,
            request.header.client_id or "",
            # As Java prints an address without a name.
            f"/{request.connection.peer[0]}",
            message.session_timeout_ms,
            message.rebalance_timeout_ms,
            message.protocol_type,
            tuple(Protocol(each.name, bytes(each.metadata)) for each in message.protocols),
            requires_member_id(request.version),
            skips_assignment(request.version),
        )
        try:
            reply = await self._groups.submit(command.group_id, lambda shard, *now: shard.join(command, *now))
        except KafkaError as error:
            reply = JoinReply(error.code, command.member_id)
        make = self._response.JoinGroupResponseMember
        return self._response(
            throttle_time_ms=0,
            error_code=reply.error,
            generation_id=reply.generation,
            protocol_type=reply.protocol_type,
            protocol_name=reply.protocol,
            leader=reply.leader,
            skip_assignment=reply.skip_assignment,
            member_id=reply.member_id,
            members=[
                make(member_id=each.member_id, group_instance_id=each.instance_id, metadata=each.metadata)
                for each in reply.members
            ],
        )
