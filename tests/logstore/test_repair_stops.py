"""A repair that a stop of the process, or a power cut, interrupts anywhere."""

from __future__ import annotations

import contextlib
import random

import pytest

from chaos.disk import CuttableStorage, PowerCutError
from kafkawire.records import headers, records
from logstore.config import LogConfig
from logstore.log import Log
from tests.rotten_logs import (
    COMPACTED,
    COUNT,
    DIRECTORY,
    SMALL,
    DoAll,
    Replica,
    batches_of,
    clean_all,
    filled,
    look_at_all,
    repair,
    rot,
)


def table(log: Log) -> dict[bytes | None, int]:
    """The offset of the last record of each key, of what belongs to no transaction."""
    return {
        record.key: record.offset
        for data in batches_of(log)
        for _, header in headers(data)
        if not header.is_transactional
        for record in records(data)
    }


def prepared(
    config: LogConfig, cleaned: str, do_all: DoAll, seed: int
) -> tuple[CuttableStorage, Replica, Replica]:
    """A damaged replica on a disk that can be cut off, and a healthy one; those `cleaned` were compacted."""
    storage = CuttableStorage(random.Random(seed))
    rotten, healthy = filled(config, config, storage=storage)
    if "rotten" in cleaned:
        clean_all(rotten, do_all)
    if "healthy" in cleaned:
        clean_all(healthy, do_all)
    cleaned_to = rotten.log.compaction.cleaned_to
    rot(rotten, rotten.segments()[1], 70)
    rotten.log.compaction.cleaned_to = cleaned_to
    look_at_all(rotten.log, do_all)
    assert rotten.log.integrity.damaged
    return storage, rotten, healthy


@pytest.mark.parametrize("power", [True, False])
@pytest.mark.parametrize(
    ("config", "cleaned"),
    [(SMALL, ""), (COMPACTED, ""), (COMPACTED, "healthy"), (COMPACTED, "rotten"), (COMPACTED, "both")],
)
def test_a_stop_at_any_operation_loses_nothing(
    config: LogConfig, cleaned: str, power: bool, do_all: DoAll
) -> None:
    operations = 0
    done = False
    while not done:
        storage, rotten, healthy = prepared(config, cleaned, do_all, operations)
        end, wanted = rotten.log.end_offset, table(healthy.log)
        cleaned_to = rotten.log.compaction.cleaned_to
        storage.cut_power_after(operations)
        with contextlib.suppress(PowerCutError):
            repair(rotten.log, healthy.log, do_all)
            done = True
        stop = storage.crash if power else storage.kill
        stop()
        storage.cut_power_after(operations % 7)
        with contextlib.suppress(PowerCutError):
            rotten.open(recovery_point=end)
        stop()
        rotten.log = rotten.open(recovery_point=end)
        log = rotten.log
        assert (log.recovered, log.end_offset) == (None, end)
        names = storage.list(DIRECTORY)
        assert not [name for name in names if name.endswith((".cleaned", ".swap", ".deleted"))]
        look_at_all(log, do_all)
        if log.integrity.damaged:
            log.compaction.cleaned_to = cleaned_to
            repair(log, healthy.log, do_all)
        assert table(log) == wanted
        assert set(healthy.log.aborted_transactions(0, end)) <= set(log.aborted_transactions(0, end))
        operations += 1
    assert operations > COUNT
