"""OffsetCommit (key 8): note how far a group has come. Versions 2-10, by topic id in version 10.

The answer leaves when every in-sync replica of the coordinator's partition has it. Topics and partitions that
do not exist are refused one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_messages import names_topics_by_id, tells_missing_group
from kafkawire.group_traffic import (
    CommittedTopic,
    decode_offset_commit_request,
    encode_offset_commit_response,
)
from kafkawire.headers import RequestHeader
from kraft.broker.connection import Reply
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.handlers.topic_names import find_topic, why_unknown
from kraft.broker.outgoing import Segment
from kraft.coordinator.group.commands import CommitOffsets, NewOffset
from metadata.image import TopicsImage


class _Asked(NamedTuple):
    """A topic of the request; its name and how many partitions it has, "" and 0 if it is not there."""

    topic: CommittedTopic
    name: str
    partitions: int


class OffsetCommitHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context

    def __call__(self, request: Request) -> Sequence[Segment] | None:
        asked = decode_offset_commit_request(request.version, request.body)
        by_id = names_topics_by_id(request.version)
        known = self._context.metadata.image.topics
        topics = [_find(known, topic, by_id=by_id) for topic in asked.topics]
        offsets = tuple(_offsets(topics))
        if not offsets:
            return [_answer(request.header, topics, ())]
        command = CommitOffsets(
            asked.group_id,
            offsets,
            asked.generation,
            asked.member_id,
            asked.instance_id,
            asked.retention_ms,
            None,
            tells_missing_group(request.version),
        )
        # It is decided here and now, so that what follows on this connection need not wait for the replicas.
        done = self._context.groups.submit(command.group_id, lambda shard, *now: shard.commit(command, *now))
        reply = request.connection.defer(hold=False)
        done.add_done_callback(partial(_send, request.header, topics, len(offsets), reply))
        return None


def _find(known: TopicsImage, topic: CommittedTopic, *, by_id: bool) -> _Asked:
    found = find_topic(known, topic, by_id=by_id)
    return _Asked(topic, "", 0) if found is None else _Asked(topic, found.name, len(found.partitions))


def _offsets(topics: Sequence[_Asked]) -> Iterator[NewOffset]:
    for topic, name, count in topics:
        for partition, offset, leader_epoch, metadata in topic.partitions:
            if 0 <= partition < count:
                yield NewOffset(name, partition, offset, leader_epoch, metadata or "")


def _send(
    header: RequestHeader,
    topics: Sequence[_Asked],
    count: int,
    reply: Reply,
    done: asyncio.Future[tuple[ErrorCode, ...]],
) -> None:
    try:
        codes = done.result()
    except KafkaError as error:
        codes = (error.code,) * count
    reply.send([_answer(header, topics, codes)])


def _answer(header: RequestHeader, topics: Sequence[_Asked], codes: Sequence[ErrorCode]) -> bytes:
    """`codes` are of the partitions that are there, in their order."""
    unknown = why_unknown(by_id=names_topics_by_id(header.api_version))
    remaining = iter(codes)
    answered = []
    for topic, _, count in topics:
        missing = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if count else unknown
        partitions = [
            (each.partition, next(remaining) if 0 <= each.partition < count else missing)
            for each in topic.partitions
        ]
        answered.append((topic.name, topic.topic_id, partitions))
    return encode_offset_commit_response(header.api_version, header.correlation_id, answered)
