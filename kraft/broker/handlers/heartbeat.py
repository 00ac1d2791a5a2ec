"""Heartbeat (key 12): a member lives, and hears of rebalances. Versions 0-4.

While the group is being loaded the answer is that all is well, as in Kafka: the member need not do anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.group.commands import Heartbeat


class HeartbeatHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._groups = context.groups
        self._response = response_class(ApiKey.HEARTBEAT)

    def __call__(self, request: Request, message: Any) -> Any | Awaitable[Any]:
        command = Heartbeat(
            message.group_id, message.generation_id, message.member_id, message.group_instance_id
        )
        beat = self._groups.observe(command.group_id, lambda shard, *now: shard.heartbeat(command, *now))
        # There are so many of them, and so little behind each, that a task would be most of the work.
        return self._answer(beat) if beat.done() else self._answer_later(beat)

    async def _answer_later(self, beat: asyncio.Future[ErrorCode]) -> Any:
        await asyncio.wait([beat])
        return self._answer(beat)

    def _answer(self, beat: asyncio.Future[ErrorCode]) -> Any:
        try:
            code = beat.result()
        except KafkaError as error:
            code = error.code
            if code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
                code = ErrorCode.NONE
        return self._response(throttle_time_ms=0, error_code=code)
