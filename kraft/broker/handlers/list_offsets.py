"""ListOffsets (key 2): where a partition begins and ends, and what offset a time has. Versions 1-11.

Timestamps below zero ask for positions: -1 the end, -2 the start, -3 the record with the largest timestamp
(KIP-734), -4 the local start and -5 the end of tiered storage (KIP-405): without tiers the start, and
nothing. UNSUPPORTED_VERSION answers a position that the request's version does not know, INVALID_REQUEST a
partition that it names more than once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import response_class
from kafkawire.offset_positions import (
    EARLIEST,
    EARLIEST_LOCAL,
    EARLIEST_PENDING_UPLOAD,
    LATEST,
    LATEST_TIERED,
    MAX_TIMESTAMP,
    known_code,
    means_something,
)
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.handlers.fetch import READ_COMMITTED
from replication.partition import Partition

_UNKNOWN = -1


class _Found(NamedTuple):
    timestamp: int
    offset: int
    epoch: int


_NOTHING = _Found(_UNKNOWN, _UNKNOWN, _UNKNOWN)


class ListOffsetsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.LIST_OFFSETS)

    def __call__(self, request: Request, message: Any) -> Any:
        read_committed = message.isolation_level == READ_COMMITTED
        make = self._response.ListOffsetsTopicResponse
        topics: dict[str, dict[int, Any]] = {}
        for topic in message.topics:
            partitions = topics.setdefault(topic.name, {})
            for asked in topic.partitions:
                index = asked.partition_index
                partitions[index] = (
                    self._partition(make, index, ErrorCode.INVALID_REQUEST, _NOTHING)
                    if index in partitions
                    else self._answer(make, request, topic.name, asked, read_committed)
                )
        return self._response(
            throttle_time_ms=0,
            topics=[make(name=name, partitions=list(told.values())) for name, told in topics.items()],
        )

    def _answer(self, make: Any, request: Request, topic: str, asked: Any, read_committed: bool) -> Any:
        code = ErrorCode.NONE
        found = _NOTHING
        try:
            _check(request.version, asked.timestamp)
            partition = self._context.replicas.find(topic, asked.partition_index)
            found = _find(partition, asked.timestamp, asked.current_leader_epoch, read_committed)
            request.connection.position_told(partition.key)
        except KafkaError as error:
            code = known_code(request.version, error.code)
        return self._partition(make, asked.partition_index, code, found)

    @staticmethod
    def _partition(make: Any, index: int, code: ErrorCode, found: _Found) -> Any:
        return make.ListOffsetsPartitionResponse(
            partition_index=index,
            error_code=code,
            timestamp=found.timestamp,
            offset=found.offset,
            leader_epoch=found.epoch,
        )


def _check(version: int, timestamp: int) -> None:
    if not means_something(version, timestamp):
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION)


def _find(partition: Partition, timestamp: int, claimed_epoch: int, read_committed: bool) -> _Found:
    partition.check_epoch(claimed_epoch)
    leader = partition.leads()
    log = partition.log
    if timestamp == LATEST:
        end = partition.latest_offset(read_committed=read_committed)
        return _Found(_UNKNOWN, end, leader.epoch)
    if timestamp in (EARLIEST, EARLIEST_LOCAL):
        return _Found(_UNKNOWN, log.start_offset, log.epoch_at(log.start_offset))
    if timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
        return _NOTHING
    end = partition.latest_offset(read_committed=read_committed)
    found = (
        log.max_timestamp(end) if timestamp == MAX_TIMESTAMP else log.offset_for_time(timestamp, up_to=end)
    )
    return _NOTHING if found is None else _Found(found.timestamp, found.offset, found.epoch)
