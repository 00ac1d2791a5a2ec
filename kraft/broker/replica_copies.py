"""Batches for a replica that has lost some of its own to a bad disk, from any other replica."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import read_header
from kraft.transport.link import Link
from kraft.transport.messages import Reply
from logstore.aborted import AbortedTransaction
from logstore.storage import StorageError
from replication.partition import Partition
from replication.replicas import Replicas

COPY = "replica.copy"
_MAX_BYTES = 1 << 20


class CopyRequest(NamedTuple):
    """What lies between two offsets of a partition."""

    topic_id: bytes
    partition: int
    offset: int
    up_to: int

    @classmethod
    def from_wire(cls, value: Any) -> CopyRequest:
        """Raises KafkaError INVALID_REQUEST when `value` is of another form."""
        match value:
            case [bytes(topic_id), int(partition), int(offset), int(up_to)]:
                return cls(topic_id, partition, offset, up_to)
        raise KafkaError(ErrorCode.INVALID_REQUEST, "a malformed request for batches")


class CopyReply(NamedTuple):
    """Beside the batches: where to go on, and the aborted transactions whose markers are among them."""

    next_offset: int
    aborted: list[AbortedTransaction]

    @classmethod
    def from_wire(cls, value: Any) -> CopyReply:
        """Raises KafkaError CORRUPT_MESSAGE when `value` is of another form."""
        match value:
            case [int(next_offset), [*aborted]]:
                return cls(next_offset, [_transaction(each) for each in aborted])
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "a malformed answer")


def _transaction(value: Any) -> AbortedTransaction:
    match value:
        case [int(), int(), int(), int()]:
            return AbortedTransaction(*value)
    raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "a malformed answer")


class CopyServer:
    """Answers with committed batches of the replicas that are here, whoever leads them."""

    def __init__(self, replicas: Replicas, on_storage_failure: Callable[[BaseException], None]) -> None:
        self._replicas = replicas
        self._on_storage_failure = on_storage_failure

    def copy(self, _link: Link, value: Any) -> Reply:
        """Handle `COPY`: up to a MiB, and the offset where to go on, which is `up_to` if that was all.

        Raises KafkaError: INVALID_REQUEST, UNKNOWN_TOPIC_OR_PARTITION, OFFSET_NOT_AVAILABLE (not known here
        to be committed), OFFSET_OUT_OF_RANGE, CORRUPT_MESSAGE; StorageError.
        """
        asked = CopyRequest.from_wire(value)
        partition = self._replicas.by_key((asked.topic_id, asked.partition))
        if partition is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        if asked.up_to > partition.high_watermark:
            raise KafkaError(ErrorCode.OFFSET_NOT_AVAILABLE)
        try:
            found = partition.log.read(asked.offset, _MAX_BYTES, up_to=asked.up_to)
            if not found.size:
                _check_nothing_left(partition, asked)
        except StorageError as failure:
            self._on_storage_failure(failure)
            raise
        end = found.next_offset if found.size else asked.up_to
        aborted = partition.log.integrity.aborted(asked.offset, end)
        return Reply([end, [list(each) for each in aborted]], [found])


def _check_nothing_left(partition: Partition, asked: CopyRequest) -> None:
    """The asker takes it for compacted: to be told so of a batch would make it drop that for good."""
    if asked.offset >= asked.up_to:
        return
    following = partition.log.read(asked.offset, 1, up_to=partition.high_watermark)
    if not following.size or read_header(following.bytes()).base_offset < asked.up_to:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"a batch goes from {asked.offset} past {asked.up_to}")
