"""What a fetch brought, decoded: without control records, and without what was aborted if only committed
records are wanted.

A broker answers such a reader with a list of the aborted transactions that touch the range, and leaves it to
the client to drop their records (KIP-98).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import ControlType, Record, check_crc, headers, parse_control_record, records
from kraft.client.offset_lookup import NO_EPOCH, Found


class Decoded(NamedTuple):
    """Records of one partition, and where to go on. `epochs` are the leader epochs of the batches: each with
    the first offset that it holds for."""

    records: list[Record]
    next_offset: int
    epochs: list[tuple[int, int]]

    def after(self, offset: int) -> Found:
        """The place behind the record at `offset`."""
        epoch = NO_EPOCH
        for first, each in self.epochs:
            if first <= offset:
                epoch = each
        return Found(offset + 1, epoch)

    @property
    def end(self) -> Found:
        """The place behind everything."""
        return self.after(self.next_offset - 1)


def decode(
    data: memoryview,
    position: int,
    aborted: Sequence[tuple[int, int]] | None,
    *,
    committed_only: bool,
) -> Decoded:
    """The records from offset `position` on. `aborted` are (producer id, first offset).

    Raises KafkaError: CORRUPT_MESSAGE for a wrong checksum, and what reading batches raises.
    """
    begins = deque(sorted(aborted or (), key=lambda each: each[1])) if committed_only else deque()
    dropped: set[int] = set()
    taken: list[Record] = []
    epochs: list[tuple[int, int]] = []
    for start, header in headers(data):
        while begins and begins[0][1] <= header.last_offset:
            dropped.add(begins.popleft()[0])
        if header.is_control:
            if header.producer_id in dropped and _is_abort(data, start):
                dropped.discard(header.producer_id)
        elif header.next_offset > position and not (
            header.is_transactional and header.producer_id in dropped
        ):
            if not check_crc(data, start, header):
                raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"the batch at offset {header.base_offset}")
            if header.base_offset >= position:
                taken += records(data, start, header=header)
            else:
                held = records(data, start, header=header)
                taken += [record for record in held if record.offset >= position]
        if header.next_offset > position:
            position = header.next_offset
            if not epochs or epochs[-1][1] != header.partition_leader_epoch:
                epochs.append((header.base_offset, header.partition_leader_epoch))
    return Decoded(taken, position, epochs)


def _is_abort(data: memoryview, start: int) -> bool:
    for record in records(data, start):
        return parse_control_record(record).kind is ControlType.ABORT
    return False  # compaction has emptied it
