"""Producer state on disk: `<offset>.snapshot` is what the batches before `offset` amount to.

    version int16 (1), CRC-32C uint32 of all that follows, count int32, then per producer: id int64, epoch
    int16, last sequence int32, last offset int64, offset delta int32, timestamp int64, coordinator epoch
    int32, first offset of the open transaction int64 (-1 without one)

A snapshot that cannot be read is no loss: an earlier one, or the log itself, says the same. Source: Kafka's
`ProducerStateManager` (`ProducerSnapshot.json`).
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from crc32c import crc32c

from logstore.files import PRODUCER_SNAPSHOT, offset_in_name, path_of, read_whole, write_whole
from logstore.producers import ProducerState, ProducerStates, RememberedBatch
from logstore.storage import Storage

_VERSION = 1
_PREFIX = Struct(">hI")
_COUNT = Struct(">i")
_ENTRY = Struct(">qhiqiqiq")
_NONE = -1


class CorruptSnapshotError(Exception):
    """The bytes are no snapshot."""


def encode_snapshot(states: Iterable[ProducerState]) -> bytes:
    """The content of a `.snapshot` file."""
    entries = [
        _ENTRY.pack(
            state.producer_id,
            state.epoch,
            state.last_sequence,
            state.last_offset,
            state.batches[-1].offset_delta if state.batches else 0,
            state.last_timestamp,
            state.coordinator_epoch,
            _NONE if state.transaction_start is None else state.transaction_start,
        )
        for state in states
    ]
    body = _COUNT.pack(len(entries)) + b"".join(entries)
    return _PREFIX.pack(_VERSION, crc32c(body)) + body


def decode_snapshot(data: bytes) -> list[ProducerState]:
    """Read a `.snapshot` file; raises CorruptSnapshotError."""
    if len(data) < _PREFIX.size + _COUNT.size:
        raise CorruptSnapshotError(f"{len(data)} bytes")
    version, crc = _PREFIX.unpack_from(data)
    body = data[_PREFIX.size :]
    if version != _VERSION or crc32c(body) != crc:
        raise CorruptSnapshotError(f"version {version}, or a wrong checksum")
    (count,) = _COUNT.unpack_from(body)
    if len(body) != _COUNT.size + count * _ENTRY.size:
        raise CorruptSnapshotError(f"{count} entries in {len(body)} bytes")
    return [_state(fields) for fields in _ENTRY.iter_unpack(body[_COUNT.size :])]


def _state(fields: tuple[int, ...]) -> ProducerState:
    producer_id, epoch, sequence, offset, delta, timestamp, coordinator_epoch, start = fields
    state = ProducerState(producer_id, epoch)
    state.last_timestamp = timestamp
    state.coordinator_epoch = coordinator_epoch
    state.transaction_start = None if start == _NONE else start
    if sequence >= 0:
        state.batches.append(RememberedBatch(sequence, offset, delta, timestamp))
    return state


class SnapshotFiles:
    """The snapshots in the directory of one log."""

    __slots__ = ("_directory", "_storage")

    def __init__(self, storage: Storage, directory: str) -> None:
        self._storage = storage
        self._directory = directory

    def offsets(self) -> list[int]:
        """Offsets of all snapshots, ascending."""
        names = self._storage.list(self._directory)
        found = (offset_in_name(name, PRODUCER_SNAPSHOT) for name in names)
        return [offset for offset in found if offset is not None]

    def save(self, offset: int, states: ProducerStates) -> str:
        """Write the snapshot at `offset` and return its path; raises StorageError."""
        path = path_of(self._directory, offset, PRODUCER_SNAPSHOT)
        write_whole(self._storage, path, encode_snapshot(states))
        return path

    def load(self, at_most: int) -> tuple[int | None, ProducerStates]:
        """The latest readable snapshot at or before an offset, and its own offset; unreadable ones go."""
        for offset in reversed(self.offsets()):
            if offset > at_most:
                continue
            path = path_of(self._directory, offset, PRODUCER_SNAPSHOT)
            try:
                return offset, ProducerStates(decode_snapshot(read_whole(self._storage, path) or b""))
            except CorruptSnapshotError:
                self._storage.remove(path)
        return None, ProducerStates()

    def remove_after(self, offset: int) -> None:
        """Remove the snapshots past `offset`: what they tell of is gone."""
        self._remove(found for found in self.offsets() if found > offset)

    def remove_strays(self, segment_bases: Iterable[int]) -> None:
        """Remove the snapshots that belong to no segment, except the latest of all."""
        bases = set(segment_bases)
        self._remove(found for found in self.offsets()[:-1] if found not in bases)

    def remove(self, offset: int) -> None:
        """Remove one; nothing happens if it is not there."""
        self._remove((offset,))

    def _remove(self, offsets: Iterable[int]) -> None:
        for offset in offsets:
            self._storage.remove(path_of(self._directory, offset, PRODUCER_SNAPSHOT))
