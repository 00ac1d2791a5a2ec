"""The journal on disk: a Kafka log, Kafka's `quorum-state` beside it, and the snapshots.

A Raft index is the offset in the log and a term is its leader epoch, so Kafka's own tools read it. A batch
holds one entry: its value is the command. Everything here blocks and runs on the disk's worker, one call at a
time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from crc32c import crc32c

from kafkawire.records import build_batch, headers, records
from kraft.quorum import snapshots
from kraft.quorum.journal import Append, Change, Discard, Reset, Truncate, Vote
from kraft.quorum.messages import Entry
from kraft.quorum.snapshots import Snapshot, SnapshotId
from logstore.config import UNLIMITED, LogConfig
from logstore.log import Log
from logstore.storage import Storage, StorageError

LOG_DIRECTORY = "__cluster_metadata-0"
"""The partition's name in Kafka."""
STATE_FILE = "quorum-state"
_SEGMENT_BYTES = 8 * 1024 * 1024
_READ_BYTES = 1024 * 1024


class QuorumStore:
    """What a node found when it started, and the way to write more. Raises StorageError throughout."""

    def __init__(self, storage: Storage, directory: str, log: Log) -> None:
        self._storage = storage
        self._directory = directory
        self._log = log
        self.entries: list[Entry] = []
        self.vote = Vote(0, None)
        self.snapshot: Snapshot | None = None

    @classmethod
    def open(cls, storage: Storage, directory: str, *, max_entry_bytes: int, now_ms: int) -> QuorumStore:
        """Read everything back; `directory` is a directory of `log.dirs`, and is created if need be.

        Entries behind a torn write are cut off: they were never synced, so nobody was told of them.
        """
        path = f"{directory}/{LOG_DIRECTORY}"
        storage.make_directory(path)
        storage.sync_directory(directory)  # or a power cut takes the whole log, synced as it is
        snapshot = snapshots.newest(storage, path)
        start = 1 if snapshot is None else snapshot.id.last_index - 1
        config = LogConfig(
            segment_bytes=_SEGMENT_BYTES,
            max_message_bytes=max_entry_bytes + 1024,
            retention_ms=UNLIMITED,
            retention_bytes=UNLIMITED,
            file_delete_delay_ms=0,
            flush_messages=1,
        )
        log = Log.open(storage, path, config, now_ms=now_ms, log_start=start)
        store = cls(storage, path, log)
        store.entries = store._recover(snapshot, start)
        # A process that was killed leaves bytes in the page cache that were read just now, and are not
        # durable yet.
        store._sync()
        store.vote = store._read_vote()
        store.snapshot = snapshot
        return store

    def _recover(self, snapshot: Snapshot | None, start: int) -> list[Entry]:
        """The entries from `start` on; those that do not go on from the snapshot are replaced by its own."""
        if self._log.end_offset < start or (self._log.end_offset == start and snapshot is None):
            self._log.reset_to(start)
        entries = self._read(start)
        if snapshot is None:
            return entries
        if len(entries) >= 2 and entries[1][1:] == snapshot.id and entries[0][2] == snapshot.entries[0][2]:
            return entries
        self._reset(snapshot.entries)
        return list(snapshot.entries)

    def _read(self, start: int) -> list[Entry]:
        entries: list[Entry] = []
        offset = max(start, self._log.start_offset)
        while offset < self._log.end_offset:
            data = self._log.read(offset, _READ_BYTES, up_to=self._log.end_offset).bytes()
            for position, header in headers(data):
                if header.base_offset >= start:
                    term = header.partition_leader_epoch
                    entries += [(r.value or b"", r.offset, term) for r in records(data, position)]
                offset = header.next_offset
        if entries and entries[0][1] != start:
            raise StorageError(self._directory, f"entries before {entries[0][1]} are missing")
        return entries

    def apply(self, changes: Sequence[Change]) -> None:
        """Make `changes` durable, in their order."""
        vote: Vote | None = None
        for change in changes:
            match change:
                case Append(entries):
                    self._append(entries)
                case Truncate(index):
                    # Durable before anything takes the place: or a power cut could leave old and new entries
                    # mixed.
                    self._log.truncate_to(index)
                    self._sync()
                case Reset(entries):
                    self._reset(entries)
                case Discard(index):
                    self._discard(index)
                case Vote():
                    vote = change
        if vote is not None:
            self._write_vote(vote)
        self._sync()

    def close(self) -> None:
        """Nothing may be under way."""
        self._log.close(clean=True)

    def publish(self, snapshot: Snapshot) -> None:
        """Store a snapshot durably, and remove those that nobody needs now."""
        snapshots.publish(self._storage, self._directory, snapshot)

    def read_snapshot(self, snapshot: SnapshotId) -> bytes | None:
        """The bytes of a snapshot as they are sent; None if it is gone."""
        try:
            return snapshots.read(self._storage, self._directory, snapshot)
        except FileNotFoundError:
            return None

    def _append(self, entries: Sequence[Entry]) -> None:
        batches = [
            build_batch([(0, None, command)], base_offset=index, leader_epoch=term)
            for command, index, term in entries
        ]
        self._log.append_as_follower(b"".join(batches), gaps=False)

    def _reset(self, entries: Sequence[Entry]) -> None:
        self._log.reset_to(entries[0][1])
        self._append(entries)

    def _discard(self, index: int) -> None:
        self._log.advance_start(index)
        self._log.apply_retention(0, index)
        self._log.delete_expired_files(0)

    def _sync(self) -> None:
        end = self._log.end_offset
        for file in self._log.files_to_sync():
            file.sync()
        self._log.synced_to(end)

    def _write_vote(self, vote: Vote) -> None:
        fields = {"leaderEpoch": vote.term, "votedId": -1 if vote.voted_for is None else vote.voted_for}
        text = json.dumps(fields | {"data_version": 1, "checksum": _checksum(fields)})
        self._storage.write_text_atomically(f"{self._directory}/{STATE_FILE}", text)

    def _read_vote(self) -> Vote:
        path = f"{self._directory}/{STATE_FILE}"
        text = self._storage.read_text(path)
        if text is None:
            return Vote(0, None)
        try:
            state = json.loads(text)
            fields = {"leaderEpoch": int(state["leaderEpoch"]), "votedId": int(state["votedId"])}
            intact = state["checksum"] == _checksum(fields)
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(path, "not a quorum state") from error
        if not intact:
            raise StorageError(path, "the checksum does not match")
        return Vote(fields["leaderEpoch"], None if fields["votedId"] < 0 else fields["votedId"])


def _checksum(fields: dict[str, int]) -> int:
    return int(crc32c(json.dumps(fields, sort_keys=True).encode()))
