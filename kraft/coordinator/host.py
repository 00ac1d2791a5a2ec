"""One shard at work: decisions become one batch per turn of the event loop, replies leave when it is
committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import BATCH_OVERHEAD, NewRecord, build_batch, build_control_batch
from kraft.clock import Clock
from kraft.coordinator.decision import (
    NO_PRODUCER_ID,
    Answer,
    Decision,
    LogRecord,
    Producer,
    Shard,
    Ticket,
    TransactionMarker,
    size_of,
)
from logstore.log import Origin
from logstore.storage import StorageError
from replication.partition import Partition

S = TypeVar("S", bound=Shard)
R = TypeVar("R")

_TRANSLATIONS: Final = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.REQUEST_TIMED_OUT: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: ErrorCode.NOT_COORDINATOR,
    ErrorCode.KAFKA_STORAGE_ERROR: ErrorCode.NOT_COORDINATOR,
    ErrorCode.MESSAGE_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.RECORD_LIST_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
}


def as_coordinator(code: ErrorCode) -> ErrorCode:
    """What a partition's error means to a coordinator's client
    (`CoordinatorOperationExceptionHelper.handleOperationException`)."""
    return _TRANSLATIONS.get(code, code)


class _Replies:
    """Replies that wait for the same high watermark; an `Acknowledgement`."""

    __slots__ = ("open", "waiting")

    def __init__(self) -> None:
        self.open = True
        self.waiting: list[tuple[asyncio.Future[Any], Any]] = []

    def acknowledged(self, partition: Partition, error: ErrorCode) -> None:  # noqa: ARG002 - see the protocol
        self.open = False
        if error is ErrorCode.NONE:
            for future, reply in self.waiting:
                resolve(future, reply)
        else:
            self.fail(KafkaError(as_coordinator(error)))

    def fail(self, error: KafkaError) -> None:
        self.open = False
        for future, _ in self.waiting:
            resolve(future, error)


def resolve(future: asyncio.Future[Any], reply: Any) -> None:
    """Give `future` its reply, or the KafkaError to raise, unless nobody waits for it any more."""
    if future.done():
        return
    if isinstance(reply, KafkaError):
        future.set_exception(reply)
        future.exception()  # whoever asked may have gone; that is no mistake to be logged
    else:
        future.set_result(reply)


def room_in(partition: Partition) -> int:
    """Bytes of records that one batch can have there; `size_of` says what records take."""
    config = partition.log.config
    return min(config.max_message_bytes, config.segment_bytes) - BATCH_OVERHEAD


class Host(Generic[S]):
    """Keeps `shard`, which holds what the log of `partition` holds under leader epoch `epoch`.

    `on_failed` is called once when an append failed: the shard is ahead of its log then and worth nothing.
    """

    def __init__(
        self,
        shard: S,
        partition: Partition,
        clock: Clock,
        commit_timeout: float,
        on_failed: Callable[[Host[S], KafkaError | StorageError], None],
    ) -> None:
        self.shard = shard
        self.partition = partition
        self.epoch = partition.leader_epoch
        self.rests_until = 0.0
        self._clock = clock
        self._commit_timeout = commit_timeout
        self._on_failed = on_failed
        self._end = partition.log.end_offset
        self._records: list[NewRecord] = []
        self._size = BATCH_OVERHEAD
        self._replies = _Replies()
        self._replies.open = False
        self._tickets: dict[Ticket, asyncio.Future[Any]] = {}
        self._gone: KafkaError | None = None

    # -- commands ---------------------------------------------------------------------------------

    def submit(self, decide: Callable[[S, float, int], Decision[R]]) -> asyncio.Future[R]:
        """See `CoordinatorRuntime.submit`."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        try:
            self._check()
        except KafkaError as error:
            resolve(future, KafkaError(as_coordinator(error.code)))
            return future
        now_ms = self._clock.wall_ms()
        try:
            decision = decide(self.shard, self._clock.monotonic(), now_ms)
        except KafkaError as error:
            self._release(future, error)
            return future
        self.apply(decision, future, now_ms)
        return future

    def observe(self, read: Callable[[S, float, int], R]) -> asyncio.Future[R]:
        """See `CoordinatorRuntime.observe`."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        reply: R | KafkaError
        try:
            reply = read(self.shard, self._clock.monotonic(), self._clock.wall_ms())
        except KafkaError as error:
            reply = error
        self._release(future, reply)
        return future

    def is_settled(self) -> bool:
        """Whether everything that the shard holds is committed: what it says may be told at once."""
        return self._gone is None and not self._records and self.partition.high_watermark >= self._end

    def apply(self, decision: Decision[R], future: asyncio.Future[R], now_ms: int) -> None:
        """Write what was decided, and let the reply go to `future` when that is committed."""
        if decision.records:
            try:
                self._write(decision.records, decision.producer, now_ms)
            except KafkaError as error:
                refused = KafkaError(as_coordinator(error.code), error.message)
                resolve(future, refused)
                for answer in decision.answers:
                    self._answer(Answer(answer.ticket, refused))
                return
        if isinstance(decision.reply, Ticket):
            self._tickets[decision.reply] = future
        else:
            self._release(future, decision.reply)
        for answer in decision.answers:
            self._answer(answer)
        if decision.producer is not None:
            self.flush()

    def complete(self, marker: TransactionMarker) -> asyncio.Future[None]:
        """See `CoordinatorRuntime.complete`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.flush()
        now_ms = self._clock.wall_ms()
        batch = build_control_batch(
            marker.kind,
            timestamp=now_ms,
            producer_id=marker.producer_id,
            producer_epoch=marker.producer_epoch,
            coordinator_epoch=marker.coordinator_epoch,
        )
        try:
            self._check()
            self._append(batch, now_ms)
        except KafkaError as error:
            # Nothing was replayed yet, so that a refusal does no harm to the shard.
            resolve(future, error)
            return future
        except StorageError as failure:
            self.fail(failure)
            resolve(future, KafkaError(ErrorCode.NOT_COORDINATOR))
            return future
        self._end += 1
        self.shard.replay_marker(marker)
        # Not with the replies of the batch before it: those leave when that is committed.
        self._await_alone(future, None)
        return future

    def tick(self, committed: Callable[[Any], None]) -> None:
        """Let the shard act on the time; `committed` gets each reply of it that is not None.

        Raises KafkaError while nothing can be written.
        """
        self._check()
        now_ms = self._clock.wall_ms()

        def done(future: asyncio.Future[Any]) -> None:
            if not future.cancelled() and future.exception() is None and future.result() is not None:
                committed(future.result())

        for decision in self.shard.tick(self._clock.monotonic(), now_ms):
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.add_done_callback(done)
            self.apply(decision, future, now_ms)
            if self._gone is not None:
                return

    def _check(self) -> None:
        if self._gone is not None:
            raise self._gone
        self.partition.check_append(-1)

    # -- records ----------------------------------------------------------------------------------

    def _write(self, written: tuple[LogRecord, ...], producer: Producer | None, now_ms: int) -> None:
        size, room = size_of(written), room_in(self.partition)
        if size > room:
            raise KafkaError(
                ErrorCode.MESSAGE_TOO_LARGE, f"a decision of {size} bytes, {room} fit into a batch"
            )
        if producer is not None or self._size + size > room:
            self.flush()
            if self._gone is not None:
                raise self._gone
        if not self._records:
            self._replies = _Replies()
            asyncio.get_running_loop().call_soon(self.flush)
        self._size += size
        self._producer = producer
        producer_id, producer_epoch = NO_PRODUCER_ID, -1
        if producer is not None:
            producer_id, producer_epoch = producer.producer_id, producer.producer_epoch
        for each in written:
            timestamp = each.timestamp_ms if each.timestamp_ms >= 0 else now_ms
            self._records.append((timestamp, each.key, each.value))
            offset, self._end = self._end, self._end + 1
            transactional = producer is not None
            self.shard.replay(
                LogRecord(each.key, each.value, timestamp, offset, producer_id, producer_epoch, transactional)
            )

    _producer: Producer | None = None

    def flush(self) -> None:
        """Append what was decided in this turn of the loop as one batch."""
        if not self._records:
            return
        written, self._records, self._size = self._records, [], BATCH_OVERHEAD
        producer, self._producer = self._producer, None
        if producer is None:
            batch = build_batch(written)
        else:
            batch = build_batch(
                written,
                producer_id=producer.producer_id,
                producer_epoch=producer.producer_epoch,
                base_sequence=0,
                transactional=True,
            )
        replies = self._replies
        try:
            first_offset = self._append(batch, self._clock.wall_ms())
        except (KafkaError, StorageError) as failure:
            self.fail(failure)
            return
        if first_offset + len(written) != self._end:
            # The shard does not know its log any more; another one reads all of it.
            self.fail(KafkaError(ErrorCode.NOT_COORDINATOR, "somebody else wrote to the partition"))
            return
        self._await(replies)

    def _append(self, batch: bytes, now_ms: int) -> int:
        now = self._clock.monotonic()
        return self.partition.append(batch, -1, now, now_ms, Origin.COORDINATOR).first_offset

    # -- replies ----------------------------------------------------------------------------------

    def _answer(self, answer: Answer) -> None:
        future = self._tickets.pop(answer.ticket, None)
        if future is not None:
            self._release(future, answer.reply)

    def _release(self, future: asyncio.Future[Any], reply: Any) -> None:
        """Let a reply leave once everything before it is committed."""
        if self._gone is not None:
            resolve(future, self._gone)
        elif self.is_settled():
            resolve(future, reply)
        elif self._replies.open:
            self._replies.waiting.append((future, reply))
        else:
            self._await_alone(future, reply)

    def _await_alone(self, future: asyncio.Future[Any], reply: Any) -> None:
        self._replies = _Replies()
        self._replies.waiting.append((future, reply))
        self._await(self._replies)

    def _await(self, replies: _Replies) -> None:
        deadline = self._clock.monotonic() + self._commit_timeout
        if self.partition.await_commit(self._end, deadline, replies):
            replies.acknowledged(self.partition, ErrorCode.NONE)

    def fail(self, failure: KafkaError | StorageError) -> None:
        """An append failed: nobody gets the reply that was meant for them."""
        if self._gone is None:
            self._on_failed(self, failure)

    def leave(self) -> None:
        """The shard is given up: whoever waits is told NOT_COORDINATOR and looks for the next one."""
        self._gone = gone = KafkaError(ErrorCode.NOT_COORDINATOR)
        self._records = []
        if self._replies.open:
            self._replies.fail(gone)
        for future in self._tickets.values():
            resolve(future, gone)
        self._tickets.clear()
