"""ListGroups (key 16): the groups that this broker coordinates. Versions 0-5, by state from version 4 and
by type from version 5."""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request


class ListGroupsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._groups = context.groups
        self._response = response_class(ApiKey.LIST_GROUPS)

    async def __call__(self, request: Request, message: Any) -> Any:
        try:
            groups = await self._groups.list(message.states_filter or (), message.types_filter or ())
        except KafkaError as error:
            return self._response(throttle_time_ms=0, error_code=error.code, groups=[])
        listed = [
            self._response.ListedGroup(
                group_id=each.group_id,
                protocol_type=each.protocol_type,
                group_state=each.state,
                group_type=each.kind,
            )
            for each in groups
        ]
        return self._response(throttle_time_ms=0, error_code=ErrorCode.NONE, groups=listed)
