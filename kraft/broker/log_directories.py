"""This broker's log directories: which replica's log lies where, what was checkpointed, how the last
process ended.

One directory is `topic-partition` with Kafka's files, `partition.metadata` among them, which holds the
topic's id: a topic that was deleted and created anew is another topic. Deleted logs are renamed
`….<id>-delete` at once and removed later; what the metadata does not know is set aside as `…-stray` and
kept, because metadata may be wrong and data cannot be made anew.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from collections.abc import Iterable, Sequence
from uuid import UUID

from kafkawire.errors import KafkaError
from kraft.clock import Clock
from kraft.events import Events
from logstore.checkpoints import (
    CLEANED_OFFSETS,
    HIGH_WATERMARKS,
    LOG_STARTS,
    RECOVERY_POINTS,
    clean_shutdown_epoch,
    clear_clean_shutdown,
    mark_clean_shutdown,
    read_offsets,
    write_offsets,
)
from logstore.config import LogConfig
from logstore.log import Log
from logstore.storage import Storage, StorageError, Syncable
from replication.partition import Partition

PARTITION_METADATA = "partition.metadata"
_DELETED = "-delete"
_STRAY = "-stray"
_LONGEST_NAME = 255


class LogDirectories:
    """Implements `replication.replicas.LogHost` over one or several directories. All methods raise
    StorageError."""

    def __init__(self, storage: Storage, paths: Sequence[str], clock: Clock) -> None:
        self.paths = tuple(paths)
        self._storage = storage
        self._clock = clock
        self._events = Events("log")
        self._found: dict[str, str] = {}
        self._counts = dict.fromkeys(self.paths, 0)
        self._preferred: dict[tuple[str, int], str] = {}
        self._recovery_points: dict[tuple[str, int], int] = {}
        self._high_watermarks: dict[tuple[str, int], int] = {}
        self._log_starts: dict[tuple[str, int], int] = {}
        self._cleaned_offsets: dict[tuple[str, int], int] = {}
        self._live: set[tuple[str, int]] = set()
        # What the checkpoints on disk say, by directory and file name.
        self._written: dict[tuple[str, str], dict[tuple[str, int], int]] = {}
        self._doomed: list[tuple[Log | None, str]] = []
        self._fresh: dict[str, None] = {}
        self.clean_epoch = -1
        """The broker epoch of the last process if it ended cleanly in every directory, else -1."""
        self._clean = True
        self._load()

    def _load(self) -> None:
        epochs = []
        for path in self.paths:
            epoch = clean_shutdown_epoch(self._storage, path)
            epochs.append(-1 if epoch is None else epoch)
            self._clean = self._clean and epoch is not None
            clear_clean_shutdown(self._storage, path)
            for table, name in (
                (self._recovery_points, RECOVERY_POINTS),
                (self._high_watermarks, HIGH_WATERMARKS),
                (self._log_starts, LOG_STARTS),
                (self._cleaned_offsets, CLEANED_OFFSETS),
            ):
                self._written[path, name] = read_offsets(self._storage, path, name) or {}
                table.update(self._written[path, name])
            for name in self._storage.list(path):
                if name.endswith(_DELETED):
                    self._doomed.append((None, f"{path}/{name}"))
                elif not name.endswith(_STRAY) and self._storage.exists(
                    f"{path}/{name}/{PARTITION_METADATA}"
                ):
                    self._found[name] = path
                    self._counts[path] += 1
        self.clean_epoch = epochs[0] if len(set(epochs)) == 1 else -1

    def open(self, topic: str, topic_id: UUID, index: int, config: LogConfig) -> tuple[Log, int]:
        """See `LogHost`. A new log goes where it was asked for, else where the fewest are."""
        name = f"{topic}-{index}"
        parent = self._found.pop(name, None)
        if parent is not None and self._topic_id(f"{parent}/{name}") != topic_id:
            self._set_aside(parent, name)
            parent = None
        key = (topic, index)
        found = parent is not None
        if parent is None:
            fewest = min(self.paths, key=lambda path: self._counts[path])
            parent = self._preferred.pop(key, fewest)
            self._counts[parent] += 1
            self._forget_checkpoints(key)
            directory = f"{parent}/{name}"
            self._storage.make_directory(directory)
            # Synced aside, before the first record is: a thousand at once would hold the broker up.
            self._fresh[directory] = None
            self._storage.write_text_atomically(
                f"{directory}/{PARTITION_METADATA}",
                f"version: 0\ntopic_id: {_kafka_id(topic_id)}\n",
                durable=False,
            )
        elif not self._clean:
            # The process that made it may have been killed before it synced the name.
            self._fresh[f"{parent}/{name}"] = None
        try:
            log = Log.open(
                self._storage,
                f"{parent}/{name}",
                config,
                now_ms=self._clock.wall_ms(),
                recovery_point=self._recovery_points.get(key, 0) if found else 0,
                clean=self._clean,
                log_start=self._log_starts.get(key, 0) if found else 0,
            )
        except KafkaError as error:  # a batch that was synced is none any more
            raise StorageError(f"{parent}/{name}", str(error)) from error
        self._tell_what_was_lost(log)
        log.compaction.cleaned_to = min(self._cleaned_offsets.get(key, 0), log.end_offset) if found else 0
        self._lower_checkpoints(parent, key, log)
        self._live.add(key)
        return log, self._high_watermarks.get(key, 0) if found else 0

    def _tell_what_was_lost(self, log: Log) -> None:
        lost = log.recovered
        if lost is None:
            return
        # A torn end is what a killed process or lost power leaves; what was synced is not to be lost.
        tell = self._events.error if lost.was_synced else self._events.warning
        tell(
            "log.cut",
            directory=log.directory,
            offset=lost.offset,
            bytes=lost.size,
            was_synced=lost.was_synced,
        )

    def prefer(self, topic: str, index: int, path: str) -> None:
        """Put the partition's log into `path`, one of ours, when it comes here. Forgotten with the
        process."""
        self._preferred[topic, index] = path

    def new_names(self) -> list[Syncable]:
        """What to sync so that directories made since the last time are found after a power cut; before any
        of their records."""
        fresh, self._fresh = self._fresh, {}
        return [_NewDirectory(self._storage, directory) for directory in fresh]

    def delete(self, log: Log) -> None:
        """See `LogHost`."""
        parent, _, name = log.directory.rpartition("/")
        doomed = self._doomed_name(parent, name)
        self._storage.rename(log.directory, doomed)
        self._doomed.append((log, doomed))
        # Nothing may ever be synced here, and topics come and go.
        self._fresh.pop(log.directory, None)
        self._counts[parent] -= 1
        topic, _, index = name.rpartition("-")
        self._live.discard((topic, int(index)))

    def _doomed_name(self, parent: str, name: str) -> str:
        """A new one each time: a replica may have been here before, and not be removed yet."""
        stem = f"{parent}/{self._short_name(parent, name)}"
        number = 0
        while self._storage.exists(doomed := f"{stem}{f'.{number}' if number else ''}{_DELETED}"):
            number += 1
        return doomed

    def _short_name(self, parent: str, name: str) -> str:
        """What a partition's directory is called that gets a suffix: together at most 255 characters."""
        topic, _, index = name.rpartition("-")
        topic_id = self._topic_id(f"{parent}/{name}")
        return f"{topic[:200]}-{index}.{topic_id.hex if topic_id else 'unknown'}"

    def remove_deleted(self) -> None:
        """Remove what was deleted. May take long: call it aside, while nothing is being synced: until then
        the files stay open, for a sync or an answer to a fetch that had begun."""
        while self._doomed:
            log, directory = self._doomed.pop()
            if log is not None:
                log.close(clean=False)
            self._storage.remove_directory(directory)

    def set_strays_aside(self) -> None:
        """The metadata is known now: rename what it does not place here."""
        for name, parent in tuple(self._found.items()):
            self._set_aside(parent, name)
        self._found.clear()

    def _set_aside(self, parent: str, name: str) -> None:
        fits = len(name) + len(_STRAY) <= _LONGEST_NAME
        stray = f"{parent}/{name if fits else self._short_name(parent, name)}{_STRAY}"
        self._events.warning("log.stray", directory=f"{parent}/{name}", now=stray)
        if self._storage.exists(stray):
            self._storage.remove_directory(stray)
        self._storage.rename(f"{parent}/{name}", stray)
        self._counts[parent] -= 1

    def _topic_id(self, directory: str) -> UUID | None:
        text = self._storage.read_text(f"{directory}/{PARTITION_METADATA}") or ""
        values = dict(line.partition(": ")[::2] for line in text.splitlines())
        return _from_kafka_id(values.get("topic_id", ""))

    # -- checkpoints ------------------------------------------------------------------------------

    def checkpoint_high_watermarks(self, partitions: Iterable[Partition]) -> None:
        """Remember how far every replica knew that records were committed."""
        for path, here in self._by_path(partitions).items():
            offsets = {(each.topic, each.index): each.high_watermark for each in here}
            self._checkpoint(path, HIGH_WATERMARKS, offsets)

    def checkpoint_recovery_points(self, partitions: Iterable[Partition]) -> None:
        """Remember below what every log is on the disk for good, and where it starts."""
        for path, here in self._by_path(partitions).items():
            points = {(each.topic, each.index): each.log.recovery_point for each in here}
            self._checkpoint(path, RECOVERY_POINTS, points)
            starts = {(each.topic, each.index): each.log.start_offset for each in here}
            self._checkpoint(path, LOG_STARTS, starts)

    def checkpoint_cleaned(self, partitions: Iterable[Partition]) -> None:
        """Remember up to where every log was compacted."""
        for path, here in self._by_path(partitions).items():
            cleaned = {(each.topic, each.index): each.log.compaction.cleaned_to for each in here}
            offsets = {key: offset for key, offset in cleaned.items() if offset}
            self._checkpoint(path, CLEANED_OFFSETS, offsets)

    def log_was_cut(self, partition: Partition) -> None:
        """A log is shorter than it was: what is appended in place of its end is neither synced nor compacted
        nor before its start, and a restart must know."""
        path = partition.log.directory.rpartition("/")[0]
        self._lower_checkpoints(path, (partition.topic, partition.index), partition.log)

    def _lower_checkpoints(self, path: str, key: tuple[str, int], log: Log) -> None:
        for name, offset in (
            (RECOVERY_POINTS, log.recovery_point),
            (LOG_STARTS, log.start_offset),
            (CLEANED_OFFSETS, log.compaction.cleaned_to),
        ):
            written = self._written[path, name]
            if written.get(key, 0) > offset:
                self._write(path, name, {**written, key: offset})

    def _forget_checkpoints(self, key: tuple[str, int]) -> None:
        """A log of this name begins, and perhaps there was another: a restart must not take what was
        checkpointed of that one for this one's. All that are gone are forgotten at once."""
        if not any(key in offsets for offsets in self._written.values()):
            return
        for (path, name), offsets in tuple(self._written.items()):
            kept = {each: offset for each, offset in offsets.items() if self._is_here(each)}
            if len(kept) < len(offsets):
                self._write(path, name, kept)

    def _is_here(self, key: tuple[str, int]) -> bool:
        topic, index = key
        return key in self._live or f"{topic}-{index}" in self._found

    def _checkpoint(self, path: str, name: str, offsets: dict[tuple[str, int], int]) -> None:
        """Write what is known of the logs that are open; what is said of those that wait to be stays."""
        if self._found:
            waiting = {
                (topic, index): offset
                for (topic, index), offset in self._written[path, name].items()
                if f"{topic}-{index}" in self._found
            }
            offsets = waiting | offsets
        self._write(path, name, offsets)

    def _write(self, path: str, name: str, offsets: dict[tuple[str, int], int]) -> None:
        write_offsets(self._storage, path, name, offsets)
        self._written[path, name] = offsets

    def _by_path(self, partitions: Iterable[Partition]) -> dict[str, list[Partition]]:
        by_path: dict[str, list[Partition]] = {path: [] for path in self.paths}
        for partition in partitions:
            by_path[partition.log.directory.rpartition("/")[0]].append(partition)
        return by_path

    def close(self, replicas: Iterable[Partition], broker_epoch: int) -> None:
        """Close every log, which has been synced, and say that it ended well: under `broker_epoch`, or, if
        that is -1 because the broker never registered, under the epoch of the process before."""
        self.checkpoint_high_watermarks(replicas)
        for partition in replicas:
            partition.log.close(clean=True)
        self.checkpoint_recovery_points(replicas)
        if self._found and not self._clean:
            return  # nobody has looked at these since the stop that was not clean
        epoch = broker_epoch if broker_epoch >= 0 else self.clean_epoch
        for path in self.paths:
            mark_clean_shutdown(self._storage, path, epoch)

    def space(self, path: str) -> tuple[int, int]:
        """Total and usable bytes of the volume; -1 where that is not known."""
        try:
            status = os.statvfs(path)
        except OSError:
            return -1, -1
        return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize


class _NewDirectory:
    """The directory of a log that was just made: its name, and whose it is."""

    def __init__(self, storage: Storage, directory: str) -> None:
        self._storage = storage
        self._directory = directory

    def sync(self) -> None:
        """See `Syncable`. Nothing happens if it was deleted meanwhile."""
        with contextlib.suppress(FileNotFoundError):
            file = self._storage.open(f"{self._directory}/{PARTITION_METADATA}")
            try:
                file.sync()
            finally:
                file.close()
        self._storage.sync_directory(self._directory)
        self._storage.sync_directory(self._directory.rpartition("/")[0])


def _kafka_id(topic_id: UUID) -> str:
    return base64.urlsafe_b64encode(topic_id.bytes).decode().rstrip("=")


def _from_kafka_id(text: str) -> UUID | None:
    try:
        return UUID(bytes=base64.urlsafe_b64decode(text.strip() + "=="))
    except (ValueError, binascii.Error):
        return None
