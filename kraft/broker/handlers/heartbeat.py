"""Heartbeat (key 12): a member lives, and hears of rebalances. Versions 0-4.

While the group is being loaded the answer is that all is well, as in Kafka: the member need not do anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_traffic import decode_heartbeat_request, encode_heartbeat_response
from kafkawire.headers import RequestHeader
from kraft.broker.connection import Reply
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.outgoing import Segment
from kraft.coordinator.group.commands import Heartbeat


class HeartbeatHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._groups = context.groups

    def __call__(self, request: Request) -> Sequence[Segment] | None:
        command = Heartbeat(*decode_heartbeat_request(request.version, request.body))
        beat = self._groups.observe(command.group_id, lambda shard, *now: shard.heartbeat(command, *now))
        # There are so many of them, and so little behind each, that a task would be most of the work.
        if beat.done():
            return [_answer(request.header, beat)]
        reply = request.connection.defer(hold=False)
        beat.add_done_callback(partial(_send, request.header, reply))
        return None


def _send(header: RequestHeader, reply: Reply, beat: asyncio.Future[ErrorCode]) -> None:
    reply.send([_answer(header, beat)])


def _answer(header: RequestHeader, beat: asyncio.Future[ErrorCode]) -> bytes:
    try:
        code = beat.result()
    except KafkaError as error:
        code = error.code
        if code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
            code = ErrorCode.NONE
    return encode_heartbeat_response(header.api_version, header.correlation_id, code)
