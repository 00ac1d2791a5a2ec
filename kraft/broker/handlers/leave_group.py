"""LeaveGroup (key 13): take members out of a group. Versions 0-5, from version 3 several at once."""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.group.commands import LeaveGroup, LeaveReply, MemberIdentity


class LeaveGroupHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._groups = context.groups
        self._response = response_class(ApiKey.LEAVE_GROUP)

    async def __call__(self, request: Request, message: Any) -> Any:
        command = LeaveGroup(
            message.group_id,
            tuple(MemberIdentity(each.member_id, each.group_instance_id) for each in message.members),
        )
        try:
            reply = await self._groups.submit(
                command.group_id, lambda shard, *now: shard.leave(command, *now)
            )
        except KafkaError as error:
            reply = _refused(command, error.code)
        members = [
            self._response.MemberResponse(
                member_id=who.member_id, group_instance_id=who.instance_id, error_code=code
            )
            for who, code in reply.members
        ]
        return self._response(throttle_time_ms=0, error_code=reply.error, members=members)


def _refused(command: LeaveGroup, code: ErrorCode) -> LeaveReply:
    """Of a group that is not there nobody is a member: that is said of each."""
    if code is ErrorCode.UNKNOWN_MEMBER_ID:
        return LeaveReply(ErrorCode.NONE, tuple((each, code) for each in command.members))
    return LeaveReply(code)
