"""Batches for a replica that has lost some of its own to a bad disk, from any other replica."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kafkawire.errors import ErrorCode, KafkaError
from kraft.transport.link import Link
from kraft.transport.messages import Reply
from logstore.storage import StorageError
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
        except StorageError as failure:
            self._on_storage_failure(failure)
            raise
        return Reply(found.next_offset if found.size else asked.up_to, [found])
