"""What the invariants know of logs: what each replica has, batch by batch, and what is committed."""

from __future__ import annotations

from bisect import bisect_right
from copy import copy
from typing import NamedTuple
from uuid import UUID

from kafkawire.batch_header import BatchHeader, headers
from kafkawire.errors import KafkaError
from logstore.log import Log
from replication.fetch_messages import Key
from replication.leader import Leader
from replication.partition import Partition


class Batch(NamedTuple):
    """A batch, by what tells it from all others."""

    base: int
    next_offset: int
    epoch: int
    crc: int
    producer_id: int
    producer_epoch: int
    sequence: int
    records: int

    @classmethod
    def of(cls, header: BatchHeader) -> Batch:
        """The one with this header."""
        return cls(
            header.base_offset,
            header.next_offset,
            header.partition_leader_epoch,
            header.crc,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            header.record_count,
        )


class Shadow:
    """What the log of one replica has, batch by batch, and what was last seen of the replica."""

    __slots__ = (
        "batches",
        "end",
        "epoch",
        "epochs",
        "high_watermark",
        "isr",
        "partition",
        "readable",
        "role",
    )

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.batches: list[Batch] = []
        self.epochs: dict[int, int] = {}
        self.end = 0
        self.high_watermark = -1
        self.epoch = -1
        self.role: object = None
        self.isr: object = None
        self.readable = True
        """Whether its end could be looked at: what is damaged cannot be judged until it is mended."""

    def differs(self, partition: Partition) -> bool:
        """Whether the replica has changed since it was looked at."""
        log, role = partition.log, partition.role
        return (
            log.end_offset != self.end
            or partition.high_watermark != self.high_watermark
            or role is not self.role
            or (isinstance(role, Leader) and role.isr is not self.isr)
            or partition is not self.partition
            or log.latest_epoch != self.epoch
        )

    def has(self, batch: Batch) -> bool:
        return self.epochs.get(batch.base) == batch.epoch

    def cut(self, end: int) -> None:
        """Forget what the log lost."""
        while self.batches and self.batches[-1].next_offset > end:
            del self.epochs[self.batches.pop().base]
        self.end = self.batches[-1].next_offset if self.batches else 0

    def ending_at(self, offset: int) -> Batch | None:
        """The batch that ends at `offset`."""
        number = bisect_right(self.batches, offset, key=lambda batch: batch.next_offset) - 1
        if number >= 0 and self.batches[number].next_offset == offset:
            return self.batches[number]
        return None


class Truth:
    """What is committed of one partition."""

    def __init__(self, key: Key) -> None:
        self.topic_id = UUID(bytes=key[0])
        self.batches: list[Batch] = []
        self.end = 0
        self.sequences: dict[int, tuple[int, int]] = {}
        """The last epoch of each producer, and the sequence number that has to come next in it."""
        self.leaders: dict[int, int] = {}
        """Who wrote as leader, by leader epoch."""
        self.told: dict[int, tuple[int, int]] = {}
        """The first and the largest end that clients were told, by leader epoch."""

    def holding(self, offset: int) -> int:
        """The number of the batch that holds `offset`."""
        return bisect_right(self.batches, offset, key=lambda batch: batch.next_offset)


def peek(log: Log, offset: int, end: int) -> list[Batch] | None:
    """What is there from `offset` on, None if that is damaged, without the log noticing that it was read."""
    integrity = log.integrity
    doubts = {file: copy(doubt) for file, doubt in integrity.doubts.items()}
    damaged = dict(integrity.damaged)
    try:
        content = log.read(offset, 1 << 20, up_to=end).bytes()
    except KafkaError:
        return None
    finally:
        integrity.doubts, integrity.damaged = doubts, damaged
    return [Batch.of(header) for _, header in headers(content)]
