"""Heartbeat (key 12): a member lives, and hears of rebalances. Versions 0-4.

While the group is being loaded the answer is that all is well, as in Kafka: the member need not do anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Final

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_traffic import decode_heartbeat_request, encode_heartbeat_response
from kafkawire.headers import RequestHeader
from kraft.broker.connection import Reply
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.outgoing import Segment
from kraft.coordinator.group.commands import Heartbeat

_KEPT: Final = 16_384
_LONGEST_KEPT: Final = 512
"""Requests whose reading is kept, and bytes of the longest."""


class HeartbeatHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._groups = context.groups

    def __call__(self, request: Request) -> Sequence[Segment] | None:
        header, body = request.header, request.body
        request.connection.heartbeat()
        read = _read_before if len(body) <= _LONGEST_KEPT else _read
        command = read(header.api_version, bytes(body))
        # There are so many of them, and so little behind each, that a task or a future would be most of the
        # work.
        try:
            beat = self._groups.heartbeat(command)
        except KafkaError as error:
            return [_encode(header, error.code)]
        if not isinstance(beat, asyncio.Future):
            return [_encode(header, beat)]
        reply = request.connection.defer(hold=False)
        beat.add_done_callback(partial(_send, header, reply))
        return None


def _read(version: int, body: bytes) -> Heartbeat:
    return Heartbeat(*decode_heartbeat_request(version, memoryview(body)))


_read_before = lru_cache(_KEPT)(_read)
"""A member says the same again and again, until a generation ends."""


def _send(header: RequestHeader, reply: Reply, beat: asyncio.Future[ErrorCode]) -> None:
    try:
        code = beat.result()
    except KafkaError as error:
        code = error.code
    reply.send([_encode(header, code)])


def _encode(header: RequestHeader, code: ErrorCode) -> bytes:
    if code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
        code = ErrorCode.NONE
    return encode_heartbeat_response(header.api_version, header.correlation_id, code)
