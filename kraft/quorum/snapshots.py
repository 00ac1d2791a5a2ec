"""Snapshots: the state machine's bytes together with the last two entries that they include.

pysyncobj wants the last entry and the one before it at the head of a compacted log, so a snapshot carries
both. On disk it is `<last index>-<last term>.checkpoint`, as KIP-630 names its snapshots; what is sent to a
follower is the file.
"""

from __future__ import annotations

import math
from struct import Struct
from typing import NamedTuple, Protocol

import msgspec
from crc32c import crc32c

from kraft.quorum.config import QuorumConfig
from kraft.quorum.messages import Entry, SnapshotPiece
from logstore.storage import Storage, StorageError

_MAGIC = b"KSNP"
_HEAD = Struct(">4sHI")
"""Magic, version, CRC-32C of everything behind."""
_BODY = Struct(">QQQQII")
"""Last index, last term, term before, next offset, sizes of the last two commands."""
_VERSION = 1
_SUFFIX = ".checkpoint"
_KEPT = 2
"""Files that stay: the newest, and the one before it, which a follower may just be reading."""


class SnapshotId(NamedTuple):
    """Index and term of the last entry that a snapshot includes."""

    last_index: int
    last_term: int

    @property
    def file_name(self) -> str:
        """Names sort as their indexes do."""
        return f"{self.last_index:020d}-{self.last_term:010d}{_SUFFIX}"


class Snapshot(msgspec.Struct, frozen=True):
    """The state after `entries[1]`, the last of the two; records before `next_offset` are in `state`."""

    entries: tuple[Entry, Entry]
    next_offset: int
    state: bytes

    @property
    def id(self) -> SnapshotId:
        return SnapshotId(self.entries[1][1], self.entries[1][2])


class CorruptSnapshotError(Exception):
    """These bytes are not a snapshot."""


def encode(snapshot: Snapshot) -> bytes:
    """The file's bytes; shapes are in this module's constants."""
    (before, _, term_before), (command, index, term) = snapshot.entries
    head = _BODY.pack(index, term, term_before, snapshot.next_offset, len(before), len(command))
    body = b"".join((head, before, command, snapshot.state))
    return _HEAD.pack(_MAGIC, _VERSION, crc32c(body)) + body


def decode(data: bytes) -> Snapshot:
    """Raises CorruptSnapshotError."""
    if len(data) < _HEAD.size + _BODY.size:
        raise CorruptSnapshotError(f"{len(data)} bytes are too few")
    magic, version, checksum = _HEAD.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise CorruptSnapshotError(f"magic {magic!r}, version {version}")
    if crc32c(memoryview(data)[_HEAD.size :]) != checksum:
        raise CorruptSnapshotError("the checksum does not match")
    index, term, term_before, next_offset, before_size, size = _BODY.unpack_from(data, _HEAD.size)
    commands_at = _HEAD.size + _BODY.size
    command_at, state_at = commands_at + before_size, commands_at + before_size + size
    if state_at > len(data) or index < 2 or term < term_before:
        raise CorruptSnapshotError("impossible sizes or positions")
    before = (data[commands_at:command_at], index - 1, term_before)
    last = (data[command_at:state_at], index, term)
    return Snapshot((before, last), next_offset, data[state_at:])


def publish(storage: Storage, directory: str, snapshot: Snapshot) -> None:
    """Store a snapshot durably, and remove those that nobody needs now. Raises StorageError."""
    name = snapshot.id.file_name
    temporary = f"{directory}/{name}.part"
    file = storage.open(temporary, create=True)
    try:
        file.truncate(0)
        file.write_at(0, encode(snapshot))
        file.sync()
    finally:
        file.close()
    storage.rename(temporary, f"{directory}/{name}")
    storage.sync_directory(directory)
    for old in _names(storage, directory)[:-_KEPT]:
        storage.remove(f"{directory}/{old}")


def read(storage: Storage, directory: str, snapshot: SnapshotId) -> bytes:
    """The whole file. Raises FileNotFoundError, StorageError."""
    return _read(storage, f"{directory}/{snapshot.file_name}")


def _read(storage: Storage, path: str) -> bytes:
    file = storage.open(path)
    try:
        return file.read_at(0, file.size())
    finally:
        file.close()


def newest(storage: Storage, directory: str) -> Snapshot | None:
    """The snapshot that a node starts from; half-written ones are removed. Raises StorageError if it is
    damaged.
    """
    for name in storage.list(directory):
        if name.endswith(f"{_SUFFIX}.part"):
            storage.remove(f"{directory}/{name}")
    names = _names(storage, directory)
    if not names:
        return None
    try:
        return decode(_read(storage, f"{directory}/{names[-1]}"))
    except CorruptSnapshotError as error:
        raise StorageError(f"{directory}/{names[-1]}", str(error)) from error


def _names(storage: Storage, directory: str) -> list[str]:
    return sorted(name for name in storage.list(directory) if name.endswith(_SUFFIX))


class IncomingSnapshot:
    """Pieces put together again; any gap starts it over. At most `limit` bytes are kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0
        self._of: tuple[int, int, int] | None = None

    def add(self, peer: int, piece: SnapshotPiece) -> bytes | None:
        """Take a piece from `peer`; the whole once it is complete, else None."""
        of = (peer, piece.last_index, piece.last_term)
        if piece.first:
            self._pieces, self._size, self._of = [], 0, of
        size = self._size + len(piece.data)
        if self._of != of or piece.position != self._size or size > self._limit:
            self.clear()
            return None
        self._pieces.append(piece.data)
        self._size = size
        if not piece.last:
            return None
        whole = b"".join(self._pieces)
        self.clear()
        return whole

    def clear(self) -> None:
        """Forget what has come."""
        self._pieces, self._size, self._of = [], 0, None


class SnapshotReader(Protocol):
    """Where the bytes of stored snapshots are."""

    def read_snapshot(self, snapshot: SnapshotId) -> bytes | None: ...


class OutgoingSnapshots:
    """Cuts the newest snapshot into pieces, for each follower.

    A follower is given so many pieces in a round, so that a large snapshot does not fill up its link.
    """

    def __init__(self, config: QuorumConfig, reader: SnapshotReader) -> None:
        self._config = config
        self._reader = reader
        self._under_way: dict[object, tuple[SnapshotId, bytes, int]] = {}
        self._sent: dict[object, int] = {}
        self._next_round = -math.inf
        self.newest: SnapshotId | None = None

    def allow_round(self, now: float) -> None:
        """Let each follower have more pieces, if the last time is long enough ago."""
        if now >= self._next_round:
            self._next_round = now + self._config.heartbeat_interval
            self._sent.clear()

    def next_piece(self, node: object) -> SnapshotPiece | None:
        """The next piece for `node`; None while there is none to send."""
        sent = self._sent.get(node, 0)
        if sent >= self._config.snapshot_pieces_per_round:
            return None
        under_way = self._under_way.get(node) or self._open()
        if under_way is None:
            return None
        snapshot, data, position = under_way
        piece = data[position : position + self._config.snapshot_piece_bytes]
        end = position + len(piece)
        last = end == len(data)
        self._sent[node] = sent + 1
        if last:
            self._under_way.pop(node, None)
        else:
            self._under_way[node] = (snapshot, data, end)
        return SnapshotPiece(piece, position == 0, last, snapshot.last_index, snapshot.last_term, position)

    def cancel(self, node: object) -> None:
        """A piece was lost: start over next time."""
        self._under_way.pop(node, None)

    def _open(self) -> tuple[SnapshotId, bytes, int] | None:
        data = None if self.newest is None else self._reader.read_snapshot(self.newest)
        return None if self.newest is None or data is None else (self.newest, data, 0)
