"""DeleteTopics (key 20): sent on to the controller. Versions 1-6, by name and from version 6 by id."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple
from uuid import UUID

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.timeouts import request_timeout
from metadata.controller.commands import DeleteTopicResult, DeleteTopics, DeleteTopicsReply

_NO_ID = UUID(int=0)


class _Named(NamedTuple):
    """A topic as the request has it: by one of the two, if it makes sense."""

    name: str | None
    topic_id: UUID | None


class DeleteTopicsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.DELETE_TOPICS)

    async def __call__(self, request: Request, message: Any) -> Any:
        asked = Counter(_Named(state.name, state.topic_id) for state in message.topics or ())
        judged = {each: _why_not(each, count) for each, count in asked.items()}
        refused = [
            DeleteTopicResult(*each, ErrorCode.INVALID_REQUEST, reason)
            for each, reason in judged.items()
            if reason is not None
        ]
        named = [each for each, reason in judged.items() if reason is None]
        command = DeleteTopics(
            tuple(each.name for each in named if each.name is not None),
            tuple(each.topic_id for each in named if each.topic_id is not None),
        )
        timeout = request_timeout(message.timeout_ms)
        try:
            reply = await self._context.controller.call(command, timeout)
            assert isinstance(reply, DeleteTopicsReply)
        except KafkaError as error:
            reply = DeleteTopicsReply(
                tuple(DeleteTopicResult(name, None, error.code, error.message) for name in command.names)
                + tuple(
                    DeleteTopicResult(None, each, error.code, error.message) for each in command.topic_ids
                )
            )
        gone = [result.topic_id for result in reply.topics if result.error_code is ErrorCode.NONE]
        await self._context.metadata.wait_until(
            lambda image: not any(topic_id in image.topics.by_id for topic_id in gone if topic_id), timeout
        )
        results = [
            self._response.DeletableTopicResult(
                name=result.name,
                topic_id=result.topic_id or _NO_ID,
                error_code=result.error_code,
                error_message=result.error_message,
            )
            for result in (*refused, *reply.topics)
        ]
        return self._response(throttle_time_ms=0, responses=results)


def _why_not(named: _Named, count: int) -> str | None:
    """What is wrong with a topic that a request names so, `count` times; None if nothing is."""
    if named.name is None and named.topic_id is None:
        return "Neither topic name nor id were specified."
    if named.name is not None and named.topic_id is not None:
        return "You may not specify both topic name and topic id."
    if count > 1:
        return f"Duplicate topic {'id' if named.name is None else 'name'}."
    return None
