"""The shell of repairs: whom it asks for what is damaged, and how often."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import build_batch
from kraft.broker import log_scrubber
from kraft.broker.log_scrubber import MOST_RETRY_AFTER, RETRY_AFTER, LogScrubber, ScrubberSettings
from logstore.config import LogConfig
from logstore.log import Log
from logstore.memory import MemoryStorage
from metadata.image import PartitionImage, TopicImage
from replication.outbox import Outbox
from replication.partition import Partition
from replication.settings import ReplicationSettings
from tests.background import running

NOW_MS = 1_700_000_000_000
KEY = (bytes(15) + b"\x01", 0)
US, OTHER, THIRD = 1, 2, 3


class Clock:
    """Goes a second further each time that somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now

    def wall_ms(self) -> int:
        return NOW_MS


class Refusing:
    """A broker that has nothing to give; notes when it was asked."""

    connected = True

    def __init__(self, clock: Clock, enough: int) -> None:
        self._clock = clock
        self._enough = enough
        self.asked: list[float] = []
        self.done = asyncio.Event()

    async def call(self, _method: str, _value: Any, *, timeout: float) -> Any:
        self.asked.append(self._clock.now)
        if len(self.asked) == self._enough:
            self.done.set()
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"not within {timeout} seconds, nor later")


class Here:
    """The replicas and the metadata of a broker with one damaged log."""

    def __init__(self) -> None:
        storage = MemoryStorage(random.Random(1))
        log = Log.open(storage, "data/t-0", LogConfig(segment_bytes=300), now_ms=NOW_MS)
        for _ in range(4):
            log.append_as_leader(build_batch([(NOW_MS, None, b"x" * 40)]), 0, NOW_MS)
        storage.flip_bit(f"data/t-0/{0:020d}.log", 8 * 80)
        log.integrity.doubt_all()
        self.partition = Partition(
            "t", KEY, log, US, ReplicationSettings(), Outbox(lambda: None), high_watermark=4
        )
        replicas = (US, OTHER, THIRD)
        topic = TopicImage("t", UUID(bytes=KEY[0]), (PartitionImage(replicas, replicas, US, 0, 0),))
        self.image = self
        self.topics = self
        self._topics = {"t": topic}

    def __iter__(self) -> Iterator[Partition]:
        return iter((self.partition,))

    def by_key(self, key: tuple[bytes, int]) -> Partition | None:
        return self.partition if key == KEY else None

    def find(self, name: str) -> TopicImage | None:
        return self._topics.get(name)


async def test_who_refuses_is_asked_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try copies what lies before the damage, up to a whole segment."""
    monkeypatch.setattr(log_scrubber, "LOOK_EVERY", 0.0)
    clock = Clock()
    peers = {OTHER: Refusing(clock, 8), THIRD: Refusing(clock, 8)}
    here: Any = Here()
    peer_of: Any = peers.get
    failures: list[BaseException] = []
    settings = ScrubberSettings(interval=math.inf, bytes_per_second=math.inf)
    scrubber = LogScrubber(here, here, peer_of, clock, settings, lambda _: None, failures.append)
    async with asyncio.timeout(10), running(scrubber.run()):
        for peer in peers.values():
            await peer.done.wait()
    times = peers[OTHER].asked
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert waits == sorted(waits)
    assert waits[0] >= RETRY_AFTER
    assert MOST_RETRY_AFTER <= waits[-1] < 2 * MOST_RETRY_AFTER
    assert not failures
