"""Snapshots of this node: taking one, sending it, and installing one that the leader sent."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from kraft.quorum import guard
from kraft.quorum.config import QuorumConfig
from kraft.quorum.entry_offsets import EntryOffsets
from kraft.quorum.guarded import GuardedTransport
from kraft.quorum.journal import Journal
from kraft.quorum.messages import SnapshotPiece
from kraft.quorum.raft import Raft
from kraft.quorum.snapshots import (
    CorruptSnapshotError,
    IncomingSnapshot,
    OutgoingSnapshots,
    Snapshot,
    decode,
)
from kraft.quorum.status import Counters
from kraft.quorum.stored import QuorumStore
from metadata.log import MetadataLogListener


class Job(NamedTuple):
    """`work` blocks, on the disk's worker; `finished` is called on the driver's thread after it."""

    work: Callable[[], None]
    finished: Callable[[], None]


class _Received(msgspec.Struct, frozen=True):
    """A whole snapshot that waits to be stored, who sent it, and in which term."""

    snapshot: Snapshot
    peer: int
    term: int


class Compaction:
    """Decides when a snapshot is due; at most one is on its way to the disk."""

    def __init__(
        self,
        config: QuorumConfig,
        journal: Journal,
        store: QuorumStore,
        listener: MetadataLogListener,
        counters: Counters,
    ) -> None:
        self._config = config
        self._journal = journal
        self._store = store
        self._listener = listener
        self._counters = counters
        self._incoming = IncomingSnapshot(config.max_snapshot_bytes)
        self._received: _Received | None = None
        self._busy = False
        self._records = 0
        self._bytes = 0
        self.outgoing = OutgoingSnapshots(config, store)
        self._offsets = EntryOffsets()
        self.next_offset = 0
        """The offset of the first metadata record that the state machine does not have."""
        self._raft: Raft
        self._transport: GuardedTransport

    def start(self, raft: Raft, transport: GuardedTransport) -> None:
        """Deliver the snapshot that is on disk. (Raft sends what this makes, and this moves Raft on.)"""
        self._raft, self._transport = raft, transport
        snapshot, self._store.snapshot = self._store.snapshot, None
        if snapshot is not None:
            self.outgoing.newest = snapshot.id
            self._moved_to(snapshot)
            raft.start_from(snapshot.id.last_index)
            self._listener.on_snapshot(snapshot.state, snapshot.next_offset)

    @property
    def installs(self) -> bool:
        """Whether a snapshot of the leader is being stored; later entries have nothing to go on from yet."""
        return self._received is not None

    def applied(self, index: int, records: int, size: int) -> None:
        """So many records of entry `index`, in so many bytes, are being delivered."""
        self.next_offset += records
        self._offsets.applied(index, self.next_offset)
        self._records += records
        self._bytes += size

    def log_end_of(self, next_offset: int) -> int:
        """The log end, in entries, of who has the metadata records before `next_offset`; -1 if unknown."""
        if next_offset >= self.next_offset:  # entries without records may follow the last one
            return self._raft.commit_index + 1
        entry = self._offsets.last_entry(next_offset)
        return -1 if entry is None else entry + 1

    def receive(self, peer: int, piece: SnapshotPiece, term: int) -> None:
        """A piece of a snapshot that the guard admits."""
        whole = self._incoming.add(peer, piece)
        if whole is None or self.installs:
            return
        try:
            snapshot = decode(whole)
        except CorruptSnapshotError:
            self._counters.malformed_messages += 1
            return
        if snapshot.id == (piece.last_index, piece.last_term):
            self._received = _Received(snapshot, peer, term)

    def forget_pieces(self) -> None:
        """What has come of a snapshot is not wanted."""
        self._incoming.clear()

    def next_job(self) -> Job | None:
        """What the disk is to do now, if anything. May ask the listener for its state."""
        if self._busy:
            return None
        if self._received is not None:
            self._busy = True
            received = self._received
            work = partial(self._store.publish, received.snapshot)
            return Job(work, partial(self._install, received))
        due = (
            self._records >= self._config.snapshot_interval_records
            or self._bytes >= self._config.snapshot_interval_bytes
        )
        last_applied = self._raft.last_applied
        if not due or last_applied <= self._journal.first_index:
            return None
        self._busy = True
        self._records = self._bytes = 0
        entries = (self._journal.entry(last_applied - 1), self._journal.entry(last_applied))
        snapshot = Snapshot(entries, self.next_offset, self._listener.take_snapshot())
        return Job(partial(self._store.publish, snapshot), partial(self._taken, snapshot))

    def _taken(self, snapshot: Snapshot) -> None:
        self._busy = False
        self._counters.snapshots_taken += 1
        if self.outgoing.newest is None or snapshot.id > self.outgoing.newest:
            self.outgoing.newest = snapshot.id
            self._journal.discard_below(snapshot.id.last_index - 1)

    def _install(self, received: _Received) -> None:
        raft = self._raft
        self._busy = False
        self._received = None
        snapshot, index = received.snapshot, received.snapshot.id.last_index
        if guard.admit_snapshot(self._journal, raft.commit_index, index, snapshot.id.last_term):
            self._counters.snapshots_installed += 1
            self._records = self._bytes = 0
            self._journal.install(snapshot)
            raft.install(index)
            self.outgoing.newest = snapshot.id
            self._moved_to(snapshot)
            self._listener.on_snapshot(snapshot.state, snapshot.next_offset)
        if raft.term == received.term and raft.leader_id == received.peer:
            self._transport.reply(received.peer, raft.commit_index + 1, success=True, reset=True)

    def _moved_to(self, snapshot: Snapshot) -> None:
        self.next_offset = snapshot.next_offset
        self._offsets.restart(snapshot.id.last_index, snapshot.next_offset)
