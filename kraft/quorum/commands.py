"""What an entry of the Raft log carries: a batch of metadata records, and where its proposer meant it to
land.

Bytes, big endian: kind (uint8, pysyncobj's command type), then for a batch term (int64), expected offset
(int64), count (uint32) and for each record its size (uint32) and bytes. No entry holds pickled data.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from struct import Struct

import msgspec

_BATCH = Struct(">BqqI")
_SIZE = Struct(">I")


class CommandKind(IntEnum):
    """The first byte of an entry; pysyncobj's other kinds (membership, version) hold pickles: refused."""

    BATCH = 0
    NO_OP = 1


NO_OP = bytes([CommandKind.NO_OP])


class ProposedBatch(msgspec.Struct, frozen=True):
    """Records, the term of the leader that proposed them, and the offset they must land at."""

    term: int
    expected_offset: int
    records: tuple[bytes, ...]


def encode_batch(term: int, expected_offset: int, records: Sequence[bytes]) -> bytes:
    """The bytes of an entry."""
    parts = [_BATCH.pack(CommandKind.BATCH, term, expected_offset, len(records))]
    for record in records:
        parts.append(_SIZE.pack(len(record)))
        parts.append(record)
    return b"".join(parts)


def decode_batch(command: bytes) -> ProposedBatch | None:
    """The batch in an entry; None for a no-op and for anything that is not exactly a batch.

    The answer depends on the bytes alone, so that all nodes skip the same entries.
    """
    if len(command) < _BATCH.size or command[0] != CommandKind.BATCH:
        return None
    _, term, expected_offset, count = _BATCH.unpack_from(command)
    position = _BATCH.size
    if count > (len(command) - position) // _SIZE.size:
        return None
    records: list[bytes] = []
    for _ in range(count):
        if position + _SIZE.size > len(command):
            return None
        (size,) = _SIZE.unpack_from(command, position)
        position += _SIZE.size
        if size > len(command) - position:
            return None
        records.append(command[position : position + size])
        position += size
    if position != len(command):
        return None
    return ProposedBatch(term, expected_offset, tuple(records))
