"""A disk on which a name that was made, changed or removed is only durable once its directory was synced, as
POSIX has it: whatever file is synced meanwhile takes no name along."""

from __future__ import annotations

import random

import pytest

from chaos.disk import CuttableStorage, PowerCutError
from kafkawire.records import build_batch, headers
from logstore.config import LogConfig
from logstore.log import Log

DIRECTORY = "data/t-0"
NOW_MS = 1_700_000_000_000
CONFIG = LogConfig(segment_bytes=400)


class LateNames(CuttableStorage):
    """A power cut takes every change of names since the last sync of their directory."""

    def __init__(self) -> None:
        super().__init__(random.Random(1))
        self._durable = dict(self._files)
        self.make_directory(DIRECTORY)

    def sync_directory(self, directory: str) -> None:
        self._count()
        others = {path: inode for path, inode in self._durable.items() if _parent(path) != directory}
        here = {path: inode for path, inode in self._files.items() if _parent(path) == directory}
        self._durable = others | here

    def write_text_atomically(self, path: str, text: str, *, durable: bool = True) -> None:
        super().write_text_atomically(path, text, durable=durable)
        if durable:
            self.sync_directory(_parent(path))

    def crash(self) -> None:
        for inode in set(self._durable.values()) - set(self._files.values()):
            inode.crash(self._rng)
        super().crash()
        self._files = dict(self._durable)
        for directory in self._directories:
            self._directories[directory] = {
                path.rpartition("/")[2]
                for path in (*self._files, *self._directories)
                if path and _parent(path) == directory
            }
        for inode in self._files.values():
            inode.named = True
        self._count_used()


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def open_log(storage: LateNames, *, recovery_point: int = 0, clean: bool = False) -> Log:
    return Log.open(storage, DIRECTORY, CONFIG, now_ms=NOW_MS, recovery_point=recovery_point, clean=clean)


def append(log: Log, epoch: int, count: int = 1) -> None:
    for _ in range(count):
        log.append_as_leader(build_batch([(NOW_MS, b"k", b"x" * 60)]), epoch, NOW_MS)


def sync(log: Log) -> None:
    end = log.end_offset
    for file in log.files_to_sync():
        file.sync()
    log.synced_to(end)


def offsets(log: Log) -> list[int]:
    found = []
    offset = log.start_offset
    while offset < log.end_offset:
        for _, header in headers(log.read(offset, 1000, up_to=log.end_offset).bytes()):
            found.append(header.base_offset)
            offset = header.next_offset
    return found


def power_lost_in_a_cut(operations: int) -> tuple[Log, bool]:
    """Cut a log of several segments back into the first, and lose the power after so many operations: the log
    as it is found then, and whether the cut was over."""
    storage = LateNames()
    log = open_log(storage)
    append(log, 1, 14)
    sync(log)
    synced = log.recovery_point
    storage.cut_power_after(operations)
    try:
        log.truncate_to(1)
    except PowerCutError:
        over = False
    else:
        over, synced = True, log.recovery_point
    storage.crash()
    return open_log(storage, recovery_point=synced), over


def test_a_cut_over_several_segments_leaves_no_hole() -> None:
    for operations in range(100):
        log, over = power_lost_in_a_cut(operations)
        assert offsets(log) == list(range(log.end_offset))
        if over:
            assert log.end_offset == 1
            return
    pytest.fail("the cut was never over")


def test_a_clean_stop_keeps_the_epochs() -> None:
    storage = LateNames()
    log = open_log(storage)
    append(log, 1)
    sync(log)
    log.close()
    log = open_log(storage, recovery_point=1, clean=True)
    append(log, 1)
    sync(log)
    append(log, 2)
    sync(log)
    log.close()
    storage.crash()
    log = open_log(storage, recovery_point=3, clean=True)
    assert log.end_offset == 3
    assert log.latest_epoch == 2
    assert log.end_offset_for_epoch(1) == (1, 2)
