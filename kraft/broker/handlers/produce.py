"""Produce (key 0): append batches to the partitions that this broker leads.

Versions 3-13, by topic id from 13 on. acks=0 gets no answer, yet keeps its place in the order; where its
append fails the connection is closed, since there is no other way to tell. acks=-1 (all) is answered when
every in-sync replica has the records, without holding back the requests behind it. Answers keep the order of
the requests.

Where a transaction would begin in a partition, its coordinator is asked first whether the partition is part
of it, and from version 12 on to make it part of it (KIP-890). That is the first request to a partition in
each transaction, and no other one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.primitives import TopicRef
from kafkawire.produce import (
    ProducePartition,
    ProduceRequest,
    ProduceResult,
    decode_produce_request,
    encode_produce_response,
    knows_zstd,
)
from kafkawire.records import is_zstd
from kafkawire.transaction_messages import abortable_produce, produce_adds_partitions
from kraft.broker.connection import Connection, Reply
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.leader_hints import LeaderHint, endpoints_of_hints, leader_hint
from kraft.broker.outgoing import Segment
from kraft.broker.transaction_verification import Question
from kraft.coordinator.transaction.states import TopicPartition
from kraft.events import Events
from logstore.storage import StorageError
from metadata.image import INTERNAL_TOPICS
from replication.partition import Partition

_NO_OFFSET = -1
_EVENTS = Events("listener")

_COORDINATOR_AWAY: Final = frozenset(
    {
        ErrorCode.CONCURRENT_TRANSACTIONS,
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
    }
)
"""The transaction could not be verified now. Not every producer knows these: NOT_ENOUGH_REPLICAS makes each
of them repeat the request."""

Uncommitted = list[tuple[Partition, int]]
"""Partitions that do not have every replica of a batch yet, and the offsets at which the batches end."""
Refused = Mapping[TopicPartition, ErrorCode]
_NONE_REFUSED: Final[Refused] = MappingProxyType({})


class ProduceHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._replicas = context.replicas
        self._verification = context.transactions.verification
        self._verifying: set[asyncio.Task[None]] = set()

    def __call__(self, request: Request) -> Sequence[Segment] | None:
        _, header, body = request
        produce = decode_produce_request(header.api_version, body)
        if produce.acks not in (-1, 0, 1):
            return self._answer(request, _refuse_all(produce, ErrorCode.INVALID_REQUIRED_ACKS))
        if produce.transactional_id is not None:
            questions = self._verification.questions(produce)
            if questions:
                self._verify_first(request, produce.transactional_id, questions)
                return None
        return self._produce(request, produce)

    def _produce(
        self,
        request: Request,
        produce: ProduceRequest,
        reply: Reply | None = None,
        refused: Refused = _NONE_REFUSED,
    ) -> Sequence[Segment] | None:
        """Append what is not refused. The answer; None if there is none, or it comes later, to `reply` if
        that is given."""
        context = self._context
        now = context.clock.monotonic()
        now_ms = context.clock.wall_ms()
        append = self._append if knows_zstd(request.header.api_version) else self._append_without_zstd
        results: list[ProduceResult] = []
        uncommitted: Uncommitted = []
        for part in produce.partitions:
            code = self._refusal(part, refused) if refused else None
            if code is None:
                results.append(append(part, produce.acks, now, now_ms, uncommitted))
            else:
                results.append(self._unverified(request, part, code))
        context.stalls.measured(now, context.clock.monotonic())
        if uncommitted:
            waiting = _Waiting(self, request, now + produce.timeout_ms / 1000)
            for partition, next_offset in uncommitted:
                waiting.on(partition, next_offset)
            if waiting.begin(results, reply):
                return None
        if produce.acks == 0:
            if any(result.error_code for result in results):
                request.connection.close()
            return () if reply is not None else None
        return self._answer(request, results)

    # -- transactions that begin ------------------------------------------------------------------

    def _verify_first(self, request: Request, transactional_id: str, questions: list[Question]) -> None:
        """Ask, and produce then. No request behind this one is begun before, so that sequences stay in
        order; the body is copied, since its buffer is used again."""
        reply = request.connection.defer(hold=True)
        kept = Request(request.connection, request.header, memoryview(bytearray(request.body)))
        task = asyncio.ensure_future(self._produce_verified(kept, transactional_id, questions, reply))
        self._verifying.add(task)
        task.add_done_callback(partial(self._verified, request.connection))

    async def _produce_verified(
        self, request: Request, transactional_id: str, questions: list[Question], reply: Reply
    ) -> None:
        try:
            if produce_adds_partitions(request.version):
                refused = await self._verification.add(transactional_id, questions)
            else:
                refused = await self._verification.ask(transactional_id, questions)
            produce = decode_produce_request(request.version, request.body)
            answer = self._produce(request, produce, reply, refused)
        finally:
            self._verification.settle(questions)
        if answer is None:
            reply.release()
        else:
            reply.send(answer)

    def _verified(self, connection: Connection, task: asyncio.Task[None]) -> None:
        self._verifying.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _EVENTS.error("request.failed", failure=error)
            connection.close()

    def _unverified(self, request: Request, part: ProducePartition, code: ErrorCode) -> ProduceResult:
        if code is ErrorCode.TRANSACTION_ABORTABLE:
            code = abortable_produce(request.version)
        elif code in _COORDINATOR_AWAY:
            code = ErrorCode.NOT_ENOUGH_REPLICAS
        return self.failed(part.topic, part.partition, code, "the transaction was not verified")

    def _refusal(self, part: ProducePartition, refused: Refused) -> ErrorCode | None:
        """Why this partition, which may be asked for by its topic's id, is refused; None if it is not."""
        partition = self._replicas.get(part.topic, part.partition)
        return None if partition is None else refused.get((partition.topic, partition.index))

    def _append(
        self, part: ProducePartition, acks: int, now: float, now_ms: int, uncommitted: Uncommitted
    ) -> ProduceResult:
        """Append one batch, and note in `uncommitted` if its commit has to be waited for."""
        try:
            partition = self._partition(part)
            appended = partition.append(part.records or b"", acks, now, now_ms)
        except KafkaError as error:
            return self.failed(part.topic, part.partition, error.code, error.message)
        except StorageError as error:
            self._context.on_storage_failure(error)
            return self.failed(part.topic, part.partition, ErrorCode.KAFKA_STORAGE_ERROR, None)
        first_offset, last_offset, append_time_ms, log_start, _ = appended
        if acks == -1 and partition.high_watermark <= last_offset:
            uncommitted.append((partition, last_offset + 1))
        result = (part.topic, part.partition, 0, first_offset, append_time_ms, log_start, None, None)
        return tuple.__new__(ProduceResult, result)

    def _append_without_zstd(
        self, part: ProducePartition, acks: int, now: float, now_ms: int, uncommitted: Uncommitted
    ) -> ProduceResult:
        """As `_append`, for versions from before there was zstd."""
        if is_zstd(part.records or b""):
            code = ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
            return self.failed(part.topic, part.partition, code, "there is no zstd in this version")
        return self._append(part, acks, now, now_ms, uncommitted)

    def _partition(self, part: ProducePartition) -> Partition:
        if part.topic in INTERNAL_TOPICS:
            # They are their coordinators' state; nobody else writes there.
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION)
        partition = self._replicas.find(part.topic, part.partition)
        if isinstance(part.topic, bytes) and partition.topic in INTERNAL_TOPICS:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION)
        return partition

    def failed(self, topic: TopicRef, partition: int, code: ErrorCode, message: str | None) -> ProduceResult:
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
        hints: list[LeaderHint] = []
        for result in results:
            if result.leader is not None:
                hints.append(result.leader)  # noqa: PERF401 - a comprehension would cost every answer a call
        endpoints = endpoints_of_hints(self._context.metadata.image, listener, hints) if hints else ()
        return [encode_produce_response(version, correlation_id, results, 0, endpoints)]


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

    def begin(self, results: list[ProduceResult], reply: Reply | None) -> bool:
        """True if the answer comes later, to `reply` if there is one."""
        if not self._left:
            return False
        self._results = results
        self._reply = reply or self._connection.defer(hold=False)
        return True

    def acknowledged(self, partition: Partition, error: ErrorCode) -> None:
        self._left -= 1
        if error:
            refs = (partition.topic, partition.key[0])
            for position, (topic, index, *_) in enumerate(self._results):
                if index == partition.index and topic in refs:
                    self._results[position] = self._handler.failed(topic, index, error, None)
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
