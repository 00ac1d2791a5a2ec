"""A cut is durable before anything is written in its place."""

from __future__ import annotations

import random

import pytest

from kafkawire.records import build_batch, headers
from logstore.config import LogConfig
from logstore.log import Log
from logstore.memory import MemoryStorage


@pytest.mark.parametrize("seed", range(80))
def test_a_power_cut_never_mixes_what_was_cut_with_what_took_its_place(seed: int) -> None:
    storage = MemoryStorage(random.Random(seed))
    storage.make_directory("data")
    log = Log.open(storage, "data/t-0", LogConfig(), now_ms=1_000)

    def append(epoch: int, value: bytes) -> None:
        log.append_as_leader(build_batch([(1_000, None, value)]), epoch, 1_000)

    for _ in range(4):
        append(0, b"old" * 20)
    for part in log.files_to_sync():
        part.sync()
    log.synced_to(log.end_offset)
    log.truncate_to(1)
    for _ in range(3):
        append(1, b"new" * 20)
    storage.crash()
    after = Log.open(storage, "data/t-0", LogConfig(), now_ms=1_000, recovery_point=log.recovery_point)
    data = after.read(0, 1 << 20, up_to=after.end_offset).bytes()
    epochs = [header.partition_leader_epoch for _, header in headers(data)]
    assert epochs == [0] + [1] * (len(epochs) - 1)
