"""SyncGroup (key 14): ask for the assignment of a member; the leader brings all of them. Versions 0-5, from
version 5 on with the protocol that the member knows of."""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_messages import names_protocol
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.group.commands import SyncGroup, SyncReply


class SyncGroupHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._groups = context.groups
        self._response = response_class(ApiKey.SYNC_GROUP)

    async def __call__(self, request: Request, message: Any) -> Any:
        try:
            reply = await self._sync(request, message)
        except KafkaError as error:
            reply = SyncReply(error.code)
        return self._response(
            throttle_time_ms=0,
            error_code=reply.error,
            protocol_type=reply.protocol_type,
            protocol_name=reply.protocol,
            assignment=reply.assignment,
        )

    async def _sync(self, request: Request, message: Any) -> SyncReply:
        if names_protocol(request.version) and None in (message.protocol_type, message.protocol_name):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        command = SyncGroup(
            message.group_id,
            message.generation_id,
            message.member_id,
            message.group_instance_id,
            message.protocol_type,
            message.protocol_name,
            {each.member_id: bytes(each.assignment) for each in message.assignments},
        )
        return await self._groups.submit(command.group_id, lambda shard, *now: shard.sync(command, *now))
