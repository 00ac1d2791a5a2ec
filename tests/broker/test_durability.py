"""What is synced and deleted in the background, while replicas leave the broker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from uuid import UUID

from kafkawire.records import build_batch
from kraft.broker.durability import Durability, DurabilitySettings
from kraft.broker.log_directories import LogDirectories
from kraft.broker.stalls import StallDetector
from kraft.clock import SystemClock
from logstore.config import LogConfig
from logstore.memory import MemoryStorage
from replication.fetcher import LeaderFetcher
from replication.outbox import Outbox
from replication.partition import Partition
from replication.settings import ReplicationSettings

ROOT = "data"
LONG_AGO_MS = 1_000
CONFIG = LogConfig(retention_ms=1, message_timestamp_before_max_ms=2**62)


class Hosted:
    """The partitions of a broker, as far as their durability is concerned (see `Replicas`)."""

    def __init__(self) -> None:
        self.outbox = Outbox(lambda: None)
        self.partitions: dict[tuple[bytes, int], Partition] = {}

    def __iter__(self) -> Iterator[Partition]:
        return iter(tuple(self.partitions.values()))

    def by_key(self, key: tuple[bytes, int]) -> Partition | None:
        return self.partitions.get(key)

    def synced(self, ends: Mapping[Partition, int], now: float) -> list[LeaderFetcher]:
        for partition, end in ends.items():
            partition.synced(end, now)
        return []


class Place:
    """A broker's logs, each with one record that has had its time."""

    def __init__(self) -> None:
        storage = MemoryStorage(random.Random(1))
        storage.make_directory(ROOT)
        self.directories = LogDirectories(storage, [ROOT], SystemClock())
        self.hosted = Hosted()
        self.durability = Durability(
            self.hosted,  # type: ignore[arg-type]
            self.directories,
            SystemClock(),
            StallDetector(10.0, 10.0, lambda seconds: None),
            DurabilitySettings(60.0, 60.0, 60.0),
            on_synced=lambda fetcher: None,
            on_failure=lambda failure: None,
        )

    def host(self, topic: str) -> Partition:
        topic_id = UUID(int=len(self.hosted.partitions) + 1)
        log, _ = self.directories.open(topic, topic_id, 0, CONFIG)
        log.append_as_leader(build_batch([(LONG_AGO_MS, None, b"v")]), 0, LONG_AGO_MS)
        settings = ReplicationSettings()
        partition = Partition(
            topic, (topic_id.bytes, 0), log, 1, settings, self.hosted.outbox, high_watermark=1
        )
        self.hosted.partitions[partition.key] = partition
        return partition

    def remove(self, partition: Partition) -> None:
        del self.hosted.partitions[partition.key]
        self.directories.delete(partition.log)


async def test_a_replica_may_leave_while_the_others_are_looked_at() -> None:
    place = Place()
    stays, leaves = place.host("stays"), place.host("leaves")
    asyncio.get_running_loop().call_soon(place.remove, leaves)
    await place.durability._retain()
    assert stays.log.start_offset == stays.log.end_offset == 1


async def test_a_replica_that_left_is_not_synced_any_more() -> None:
    """Its files are closed once nothing is being synced, and it may have waited for that longer."""
    place = Place()
    stays, leaves = place.host("stays"), place.host("leaves")
    place.remove(leaves)
    place.directories.remove_deleted()
    await place.durability.sync((leaves, stays))
    assert stays.log.recovery_point == 1
