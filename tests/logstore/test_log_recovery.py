"""Opening a log whose files are not as they should be: torn, rotten, missing or left over."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import build_batch, headers
from logstore.config import LogConfig
from logstore.log import Log
from logstore.memory import MemoryStorage
from logstore.storage import Storage, StorageError

OpenLog = Callable[..., Log]
NOW_MS = 1_700_000_000_000
DIRECTORY = "/data/t-0"
SMALL = LogConfig(segment_bytes=600, index_interval_bytes=150)


def append(log: Log, count: int, *, epoch: int = 1, size: int = 40) -> None:
    for _ in range(count):
        step = log.end_offset
        log.append_as_leader(build_batch([(NOW_MS + step, None, b"x" * size)]), epoch, NOW_MS)


def offsets(log: Log) -> list[int]:
    """Base offsets of everything that can be read."""
    found = []
    offset = log.start_offset
    while offset < log.end_offset:
        got = log.read(offset, 400, up_to=log.end_offset)
        assert got.verify()
        found += [header.base_offset for _, header in headers(got.bytes())]
        offset = got.next_offset
    return found


def sync(log: Log) -> None:
    end = log.end_offset
    for file in log.files_to_sync():
        file.sync()
    log.synced_to(end)


def index_files(memory: MemoryStorage) -> list[str]:
    return [
        f"{DIRECTORY}/{name}" for name in memory.list(DIRECTORY) if name.endswith((".index", ".timeindex"))
    ]


def test_a_log_cut_at_every_byte_of_its_last_batch(place: tuple[Storage, str]) -> None:
    storage, root = place
    directory = f"{root}/t-0"
    log = Log.open(storage, directory, LogConfig(), now_ms=NOW_MS)
    append(log, 3)
    whole, last = log.size, log.size // 3
    log.close(clean=False)
    path = f"{directory}/{0:020d}.log"
    file = storage.open(path)
    content = file.read_at(0, whole)
    for size in range(whole - last, whole):
        file.truncate(size)
        log = Log.open(storage, directory, LogConfig(), now_ms=NOW_MS, recovery_point=2)
        assert (log.end_offset, log.size) == (2, whole - last)
        if size > whole - last:
            assert log.recovered == (2, size - (whole - last), False)
        append(log, 1)
        assert offsets(log) == [0, 1, 2]
        log.close(clean=False)
        file.write_at(0, content)
    file.close()


def test_every_byte_of_the_last_batch_counts(memory: MemoryStorage) -> None:
    log = Log.open(memory, DIRECTORY, LogConfig(), now_ms=NOW_MS)
    append(log, 2)
    half = log.size // 2
    log.close(clean=False)
    path = f"{DIRECTORY}/{0:020d}.log"
    rng = random.Random(5)
    for byte in range(half):
        bit = 8 * (half + byte) + rng.randrange(8)
        before = memory.open(path).read_at(0, 2 * half)
        memory.flip_bit(path, bit)
        log = Log.open(memory, DIRECTORY, LogConfig(), now_ms=NOW_MS, recovery_point=1)
        # The checksum covers neither base offset nor leader epoch; a flip there is seen unless it looks like
        # a later offset or epoch.
        if not (byte < 8 or 12 <= byte < 16):
            assert log.end_offset == 1
            assert offsets(log) == [0]
        log.close(clean=False)
        memory.open(path).write_at(0, before)


@pytest.mark.parametrize("seed", range(12))
def test_what_a_failed_sync_left_in_the_page_cache_is_written_again(seed: int) -> None:
    """The kernel takes such pages for clean: only writing them anew makes a later sync cover them."""
    memory = MemoryStorage(random.Random(seed))
    config = LogConfig(flush_messages=1)
    log = Log.open(memory, DIRECTORY, config, now_ms=NOW_MS)
    append(log, 3)
    memory.fail_syncs()
    with pytest.raises(StorageError):
        sync(log)
    memory.kill()
    log = Log.open(memory, DIRECTORY, config, now_ms=NOW_MS)
    assert log.end_offset == 3
    append(log, 2)
    sync(log)
    memory.crash()
    log = Log.open(memory, DIRECTORY, config, now_ms=NOW_MS)
    assert offsets(log) == [0, 1, 2, 3, 4]


def test_what_was_synced_and_is_lost_is_reported(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log()
    append(log, 10)
    size = log.size // 10
    log.close(clean=False)
    memory.flip_bit(f"{DIRECTORY}/{0:020d}.log", 8 * (4 * size + 70))
    log = open_log(recovery_point=8)
    assert log.recovered == (4, 6 * size, True)
    assert (log.end_offset, log.recovery_point) == (4, 4)


def test_segments_before_the_recovery_point_are_not_read(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log(config=SMALL)
    append(log, 20)
    for file in log.files_to_sync():
        file.sync()
    log.close(clean=False)
    memory.flip_bit(f"{DIRECTORY}/{0:020d}.log", 8 * 75)
    log = open_log(config=SMALL, recovery_point=20)
    assert (log.end_offset, log.recovered) == (20, None)
    with pytest.raises(KafkaError, match="damaged"):
        log.read(0, 10_000, up_to=20)
    log = open_log(config=SMALL, recovery_point=0)
    assert (log.end_offset, log.segment_count) == (0, 1)


def test_everything_behind_a_torn_segment_goes(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log(config=SMALL)
    append(log, 30)
    bases = [int(name[:20]) for name in memory.list(DIRECTORY) if name.endswith(".log")]
    log.close(clean=False)
    file = memory.open(f"{DIRECTORY}/{bases[2]:020d}.log")
    file.truncate(file.size() - 1)
    log = open_log(config=SMALL, recovery_point=bases[1])
    assert log.end_offset == bases[3] - 1
    assert log.segment_count == 3
    assert offsets(log) == list(range(bases[3] - 1))
    assert not [name for name in memory.list(DIRECTORY) if int(name[:20] if name[0] == "0" else 0) > bases[3]]


def test_a_missing_segment_ends_the_log(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log(config=SMALL)
    append(log, 30)
    bases = [int(name[:20]) for name in memory.list(DIRECTORY) if name.endswith(".log")]
    log.close(clean=False)
    memory.remove(f"{DIRECTORY}/{bases[2]:020d}.log")
    log = open_log(config=SMALL, recovery_point=0)
    assert log.end_offset == bases[2]
    assert offsets(log) == list(range(bases[2]))


def test_an_older_epoch_behind_a_younger_one_is_no_continuation(
    open_log: OpenLog, memory: MemoryStorage
) -> None:
    log = open_log()
    append(log, 3, epoch=5)
    log.close(clean=False)
    file = memory.open(f"{DIRECTORY}/{0:020d}.log")
    file.write_at(file.size(), build_batch([(NOW_MS, None, b"old")], base_offset=3, leader_epoch=4))
    log = open_log()
    assert (log.end_offset, log.latest_epoch) == (3, 5)


# Row 13: corrupt indexes.


def garbage(memory: MemoryStorage, path: str) -> None:
    memory.open(path).write_at(0, b"\x7f" * memory.open(path).size())


def zeros_behind(memory: MemoryStorage, path: str) -> None:
    file = memory.open(path)
    file.write_at(file.size(), bytes(24))


def plausible_lies(memory: MemoryStorage, path: str) -> None:
    """Entries in order and in range, but about no batch that there is."""
    file = memory.open(path)
    if path.endswith(".index"):
        data = file.read_at(0, file.size())
        moved = [
            data[at : at + 4] + (int.from_bytes(data[at + 4 : at + 8]) + 1).to_bytes(4)
            for at in range(0, len(data), 8)
        ]
        file.write_at(0, b"".join(moved))


def other_batches(memory: MemoryStorage, path: str) -> None:
    """Entries that are in order and tell of batches, but each of a later one than it says."""
    file = memory.open(path)
    data = file.read_at(0, file.size())
    if path.endswith(".index") and len(data) > 8:
        moved = [data[at : at + 4] + data[at + 12 : at + 16] for at in range(0, len(data) - 8, 8)]
        file.write_at(0, b"".join(moved))
        file.truncate(len(data) - 8)


INDEX_DAMAGE: dict[str, Callable[[MemoryStorage, str], None]] = {
    "removed": lambda memory, path: memory.remove(path),
    "half an entry": lambda memory, path: memory.open(path).truncate(max(0, memory.open(path).size() - 3)),
    "garbage": garbage,
    "zeros behind": zeros_behind,
    "plausible lies": plausible_lies,
    "other batches": other_batches,
}


@pytest.mark.parametrize("damage", INDEX_DAMAGE)
@pytest.mark.parametrize("clean", [True, False])
def test_a_damaged_index_is_rebuilt(
    open_log: OpenLog, memory: MemoryStorage, damage: str, clean: bool
) -> None:
    log = open_log(config=SMALL)
    append(log, 40)
    log.close()
    good = {path: memory.open(path).read_at(0, 9999) for path in index_files(memory)}
    for path in good:
        INDEX_DAMAGE[damage](memory, path)
    log = open_log(config=SMALL, clean=clean, recovery_point=20)
    assert (log.end_offset, log.recovered) == (40, None)
    assert offsets(log) == list(range(40))
    for offset in range(40):
        found = log.read(offset, 1, up_to=40)
        assert found.next_offset == offset + 1
        assert log.read(offset, 10_000, up_to=offset + 1) == found
        time = log.offset_for_time(NOW_MS + offset, up_to=40)
        assert time == (NOW_MS + offset, offset, 1)
    append(log, 1)
    log.close()
    log = open_log(config=SMALL, clean=True)
    assert offsets(log) == list(range(41))
    if damage not in ("plausible lies", "other batches"):
        log.close()
        now = {path: memory.open(path).read_at(0, 9999) for path in good}
        last = max(good)
        assert [path for path in good if now[path] != good[path] and path[:30] != last[:30]] == []


def test_an_index_without_its_segment_goes(open_log: OpenLog, memory: MemoryStorage) -> None:
    memory.make_directory(DIRECTORY)
    memory.open(f"{DIRECTORY}/{7:020d}.index", create=True).close()
    memory.open(f"{DIRECTORY}/{7:020d}.timeindex", create=True).close()
    log = open_log()
    assert log.end_offset == 0
    assert not memory.exists(f"{DIRECTORY}/{7:020d}.index")


# Leftovers and checkpoints.


def test_leftovers_are_removed_and_nothing_else(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log(config=SMALL)
    append(log, 20)
    log.close()
    before = list(memory.list(DIRECTORY))
    for name in ("leader-epoch-checkpoint.tmp", f"{0:020d}.log.deleted", f"{3:020d}.log.cleaned", "x.swap"):
        memory.open(f"{DIRECTORY}/{name}", create=True).write_at(0, b"half")
    memory.write_text_atomically(f"{DIRECTORY}/partition.metadata", "version: 0\n")
    log = open_log(config=SMALL, clean=True)
    assert list(memory.list(DIRECTORY)) == sorted([*before, "partition.metadata"])
    assert offsets(log) == list(range(20))


@pytest.mark.parametrize("text", [None, "", "0\n2\n1 0\n", "0\n1\n1 0\0\0\0"])
@pytest.mark.parametrize("clean", [True, False])
def test_lost_epochs_are_found_in_the_batches(
    open_log: OpenLog, memory: MemoryStorage, text: str | None, clean: bool
) -> None:
    log = open_log(config=SMALL)
    for epoch in (1, 3, 7):
        append(log, 8, epoch=epoch)
    log.close()
    memory.remove(f"{DIRECTORY}/leader-epoch-checkpoint")
    if text is not None:
        memory.write_text_atomically(f"{DIRECTORY}/leader-epoch-checkpoint", text)
    log = open_log(config=SMALL, clean=clean, recovery_point=20)
    assert [log.end_offset_for_epoch(epoch) for epoch in (1, 3, 7)] == [(1, 8), (3, 16), (7, 24)]
    assert memory.read_text(f"{DIRECTORY}/leader-epoch-checkpoint") == "0\n3\n1 0\n3 8\n7 16\n"


def test_epochs_past_the_end_are_forgotten(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log()
    append(log, 3, epoch=1)
    append(log, 3, epoch=2)
    for file in log.files_to_sync():
        file.sync()
    log.close(clean=False)
    file = memory.open(f"{DIRECTORY}/{0:020d}.log")
    file.truncate(file.size() // 2)
    log = open_log(recovery_point=6)
    assert (log.end_offset, log.latest_epoch) == (3, 1)
    assert memory.read_text(f"{DIRECTORY}/leader-epoch-checkpoint") == "0\n1\n1 0\n"


def test_a_log_that_should_start_past_its_end_starts_there(open_log: OpenLog) -> None:
    log = open_log()
    append(log, 3)
    log.close()
    log = open_log(clean=True, log_start=10)
    assert (log.start_offset, log.end_offset, log.latest_epoch) == (10, 10, -1)
    append(log, 1)
    assert offsets(log) == [10]


def test_a_recovery_point_past_the_end_is_not_believed(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log()
    append(log, 3)
    log.close(clean=False)
    log = open_log(recovery_point=1000)
    assert (log.end_offset, log.recovery_point) == (3, 3)


def test_a_damaged_length_reads_no_more_than_the_file(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log()
    append(log, 1)
    log.append_as_follower(build_batch([(NOW_MS, None, b"x" * 3_000_000)], base_offset=1, leader_epoch=1))
    append(log, 1)
    log.close(clean=False)
    log = open_log()
    assert log.end_offset == 3, "a batch that is checked in pieces is right"
    first = log.size - 3_000_000
    log.close(clean=False)
    memory.flip_bit(f"{DIRECTORY}/{0:020d}.log", 8 * (first + 2_000_000))
    log = open_log()
    assert log.end_offset == 1
    log.close(clean=False)
    memory.flip_bit(f"{DIRECTORY}/{0:020d}.log", 8 * 9)
    log = open_log()
    assert log.end_offset == 0


def test_rot_in_a_header_is_an_error_of_the_read(open_log: OpenLog, memory: MemoryStorage) -> None:
    log = open_log(config=SMALL)
    append(log, 20)
    log.close()
    memory.flip_bit(f"{DIRECTORY}/{0:020d}.log", 8 * 16 + 7)
    log = open_log(config=SMALL, clean=True)
    with pytest.raises(KafkaError) as refused:
        log.read(1, 10, up_to=20)
    assert refused.value.code in (ErrorCode.CORRUPT_MESSAGE, ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT)


@pytest.mark.parametrize("seed", range(60))
def test_a_power_cut_at_any_moment_keeps_a_prefix(seed: int) -> None:
    rng = random.Random(seed)
    storage = MemoryStorage(rng)
    log = Log.open(storage, DIRECTORY, SMALL, now_ms=NOW_MS)
    synced = 0
    for _ in range(rng.randrange(1, 40)):
        append(log, 1, epoch=1 + log.end_offset // 7, size=rng.randrange(120))
        if rng.random() < 0.15:
            synced = log.end_offset
            for file in log.files_to_sync():
                file.sync()
            log.synced_to(synced)
    written = offsets(log)
    storage.crash()
    log = Log.open(storage, DIRECTORY, SMALL, now_ms=NOW_MS, recovery_point=synced)
    assert log.end_offset >= synced
    assert offsets(log) == written[: log.end_offset]
    assert log.recovered is None or not log.recovered.was_synced
