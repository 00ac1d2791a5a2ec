"""A coordinator's partition on a log in memory, and a clock that goes where a test wants it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from logstore.config import LogConfig
from logstore.log import Log
from logstore.memory import MemoryStorage
from metadata.image import PartitionImage
from replication.outbox import Outbox
from replication.partition import Partition
from replication.settings import ReplicationSettings

NOW_MS = 1_700_000_000_000
TOPIC_ID = b"\x07" * 16


class ManualClock:
    """See `kraft.clock.Clock`; moves with `advance` alone."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.now_ms = NOW_MS

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.now_ms += round(seconds * 1000)


class Replica:
    """One replica on broker 0 of a partition of an internal topic, and who leads it.

    With more than one replica nothing is committed before `follow` says that broker 1 has it.
    """

    def __init__(
        self,
        topic: str,
        clock: ManualClock,
        *,
        index: int = 0,
        replicas: int = 1,
        config: LogConfig | None = None,
        min_isr: int = 1,
    ) -> None:
        self.storage = MemoryStorage(random.Random(7))
        self.storage.make_directory("/data")
        self.clock = clock
        self.replicas = tuple(range(replicas))
        log = Log.open(self.storage, f"/data/{topic}-{index}", config or LogConfig(), now_ms=clock.wall_ms())
        settings = ReplicationSettings(min_insync_replicas=min_isr)
        self.partition = Partition(topic, (TOPIC_ID, index), log, 0, settings, Outbox(lambda: None))
        self.epoch = 0
        self._partition_epoch = 0

    def lead(self, isr: tuple[int, ...] | None = None) -> None:
        """Broker 0 is elected, under a new epoch."""
        self.epoch += 1
        self._become(0, self.replicas if isr is None else isr)

    def lose(self) -> None:
        """Broker 1 is elected."""
        self.epoch += 1
        self._become(1, self.replicas)

    def shrink(self, *isr: int) -> None:
        """The ISR is this, under the same leader."""
        self._become(0, isr)

    def _become(self, leader: int, isr: tuple[int, ...]) -> None:
        self._partition_epoch += 1
        image = PartitionImage(self.replicas, isr, leader, self.epoch, self._partition_epoch)
        self.partition.update(image, lambda _: 1, self.clock.monotonic())

    def follow(self) -> None:
        """Broker 1 fetches: it has everything, so that all of it is committed."""
        end = self.partition.log.end_offset
        now = self.clock.monotonic()
        self.partition.fetched_by(1, 1, self.epoch, end, self.partition.log.latest_epoch, now)

    def expire(self) -> None:
        """Let who waited too long for followers know."""
        self.partition.tick(self.clock.monotonic())


MakeReplica = Callable[..., Replica]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make_replica(clock: ManualClock) -> MakeReplica:
    """Makes a `Replica`: (topic, index=, replicas=, config=, min_isr=)."""

    def make(topic: str, **options: object) -> Replica:
        return Replica(topic, clock, **options)  # type: ignore[arg-type]

    return make
