"""DeleteRecords (key 21): let a partition start later. Versions 0-2 (KIP-107).

The answer leaves when every live replica starts there, or when the time that the client gives is over.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.timeouts import request_timeout
from metadata.controller.topic_names import check_not_internal
from replication.log_starts import delete_records, low_watermark
from replication.partition import Partition

LOOK_INTERVAL = 0.5
"""Seconds between two looks, since nobody tells that a replica is not to be waited for any more."""
_UNKNOWN = -1


class _Deletion(msgspec.Struct):
    """What becomes of one partition. `partition` is None when nothing is to be waited for."""

    topic: str
    index: int
    error: ErrorCode = ErrorCode.NONE
    low_watermark: int = _UNKNOWN
    wanted: int = _UNKNOWN
    partition: Partition | None = None

    def look(self) -> bool:
        """See how far the replicas are; True when there is nothing left to wait for."""
        if self.partition is None:
            return True
        try:
            self.low_watermark = low_watermark(self.partition)
        except KafkaError as error:
            self.error, self.low_watermark, self.partition = error.code, _UNKNOWN, None
            return True
        return self.low_watermark >= self.wanted


class _Waiting:
    """A request that waits for replicas; woken by the partitions (see `Watcher`)."""

    def __init__(self, deletions: list[_Deletion]) -> None:
        self._deletions = deletions
        self._news = asyncio.Event()

    def notify(self, partition: Partition) -> None:
        """See `Watcher`."""
        self._news.set()

    async def wait(self, timeout: float) -> None:
        """Return when all replicas have followed; what has not after `timeout` seconds gets
        REQUEST_TIMED_OUT."""
        watched = [each.partition for each in self._deletions if each.partition is not None]
        for partition in watched:
            partition.watchers[self] = None
        try:
            async with asyncio.timeout(timeout):
                while self._behind():
                    self._news.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_INTERVAL):
                            await self._news.wait()
        except TimeoutError:
            for each in self._behind():
                each.error = ErrorCode.REQUEST_TIMED_OUT
        finally:
            for partition in watched:
                partition.watchers.pop(self, None)

    def _behind(self) -> list[_Deletion]:
        return [each for each in self._deletions if not each.look()]


class DeleteRecordsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.DELETE_RECORDS)

    def __call__(self, request: Request, message: Any) -> Any:
        # As in Kafka the last offset counts that is named for a partition.
        offsets = {
            (topic.name, asked.partition_index): asked.offset
            for topic in message.topics
            for asked in topic.partitions
        }
        deletions = [self._delete(*place, offset) for place, offset in offsets.items()]
        if [each for each in deletions if not each.look()]:
            return self._answer_later(deletions, request_timeout(message.timeout_ms))
        return self._answer(deletions)

    async def _answer_later(self, deletions: list[_Deletion], timeout: float) -> Any:
        await _Waiting(deletions).wait(timeout)
        return self._answer(deletions)

    def _delete(self, topic: str, index: int, offset: int) -> _Deletion:
        try:
            partition = self._context.replicas.find(topic, index)
            check_not_internal(topic)
            wanted = delete_records(partition, offset)
        except KafkaError as error:
            return _Deletion(topic, index, error.code)
        return _Deletion(topic, index, wanted=wanted, partition=partition)

    def _answer(self, deletions: list[_Deletion]) -> Any:
        make = self._response.DeleteRecordsTopicResult
        topics: dict[str, list[Any]] = {}
        for each in deletions:
            topics.setdefault(each.topic, []).append(
                make.DeleteRecordsPartitionResult(
                    partition_index=each.index, low_watermark=each.low_watermark, error_code=each.error
                )
            )
        return self._response(
            throttle_time_ms=0,
            topics=[make(name=name, partitions=partitions) for name, partitions in topics.items()],
        )
