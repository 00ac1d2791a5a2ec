"""A history: what clients of a cluster did and what they were told, event by event.

A simulated cluster and one of real processes write the same events, and `chaos.anomalies` judges both. Events
stand in the order in which they happened; `at` is seconds of one clock. `client` names whoever did it and is
sequential in what it sends: one producer, or one consumer, or both in one (a transactional copier).

A record has a number, unlike any other of the history, and its value on the wire carries that number: whoever
reads a value knows which record it is (`encode_value`, `record_of`). Who tries again by itself, after
the producer gave up, sends a new record. A topic that is deleted and created again is a new topic, under a
name of its own.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, TypeAlias
from zlib import crc32

CHECKSUM_SIZE = 9
ALTERED = -1
"""The number of a record whose value is none that was ever encoded for its key."""


class Outcome(Enum):
    """What whoever asked for something was told in the end."""

    ACKNOWLEDGED = "acknowledged"
    """It is done, and stays done."""
    REFUSED = "refused"
    """It was surely not done, and will not be."""
    UNKNOWN = "unknown"
    """It may have been done, or may yet be."""


class Sent(NamedTuple):
    """A record is handed to the producer of `client`; written down before that happens.

    Records that are copies of others (consume, transform, produce) name the original in `copy_of`.
    """

    client: str
    at: float
    record: int
    topic: str
    partition: int
    key: int
    transaction: int | None = None
    copy_of: int | None = None


class Settled(NamedTuple):
    """What the producer said of a record; `offset` if it knows one.

    In a transaction an acknowledged record is stored, and still depends on how the transaction ends.
    """

    client: str
    at: float
    record: int
    outcome: Outcome
    offset: int | None = None


class Stored(NamedTuple):
    """A whole batch of one partition is acknowledged: as many `Settled`, at offsets from `base_offset` on."""

    client: str
    at: float
    records: tuple[int, ...]
    base_offset: int | None


class Assigned(NamedTuple):
    """The partitions (topic, index) that a consumer has from now on, by hand or by a rebalance.

    Assignments of a client are numbered; a seek is a new one. Within one, positions only go forward.
    """

    client: str
    at: float
    assignment: int
    partitions: tuple[tuple[str, int], ...]


class Read(NamedTuple):
    """A record as a consumer got it; `record` is `record_of(value, key)`."""

    topic: str
    partition: int
    offset: int
    record: int


class Polled(NamedTuple):
    """What one poll returned, in its order; `committed_only` is isolation.level=read_committed.

    `transaction` is the one that these reads are part of: whose sends follow from them, and which commits
    their offsets.
    """

    client: str
    at: float
    assignment: int
    records: tuple[Read, ...]
    committed_only: bool = False
    transaction: int | None = None


class Ending(NamedTuple):
    """The end of a transaction is about to be asked for; optional, but with it more can be found out."""

    client: str
    at: float
    transaction: int
    commit: bool


class Ended(NamedTuple):
    """What the producer was told of the end of a transaction.

    A commit is REFUSED if it surely did not take place and never will, for instance because the producer was
    fenced before it asked. One without an answer may be written down again when it is known how it went.
    """

    client: str
    at: float
    transaction: int
    commit: bool
    outcome: Outcome


class Committed(NamedTuple):
    """A group's offset was committed, or that was tried; in a transaction it holds only if that one commits.

    `began` is when it was asked for; without it the commit counts as done in the moment `at`.
    """

    client: str
    at: float
    group: str
    topic: str
    partition: int
    offset: int
    outcome: Outcome
    transaction: int | None = None
    began: float | None = None


class OffsetFetched(NamedTuple):
    """A group's committed offset as the coordinator told it, None if it has none; asked for at `began`.

    Who writes this down also writes down every commit, as UNKNOWN if its client died before the answer.
    """

    client: str
    at: float
    group: str
    topic: str
    partition: int
    offset: int | None
    began: float


class ReadBack(NamedTuple):
    """A final consumer has polled all that a partition holds, from its start to `end`, which is its last
    offset + 1 after the last write and the last fault. What was polled is written down as `Polled`, all of it
    in one assignment.

    `committed_only` as in `Polled`: what is not shown then is not committed.
    """

    client: str
    at: float
    topic: str
    partition: int
    end: int
    committed_only: bool = False


class Trimmed(NamedTuple):
    """A partition may begin at `start`: what lies below was allowed to go, by retention or DeleteRecords."""

    client: str
    at: float
    topic: str
    partition: int
    start: int


class Compacted(NamedTuple):
    """The records of a topic are allowed to go when there is a newer one of their key."""

    client: str
    at: float
    topic: str


Event: TypeAlias = (
    Sent
    | Settled
    | Stored
    | Assigned
    | Polled
    | Ending
    | Ended
    | Committed
    | OffsetFetched
    | ReadBack
    | Trimmed
    | Compacted
)


class Name(NamedTuple):
    """Whose record a value is."""

    record: int
    client: bytes


def encode_value(record: int, client: str, key: bytes = b"", payload: bytes = b"") -> bytes:
    """The value of a record on the wire: `<number>:<client>:<payload>:<checksum>`.

    The checksum covers key, number, client and payload. The payload is any bytes, a pad or a real text; `key`
    is the record's key on the wire. `client` has no colon in it.
    """
    body = b"%d:%s:%s" % (record, client.encode(), payload)
    return b"%s:%08x" % (body, crc32(body, crc32(key)))


def record_of(value: bytes | None, key: bytes = b"") -> int:
    """The number of the record that a value is, `ALTERED` if a bit of it is not as it was encoded."""
    if value is None:
        return ALTERED
    body = value[:-CHECKSUM_SIZE]
    if value[-CHECKSUM_SIZE:] != b":%08x" % crc32(body, crc32(key)):
        return ALTERED
    number = body.partition(b":")[0]
    return int(number) if number.isdigit() else ALTERED


def parse_value(value: bytes | None, key: bytes = b"") -> Name | None:
    """Whose record a value is; None if a bit of it is not as it was encoded."""
    record = record_of(value, key)
    return None if value is None or record == ALTERED else Name(record, value.split(b":", 2)[1])
