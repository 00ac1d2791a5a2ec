"""What is synced and retained in the background while replicas come and go."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import UUID

from kafkawire.records import build_batch
from kraft.broker.durability import Durability, DurabilitySettings
from kraft.broker.log_directories import LogDirectories
from kraft.broker.stalls import StallDetector
from kraft.clock import SystemClock
from logstore.config import LogConfig
from logstore.memory import MemoryStorage
from logstore.storage import StorageError
from replication.fetcher import LeaderFetcher
from replication.outbox import Outbox
from replication.partition import Partition
from replication.settings import ReplicationSettings

ROOT = "data"
CONFIG = LogConfig(segment_bytes=220, retention_ms=0, file_delete_delay_ms=0)
NEVER = 1_000.0
TIMEOUT = 10.0


class Hosted:
    """The partitions of a broker. One in `leaving` is gone when it would be next, as a topic may be deleted
    between two turns of the loop."""

    def __init__(self, directories: LogDirectories) -> None:
        self.partitions: dict[tuple[bytes, int], Partition] = {}
        self.leaving: list[Partition] = []
        self._directories = directories

    def __iter__(self) -> Iterator[Partition]:
        for partition in tuple(self.partitions.values()):
            if partition in self.leaving:
                self.leave(partition)
            yield partition

    def by_key(self, key: tuple[bytes, int]) -> Partition | None:
        return self.partitions.get(key)

    def leave(self, partition: Partition) -> None:
        del self.partitions[partition.key]
        self._directories.delete(partition.log)

    def synced(self, ends: dict[Partition, int], now: float) -> list[LeaderFetcher]:
        for partition, end in ends.items():
            if self.by_key(partition.key) is partition:
                partition.synced(end, now)
        return []


class PausedDirectories(LogDirectories):
    """Removes what was deleted once it may."""

    def remove_deleted(self) -> None:
        self.loop.call_soon_threadsafe(self.removing.set)
        assert self.may_remove.wait(TIMEOUT)
        super().remove_deleted()


class SlowStorage(MemoryStorage):
    """Syncs once it may, and tells when somebody waits for that."""

    def __init__(self, asked: Callable[[], object]) -> None:
        super().__init__(random.Random(1))
        self.may_sync = threading.Event()
        self._asked = asked

    def sync(self, path: str, inode: Any) -> None:
        if not self.may_sync.is_set():
            self._asked()
        assert self.may_sync.wait(TIMEOUT)
        super().sync(path, inode)


class Place:
    """A broker's logs, and what syncs and retains them."""

    def __init__(self, storage: MemoryStorage | None = None) -> None:
        self.storage = storage or MemoryStorage(random.Random(1))
        self.storage.make_directory(ROOT)
        self.directories = PausedDirectories(self.storage, [ROOT], SystemClock())
        self.directories.loop = asyncio.get_running_loop()
        self.directories.removing = asyncio.Event()
        self.directories.may_remove = threading.Event()
        self.hosted = Hosted(self.directories)
        self.failures: list[BaseException] = []
        self.durability = Durability(
            self.hosted,  # type: ignore[arg-type]
            self.directories,
            SystemClock(),
            StallDetector(NEVER, NEVER, lambda _: None),
            DurabilitySettings(NEVER, NEVER, 0.0),
            lambda _: None,
            self.failed,
        )

    def failed(self, failure: BaseException) -> None:
        self.failures.append(failure)
        self.directories.removing.set()

    def host(self, topic: str, number: int) -> Partition:
        """A partition of which everything is old enough to go."""
        topic_id = UUID(int=number)
        log, _ = self.directories.open(topic, topic_id, 0, CONFIG)
        for _ in range(9):
            log.append_as_leader(build_batch([(1_000, None, b"x" * 60)]), 0, 1_000)
        outbox = Outbox(lambda: None, self.directories.log_was_cut)
        partition = Partition(
            topic, (topic_id.bytes, 0), log, 1, ReplicationSettings(), outbox, high_watermark=9
        )
        self.hosted.partitions[partition.key] = partition
        return partition


@contextlib.asynccontextmanager
async def running(place: Place) -> AsyncIterator[None]:
    task = asyncio.create_task(place.durability.run())
    try:
        async with asyncio.timeout(TIMEOUT):
            yield
    finally:
        place.directories.may_remove.set()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_retention_leaves_a_log_alone_that_was_deleted_meanwhile() -> None:
    place = Place()
    here, gone = place.host("here", 1), place.host("gone", 2)
    place.hosted.leaving.append(gone)
    async with running(place):
        await place.directories.removing.wait()
    assert place.failures == []
    assert (here.log.start_offset, gone.log.start_offset) == (9, 0)


async def test_a_log_that_was_removed_while_its_sync_waited_is_not_synced() -> None:
    place = Place()
    here, gone = place.host("here", 1), place.host("gone", 2)
    async with running(place):
        await place.directories.removing.wait()
        syncing = asyncio.create_task(place.durability.sync([here, gone]))
        await asyncio.wait({syncing}, timeout=0)
        place.hosted.leave(gone)
        place.directories.may_remove.set()
        await syncing
    assert here.log.recovery_point == here.log.end_offset
    assert not place.storage.exists(f"{ROOT}/gone-0")


async def test_a_sync_that_fails_while_the_broker_stops_is_a_failure_all_the_same() -> None:
    """Another sync would succeed, and the logs be closed as if everything was on the disk."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    storage = SlowStorage(lambda: loop.call_soon_threadsafe(asked.set))
    place = Place(storage)
    storage.may_sync.set()
    partition = place.host("here", 1)
    storage.may_sync.clear()
    storage.fail_syncs()
    async with asyncio.timeout(TIMEOUT):
        syncing = asyncio.create_task(place.durability.sync([partition]))
        await asked.wait()
        syncing.cancel()
        await asyncio.wait({syncing}, timeout=0)
        assert not syncing.done()
        storage.may_sync.set()
        await asyncio.wait({syncing})
    assert syncing.cancelled()
    assert [type(failure) for failure in place.failures] == [StorageError]
    assert partition.log.recovery_point == 0
