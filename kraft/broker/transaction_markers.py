"""Transaction markers between brokers: from the coordinator to whoever leads the partitions, and into their
logs (Kafka's WriteTxnMarkers).

The value of a call is a list of [producer id, epoch, kind, coordinator epoch, [[topic, [partition]]],
whether the epoch is the marker's own], its answer one list of error codes for each, in the order of the
partitions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import ControlType, build_control_batch
from kraft.broker.neighbours import Neighbours
from kraft.clock import Clock
from kraft.coordinator.decision import Producer, TransactionMarker
from kraft.coordinator.transaction.coordinator import TOPIC as TRANSACTION_STATE
from kraft.coordinator.transaction.formats import by_topic
from kraft.coordinator.transaction.marker_queue import Marker
from kraft.coordinator.transaction.offsets import CONSUMER_OFFSETS, TransactionalOffsets
from kraft.transport.errors import PeerError
from kraft.transport.link import Link
from kraft.transport.messages import Reply
from logstore.log import Origin
from logstore.storage import StorageError
from replication.leader import Leader
from replication.partition import Partition
from replication.replicas import Replicas

WRITE_MARKERS: Final = "transactions.write_markers"

COMMIT_TIMEOUT: Final = 5.0
"""Seconds that a marker may take until every in-sync replica has it; then it is sent again."""
CALL_TIMEOUT: Final = 2 * COMMIT_TIMEOUT


_NOT_READY: Final = frozenset(
    {
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
    }
)
"""Whoever writes markers looks for the leader of a partition, and knows of no coordinator behind it."""


class _Written:
    """A marker that waits for the in-sync replicas; an `Acknowledgement`."""

    __slots__ = ("code",)

    def __init__(self) -> None:
        self.code: asyncio.Future[ErrorCode] = asyncio.get_running_loop().create_future()

    def acknowledged(self, partition: Partition, error: ErrorCode) -> None:  # noqa: ARG002 - the protocol's
        if not self.code.done():
            self.code.set_result(error)


class MarkerWriter:
    """Writes markers into the partitions that this broker leads. Those of committed offsets go through the
    group coordinator, which has to know what becomes of them."""

    def __init__(
        self,
        replicas: Replicas,
        offsets: TransactionalOffsets,
        clock: Clock,
        on_storage_failure: Callable[[BaseException], None],
    ) -> None:
        self._replicas = replicas
        self._offsets = offsets
        self._clock = clock
        self._on_storage_failure = on_storage_failure

    async def handle(self, _: Link, value: Any) -> Reply:
        """Answer WRITE_MARKERS."""
        answers = await self.write([_decode(each) for each in value])
        return Reply([[int(code) for code in codes] for codes in answers])

    async def write(self, markers: Sequence[Marker]) -> list[list[ErrorCode]]:
        """Write all of them; returns when each is committed or refused."""
        # First all appends, so that the replicas fetch them together, then the waiting.
        pending = [
            [self._write(marker, topic, index) for topic, index in marker.partitions] for marker in markers
        ]
        return [[await code for code in codes] for codes in pending]

    def _write(self, marker: Marker, topic: str, index: int) -> asyncio.Future[ErrorCode]:
        told = marker.bumped and self._was_told(marker, topic, index)
        written = _Written()
        try:
            partition = self._find(topic, index)
            if topic == CONSUMER_OFFSETS and not told:
                return _code_of(self._offsets.complete(index, _for_offsets(marker)))
            end = partition.log.end_offset if told else self._append(partition, marker)
        except KafkaError as error:
            written.code.set_result(error.code)
        except StorageError as failure:
            self._on_storage_failure(failure)
            written.code.set_result(ErrorCode.KAFKA_STORAGE_ERROR)
        else:
            if partition.await_commit(end, self._clock.monotonic() + COMMIT_TIMEOUT, written):
                written.code.set_result(ErrorCode.NONE)
        return written.code

    def _find(self, topic: str, index: int) -> Partition:
        """The partition to write to; not one of the states of transactions, of which their coordinator has to
        know every offset."""
        if topic == TRANSACTION_STATE:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION)
        return self._replicas.find(topic, index)

    def _was_told(self, marker: Marker, topic: str, index: int) -> bool:
        """Whether a marker with an epoch of its own comes again. By now it might end the next transaction,
        which has that epoch (KIP-890, second part); it counts when what is in the log is committed."""
        partition = self._replicas.get(topic, index)
        if partition is None or not isinstance(partition.role, Leader):
            return False
        state = partition.log.producers.get(marker.producer.producer_id)
        return state is not None and state.epoch == marker.producer.producer_epoch

    def _append(self, partition: Partition, marker: Marker) -> int:
        now_ms = self._clock.wall_ms()
        batch = build_control_batch(
            marker.kind,
            timestamp=now_ms,
            producer_id=marker.producer.producer_id,
            producer_epoch=marker.producer.producer_epoch,
            coordinator_epoch=marker.coordinator_epoch,
        )
        return (
            partition.append(batch, -1, self._clock.monotonic(), now_ms, Origin.COORDINATOR).last_offset + 1
        )


class MarkerChannel:
    """Sends markers to any broker, this one included; see `SendMarkers`."""

    def __init__(self, local_id: int, writer: MarkerWriter, neighbours: Neighbours) -> None:
        self._local_id = local_id
        self._writer = writer
        self._neighbours = neighbours

    async def send(self, broker: int, markers: Sequence[Marker]) -> Sequence[Sequence[ErrorCode]]:
        """One list of codes for each marker. Raises KafkaError NETWORK_EXCEPTION, or what the other broker
        says."""
        if broker == self._local_id:
            return await self._writer.write(markers)
        peer = self._neighbours.peer(broker)
        if peer is None:
            raise KafkaError(ErrorCode.NETWORK_EXCEPTION, f"broker {broker} is not registered")
        try:
            response = await peer.call(
                WRITE_MARKERS, [_encode(each) for each in markers], timeout=CALL_TIMEOUT
            )
        except PeerError as error:
            raise KafkaError(ErrorCode.NETWORK_EXCEPTION, str(error)) from error
        return [[ErrorCode(code) for code in codes] for codes in response.value]


def _encode(marker: Marker) -> list[Any]:
    return [
        marker.producer.producer_id,
        marker.producer.producer_epoch,
        int(marker.kind),
        marker.coordinator_epoch,
        [[topic, indexes] for topic, indexes in by_topic(marker.partitions).items()],
        marker.bumped,
    ]


def _decode(value: Any) -> Marker:
    producer_id, epoch, kind, coordinator_epoch, topics, bumped = value
    partitions = tuple((topic, index) for topic, indexes in topics for index in indexes)
    return Marker(Producer(producer_id, epoch), ControlType(kind), coordinator_epoch, partitions, bumped)


def _for_offsets(marker: Marker) -> TransactionMarker:
    producer = marker.producer
    return TransactionMarker(
        marker.kind, producer.producer_id, producer.producer_epoch, marker.coordinator_epoch
    )


def _code_of(future: asyncio.Future[None]) -> asyncio.Future[ErrorCode]:
    code: asyncio.Future[ErrorCode] = asyncio.get_running_loop().create_future()

    def settled(done: asyncio.Future[None]) -> None:
        error = done.exception()
        if code.done():
            return
        if error is None:
            code.set_result(ErrorCode.NONE)
        elif isinstance(error, KafkaError):
            not_ready = error.code in _NOT_READY
            code.set_result(ErrorCode.NOT_LEADER_OR_FOLLOWER if not_ready else error.code)
        else:
            code.set_exception(error)

    future.add_done_callback(settled)
    return code
