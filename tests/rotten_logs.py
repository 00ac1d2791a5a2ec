"""Replicas of one log whose disks change what they were given, and what a broker does about it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from kafkawire.records import ControlType, build_batch, build_control_batch, headers
from logstore.config import LogConfig
from logstore.log import Log, Origin
from logstore.memory import MemoryStorage
from logstore.steps import Step

NOW_MS = 1_700_000_000_000
SMALL = LogConfig(segment_bytes=600, index_interval_bytes=150)
COMPACTED = LogConfig(segment_bytes=600, index_interval_bytes=150, cleanup_policy="compact")
DIRECTORY = "/data/t-0"
COUNT = 24
PRODUCER = 7
DoAll = Callable[[Iterable[Step]], int]


def batches_of(log: Log) -> list[bytes]:
    """Every batch that can be read, one by one. Raises KafkaError(CORRUPT_MESSAGE)."""
    found = []
    offset = log.start_offset
    while offset < log.end_offset:
        got = log.read(offset, 400, up_to=log.end_offset)
        data = got.bytes()
        assert data, f"nothing at {offset}"
        found += [data[at : at + header.size] for at, header in headers(data)]
        offset = got.next_offset
    return found


class Replica:
    """A log in a storage of its own, and how to open it again."""

    def __init__(self, config: LogConfig = SMALL, storage: MemoryStorage | None = None) -> None:
        self.storage = storage or MemoryStorage(random.Random(3))
        self.config = config
        self.log = self.open()

    def open(self, **how: Any) -> Log:
        return Log.open(self.storage, DIRECTORY, self.config, now_ms=NOW_MS, **how)

    def close_cleanly(self) -> None:
        end = self.log.end_offset
        for file in self.log.files_to_sync():
            file.sync()
        self.log.synced_to(end)
        self.log.close()

    def reopen(self) -> None:
        self.log = self.open(clean=True, recovery_point=self.log.end_offset)

    def segments(self) -> list[str]:
        return [f"{DIRECTORY}/{name}" for name in self.storage.list(DIRECTORY) if name.endswith(".log")]


def append(log: Log, number: int, epoch: int) -> None:
    """The batch of this number: every fourth belongs to a transaction."""
    in_transaction = number % 4 == 1
    if in_transaction:
        log.producers.verifications.grant(log.producers.verifications.ask(PRODUCER, 0))
    producer: dict[str, Any] = {"producer_id": PRODUCER, "producer_epoch": 0, "transactional": True}
    batch = build_batch(
        [(NOW_MS + number, b"%d" % (number % 5), b"x" * 40)],
        **(producer | {"base_sequence": number // 4} if in_transaction else {}),
    )
    log.append_as_leader(batch, epoch, NOW_MS)


def filled(*configs: LogConfig, storage: MemoryStorage | None = None) -> list[Replica]:
    """Replicas that all have the same batches of three leader epochs, an aborted transaction among them. The
    `storage` is that of the first."""
    leader, *others = [Replica(config, None if number else storage) for number, config in enumerate(configs)]
    for number in range(COUNT):
        append(leader.log, number, number // 8)
        if number in (COUNT // 2, COUNT - 1):
            marker = build_control_batch(
                ControlType.ABORT,
                timestamp=NOW_MS,
                producer_id=PRODUCER,
                producer_epoch=0,
                coordinator_epoch=0,
            )
            leader.log.append_as_leader(marker, number // 8, NOW_MS, origin=Origin.COORDINATOR)
    for other in others:
        other.log.append_as_follower(b"".join(batches_of(leader.log)))
    return [leader, *others]


def repair(damaged: Log, healthy: Log, do_all: DoAll, high_watermark: int | None = None) -> None:
    """What a broker does, without the way between the two."""
    whole = damaged.end_offset if high_watermark is None else high_watermark
    with damaged.integrity.repairing(whole, 1000) as work:
        do_all(work.copy())
        while work.next_offset < work.up_to:
            got = healthy.read(work.next_offset, 300, up_to=work.up_to)
            end = got.next_offset if got.size else work.up_to
            aborted = healthy.integrity.aborted(work.next_offset, end)
            do_all(work.add(got.bytes(), end, aborted))
        do_all(work.finish())


def look_at_all(log: Log, do_all: DoAll) -> None:
    while do_all(log.integrity.look(1000)):
        pass


def rot(replica: Replica, path: str, byte: int) -> None:
    """Let a byte of a log that is not in use be another one, and open it."""
    replica.close_cleanly()
    replica.storage.flip_bit(path, 8 * byte)
    replica.reopen()


def clean_all(replica: Replica, do_all: DoAll) -> None:
    """Twice, and late: what was aborted goes first, then its marker, and tombstones."""
    for turn in range(3):
        replica.close_cleanly()
        replica.reopen()
        replica.log.compaction.cleaned_to = 0
        later = NOW_MS + 2 * turn * COMPACTED.delete_retention_ms
        do_all(replica.log.compaction.clean(replica.log.end_offset, later, memory=1 << 20))
