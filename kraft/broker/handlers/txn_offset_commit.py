"""TxnOffsetCommit (key 28): offsets of a group that count once the producer's transaction is committed.
Versions 0-5.

Asked of the group's coordinator, which asks the transaction's whether the offsets were added to it; from
version 5 on it has them added (KIP-890).
"""

from __future__ import annotations

from typing import Any, Final

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kafkawire.transaction_messages import (
    abortable_offset_commit,
    known_offset_commit_code,
    offset_commit_adds_offsets,
)
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.decision import Producer
from kraft.coordinator.group.commands import CommitOffsets, NewOffset
from kraft.coordinator.transaction.offsets import CONSUMER_OFFSETS

_UNREACHED: Final = frozenset(
    {ErrorCode.NETWORK_EXCEPTION, ErrorCode.NOT_COORDINATOR, ErrorCode.CONCURRENT_TRANSACTIONS}
)
"""Where the transaction's coordinator was not reached, or is not ready for the next one: clients are to
repeat the request, and not to look for another coordinator of the group."""


class TxnOffsetCommitHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.TXN_OFFSET_COMMIT)

    async def __call__(self, request: Request, message: Any) -> Any:
        known = self._context.metadata.image.topics
        offsets = tuple(
            NewOffset(
                topic.name,
                part.partition_index,
                part.committed_offset,
                part.committed_leader_epoch,
                part.committed_metadata or "",
            )
            for topic in message.topics
            for part in topic.partitions
            if known.partition(topic.name, part.partition_index) is not None
        )
        try:
            codes = iter(await self._commit(request, message, offsets) if offsets else ())
        except KafkaError as error:
            codes = iter((known_offset_commit_code(request.version, error.code),) * len(offsets))
        make = self._response.TxnOffsetCommitResponseTopic
        topics = []
        for topic in message.topics:
            partitions = [
                make.TxnOffsetCommitResponsePartition(
                    partition_index=part.partition_index,
                    error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                    if known.partition(topic.name, part.partition_index) is None
                    else next(codes),
                )
                for part in topic.partitions
            ]
            topics.append(make(name=topic.name, partitions=partitions))
        return self._response(throttle_time_ms=0, topics=topics)

    async def _commit(
        self, request: Request, message: Any, offsets: tuple[NewOffset, ...]
    ) -> tuple[ErrorCode, ...]:
        if not message.transactional_id:
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        if not message.group_id:
            raise KafkaError(ErrorCode.INVALID_GROUP_ID)
        producer = Producer(message.producer_id, message.producer_epoch)
        command = CommitOffsets(
            message.group_id,
            offsets,
            message.generation_id,
            message.member_id,
            message.group_instance_id,
            producer=producer,
            tells_missing_group=False,
        )
        await self._verify(request, message, producer)
        # No await in between: what was verified is written before a marker can come.
        return await self._context.groups.submit(
            command.group_id, lambda shard, *now: shard.commit(command, *now)
        )

    async def _verify(self, request: Request, message: Any, producer: Producer) -> None:
        index = self._context.groups.partition_of(message.group_id)
        partition = self._context.replicas.get(CONSUMER_OFFSETS, index)
        if partition is None:
            raise KafkaError(ErrorCode.NOT_COORDINATOR)
        verification = self._context.transactions.verification
        question = verification.question(partition, producer)
        if question is None:
            return
        try:
            if offset_commit_adds_offsets(request.version):
                refused = await verification.add(message.transactional_id, [question])
            else:
                refused = await verification.ask(message.transactional_id, [question])
        finally:
            verification.settle([question])
        for code in refused.values():
            if code is ErrorCode.TRANSACTION_ABORTABLE:
                raise KafkaError(abortable_offset_commit(request.version))
            raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS if code in _UNREACHED else code)
