"""Kafka's formats, byte for byte, against bytes written by hand."""

from __future__ import annotations

import random
import struct
import uuid
from collections.abc import Callable

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from kafkawire.records import ControlType, build_batch, build_control_batch
from logstore.aborted import AbortedTransaction, AbortedTransactions
from logstore.checkpoints import (
    HIGH_WATERMARKS,
    LOG_STARTS,
    RECOVERY_POINTS,
    MetaProperties,
    MetaPropertiesError,
    clean_shutdown_epoch,
    clear_clean_shutdown,
    mark_clean_shutdown,
    new_directory_id,
    read_epochs,
    read_meta_properties,
    read_offsets,
    write_epochs,
    write_meta_properties,
    write_offsets,
)
from logstore.epochs import EpochStart
from logstore.files import offset_in_name, path_of
from logstore.index import CorruptIndexError, OffsetIndex, TimeIndex
from logstore.log import Log, Origin
from logstore.memory import MemoryStorage
from logstore.producers import ProducerState, RememberedBatch
from logstore.snapshots import CorruptSnapshotError, decode_snapshot, encode_snapshot

OpenLog = Callable[..., Log]
NOW_MS = 1_700_000_000_000


def test_segment_files_are_named_after_their_first_offset(memory: MemoryStorage, open_log: OpenLog) -> None:
    log = open_log(segment_bytes=400, log_start=368_769)
    for _ in range(2):
        log.append_as_leader(build_batch([(NOW_MS, None, b"x" * 200)]), 0, NOW_MS)
    log.close()
    assert list(memory.list("/data/t-0")) == [
        "00000000000000368769.index",
        "00000000000000368769.log",
        "00000000000000368769.timeindex",
        "00000000000000368770.index",
        "00000000000000368770.log",
        "00000000000000368770.snapshot",
        "00000000000000368770.timeindex",
        "00000000000000368771.snapshot",
        "leader-epoch-checkpoint",
    ]


def test_names_that_are_none() -> None:
    assert offset_in_name("00000000000000000007.log", ".log") == 7
    for name in ("7.log", "00000000000000000007.index", "0000000000000000000x.log", "\u0660" * 20 + ".log"):
        assert offset_in_name(name, ".log") is None
    assert path_of("/d", 12, ".log") == "/d/00000000000000000012.log"


def test_segment_bytes(memory: MemoryStorage, open_log: OpenLog) -> None:
    log = open_log(log_start=1000)
    log.append_as_leader(build_batch([(NOW_MS, b"k", b"v")]), 9, NOW_MS)
    record = bytes([16, 0, 0, 0, 2]) + b"k" + bytes([2]) + b"v" + bytes([0])
    after_crc = struct.pack(">hiqqqhii", 0, 0, NOW_MS, NOW_MS, -1, -1, -1, 1) + record
    length = 4 + 1 + 4 + len(after_crc)
    expected = struct.pack(">qiibI", 1000, length, 9, 2, crc32c(after_crc)) + after_crc
    assert memory.open("/data/t-0/00000000000000001000.log").read_at(0, 1000) == expected


def test_offset_index_bytes() -> None:
    index = OffsetIndex(100)
    index.append(103, 4096)
    index.append(110, 9000)
    data = bytes.fromhex("00000003 00001000 0000000a 00002328")
    assert index.encode() == data
    again = OffsetIndex.decode(100, data, 9001)
    assert again.encode() == data
    assert again.floor(102) == (99, 0)
    assert again.floor(103) == (103, 4096)
    assert again.floor(999) == (110, 9000)
    assert again.floor_position(8999) == (103, 4096)
    assert again.last == (110, 9000)
    assert again.from_end(2) == (103, 4096)
    assert again.from_end(3) == (99, 0)


def test_time_index_bytes() -> None:
    index = TimeIndex(100)
    index.append(0x0102030405060708, 105)
    index.append(0x0102030405060708, 106)  # no larger: no entry
    index.append(0x0102030405060709, 107)
    data = bytes.fromhex("0102030405060708 00000005 0102030405060709 00000007")
    assert index.encode() == data
    again = TimeIndex.decode(100, data, 108)
    assert again.encode() == data
    assert again.last == (0x0102030405060709, 107)
    assert again.floor(0x0102030405060707) == 100
    assert again.floor(0x0102030405060708) == 105


@pytest.mark.parametrize(
    ("damage", "data"),
    [
        ("cut", "00000003 000010"),
        ("offsets go back", "00000003 00001000 00000002 00002000"),
        ("offsets repeat", "00000003 00001000 00000003 00002000"),
        ("positions go back", "00000003 00001000 00000004 00000fff"),
        ("past the log", "00000003 00002329"),
        ("negative", "ffffffff 00000001"),
        ("zeros behind", "00000003 00001000 00000000 00000000"),
    ],
)
def test_an_offset_index_that_cannot_be_right(damage: str, data: str) -> None:
    with pytest.raises(CorruptIndexError):
        OffsetIndex.decode(100, bytes.fromhex(data), 0x2329)


@pytest.mark.parametrize(
    ("damage", "data"),
    [
        ("cut", "0102030405060708 000000"),
        ("times go back", "0000000000000002 00000001 0000000000000001 00000002"),
        ("offsets go back", "0000000000000001 00000002 0000000000000002 00000001"),
        ("past the end", "0000000000000001 00000008"),
        ("negative time", "ffffffffffffffff 00000001"),
        ("negative offset", "0000000000000001 ffffffff"),
        ("zeros behind", "0000000000000001 00000002 0000000000000000 00000000"),
    ],
)
def test_a_time_index_that_cannot_be_right(damage: str, data: str) -> None:
    with pytest.raises(CorruptIndexError):
        TimeIndex.decode(100, bytes.fromhex(data), 108)


def test_aborted_transaction_bytes() -> None:
    index = AbortedTransactions()
    index.append(AbortedTransaction(7, 100, 110, 90))
    data = bytes.fromhex("0000 0000000000000007 0000000000000064 000000000000006e 000000000000005a")
    assert index.encode() == data
    assert list(AbortedTransactions.decode(100, data)) == [(7, 100, 110, 90)]
    for damaged in (data[:-1], b"\0\1" + data[2:], data + data, bytes(34)):
        with pytest.raises(CorruptIndexError):
            AbortedTransactions.decode(100, damaged)


def test_producer_snapshot_bytes() -> None:
    state = ProducerState(0x1122334455667788, 3)
    state.last_timestamp = 77
    state.coordinator_epoch = 5
    state.transaction_start = 41
    state.batches.append(RememberedBatch(9, 50, 4, 77))
    entry = bytes.fromhex(
        "1122334455667788 0003 00000009 0000000000000032 00000004 000000000000004d 00000005 0000000000000029"
    )
    body = bytes.fromhex("00000001") + entry
    assert encode_snapshot([state]) == b"\0\1" + struct.pack(">I", crc32c(body)) + body
    assert encode_snapshot([]) == b"\0\1" + struct.pack(">I", crc32c(bytes(4))) + bytes(4)
    (again,) = decode_snapshot(encode_snapshot([state]))
    assert encode_snapshot([again]) == encode_snapshot([state])
    empty = ProducerState(1, 0)
    assert encode_snapshot(decode_snapshot(encode_snapshot([empty]))) == encode_snapshot([empty])


@given(st.integers(0, 100), st.integers(0, 7))
def test_a_damaged_snapshot_is_refused(byte: int, bit: int) -> None:
    state = ProducerState(5, 0)
    state.batches.append(RememberedBatch(9, 50, 4, 77))
    data = bytearray(encode_snapshot([state]))
    data[byte % len(data)] ^= 1 << bit
    with pytest.raises(CorruptSnapshotError):
        decode_snapshot(bytes(data))
    with pytest.raises(CorruptSnapshotError):
        decode_snapshot(encode_snapshot([state])[: byte % len(data)])


def test_abort_marker_reaches_the_transaction_index(memory: MemoryStorage, open_log: OpenLog) -> None:
    log = open_log()
    batch = build_batch(
        [(NOW_MS, None, b"x")], producer_id=7, producer_epoch=0, base_sequence=0, transactional=True
    )
    log.producers.verifications.grant(log.producers.verifications.ask(7, 0))
    log.append_as_leader(batch, 0, NOW_MS)
    marker = build_control_batch(
        ControlType.ABORT, timestamp=NOW_MS, producer_id=7, producer_epoch=0, coordinator_epoch=0
    )
    log.append_as_leader(marker, 0, NOW_MS, origin=Origin.COORDINATOR)
    log.close()
    data = memory.open("/data/t-0/00000000000000000000.txnindex").read_at(0, 100)
    assert data == struct.pack(">hqqqq", 0, 7, 0, 1, 2)


def test_leader_epoch_checkpoint(memory: MemoryStorage, open_log: OpenLog) -> None:
    log = open_log()
    for epoch in (3, 3, 5):
        log.append_as_leader(build_batch([(NOW_MS, None, b"x")]), epoch, NOW_MS)
    text = memory.read_text("/data/t-0/leader-epoch-checkpoint")
    assert text == "0\n2\n3 0\n5 2\n"


def checkpoint_place() -> MemoryStorage:
    storage = MemoryStorage(random.Random(0))
    storage.make_directory("/d")
    return storage


@pytest.mark.parametrize("name", [HIGH_WATERMARKS, RECOVERY_POINTS, LOG_STARTS])
def test_offset_checkpoints(name: str) -> None:
    storage = checkpoint_place()
    assert read_offsets(storage, "/d", name) is None
    offsets = {("b", 0): 5, ("a.b", 10): 2**62, ("a.b", 9): 0}
    write_offsets(storage, "/d", name, offsets)
    assert storage.read_text(f"/d/{name}") == f"0\n3\na.b 9 0\na.b 10 {2**62}\nb 0 5\n"
    assert read_offsets(storage, "/d", name) == offsets
    write_offsets(storage, "/d", name, {})
    assert storage.read_text(f"/d/{name}") == "0\n0\n"
    assert read_offsets(storage, "/d", name) == {}


@pytest.mark.parametrize(
    "text",
    ["", "0", "0\n1\nt 0", "0\n1\nt 0 5", "1\n1\nt 0 5\n", "0\n2\nt 0 5\n", "0\n1\nt 0\n", "0\n1\nt 0 -5\n",
     "0\n1\nt 0 1_0\n", "0\n1\nt 0 5\n\n", "0\n1\nt 0 \0\0\n", "\ufffd\n"],
)  # fmt: skip
def test_half_written_offset_checkpoints_count_as_missing(text: str) -> None:
    storage = checkpoint_place()
    storage.write_text_atomically(f"/d/{HIGH_WATERMARKS}", text)
    assert read_offsets(storage, "/d", HIGH_WATERMARKS) is None


def test_every_prefix_of_a_checkpoint_is_recognised() -> None:
    storage = checkpoint_place()
    write_epochs(storage, "/d", [EpochStart(3, 0), EpochStart(12, 4567)], durable=True)
    whole = storage.read_text("/d/leader-epoch-checkpoint")
    assert whole is not None
    for size in range(len(whole)):
        storage.write_text_atomically("/d/leader-epoch-checkpoint", whole[:size])
        assert read_epochs(storage, "/d") is None
    storage.write_text_atomically("/d/leader-epoch-checkpoint", "0\n2\n5 1\n4 2\n")
    assert read_epochs(storage, "/d") is None


def test_meta_properties() -> None:
    storage = checkpoint_place()
    assert read_meta_properties(storage, "/d") is None
    identity = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
    meta = MetaProperties(4, "MkU3OEVBNTcwNTJENDM2Qg", new_directory_id(identity))
    write_meta_properties(storage, "/d", meta)
    assert storage.read_text("/d/meta.properties") == (
        "cluster.id=MkU3OEVBNTcwNTJENDM2Qg\ndirectory.id=ABEiM0RVZneImaq7zN3u_w\nnode.id=4\nversion=1\n"
    )
    assert read_meta_properties(storage, "/d") == meta
    kafka_wrote = "#\n#Thu Jan 01 00:00:00 UTC 1970\ncluster.id=c\nversion=1\ndirectory.id=d\nnode.id=1\n"
    storage.write_text_atomically("/d/meta.properties", kafka_wrote)
    assert read_meta_properties(storage, "/d") == MetaProperties(1, "c", "d")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "version=0\nbroker.id=1\n",
        "version=1\nnode.id=1\n",
        "version=1\nnode.id=x\ncluster.id=c\ndirectory.id=d\n",
    ],
)
def test_meta_properties_that_say_nothing(text: str) -> None:
    storage = checkpoint_place()
    storage.write_text_atomically("/d/meta.properties", text)
    with pytest.raises(MetaPropertiesError):
        read_meta_properties(storage, "/d")


def test_clean_shutdown_marker() -> None:
    storage = checkpoint_place()
    assert clean_shutdown_epoch(storage, "/d") is None
    mark_clean_shutdown(storage, "/d", 42)
    assert storage.read_text("/d/.kafka_cleanshutdown") == '{"version":0,"brokerEpoch":42}'
    assert clean_shutdown_epoch(storage, "/d") == 42
    clear_clean_shutdown(storage, "/d")
    assert clean_shutdown_epoch(storage, "/d") is None
    storage.write_text_atomically("/d/.kafka_cleanshutdown", "")
    assert clean_shutdown_epoch(storage, "/d") == -1
