"""Markers among committed offsets, whose coordinator is not always ready for them."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import ControlType
from kraft.broker.transaction_markers import MarkerWriter
from kraft.clock import Clock
from kraft.coordinator.decision import Producer, TransactionMarker
from kraft.coordinator.transaction.marker_queue import Marker
from kraft.coordinator.transaction.offsets import CONSUMER_OFFSETS
from replication.replicas import Replicas


class Here:
    """Every partition is."""

    def find(self, topic: str, index: int) -> Any:
        return (topic, index)


class Refusing:
    """A group coordinator that refuses each marker."""

    def __init__(self, code: ErrorCode) -> None:
        self._code = code

    def partition_of(self, group_id: str) -> int:
        raise NotImplementedError(group_id)

    def complete(self, index: int, marker: TransactionMarker) -> asyncio.Future[None]:
        del index, marker
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(KafkaError(self._code))
        return future


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (ErrorCode.NOT_COORDINATOR, ErrorCode.NOT_LEADER_OR_FOLLOWER),
        (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_LEADER_OR_FOLLOWER),
        (ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.NOT_LEADER_OR_FOLLOWER),
        (ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.INVALID_PRODUCER_EPOCH),
        (ErrorCode.TRANSACTION_COORDINATOR_FENCED, ErrorCode.TRANSACTION_COORDINATOR_FENCED),
    ],
)
async def test_whoever_writes_markers_is_told_of_no_coordinator(code: ErrorCode, told: ErrorCode) -> None:
    def fail(failure: BaseException) -> None:
        raise failure

    writer = MarkerWriter(cast("Replicas", Here()), Refusing(code), cast("Clock", None), fail)
    marker = Marker(Producer(9, 0), ControlType.ABORT, 0, ((CONSUMER_OFFSETS, 3),))
    assert await writer.write([marker]) == [[told]]
