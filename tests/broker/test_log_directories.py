"""Log directories: whose log lies where, what was checkpointed, and what happens to what is deleted."""

from __future__ import annotations

import random
from pathlib import Path
from uuid import UUID

import pytest

from kafkawire.records import build_batch
from kraft.broker.log_directories import LogDirectories
from kraft.clock import SystemClock
from logstore.checkpoints import RECOVERY_POINTS, read_offsets
from logstore.config import LogConfig
from logstore.log import Log
from logstore.memory import MemoryStorage
from logstore.storage import LocalStorage, StorageError
from replication.outbox import Outbox
from replication.partition import Partition
from replication.settings import ReplicationSettings

ROOT = "data"
TOPIC_ID = UUID(int=7)
MAGIC = 16
"""Where the format of a batch stands."""


def storage_with_root() -> MemoryStorage:
    storage = MemoryStorage(random.Random(1))
    storage.make_directory(ROOT)
    return storage


def directories(storage: MemoryStorage) -> LogDirectories:
    return LogDirectories(storage, [ROOT], SystemClock())


def opened(place: LogDirectories, topic_id: UUID = TOPIC_ID) -> Log:
    return place.open("orders", topic_id, 0, LogConfig())[0]


def append(log: Log, count: int) -> None:
    for number in range(count):
        log.append_as_leader(build_batch([(1_000, None, b"%d" % number)]), 0, 1_000)


def sync(log: Log) -> None:
    for part in log.files_to_sync():
        part.sync()
    log.synced_to(log.end_offset)


def damage_last_byte(storage: MemoryStorage, log: Log) -> None:
    file = storage.open(f"{log.directory}/00000000000000000000.log")
    (last,) = file.read_at(file.size() - 1, 1)
    file.write_at(file.size() - 1, bytes([last ^ 0xFF]))


@pytest.mark.parametrize(("synced", "level"), [(2, "WARNING"), (3, "ERROR")])
def test_what_recovery_had_to_cut_off_is_told(
    synced: int, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    storage = storage_with_root()
    place = directories(storage)
    log = opened(place)
    append(log, synced)
    sync(log)
    append(log, 3 - synced)
    last = log.read(2, 10_000, up_to=3).bytes()
    place.checkpoint_recovery_points([hosted(log)])
    damage_last_byte(storage, log)
    caplog.clear()
    opened(directories(storage))
    (told,) = [record for record in caplog.records if record.message == "log.cut"]
    assert told.levelname == level
    assert told.kraft_fields == {  # type: ignore[attr-defined]
        "directory": log.directory,
        "offset": 2,
        "bytes": len(last),
        "was_synced": level == "ERROR",
    }


def test_a_log_that_is_being_synced_may_be_deleted() -> None:
    """The files stay open until nothing is being synced: a sync that began before the deletion succeeds."""
    storage = storage_with_root()
    place = directories(storage)
    log = opened(place)
    append(log, 3)
    under_way = [*place.new_names(), *log.files_to_sync()]
    place.delete(log)
    for part in under_way:
        part.sync()
    assert not storage.exists(f"{ROOT}/orders-0")
    place.remove_deleted()
    assert not [name for name in storage.list(ROOT) if name.startswith("orders")]


def test_what_an_earlier_process_deleted_is_removed_by_the_next() -> None:
    storage = storage_with_root()
    place = directories(storage)
    place.delete(opened(place))
    after = directories(storage)
    assert any(name.endswith("-delete") for name in storage.list(ROOT))
    after.remove_deleted()
    assert not any(name.endswith("-delete") for name in storage.list(ROOT))


def test_a_replica_may_leave_come_back_and_leave_again_before_the_first_is_removed() -> None:
    storage = storage_with_root()
    place = directories(storage)
    for _ in range(3):
        log = opened(place)
        assert log.end_offset == 0
        append(log, 3)
        place.delete(log)
    place.remove_deleted()
    assert not [name for name in storage.list(ROOT) if name.startswith("orders")]


def test_partitions_of_a_topic_with_a_long_name_are_deleted_at_once() -> None:
    storage = storage_with_root()
    place = directories(storage)
    logs = [place.open("t" * 249, TOPIC_ID, index, LogConfig())[0] for index in range(3)]
    for log in logs:
        place.delete(log)
    names = [name for name in storage.list(ROOT) if name.startswith("t")]
    assert len(names) == 3
    assert all(len(name) < 256 and name.endswith("-delete") for name in names)


def test_partitions_of_a_topic_with_a_long_name_are_set_aside_side_by_side(tmp_path: Path) -> None:
    root = str(tmp_path)
    place = LogDirectories(LocalStorage(), [root], SystemClock())
    for index in range(3):
        append(place.open("t" * 249, TOPIC_ID, index, LogConfig())[0], 1)
    LogDirectories(LocalStorage(), [root], SystemClock()).set_strays_aside()
    names = [path.name for path in tmp_path.iterdir() if path.is_dir()]
    assert len(names) == 3
    assert all(name.endswith("-stray") for name in names)


def test_a_topic_created_anew_under_its_name_begins_empty_and_the_old_data_are_kept_aside() -> None:
    storage = storage_with_root()
    place = directories(storage)
    append(opened(place), 3)
    after = directories(storage)
    anew = opened(after, UUID(int=8))
    assert anew.end_offset == 0
    assert storage.exists(f"{ROOT}/orders-0-stray")


def test_what_the_metadata_do_not_know_is_set_aside_and_not_deleted() -> None:
    storage = storage_with_root()
    append(opened(directories(storage)), 3)
    after = directories(storage)
    after.set_strays_aside()
    assert storage.exists(f"{ROOT}/orders-0-stray")
    assert not storage.exists(f"{ROOT}/orders-0")


def test_the_recovery_point_on_disk_follows_a_cut_at_once() -> None:
    """Otherwise a restart would take for synced what was appended in place of the end that was cut."""
    storage = storage_with_root()
    place = directories(storage)
    log = opened(place)
    outbox = Outbox(lambda: None, place.log_was_cut)
    partition = Partition("orders", (TOPIC_ID.bytes, 0), log, 1, ReplicationSettings(), outbox)
    append(log, 5)
    sync(log)
    place.checkpoint_recovery_points([partition])
    assert read_offsets(storage, ROOT, RECOVERY_POINTS) == {("orders", 0): 5}
    log.truncate_to(2)
    outbox.was_cut(partition)
    assert read_offsets(storage, ROOT, RECOVERY_POINTS) == {("orders", 0): 2}


def test_what_was_checkpointed_of_an_end_that_was_cut_says_nothing_of_what_takes_its_place() -> None:
    """Of a log that restarts behind its leader everything would else be dropped, or never be compacted."""
    storage = storage_with_root()
    place = directories(storage)
    outbox = Outbox(lambda: None, place.log_was_cut)
    log = opened(place)
    partition = Partition("orders", (TOPIC_ID.bytes, 0), log, 1, ReplicationSettings(), outbox)
    append(log, 9)
    sync(log)
    log.advance_start(8)
    log.compaction.cleaned_to = 9
    checkpoint_all(place, partition)
    partition.restart_at(2)
    append(log, 5)
    storage.kill()
    log = opened(directories(storage))
    assert (log.start_offset, log.end_offset, log.compaction.cleaned_to) == (2, 7, 2)


def test_an_end_that_was_lost_is_not_taken_for_synced_when_it_is_there_again() -> None:
    storage = storage_with_root()
    place = directories(storage)
    log = opened(place)
    append(log, 5)
    sync(log)
    log.compaction.cleaned_to = 5
    checkpoint_all(place, hosted(log))
    storage.kill()
    rotten = f"{ROOT}/orders-0/{0:020d}.log"
    storage.flip_bit(rotten, storage.open(rotten).size() * 4)
    log = opened(directories(storage))
    assert log.end_offset == 2
    append(log, 5)
    storage.kill()
    log = opened(directories(storage))
    assert (log.end_offset, log.recovery_point, log.compaction.cleaned_to) == (7, 2, 2)


def test_a_power_cut_after_a_kill_leaves_what_was_synced_in_between() -> None:
    """Seed 265 of the replication's simulation: the name of the directory was nobody's to sync any more."""
    storage = storage_with_root()
    append(opened(directories(storage)), 2)
    storage.kill()
    place = directories(storage)
    log = opened(place)
    for name in place.new_names():
        name.sync()
    sync(log)
    storage.crash()
    assert opened(directories(storage)).end_offset == 2


def test_names_of_new_logs_are_synced_once() -> None:
    storage = storage_with_root()
    place = directories(storage)
    opened(place)
    assert len(place.new_names()) == 1
    assert place.new_names() == []


def test_of_a_log_that_is_deleted_before_anything_is_synced_nothing_is_kept() -> None:
    storage = storage_with_root()
    place = directories(storage)
    for number in range(3):
        place.delete(opened(place, UUID(int=number)))
        place.remove_deleted()
    kept = opened(place)
    (name,) = place.new_names()
    assert name._directory == kept.directory  # type: ignore[attr-defined]


def test_a_log_lies_where_it_was_asked_for() -> None:
    """Once; after that the log lies where it lies."""
    storage = storage_with_root()
    storage.make_directory("other")
    place = LogDirectories(storage, [ROOT, "other"], SystemClock())
    assert opened(place).directory == f"{ROOT}/orders-0"
    place.prefer("orders", 1, ROOT)
    preferred = place.open("orders", TOPIC_ID, 1, LogConfig())[0]
    assert preferred.directory == f"{ROOT}/orders-1"
    assert place.open("orders", TOPIC_ID, 2, LogConfig())[0].directory == "other/orders-2"
    place.delete(preferred)
    assert place.open("orders", TOPIC_ID, 1, LogConfig())[0].directory == f"{ROOT}/orders-1"


def hosted(log: Log, topic_id: UUID = TOPIC_ID) -> Partition:
    outbox = Outbox(lambda: None)
    return Partition("orders", (topic_id.bytes, 0), log, 1, ReplicationSettings(), outbox)


def checkpoint_all(place: LogDirectories, partition: Partition) -> None:
    place.checkpoint_high_watermarks([partition])
    place.checkpoint_recovery_points([partition])
    place.checkpoint_cleaned([partition])


def old_topic(place: LogDirectories) -> Partition:
    """A topic of which everything up to offset 5 is committed, synced, compacted and deleted."""
    partition = hosted(opened(place))
    append(partition.log, 5)
    sync(partition.log)
    partition.high_watermark = partition.log.compaction.cleaned_to = 5
    partition.log.advance_start(5)
    checkpoint_all(place, partition)
    return partition


def test_what_was_checkpointed_of_a_deleted_topic_says_nothing_of_one_created_anew() -> None:
    """Killed before the next checkpoint, the process would come back to a log that starts behind its end."""
    storage = storage_with_root()
    place = directories(storage)
    place.delete(old_topic(place).log)
    append(opened(place, UUID(int=8)), 3)
    storage.kill()
    log, high_watermark = directories(storage).open("orders", UUID(int=8), 0, LogConfig())
    assert (log.start_offset, log.end_offset, high_watermark) == (0, 3, 0)
    assert (log.recovery_point, log.compaction.cleaned_to) == (0, 0)


def test_nor_does_it_when_the_topic_was_created_anew_while_this_broker_was_away() -> None:
    storage = storage_with_root()
    old_topic(directories(storage))
    storage.kill()
    append(opened(directories(storage), UUID(int=8)), 3)
    storage.kill()
    log, high_watermark = directories(storage).open("orders", UUID(int=8), 0, LogConfig())
    assert (log.start_offset, log.end_offset, high_watermark) == (0, 3, 0)
    assert (log.recovery_point, log.compaction.cleaned_to) == (0, 0)


def test_a_process_that_opened_no_log_says_nothing_of_how_they_were_left() -> None:
    """It found no controller, say, and was stopped in good order: the power cut before it still counts."""
    storage = storage_with_root()
    place = directories(storage)
    before = opened(place)
    append(before, 2)
    place.close([hosted(before)], 7)
    log = opened(directories(storage))
    append(log, 1)
    damage_last_byte(storage, log)
    storage.kill()
    directories(storage).close([], -1)
    again = directories(storage)
    assert again.clean_epoch == -1
    assert opened(again).end_offset == 2


def test_a_process_without_logs_of_its_own_ends_cleanly() -> None:
    storage = storage_with_root()
    directories(storage).close([], 4)
    assert directories(storage).clean_epoch == 4


def test_a_process_that_never_registered_leaves_the_epoch_of_the_one_before() -> None:
    """The controller knows that one: under another epoch the broker would pass for one that lost records."""
    storage = storage_with_root()
    place = directories(storage)
    place.close([hosted(opened(place))], 7)
    directories(storage).close([], -1)
    assert directories(storage).clean_epoch == 7


def test_checkpoints_keep_what_they_say_of_logs_that_are_not_open_yet() -> None:
    """A broker that waits for a controller goes on with its checkpoints, and may be killed after one."""
    storage = storage_with_root()
    old_topic(directories(storage))
    storage.kill()
    waiting = directories(storage)
    waiting.checkpoint_high_watermarks([])
    waiting.checkpoint_recovery_points([])
    waiting.checkpoint_cleaned([])
    storage.kill()
    log, high_watermark = directories(storage).open("orders", TOPIC_ID, 0, LogConfig())
    assert (log.start_offset, log.end_offset, high_watermark) == (5, 5, 5)
    assert (log.recovery_point, log.compaction.cleaned_to) == (5, 5)


def test_checkpoints_forget_what_was_set_aside() -> None:
    storage = storage_with_root()
    old_topic(directories(storage))
    storage.kill()
    place = directories(storage)
    place.set_strays_aside()
    place.checkpoint_recovery_points([])
    assert read_offsets(storage, ROOT, RECOVERY_POINTS) == {}


def test_a_log_that_makes_no_sense_is_the_disks_failure() -> None:
    """It stops the node, whoever opens the log: here a batch that was synced is none any more."""
    storage = storage_with_root()
    place = directories(storage)
    log, _ = place.open("orders", TOPIC_ID, 0, LogConfig(segment_bytes=220))
    append(log, 8)
    sync(log)
    place.close([hosted(log)], 7)
    for name in storage.list(log.directory):
        if name.endswith(".snapshot"):
            storage.remove(f"{log.directory}/{name}")
    storage.open(f"{log.directory}/00000000000000000000.log").write_at(MAGIC, b"\xff")
    with pytest.raises(StorageError, match=r"orders-0: .*magic"):
        opened(directories(storage))
