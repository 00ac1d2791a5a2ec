"""How a leader answers its followers when its disk does not let it."""

from __future__ import annotations

import asyncio
import random

import pytest

from kafkawire.records import build_batch
from kraft.broker.fetching import FetchServer
from kraft.clock import SystemClock
from kraft.transport.handshake import Identity, Session
from kraft.transport.link import Link
from kraft.transport.messages import Reply
from logstore.config import LogConfig
from logstore.log import Log, LogSlice
from logstore.memory import MemoryStorage
from logstore.storage import StorageError
from metadata.image import PartitionImage
from replication.fetch_messages import FetchFrom, ReplicaFetch
from replication.outbox import Outbox
from replication.partition import Partition
from replication.settings import ReplicationSettings

LEADER, FOLLOWER = 1, 2
KEY = (bytes(16), 0)
NOW_MS = 1_700_000_000_000
RECORDS = 8
SEGMENT_BYTES = 220


class Leading:
    """A broker that leads a partition of several segments, and a follower's link to it."""

    def __init__(self) -> None:
        self.storage = MemoryStorage(random.Random(1))
        self.storage.make_directory("t-0")
        log = Log.open(self.storage, "t-0", LogConfig(segment_bytes=SEGMENT_BYTES), now_ms=NOW_MS)
        outbox = Outbox(lambda: None)
        self.partition = Partition("t", KEY, log, LEADER, ReplicationSettings(), outbox)
        image = PartitionImage((LEADER, FOLLOWER), (LEADER, FOLLOWER), LEADER, 0, 0)
        self.partition.update(image, lambda broker_id: 0, 0.0)
        self.append(RECORDS)
        self.failures: list[BaseException] = []
        self.server = FetchServer(self, SystemClock(), 1, self.failures.append)  # type: ignore[arg-type]
        self.link = Link(Session(bytes(16), b"", Identity(FOLLOWER, "a-cluster", "broker")), lambda: None)

    def append(self, count: int) -> None:
        for number in range(count):
            batch = build_batch([(NOW_MS, None, b"%d" % number)])
            self.partition.append(memoryview(bytearray(batch)), 1, 0.0, NOW_MS)

    def by_key(self, key: tuple[bytes, int]) -> Partition | None:
        return self.partition if key == KEY else None

    def fetch(self, offset: int) -> Reply | asyncio.Future[Reply]:
        asked = FetchFrom(*KEY, 0, offset, 0, 0)
        request = ReplicaFetch(FOLLOWER, 0, 0, 1, 60_000, 1 << 20, [asked], [])
        return self.server.fetch(self.link, request.to_wire())


async def test_a_leader_that_can_not_read_its_log_says_so_and_fails() -> None:
    """Otherwise nobody would replicate anything from it for as long as it leads."""
    leading = Leading()
    leading.storage.fail_reads(RECORDS)
    with pytest.raises(StorageError):
        leading.fetch(0)
    assert [type(failure) for failure in leading.failures] == [StorageError]


async def test_so_does_one_whose_disk_fails_while_a_follower_waits() -> None:
    leading = Leading()
    waiting = leading.fetch(RECORDS)
    assert isinstance(waiting, asyncio.Future)
    leading.append(RECORDS)
    leading.storage.fail_reads(RECORDS)
    with pytest.raises(StorageError):
        await waiting
    assert [type(failure) for failure in leading.failures] == [StorageError]


async def test_what_can_be_read_is_sent_at_once_or_when_it_comes() -> None:
    leading = Leading()
    answer = leading.fetch(0)
    assert isinstance(answer, Reply)
    waiting = leading.fetch(RECORDS)
    assert isinstance(waiting, asyncio.Future)
    leading.append(1)
    for reply in (answer, await waiting):
        assert sum(records.size for records in reply.payload if isinstance(records, LogSlice)) > 0
    assert leading.failures == []
