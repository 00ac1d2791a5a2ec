"""What a coordinator core and the runtime that keeps it exchange: records, decisions, replies that come
later.

Everything here is a plain value, so that cores need no event loop. The shape is that of the controller:
`decide(command, now, now_ms) -> Decision(records, reply)`, and the only mutation of durable state is
`replay(record)`. The source is Kafka's `coordinator-common` module (`CoordinatorShard`, `CoordinatorResult`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from kafkawire.records import ControlType

R_co = TypeVar("R_co", covariant=True)

NO_TIMESTAMP: Final = -1
NO_OFFSET: Final = -1
NO_PRODUCER_ID: Final = -1
RECORD_OVERHEAD: Final = 32
"""More bytes than a record takes beside its key and value."""
FOREVER: Final = float("inf")
"""A `next_deadline` of a shard that waits for nothing."""


class LogRecord(msgspec.Struct, frozen=True):
    """One record of the coordinator's partition, both as a core writes it and as it is replayed.

    A core sets `key` and `value` (None is a tombstone); `timestamp_ms` (wall clock) is the time of the
    decision unless it says otherwise. On replay all fields are set: `offset`, and, for records of a
    transaction, the producer that `transactional` records belong to.
    """

    key: bytes
    value: bytes | None
    timestamp_ms: int = NO_TIMESTAMP
    offset: int = NO_OFFSET
    producer_id: int = NO_PRODUCER_ID
    producer_epoch: int = -1
    transactional: bool = False


def size_of(records: Iterable[LogRecord]) -> int:
    """Bytes that the records take in a batch, at most."""
    return sum(len(each.key) + len(each.value or b"") + RECORD_OVERHEAD for each in records)


class TransactionMarker(msgspec.Struct, frozen=True):
    """The end of a producer's transaction in this partition (KIP-98); see `ControlType`."""

    kind: ControlType
    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    """The leader epoch of the transaction coordinator's partition: an older one is refused."""


class Producer(msgspec.Struct, frozen=True):
    """In whose transaction records are written."""

    producer_id: int
    producer_epoch: int


class Ticket:
    """Stands for a reply that comes with a later decision; compared by identity, made by the core."""

    __slots__ = ()


class Answer(msgspec.Struct, frozen=True):
    """The reply to the command that got `ticket`. If it is a KafkaError, whoever waits sees it raised."""

    ticket: Ticket
    reply: Any


class Decision(msgspec.Struct, Generic[R_co], frozen=True):
    """What a command comes to.

    `reply` leaves when `records` and all before them are committed, or later if it is a Ticket: then some
    later decision has it among its `answers`, which leave when that decision is committed. With `producer`
    the records belong to its transaction and get a batch of their own.
    """

    records: tuple[LogRecord, ...]
    reply: R_co | Ticket
    answers: tuple[Answer, ...] = ()
    producer: Producer | None = None


class Shard(Protocol):
    """The state machine of one partition. Pure: no event loop, clock, thread or chance.

    Methods of its own decide: they take (command, now, now_ms), `now` being monotonic seconds and `now_ms`
    wall clock milliseconds, and return a Decision, or raise KafkaError and have changed nothing. They may
    change soft state (timers, members that are not written yet) at once.
    """

    def replay(self, record: LogRecord) -> None:
        """Take a record into account: while loading, and at once when a decision of our own wrote it, before
        it is committed. A record that cannot be read raises KafkaError."""

    def replay_marker(self, marker: TransactionMarker) -> None:
        """A transaction ended here: what it wrote counts from now on, or is dropped."""

    def loaded(self, now: float, now_ms: int) -> None:
        """Everything that the log holds has been replayed: start timers. What has to be decided at once is
        for `tick`, so that `next_deadline` is over."""

    def tick(self, now: float, now_ms: int) -> Iterable[Decision[Any]]:
        """Decide on everything whose time has come; as a generator, if a decision builds on the one before,
        which is replayed before the next is asked for. A Ticket makes no sense as a reply here; a reply
        that is not None goes to the runtime's `Following` once it is committed."""

    def next_deadline(self) -> float:
        """When to call `tick` (monotonic seconds), FOREVER if never. May be too early, never too late;
        cheap, as it is asked for after every decision."""
