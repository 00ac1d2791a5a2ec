"""The shell of compaction: what it cleans and when it gives up, on a storage in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from uuid import UUID

import pytest
from msgspec.structs import replace

from kafkawire.records import build_batch, headers, records
from kraft.broker.log_cleaner import CleanerSettings, LogCleaner
from kraft.broker.log_directories import LogDirectories
from kraft.clock import Clock, SystemClock
from logstore.checkpoints import CLEANED_OFFSETS, read_offsets
from logstore.config import LogConfig
from logstore.log import Log
from logstore.memory import MemoryStorage
from replication.outbox import Outbox
from replication.partition import Partition
from replication.settings import ReplicationSettings
from tests.background import running

ROOT = "data"
NOW_MS = 1_700_000_000_000
CONFIG = LogConfig(cleanup_policy="compact", segment_bytes=220, file_delete_delay_ms=0)
SETTINGS = CleanerSettings(True, 0.001, 1_000_000, 4096, 1e12)
TIMEOUT = 10.0


class CountingClock:
    """A clock that goes a millisecond further each time that somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 0.001
        return self.now

    def wall_ms(self) -> int:
        return NOW_MS


class Hosted:
    """The partitions of a broker, as far as the cleaner asks."""

    def __init__(self) -> None:
        self.partitions: dict[tuple[bytes, int], Partition] = {}

    def __iter__(self) -> Iterator[Partition]:
        return iter(tuple(self.partitions.values()))

    def by_key(self, key: tuple[bytes, int]) -> Partition | None:
        return self.partitions.get(key)


class WatchedDirectories(LogDirectories):
    """Tells when offsets were checkpointed, which ends each cleaning."""

    def checkpoint_cleaned(self, partitions: Iterable[Partition]) -> None:
        super().checkpoint_cleaned(partitions)
        self.cleaned.set()


class Place:
    """A broker's logs, and a cleaner for them."""

    def __init__(self, settings: CleanerSettings = SETTINGS, clock: Clock | None = None) -> None:
        self.storage = MemoryStorage(random.Random(1))
        self.storage.make_directory(ROOT)
        self.directories = WatchedDirectories(self.storage, [ROOT], CountingClock())
        self.directories.cleaned = asyncio.Event()
        self.hosted = Hosted()
        self.failures: list[BaseException] = []
        self.synced: Callable[[], None] = lambda: None
        self.settings = settings
        self.cleaner = LogCleaner(
            self.hosted,  # type: ignore[arg-type]
            self.directories,
            clock or CountingClock(),
            lambda: self.settings,
            self.sync,
            self.failures.append,
        )

    async def sync(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            for part in partition.log.files_to_sync():
                part.sync()
            partition.synced(partition.log.end_offset, 0.0)
        self.synced()

    def host(self, topic: str, count: int = 12, config: LogConfig = CONFIG) -> Partition:
        """A partition with three keys in turn, all committed."""
        topic_id = UUID(int=len(self.hosted.partitions) + 1)
        log, _ = self.directories.open(topic, topic_id, 0, config)
        for number in range(count):
            batch = build_batch([(NOW_MS, b"k%d" % (number % 3), b"%d" % number)])
            log.append_as_leader(batch, 0, NOW_MS)
        outbox = Outbox(lambda: None, self.directories.log_was_cut)
        partition = Partition(
            topic, (topic_id.bytes, 0), log, 1, ReplicationSettings(), outbox, high_watermark=count
        )
        self.hosted.partitions[partition.key] = partition
        return partition

    async def cleaned(self) -> None:
        """Wait for the next cleaning to end."""
        async with asyncio.timeout(TIMEOUT):
            await self.directories.cleaned.wait()
        self.directories.cleaned.clear()


def offsets(log: Log) -> list[int]:
    found: list[int] = []
    offset = 0
    while offset < log.end_offset:
        part = log.read(offset, 10_000, up_to=log.end_offset)
        data = part.bytes()
        found += [record.offset for position, _ in headers(data) for record in records(data, position)]
        offset = part.next_offset
    return found


async def test_the_dirtiest_log_comes_first_and_what_is_clean_is_remembered() -> None:
    place = Place()
    some = place.host("some")
    some.log.compaction.cleaned_to = 6
    all_of_it = place.host("all")
    deleted = place.host("deleted", config=replace(CONFIG, cleanup_policy="delete"))
    async with running(place.cleaner.run()):
        await place.cleaned()
        assert (all_of_it.log.compaction.cleaned_to, some.log.compaction.cleaned_to) == (9, 6)
        some.log.config = replace(CONFIG, min_cleanable_dirty_ratio=0.1)
        await place.cleaned()
    assert some.log.compaction.cleaned_to == 9
    assert offsets(all_of_it.log) == [6, 7, 8, 9, 10, 11]
    assert offsets(deleted.log) == list(range(12))
    expected = {("all", 0): 9, ("some", 0): 9}
    assert read_offsets(place.storage, ROOT, CLEANED_OFFSETS) == expected
    again = LogDirectories(place.storage, [ROOT], CountingClock())
    log, _ = again.open("all", UUID(bytes=all_of_it.key[0]), 0, CONFIG)
    assert log.compaction.cleaned_to == 9
    assert again.open("all", UUID(int=99), 0, CONFIG)[0].compaction.cleaned_to == 0
    assert place.failures == []


async def test_a_topic_that_is_deleted_meanwhile_leaves_nothing() -> None:
    place = Place()
    doomed, other = place.host("doomed"), place.host("other", count=9)

    def delete() -> None:
        if place.hosted.partitions.pop(doomed.key, None) is not None:
            place.directories.delete(doomed.log)

    place.synced = delete
    async with running(place.cleaner.run()):
        await place.cleaned()
    assert other.log.compaction.cleaned_to == 6
    place.directories.remove_deleted()
    assert [name for name in place.storage.list(ROOT) if name.startswith("doomed")] == []
    assert place.failures == []


@pytest.mark.parametrize("after", [1, 3, 9, 20])
async def test_a_topic_that_is_deleted_in_the_middle_is_given_up(after: int) -> None:
    place = Place()
    doomed = place.host("doomed")
    await place.sync([doomed])
    turns = 0

    def by_key(key: tuple[bytes, int]) -> Partition | None:
        nonlocal turns
        turns += 1
        if turns == after + 1 and place.hosted.partitions.pop(doomed.key, None) is not None:
            place.directories.delete(doomed.log)
            place.host("anew")
        return place.hosted.partitions.get(key)

    place.hosted.by_key = by_key  # type: ignore[method-assign]
    async with running(place.cleaner.run()):
        await place.cleaned()
    place.directories.remove_deleted()
    names = [name for name in place.storage.list(f"{ROOT}/anew-0") if name.endswith((".cleaned", ".swap"))]
    assert (names, place.failures) == ([], [])


async def test_a_follower_that_truncates_is_cleaned_another_time() -> None:
    place = Place()
    partition = place.host("cut")
    cuts = 0

    def cut() -> None:
        nonlocal cuts
        cuts += 1
        if cuts == 1:
            asyncio.get_running_loop().call_soon(partition.log.truncate_to, 8)

    place.synced = cut
    async with running(place.cleaner.run()):
        await place.cleaned()
    assert (partition.log.end_offset, partition.log.compaction.cleaned_to) == (8, 6)
    assert offsets(partition.log) == [3, 4, 5, 6, 7]
    assert place.failures == []


async def test_a_log_with_a_damaged_batch_is_left_alone_and_others_are_cleaned() -> None:
    place = Place()
    damaged, whole = place.host("damaged"), place.host("whole", count=6)
    damaged.log.config = replace(CONFIG, min_cleanable_dirty_ratio=0.1)
    place.storage.flip_bit(f"{ROOT}/damaged-0/{0:020d}.log", 8 * 70)
    async with running(place.cleaner.run()):
        await place.cleaned()
    assert (damaged.log.compaction.cleaned_to, whole.log.compaction.cleaned_to) == (0, 3)
    assert damaged.log.failed is None
    assert place.failures == []


async def test_a_full_disk_is_survived_and_a_failing_one_reported() -> None:
    place = Place()
    partition = place.host("t")
    await place.sync([partition])
    place.storage.capacity = place.storage.used + 10
    tries = 0

    def again() -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            place.storage.capacity = None

    place.synced = again
    async with running(place.cleaner.run()):
        await place.cleaned()
    assert (partition.log.compaction.cleaned_to, tries) == (9, 3)
    other = place.host("u")
    await place.sync([other])
    place.storage.fail_syncs(path=".cleaned")
    async with asyncio.timeout(TIMEOUT):
        await place.cleaner.run()
    (failure,) = place.failures
    assert ".cleaned" in str(failure)


async def test_others_have_their_turn_while_a_log_is_cleaned() -> None:
    place = Place()
    place.host("large", count=300)
    turns = 0

    async def look() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)

    other = asyncio.create_task(look())
    async with running(place.cleaner.run()):
        await place.cleaned()
    other.cancel()
    # The clock goes on by a millisecond per step, and a slice is two of them.
    assert turns > 100


async def test_what_is_read_and_written_is_bounded_by_the_second() -> None:
    slow = Place(replace(SETTINGS, bytes_per_second=50_000.0), SystemClock())
    slow.host("t", count=60)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with running(slow.cleaner.run()):
        await slow.cleaned()
    assert loop.time() - began > 0.1


async def test_the_cleaner_can_be_switched_off() -> None:
    place = Place(replace(SETTINGS, enabled=False))
    partition = place.host("t")
    async with asyncio.timeout(TIMEOUT):
        await place.cleaner.run()
    assert offsets(partition.log) == list(range(12))
