"""DeleteGroups (key 42): delete groups without members, and their offsets. Versions 0-2."""

from __future__ import annotations

import asyncio
from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request


class DeleteGroupsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._groups = context.groups
        self._response = response_class(ApiKey.DELETE_GROUPS)

    async def __call__(self, request: Request, message: Any) -> Any:
        names = list(dict.fromkeys(message.groups_names))
        codes = await asyncio.gather(*(self._delete(name) for name in names))
        results = [
            self._response.DeletableGroupResult(group_id=name, error_code=code)
            for name, code in zip(names, codes, strict=True)
        ]
        return self._response(throttle_time_ms=0, results=results)

    async def _delete(self, group_id: str) -> ErrorCode:
        try:
            await self._groups.delete(group_id)
        except KafkaError as error:
            return error.code
        return ErrorCode.NONE
