"""What a follower asks of a leader and what it hears, for all their partitions in one exchange.

Plain lists under CBOR; the records follow the reply as raw bytes, partition after partition, so that they
go from one segment file to the other without being looked into.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from kafkawire.errors import ErrorCode, KafkaError

NEW_SESSION = 0
MAX_PARTITIONS_PER_FETCH = 200_000

Key = tuple[bytes, int]
"""(topic id, partition index)."""


_NUMBERS = {int}

E = TypeVar("E", bound=tuple[Any, ...])


def _check_numbers(values: tuple[Any, ...]) -> None:
    if set(map(type, values)) != _NUMBERS:
        raise TypeError("not a whole number")


def _checked(entry: E) -> E:
    """An entry that begins with a topic id and has whole numbers behind; raises TypeError for another."""
    if type(entry[0]) is not bytes:
        raise TypeError("not a topic id")
    _check_numbers(entry[1:])
    return entry


def _entries(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError("not a list")
    return value


class FetchFrom(NamedTuple):
    """One partition that is new or changed since the session's last request. `last_epoch` is the epoch of the
    follower's last batch, -1 when its log is empty; `log_start` is where its log starts, -1 if it does not
    say."""

    topic_id: bytes
    partition: int
    leader_epoch: int
    offset: int
    last_epoch: int
    log_start: int = -1

    @property
    def key(self) -> Key:
        return (self.topic_id, self.partition)


class Fetched(NamedTuple):
    """One partition's answer. `size` bytes of records belong to it. With `diverging_epoch` >= 0 the
    follower has to truncate; `end_offset` is then that epoch's end, and the leader's log end with
    OFFSET_OUT_OF_RANGE."""

    topic_id: bytes
    partition: int
    error: int
    high_watermark: int
    log_start: int
    size: int
    diverging_epoch: int = -1
    end_offset: int = -1

    @property
    def key(self) -> Key:
        return (self.topic_id, self.partition)


def _checked_answer(answer: Fetched) -> Fetched:
    if _checked(answer).size < 0:
        raise ValueError("records of a negative size")
    return answer


class ReplicaFetch(msgspec.Struct, frozen=True):
    """A follower's request (KIP-227's incremental form): `changed` and `dropped` amend what the session
    knows."""

    replica_id: int
    broker_epoch: int
    session_id: int
    session_epoch: int
    wait_ms: int
    max_bytes: int
    changed: Sequence[FetchFrom]
    dropped: Sequence[Key]

    def to_wire(self) -> list[Any]:
        return [
            self.replica_id,
            self.broker_epoch,
            self.session_id,
            self.session_epoch,
            self.wait_ms,
            self.max_bytes,
            list(self.changed),
            list(self.dropped),
        ]

    @classmethod
    def from_wire(cls, value: Any) -> ReplicaFetch:
        """Raises KafkaError INVALID_REQUEST when `value` is of another form."""
        try:
            replica, broker_epoch, session, epoch, wait, max_bytes, changed, dropped = value
            if len(changed) + len(dropped) > MAX_PARTITIONS_PER_FETCH:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "too many partitions in one replica fetch")
            _check_numbers((replica, broker_epoch, session, epoch, wait, max_bytes))
            return cls(
                replica,
                broker_epoch,
                session,
                epoch,
                wait,
                max_bytes,
                [_checked(FetchFrom(*entry)) for entry in _entries(changed)],
                [_checked((topic_id, partition)) for topic_id, partition in _entries(dropped)],
            )
        except (TypeError, ValueError) as error:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"malformed replica fetch: {error}") from error


class ReplicaFetchReply(msgspec.Struct, frozen=True):
    """The leader's answer; `error` concerns the whole session."""

    error: int
    session_id: int
    partitions: Sequence[Fetched]

    def to_wire(self) -> list[Any]:
        return [self.error, self.session_id, list(self.partitions)]

    @classmethod
    def from_wire(cls, value: Any) -> ReplicaFetchReply:
        """Raises KafkaError INVALID_REQUEST when `value` is of another form."""
        try:
            error, session, partitions = value
            _check_numbers((error, session))
            return cls(error, session, [_checked_answer(Fetched(*entry)) for entry in _entries(partitions)])
        except (TypeError, ValueError) as error:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"malformed replica fetch reply: {error}") from error
