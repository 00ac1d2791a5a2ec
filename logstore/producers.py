"""What a partition remembers of its producers: sequences, so that no retry is a second write; transactions.

Follows Kafka's `ProducerStateManager` and `ProducerAppendInfo` (KIP-98, KIP-360): per producer id the epoch,
the last five batches and where its open transaction began. The state is rebuilt from a snapshot and the
batch headers behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import BatchHeader, ControlRecord, ControlType
from logstore.aborted import AbortedTransaction
from logstore.verification import Verifications

REMEMBERED_BATCHES = 5
"""Batches of a producer whose repetition is recognised: what a client may have in flight."""

NO_SEQUENCE = -1
NO_EPOCH = -1
_MAX_SEQUENCE = 2**31 - 1


class RememberedBatch(NamedTuple):
    """A batch that was appended; `timestamp` is its largest, in ms."""

    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp: int

    @property
    def first_offset(self) -> int:
        return self.last_offset - self.offset_delta

    @property
    def first_sequence(self) -> int:
        return (self.last_sequence - self.offset_delta) & _MAX_SEQUENCE


class ProducerState:
    """One producer. `transaction_start` is the first offset of its open transaction, None without one."""

    __slots__ = (
        "batches",
        "coordinator_epoch",
        "epoch",
        "last_timestamp",
        "producer_id",
        "transaction_start",
    )

    def __init__(self, producer_id: int, epoch: int = NO_EPOCH) -> None:
        self.producer_id = producer_id
        self.epoch = epoch
        self.coordinator_epoch = -1
        self.last_timestamp = -1
        self.transaction_start: int | None = None
        self.batches: deque[RememberedBatch] = deque(maxlen=REMEMBERED_BATCHES)

    @property
    def last_sequence(self) -> int:
        """-1 if no batch of the present epoch is known."""
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE

    @property
    def last_offset(self) -> int:
        """Offset of the last record with a sequence, -1 if none is known."""
        return self.batches[-1].last_offset if self.batches else -1

    def enter_epoch(self, epoch: int) -> None:
        """Sequences begin anew with each epoch."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.batches.clear()

    def find(self, header: BatchHeader) -> RememberedBatch | None:
        """The remembered batch that `header` repeats, if it repeats one."""
        if header.producer_epoch == self.epoch:
            for batch in self.batches:
                if (
                    batch.first_sequence == header.base_sequence
                    and batch.last_sequence == header.last_sequence
                ):
                    return batch
        return None


class FinishedTransaction(NamedTuple):
    """A transaction whose marker lies at `last_offset`."""

    producer_id: int
    first_offset: int
    last_offset: int


class ProducerStates:
    """All producers of one partition by id, and the transactions that keep the last stable offset back."""

    __slots__ = ("_finished", "_open", "_states", "verifications")

    def __init__(self, states: Iterable[ProducerState] = ()) -> None:
        self._states = {state.producer_id: state for state in states}
        opened = [
            (state.transaction_start, state.producer_id)
            for state in self._states.values()
            if state.transaction_start is not None
        ]
        # First offset -> producer, ascending: new ones always come last.
        self._open: dict[int, int] = dict(sorted(opened))
        self._finished: list[FinishedTransaction] = []
        self.verifications = Verifications()

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[ProducerState]:
        return iter(self._states.values())

    def get(self, producer_id: int) -> ProducerState | None:
        """The state of one producer, None if nothing is known of it."""
        return self._states.get(producer_id)

    def check(self, header: BatchHeader) -> RememberedBatch | None:
        """Judge a data batch that a client wants to append; changes nothing.

        Returns the earlier batch if it is a repetition, None if it may be appended. Raises KafkaError:
        INVALID_PRODUCER_EPOCH (a later incarnation has written), OUT_OF_ORDER_SEQUENCE_NUMBER (a batch is
        missing), INVALID_TXN_STATE (outside of the transaction that is open, or would open one that nobody
        has verified). A producer of which nothing is known may begin at any sequence, since its state may
        have expired (KIP-360).
        """
        state = self._states.get(header.producer_id)
        if state is None:
            if header.is_transactional:
                self._check_verified(header)
                self._check_first(header)
            return None
        epoch = header.producer_epoch
        if epoch != state.epoch:
            if epoch < state.epoch:
                raise _old_epoch(header, state)
            if header.base_sequence != 0:
                raise _out_of_order(header, state)
        else:
            last = state.last_sequence
            expected = 0 if last == _MAX_SEQUENCE else last + 1
            if header.base_sequence != expected:
                found = state.find(header)
                if found is None:
                    raise _out_of_order(header, state)
                return found
        if header.is_transactional:
            if state.transaction_start is None or epoch != state.epoch:
                self._check_verified(header)
        elif state.transaction_start is not None:
            raise KafkaError(
                ErrorCode.INVALID_TXN_STATE, f"producer {header.producer_id} has an open transaction"
            )
        return None

    def _check_verified(self, header: BatchHeader) -> None:
        if not self.verifications.is_granted(header.producer_id, header.producer_epoch):
            raise KafkaError(
                ErrorCode.INVALID_TXN_STATE,
                f"the partition was not added to the transaction of producer {header.producer_id}",
            )

    def _check_first(self, header: BatchHeader) -> None:
        if self.verifications.overtakes(header.producer_id, header.producer_epoch, header.base_sequence):
            raise KafkaError(
                ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"sequence {header.base_sequence} of producer {header.producer_id}, "
                "of which an earlier batch was seen and is not written yet",
            )

    def has_open(self, producer_id: int, epoch: int) -> bool:
        """Whether this producer epoch has a transaction open here."""
        state = self._states.get(producer_id)
        return state is not None and state.transaction_start is not None and state.epoch == epoch

    def check_marker(self, header: BatchHeader, control: ControlRecord) -> None:
        """Judge a transaction marker that a coordinator wants to append; changes nothing.

        Raises KafkaError: INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED (an older coordinator).
        """
        state = self._states.get(header.producer_id)
        if state is None:
            return
        if header.producer_epoch < state.epoch:
            raise _old_epoch(header, state)
        if control.coordinator_epoch < state.coordinator_epoch:
            raise KafkaError(
                ErrorCode.TRANSACTION_COORDINATOR_FENCED,
                f"coordinator epoch {control.coordinator_epoch}, {state.coordinator_epoch} has written",
            )

    def record(self, header: BatchHeader, first_offset: int) -> None:
        """Note a data batch that was appended at `first_offset`."""
        producer_id = header.producer_id
        state = self._states.get(producer_id)
        if state is None:
            state = self._states[producer_id] = ProducerState(producer_id, header.producer_epoch)
        elif state.epoch != header.producer_epoch:
            state.enter_epoch(header.producer_epoch)
        delta = header.last_offset_delta
        timestamp = header.max_timestamp
        state.batches.append(RememberedBatch(header.last_sequence, first_offset + delta, delta, timestamp))
        state.last_timestamp = timestamp
        if state.transaction_start is None and header.is_transactional:
            state.transaction_start = first_offset
            self._open[first_offset] = producer_id
            self.verifications.forget(producer_id)

    def finish(self, header: BatchHeader, control: ControlRecord, offset: int) -> AbortedTransaction | None:
        """Note a transaction marker at `offset`; returns what the index of aborted ones has to keep."""
        producer_id = header.producer_id
        self.verifications.forget(producer_id)
        state = self._states.get(producer_id)
        if state is None:
            state = self._states[producer_id] = ProducerState(producer_id, header.producer_epoch)
        start = state.transaction_start
        state.enter_epoch(header.producer_epoch)
        state.coordinator_epoch = control.coordinator_epoch
        state.last_timestamp = header.max_timestamp
        state.transaction_start = None
        if start is None:
            return None
        del self._open[start]
        self._finished.append(FinishedTransaction(producer_id, start, offset))
        if control.kind is ControlType.COMMIT:
            return None
        stable = next(iter(self._open), offset + 1)
        return AbortedTransaction(producer_id, start, offset, stable)

    def remember_earlier(self, batches: Iterable[BatchHeader]) -> None:
        """Complete the last five batches from headers, in offset order, that lie before the known ones.

        A snapshot keeps only the last batch of each producer, too little to recognise every retry.
        """
        earlier: dict[int, list[BatchHeader]] = {}
        for header in batches:
            if header.has_producer and not header.is_control and header.producer_id in self._states:
                earlier.setdefault(header.producer_id, []).append(header)
        for producer_id, found in earlier.items():
            state = self._states[producer_id]
            for header in reversed(found):
                first = state.batches[0] if state.batches else None
                if first is None or len(state.batches) == REMEMBERED_BATCHES:
                    break
                if header.producer_epoch == state.epoch and header.last_offset < first.first_offset:
                    state.batches.appendleft(
                        RememberedBatch(
                            header.last_sequence,
                            header.last_offset,
                            header.last_offset_delta,
                            header.max_timestamp,
                        )
                    )

    def first_undecided(self) -> int | None:
        """First offset of the earliest transaction that is open, None without one."""
        return next(iter(self._open), None)

    def first_unstable(self, high_watermark: int) -> int | None:
        """First offset of the earliest transaction that is open, or whose marker is not yet replicated.

        The high watermark never falls; transactions that it has passed are forgotten.
        """
        self.forget_replicated(high_watermark)
        first = next(iter(self._open), None)
        for done in self._finished:
            if first is None or done.first_offset < first:
                first = done.first_offset
        return first

    def forget_replicated(self, high_watermark: int) -> None:
        """Forget which transactions ended below the high watermark. Where nobody reads, as on a follower, it
        has to be called from time to time."""
        if self._finished:
            self._finished = [done for done in self._finished if done.last_offset >= high_watermark]

    def reach(self, offset: int) -> bool:
        """Whether anything that is known may come from batches at or past `offset`."""
        return bool(self._finished) or any(
            state.last_offset >= offset
            or state.transaction_start is not None
            or state.coordinator_epoch != NO_EPOCH
            for state in self._states.values()
        )

    def expire(self, now_ms: int, expiration_ms: int) -> int:
        """Forget producers without a transaction and, for `expiration_ms`, a batch; returns how many."""
        self.verifications.expire(now_ms, expiration_ms)
        expired = [
            state.producer_id
            for state in self._states.values()
            if state.transaction_start is None and now_ms - state.last_timestamp >= expiration_ms
        ]
        for producer_id in expired:
            del self._states[producer_id]
        return len(expired)


def _old_epoch(header: BatchHeader, state: ProducerState) -> KafkaError:
    return KafkaError(
        ErrorCode.INVALID_PRODUCER_EPOCH,
        f"epoch {header.producer_epoch} of producer {header.producer_id}, {state.epoch} has written",
    )


def _out_of_order(header: BatchHeader, state: ProducerState) -> KafkaError:
    return KafkaError(
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        f"sequence {header.base_sequence} of producer {header.producer_id} epoch {header.producer_epoch}, "
        f"the last was {state.last_sequence} of epoch {state.epoch}",
    )
