"""Produce (key 0): append batches to the partitions that this broker leads.

Versions 3-11. acks=0 gets no answer, yet keeps its place in the order; where its append fails the
connection is closed, since there is no other way to tell. acks=-1 (all) is answered when every in-sync
replica has the records, without holding back the requests behind it. Answers keep the order of the
requests.
"""

from __future__ import annotations

from collections.abc import Sequence

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.produce import (
    ProducePartition,
    ProduceRequest,
    ProduceResult,
    decode_produce_request,
    encode_produce_response,
)
from kraft.broker.connection import Reply
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.leader_hints import endpoints_of_hints, leader_hint
from kraft.broker.outgoing import Segment
from logstore.storage import StorageError
from metadata.image import INTERNAL_TOPICS
from replication.partition import Partition

_NO_OFFSET = -1


class ProduceHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._replicas = context.replicas

    def __call__(self, request: Request) -> Sequence[Segment] | None:
        produce = decode_produce_request(request.version, request.body)
        if produce.acks not in (-1, 0, 1):
            return self._answer(request, _refuse_all(produce, ErrorCode.INVALID_REQUIRED_ACKS))
        context = self._context
        now = context.clock.monotonic()
        now_ms = context.clock.wall_ms()
        waiting = _Waiting(self, request, now + produce.timeout_ms / 1000) if produce.acks == -1 else None
        results = [self._append(part, produce.acks, now, now_ms, waiting) for part in produce.partitions]
        context.stalls.measured(now, context.clock.monotonic())
        if waiting is not None and waiting.begin(results):
            return None
        if produce.acks == 0:
            if any(result.error_code for result in results):
                request.connection.close()
            return None
        return self._answer(request, results)

    def _append(
        self, part: ProducePartition, acks: int, now: float, now_ms: int, waiting: _Waiting | None
    ) -> ProduceResult:
        try:
            partition = self._partition(part)
            appended = partition.append(part.records or b"", acks, now, now_ms)
        except KafkaError as error:
            return self.failed(part.topic, part.partition, error.code, error.message)
        except StorageError as error:
            self._context.on_storage_failure(error)
            return self.failed(part.topic, part.partition, ErrorCode.KAFKA_STORAGE_ERROR, None)
        if waiting is not None:
            waiting.on(partition, appended.last_offset + 1)
        return ProduceResult(
            part.topic,
            part.partition,
            0,
            appended.first_offset,
            appended.log_append_time_ms,
            appended.log_start_offset,
            None,
            None,
        )

    def _partition(self, part: ProducePartition) -> Partition:
        if part.topic in INTERNAL_TOPICS:
            # They are their coordinators' state; nobody else writes there.
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION)
        return self._replicas.find(part.topic, part.partition)

    def failed(self, topic: str, partition: int, code: ErrorCode, message: str | None) -> ProduceResult:
        """The result of a partition that was refused, with the leader's address where that is the reason."""
        hint = leader_hint(self._context.metadata.image, topic, partition, code)
        return ProduceResult(
            topic, partition, code, _NO_OFFSET, _NO_OFFSET, _NO_OFFSET, message or None, hint
        )

    def _answer(self, request: Request, results: Sequence[ProduceResult]) -> list[Segment]:
        header = request.header
        return self.encode(request.connection.listener, header.api_version, header.correlation_id, results)

    def encode(
        self, listener: str, version: int, correlation_id: int, results: Sequence[ProduceResult]
    ) -> list[Segment]:
        """The response frame, for a client of this listener."""
        hints = [result.leader for result in results if result.leader is not None]
        endpoints = endpoints_of_hints(self._context.metadata.image, listener, hints) if hints else ()
        return [encode_produce_response(version, correlation_id, results, endpoints=endpoints)]


class _Waiting:
    """One acks=all request on its way, answered when its last partition is (see `Acknowledgement`)."""

    __slots__ = (
        "_connection",
        "_correlation_id",
        "_deadline",
        "_handler",
        "_left",
        "_reply",
        "_results",
        "_version",
    )

    def __init__(self, handler: ProduceHandler, request: Request, deadline: float) -> None:
        self._handler = handler
        self._connection = request.connection
        self._version = request.version
        self._correlation_id = request.header.correlation_id
        self._deadline = deadline
        self._left = 0
        self._reply: Reply | None = None
        self._results: list[ProduceResult] = []

    def on(self, partition: Partition, next_offset: int) -> None:
        """Wait for everything below `next_offset`, unless it is committed already."""
        if not partition.await_commit(next_offset, self._deadline, self):
            self._left += 1

    def begin(self, results: list[ProduceResult]) -> bool:
        """True if the answer comes later."""
        if not self._left:
            return False
        self._results = results
        self._reply = self._connection.defer(hold=False)
        return True

    def acknowledged(self, partition: Partition, error: ErrorCode) -> None:
        self._left -= 1
        if error:
            for position, result in enumerate(self._results):
                if result.topic == partition.topic and result.partition == partition.index:
                    self._results[position] = self._handler.failed(
                        partition.topic, partition.index, error, None
                    )
        if not self._left and self._reply is not None:
            listener = self._connection.listener
            self._reply.send(
                self._handler.encode(listener, self._version, self._correlation_id, self._results)
            )


def _refuse_all(produce: ProduceRequest, code: ErrorCode) -> list[ProduceResult]:
    return [
        ProduceResult(part.topic, part.partition, code, _NO_OFFSET, _NO_OFFSET, _NO_OFFSET, None, None)
        for part in produce.partitions
    ]
