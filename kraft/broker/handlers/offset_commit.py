"""OffsetCommit (key 8): note how far a group has come. Versions 2-10, by topic id in version 10.

The answer leaves when every in-sync replica of the coordinator's partition has it. Topics that do not exist
are refused one by one.
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
from kraft.broker.handlers.topic_names import name_of, why_unknown
from kraft.broker.outgoing import Segment
from kraft.coordinator.group.commands import CommitOffsets, NewOffset


class _Named(NamedTuple):
    """A topic of the request, and its name if it is there."""

    topic: CommittedTopic
    name: str | None


class OffsetCommitHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context

    def __call__(self, request: Request) -> Sequence[Segment] | None:
        asked = decode_offset_commit_request(request.version, request.body)
        by_id = names_topics_by_id(request.version)
        known = self._context.metadata.image.topics
        named = [_Named(topic, name_of(known, topic, by_id=by_id)) for topic in asked.topics]
        offsets = tuple(_offsets(named))
        if not offsets:
            return [_answer(request.header, named, ())]
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
        done.add_done_callback(partial(_send, request.header, named, len(offsets), reply))
        return None


def _offsets(named: Sequence[_Named]) -> Iterator[NewOffset]:
    for topic, name in named:
        if name is not None:
            for partition, offset, leader_epoch, metadata in topic.partitions:
                yield NewOffset(name, partition, offset, leader_epoch, metadata or "")


def _send(
    header: RequestHeader,
    named: Sequence[_Named],
    count: int,
    reply: Reply,
    done: asyncio.Future[tuple[ErrorCode, ...]],
) -> None:
    try:
        codes = done.result()
    except KafkaError as error:
        codes = (error.code,) * count
    reply.send([_answer(header, named, codes)])


def _answer(header: RequestHeader, named: Sequence[_Named], codes: Sequence[ErrorCode]) -> bytes:
    """`codes` are of the partitions of topics that are there, in their order."""
    unknown = why_unknown(by_id=names_topics_by_id(header.api_version))
    remaining = iter(codes)
    topics = [
        (
            topic.name,
            topic.topic_id,
            [(each.partition, unknown if name is None else next(remaining)) for each in topic.partitions],
        )
        for topic, name in named
    ]
    return encode_offset_commit_response(header.api_version, header.correlation_id, topics)
