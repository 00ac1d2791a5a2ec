"""What has to reach the disk, and when: group syncs, checkpoints, and the deleting of what is old.

Records are written to the page cache as they come, which survives the death of the process. Syncs happen in
a thread, one at a time: what gathers meanwhile shares the next one. A sync that fails is final: what the
kernel still has of the file cannot be trusted, so the node stops and recovers (Rebello et al., ATC'20).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from kraft.broker.log_directories import LogDirectories
from kraft.broker.stalls import StallDetector
from kraft.clock import Clock
from kraft.events import Events
from logstore.storage import StorageError, Syncable
from replication.fetcher import LeaderFetcher
from replication.outbox import Outbox
from replication.partition import Partition
from replication.replicas import Replicas


class DurabilitySettings(msgspec.Struct, frozen=True):
    """Seconds between two checkpoints of high watermarks, of recovery points, and two looks at retention."""

    high_watermarks: float
    recovery_points: float
    retention: float


class Durability:
    """Owns everything that is synced or deleted in the background on one broker."""

    def __init__(
        self,
        replicas: Replicas,
        directories: LogDirectories,
        clock: Clock,
        stalls: StallDetector,
        settings: DurabilitySettings,
        on_synced: Callable[[LeaderFetcher], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._replicas = replicas
        self._directories = directories
        self._clock = clock
        self._stalls = stalls
        self._settings = settings
        self._on_synced = on_synced
        self._on_failure = on_failure
        self._wake = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._events = Events("log")

    @property
    def _outbox(self) -> Outbox:
        return self._replicas.outbox

    def wake(self) -> None:
        """There may be logs to sync in the outbox."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled, or until a sync has failed."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sync_on_demand())
                group.create_task(self._every(self._settings.high_watermarks, self._checkpoint_watermarks))
                group.create_task(self._every(self._settings.recovery_points, self._flush_closed_segments))
                group.create_task(self._every(self._settings.retention, self._retain))
        except* StorageError as failures:
            self._on_failure(failures.exceptions[0])

    async def _sync_on_demand(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outbox.unsynced:
                wanted = list(self._outbox.unsynced)
                self._outbox.unsynced.clear()
                await self.sync(wanted)

    async def sync(self, partitions: Iterable[Partition]) -> None:
        """Sync these logs up to where they end now, after what is being synced; those that have left by then
        are left out. Raises StorageError."""
        async with self._one_at_a_time:
            await self._sync(filter(self._is_here, partitions))

    def _is_here(self, partition: Partition) -> bool:
        return self._replicas.by_key(partition.key) is partition

    async def _sync(self, partitions: Iterable[Partition]) -> None:
        ends = {partition: partition.log.end_offset for partition in partitions}
        files = self._directories.new_names()
        files += [file for partition in ends for file in partition.log.files_to_sync()]
        began = self._clock.monotonic()
        await asyncio.to_thread(_sync_all, files)
        ended = self._clock.monotonic()
        self._stalls.measured(began, ended)
        for fetcher in self._replicas.synced(ends, ended):
            self._on_synced(fetcher)

    async def _every(self, interval: float, work: Callable[[], object]) -> None:
        while True:
            await asyncio.sleep(interval)
            outcome = work()
            if asyncio.iscoroutine(outcome):
                await outcome

    def _checkpoint_watermarks(self) -> None:
        self._directories.checkpoint_high_watermarks(self._replicas)

    async def _flush_closed_segments(self) -> None:
        """Sync what lies below the active segments, so that a restart need not check it again."""
        stale = [partition for partition in self._replicas if partition.log.has_unsynced_closed_segments]
        if stale:
            await self.sync(stale)
        self._directories.checkpoint_recovery_points(self._replicas)

    async def _retain(self) -> None:
        now_ms = self._clock.wall_ms()
        for partition in self._replicas:
            if not self._is_here(partition):
                continue  # it left while the others were looked at
            partition.log.expire_producers(now_ms)
            partition.log.producers.forget_replicated(partition.high_watermark)
            deleted = partition.log.apply_retention(now_ms, partition.high_watermark)
            if deleted:
                self._events.info(
                    "log.retained",
                    topic=partition.topic,
                    partition=partition.index,
                    segments=deleted,
                    start=partition.log.start_offset,
                )
            partition.log.delete_expired_files(now_ms)
            await asyncio.sleep(0)
        async with self._one_at_a_time:
            await asyncio.to_thread(self._directories.remove_deleted)


def _sync_all(files: Iterable[Syncable]) -> None:
    for file in files:
        file.sync()
