"""The transaction coordinator's core: every rule about who may do what under a transactional id.

One shard holds the ids of one partition of `__transaction_state`. It decides, and what it decided counts at
once; the runtime lets nobody hear of it before it is committed. Where Kafka answers CONCURRENT_TRANSACTIONS
because a write is on its way, the next request here builds on that write and is answered after it.

Three things never go together: a transaction has one fate (it is sealed by the first Prepare record), an
epoch that was fenced never succeeds (each request names its producer, and only the present one counts), and
what began ends (by its producer, its successor or the timeout; then by markers that are sent until every
partition has one). Source: Kafka's `TransactionCoordinator`, KIP-98, KIP-360, KIP-890.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import ControlType
from kraft.coordinator.decision import (
    FOREVER,
    NO_PRODUCER_ID,
    Decision,
    LogRecord,
    Producer,
    TransactionMarker,
)
from kraft.coordinator.transaction.commands import (
    AddPartitions,
    Decided,
    EndTransaction,
    InitProducer,
    Listed,
    ListFilter,
    SpareWanted,
    TransactionSettings,
    VerifyPartitions,
)
from kraft.coordinator.transaction.deadlines import Deadlines
from kraft.coordinator.transaction.formats import decode_key, decode_value, encode_key, encode_value
from kraft.coordinator.transaction.states import (
    NEVER,
    TRANSACTION_V2,
    CompleteAbort,
    CompleteCommit,
    Empty,
    Ongoing,
    PrepareAbort,
    PrepareCommit,
    Prepared,
    Transaction,
)

MAX_ID_BYTES: Final = 2**15 - 1
"""Bytes of a transactional id: what fits into its record's key."""

MAX_EXPIRED_AT_ONCE: Final = 1000
"""Transactional ids that one look at their age forgets; the rest comes with the next tick."""


class _Bump(NamedTuple):
    """A producer that asked for its next epoch, and what it was given: it may ask again."""

    asked: Producer
    given: Producer


class TransactionShard:
    """See the module. `coordinator_epoch` is the leader epoch under which this broker coordinates."""

    def __init__(self, settings: TransactionSettings, coordinator_epoch: int) -> None:
        self.coordinator_epoch = coordinator_epoch
        self._settings = settings
        self._transactions: dict[str, Transaction] = {}
        self._prepared: dict[str, Transaction] = {}
        # Soft, as in Kafka: a retry over a change of coordinators finds itself fenced.
        self._bumps: dict[str, _Bump] = {}
        self._timeouts = Deadlines()
        self._expires_at = 0.0
        self._inherited: list[Decided] = []

    # -- the log ----------------------------------------------------------------------------------

    def replay(self, record: LogRecord) -> None:
        """See `Shard`. Raises KafkaError(CORRUPT_MESSAGE)."""
        transactional_id = decode_key(record.key)
        if transactional_id is None:
            return
        self._prepared.pop(transactional_id, None)
        if record.value is None:
            self._transactions.pop(transactional_id, None)
            self._bumps.pop(transactional_id, None)
            return
        transaction = decode_value(transactional_id, record.value)
        self._transactions[transactional_id] = transaction
        if isinstance(transaction.state, PrepareCommit | PrepareAbort):
            self._prepared[transactional_id] = transaction

    def replay_marker(self, marker: TransactionMarker) -> None:
        """Nobody writes in transactions here."""

    def loaded(self, now: float, now_ms: int) -> None:
        """Start the timeouts, as far as they have run. What a coordinator before this one has sealed, and
        perhaps not told everybody, comes with the first tick."""
        for transaction in self._transactions.values():
            if isinstance(transaction.state, Ongoing):
                elapsed = min(max(now_ms - transaction.started_ms, 0), transaction.timeout_ms)
                left = (transaction.timeout_ms - elapsed) / 1000
                self._timeouts.set(transaction.transactional_id, now + left)
        self._expires_at = now + self._settings.expiration_interval
        self._inherited = self.undelivered()

    def undelivered(self) -> list[Decided]:
        """Every transaction whose fate is sealed, and some partition may not know it."""
        return [self._decided(transaction) for transaction in self._prepared.values()]

    def is_ending(self, transactional_id: str) -> bool:
        """Whether its fate is sealed, and some partition may not know it."""
        return transactional_id in self._prepared

    def is_undelivered(self, decided: Decided) -> bool:
        """Whether that is so of this one."""
        transaction = self._prepared.get(decided.transactional_id)
        return transaction is not None and self._decided(transaction) == decided

    # -- time -------------------------------------------------------------------------------------

    def next_deadline(self) -> float:
        """See `Shard`."""
        return -FOREVER if self._inherited else min(self._timeouts.next(), self._expires_at)

    def tick(self, now: float, now_ms: int) -> Sequence[Decision[Any]]:
        """Abort what takes too long, under the next epoch, and forget ids that were not used for long. The
        replies that are not None are of type Decided."""
        inherited, self._inherited = self._inherited, []
        decisions: list[Decision[Any]] = [
            Decision((), decided) for decided in inherited if self.is_undelivered(decided)
        ]
        for transactional_id in self._timeouts.pop_due(now):
            transaction = self._transactions.get(transactional_id)
            if transaction is not None and isinstance(transaction.state, Ongoing):
                decisions.append(self._abort_late(transaction, now_ms))
        if now >= self._expires_at:
            decisions += self._expire(now, now_ms)
        return decisions

    def _expire(self, now: float, now_ms: int) -> list[Decision[None]]:
        oldest = now_ms - self._settings.expiration_ms
        expired = [
            transaction.transactional_id
            for transaction in self._transactions.values()
            if transaction.updated_ms <= oldest
            and isinstance(transaction.state, Empty | CompleteCommit | CompleteAbort)
        ][:MAX_EXPIRED_AT_ONCE]
        if len(expired) < MAX_EXPIRED_AT_ONCE:
            self._expires_at = now + self._settings.expiration_interval
        return [Decision((LogRecord(encode_key(each), None),), None) for each in expired]

    # -- producers --------------------------------------------------------------------------------

    def init_producer(self, command: InitProducer, now_ms: int) -> Decision[Producer | Decided | SpareWanted]:
        """Give a producer an epoch under which no other one writes.

        The reply is the producer, or Decided if its predecessor left a transaction open: that is aborted now,
        and the client has to ask again (CONCURRENT_TRANSACTIONS). Raises KafkaError INVALID_REQUEST,
        INVALID_TRANSACTION_TIMEOUT, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS.
        """
        _check_id(command.transactional_id)
        if not 0 < command.timeout_ms <= self._settings.max_timeout_ms:
            raise KafkaError(ErrorCode.INVALID_TRANSACTION_TIMEOUT)
        transaction = self._transactions.get(command.transactional_id)
        if transaction is None:
            return self._first_epoch(command, now_ms)
        current, expected = transaction.producer, command.expected
        self._check_not_becoming(transaction, expected)
        bump = self._bumps.get(command.transactional_id)
        repeats = expected is not None and bump == _Bump(expected, current)
        if expected is not None and expected != current and not repeats:
            raise KafkaError(ErrorCode.PRODUCER_FENCED)
        match transaction.state:
            case PrepareCommit() | PrepareAbort():
                raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
            case Ongoing():
                if repeats:
                    raise KafkaError(ErrorCode.PRODUCER_FENCED)
                return self._abort_fenced(transaction, now_ms)
            case Empty() | CompleteCommit() | CompleteAbort():
                following = current if repeats else _following(transaction, command.spare_producer_id)
        if following is None:
            return Decision((), SpareWanted())
        if expected is None:
            self._bumps.pop(command.transactional_id, None)
        else:
            self._bumps[command.transactional_id] = _Bump(expected, following)
        return _write(transaction.initialised(following, command.timeout_ms, now_ms), following)

    def _first_epoch(self, command: InitProducer, now_ms: int) -> Decision[Producer | Decided | SpareWanted]:
        # A client whose id has expired here goes on under another producer id, whoever it was before.
        if command.spare_producer_id == NO_PRODUCER_ID:
            return Decision((), SpareWanted())
        producer = Producer(command.spare_producer_id, 0)
        return _write(
            Transaction(
                command.transactional_id, producer.producer_id, 0, command.timeout_ms, Empty(), now_ms
            ),
            producer,
        )

    def _abort_fenced(self, transaction: Transaction, now_ms: int) -> Decision[Any]:
        """Abort under the next epoch, which nobody is given: what the old one still sends is refused, here
        and, after the marker, by the partitions."""
        return self._seal(transaction.fenced(), ControlType.ABORT, now_ms)

    def _abort_late(self, transaction: Transaction, now_ms: int) -> Decision[Any]:
        """Abort what takes too long. A producer whose ends bump its epoch is given the next one when it comes
        to abort, and goes on, as if this had been its own abort (KIP-890); any other one is fenced."""
        if transaction.client_version < TRANSACTION_V2 or transaction.epochs_used_up:
            return self._abort_fenced(transaction, now_ms)
        return self._seal(transaction.bumped(NO_PRODUCER_ID), ControlType.ABORT, now_ms)

    # -- transactions -----------------------------------------------------------------------------

    def add_partitions(self, command: AddPartitions, now: float, now_ms: int) -> Decision[None]:
        """Make partitions part of the transaction, before anything is written there.

        Raises KafkaError INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED,
        CONCURRENT_TRANSACTIONS (the one before is not over in every partition).
        """
        transaction = self._of(command.transactional_id, command.producer)
        if isinstance(transaction.state, PrepareCommit | PrepareAbort):
            raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
        if isinstance(transaction.state, Ongoing):
            if command.partitions <= transaction.state.partitions:
                return Decision((), None)
        else:
            self._timeouts.set(transaction.transactional_id, now + transaction.timeout_ms / 1000)
        return _write(transaction.with_partitions(command.partitions, now_ms, command.client_version), None)

    def verify(self, command: VerifyPartitions) -> tuple[ErrorCode, ...]:
        """Whether a producer may write to these partitions now: NONE or TRANSACTION_ABORTABLE for each.

        Raises as `add_partitions`.
        """
        transaction = self._of(command.transactional_id, command.producer)
        if isinstance(transaction.state, PrepareCommit | PrepareAbort):
            raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
        added = transaction.partitions
        return tuple(
            ErrorCode.NONE if each in added else ErrorCode.TRANSACTION_ABORTABLE
            for each in command.partitions
        )

    def end(self, command: EndTransaction, now_ms: int) -> Decision[Decided | Producer | SpareWanted]:
        """Seal the fate of the open transaction. A repetition after everything is over has no effect: the
        reply is who the producer is now.

        Raises KafkaError INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED,
        CONCURRENT_TRANSACTIONS (a repetition while the partitions are being told), INVALID_TXN_STATE (there
        is none, or its fate is another).
        """
        if command.bumps_epoch:
            return self._end_bumping(command, now_ms)
        transaction = self._of(command.transactional_id, command.producer)
        if isinstance(transaction.state, Ongoing):
            return self._seal(transaction.unbumped(), command.kind, now_ms)
        return self._repeated(transaction, command)

    def _end_bumping(
        self, command: EndTransaction, now_ms: int
    ) -> Decision[Decided | Producer | SpareWanted]:
        _check_id(command.transactional_id)
        known = self._transactions.get(command.transactional_id)
        if known is not None and known.was_ended_by(command.producer):
            if command.kind is ControlType.COMMIT and isinstance(known.state, PrepareAbort | CompleteAbort):
                # No producer repeats an abort as a commit: it took too long, and loses what it wrote.
                raise KafkaError(ErrorCode.PRODUCER_FENCED)
            return self._repeated(known, command)
        transaction = self._of(command.transactional_id, command.producer)
        if isinstance(transaction.state, PrepareCommit | PrepareAbort):
            raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
        # What the client believes to have begun, and nothing was added to, can be aborted.
        if command.kind is ControlType.COMMIT and not isinstance(transaction.state, Ongoing):
            raise _invalid_end(transaction, command)
        if transaction.epochs_used_up and command.spare_producer_id == NO_PRODUCER_ID:
            return Decision((), SpareWanted())
        return self._seal(transaction.bumped(command.spare_producer_id), command.kind, now_ms)

    @staticmethod
    def _repeated(transaction: Transaction, command: EndTransaction) -> Decision[Any]:
        match transaction.state:
            case PrepareCommit() | PrepareAbort() as state:
                if command.kind is _kind(state):
                    raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
            case CompleteCommit():
                if command.kind is ControlType.COMMIT:
                    return Decision((), transaction.producer)
            case CompleteAbort():
                if command.kind is ControlType.ABORT:
                    return Decision((), transaction.producer)
            case _:
                pass
        raise _invalid_end(transaction, command)

    def _seal(self, transaction: Transaction, kind: ControlType, now_ms: int) -> Decision[Any]:
        self._timeouts.clear(transaction.transactional_id)
        sealed = transaction.ended(kind, now_ms)
        return _write(sealed, self._decided(sealed))

    def complete(self, decided: Decided, now_ms: int) -> Decision[None]:
        """Every partition knows how the transaction ended. Nothing happens if it is not the present one."""
        if not self.is_undelivered(decided):
            return Decision((), None)
        return _write(self._prepared[decided.transactional_id].completed(now_ms), None)

    def _of(self, transactional_id: str, producer: Producer) -> Transaction:
        _check_id(transactional_id)
        transaction = self._transactions.get(transactional_id)
        if transaction is None or transaction.producer_id != producer.producer_id:
            if transaction is not None:
                self._check_not_becoming(transaction, producer)
            raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        if transaction.producer_epoch != producer.producer_epoch:
            raise KafkaError(ErrorCode.PRODUCER_FENCED)
        return transaction

    @staticmethod
    def _check_not_becoming(transaction: Transaction, producer: Producer | None) -> None:
        """The client knows already who it is going to be: it has to wait until the others do."""
        if isinstance(transaction.state, PrepareCommit | PrepareAbort) and producer == transaction.successor:
            raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)

    def _decided(self, transaction: Transaction) -> Decided:
        assert isinstance(transaction.state, PrepareCommit | PrepareAbort)
        return Decided(
            transaction.transactional_id,
            transaction.producer,
            _kind(transaction.state),
            transaction.state.partitions,
            self.coordinator_epoch,
            transaction.updated_ms,
            transaction.client_version >= TRANSACTION_V2,
            transaction.next_producer_id,
        )

    # -- looking ----------------------------------------------------------------------------------

    def describe(self, transactional_id: str) -> Transaction:
        """Raises KafkaError INVALID_REQUEST, TRANSACTIONAL_ID_NOT_FOUND."""
        _check_id(transactional_id)
        transaction = self._transactions.get(transactional_id)
        if transaction is None:
            raise KafkaError(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND)
        return transaction

    def listing(self, wanted: ListFilter, now_ms: int) -> list[Listed]:
        """The ids that pass the filter."""
        return [
            Listed(each.transactional_id, each.producer_id, each.status)
            for each in self._transactions.values()
            if (not wanted.states or each.status in wanted.states)
            and (not wanted.producer_ids or each.producer_id in wanted.producer_ids)
            and (wanted.min_duration_ms < 0 or _lasts(each, now_ms) > wanted.min_duration_ms)
        ]


def _check_id(transactional_id: str) -> None:
    if not transactional_id:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "an empty transactional id")
    if len(transactional_id) * 4 > MAX_ID_BYTES and len(transactional_id.encode()) > MAX_ID_BYTES:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"a transactional id of more than {MAX_ID_BYTES} bytes")


def _following(transaction: Transaction, spare_producer_id: int) -> Producer | None:
    """The next epoch, or another producer id when there is none left; None without a spare one."""
    if not transaction.epochs_used_up:
        return Producer(transaction.producer_id, transaction.producer_epoch + 1)
    return None if spare_producer_id == NO_PRODUCER_ID else Producer(spare_producer_id, 0)


def _kind(state: Prepared) -> ControlType:
    return ControlType.COMMIT if isinstance(state, PrepareCommit) else ControlType.ABORT


def _invalid_end(transaction: Transaction, command: EndTransaction) -> KafkaError:
    asked, state = command.kind.name.lower(), transaction.status.title
    return KafkaError(ErrorCode.INVALID_TXN_STATE, f"{asked} in state {state}")


def _lasts(transaction: Transaction, now_ms: int) -> int:
    return -1 if transaction.started_ms == NEVER else now_ms - transaction.started_ms


def _write(transaction: Transaction, reply: Any) -> Decision[Any]:
    record = LogRecord(encode_key(transaction.transactional_id), encode_value(transaction))
    return Decision((record,), reply)
