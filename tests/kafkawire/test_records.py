"""Record batches against the builders and readers of kafka-python and aiokafka, and against damage."""

from __future__ import annotations

import importlib
import struct
import tracemalloc
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatch as AioBatch
from aiokafka.record.default_records import DefaultRecordBatchBuilder as AioBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as AioPureBuilder
from aiokafka.record.default_records import _DefaultRecordBatchPy as AioPureBatch
from hypothesis import given, settings
from hypothesis import strategies as st

from kafkawire.compression import Compression
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.lazy_packages import defer
from kafkawire.records import (
    BATCH_OVERHEAD,
    BatchHeader,
    ControlRecord,
    ControlType,
    NewRecord,
    Record,
    build_batch,
    build_control_batch,
    check_crc,
    headers,
    parse_control_record,
    read_header,
    records,
    stamp,
    stamp_log_append_time,
)

EVERY_KIND = pytest.mark.parametrize("kind", Compression)
UNCOMPRESSED_OR_GZIP = pytest.mark.parametrize("kind", [Compression.NONE, Compression.GZIP])

CONTENT = st.one_of(st.none(), st.binary(max_size=200))
TIMESTAMPS = st.integers(0, 2**45)
NEW_RECORDS = st.lists(
    st.tuples(
        TIMESTAMPS,
        CONTENT,
        CONTENT,
        st.lists(st.tuples(st.text(max_size=6), st.one_of(st.none(), st.binary(max_size=6))), max_size=3),
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="session")
def kafka_python() -> Any:
    """kafka-python's module of v2 batches, without the client around it."""
    defer("kafka")
    return importlib.import_module("kafka.record.default_records")


def contents(batch: bytes) -> list[tuple[int, int, bytes | None, bytes | None, list[Any]]]:
    return [tuple(record) for record in records(batch)]  # type: ignore[misc]


def expected(new: list[Any], base_offset: int = 0) -> list[tuple[Any, ...]]:
    return [(base_offset + index, *record) for index, record in enumerate(new)]


@EVERY_KIND
@settings(max_examples=30, deadline=None)
@given(new=NEW_RECORDS, base_offset=st.integers(0, 2**62), sequence=st.integers(0, 2**31 - 1))
def test_what_is_built_is_read(
    kind: Compression, new: list[NewRecord], base_offset: int, sequence: int
) -> None:
    batch = build_batch(
        new,
        base_offset=base_offset,
        leader_epoch=4,
        compression=kind,
        producer_id=9,
        producer_epoch=2,
        base_sequence=sequence,
        transactional=True,
    )
    header = read_header(batch)
    assert header.size == len(batch)
    assert check_crc(batch, 0, header)
    assert contents(batch) == expected(new, base_offset)
    assert (header.compression, header.is_transactional, header.is_control) == (kind, True, False)
    assert (header.next_offset, header.record_count) == (base_offset + len(new), len(new))
    assert header.max_timestamp == max(record[0] for record in new)
    assert header.last_sequence == (sequence + len(new) - 1) % 2**31
    assert header.has_producer
    assert not header.log_append_time


@pytest.mark.parametrize("pure", [True, False])
@EVERY_KIND
@settings(max_examples=15, deadline=None)
@given(new=NEW_RECORDS)
def test_aiokafka_reads_ours_and_we_read_its(pure: bool, kind: Compression, new: list[Any]) -> None:
    batch = build_batch(new, compression=kind)
    theirs = (AioPureBatch if pure else AioBatch)(bytearray(batch))
    assert theirs.validate_crc()
    assert [
        (record.offset, record.timestamp, record.key, record.value, list(record.headers)) for record in theirs
    ] == expected(new)
    builder = (AioPureBuilder if pure else AioBuilder)(2, int(kind), True, 7, 3, 11, 1 << 20)
    for offset, record in enumerate(new):
        builder.append(offset, *record)
    built = bytes(builder.build())
    header = read_header(built)
    assert check_crc(built, 0, header)
    assert contents(built) == expected(new)
    assert header[9:12] == (7, 3, 11)


@UNCOMPRESSED_OR_GZIP
@settings(max_examples=30, deadline=None)
@given(new=NEW_RECORDS)
def test_kafka_python_reads_ours_and_we_read_its(
    kafka_python: Any, kind: Compression, new: list[Any]
) -> None:
    batch = build_batch(new, compression=kind, producer_id=7, producer_epoch=3, base_sequence=11)
    theirs = kafka_python.DefaultRecordBatch(batch)
    assert theirs.validate_crc()
    assert [
        (record.offset, record.timestamp, record.key, record.value, list(record.headers)) for record in theirs
    ] == expected(new)
    builder = kafka_python.DefaultRecordBatchBuilder(2, int(kind), False, 7, 3, 11, 1 << 20)
    for offset, record in enumerate(new):
        builder.append(offset, *record)
    built = bytes(builder.build())
    assert contents(built) == expected(new)
    if kind is Compression.NONE:
        # It leaves the leader epoch 0 where Kafka's producer and ours say -1; no checksum covers it.
        assert built[:12] + built[16:] == batch[:12] + batch[16:]


@settings(max_examples=30, deadline=None)
@given(new=NEW_RECORDS, kind=st.sampled_from(Compression), now_ms=TIMESTAMPS, offset=st.integers(0, 2**62))
def test_stamps_change_what_they_name_and_nothing_else(
    new: list[NewRecord], kind: Compression, now_ms: int, offset: int
) -> None:
    buffer = bytearray(b"before") + build_batch(new, compression=kind, producer_id=5) + b"after"
    header = read_header(buffer, 6)
    view = memoryview(buffer)
    stamp(view, 6, offset, 17)
    stamped = read_header(view, 6)
    assert stamped == header._replace(base_offset=offset, partition_leader_epoch=17)
    assert check_crc(view, 6, stamped)
    stamp_log_append_time(view, 6, stamped, now_ms)
    timed = read_header(view, 6)
    assert check_crc(view, 6, timed)
    assert timed == stamped._replace(attributes=stamped.attributes | 8, max_timestamp=now_ms, crc=timed.crc)
    assert timed.log_append_time
    assert [record.timestamp for record in records(view, 6)] == [now_ms] * len(new)
    assert (buffer[:6], buffer[-5:]) == (b"before", b"after")


def test_several_batches_and_a_partial_one() -> None:
    first = build_batch([(1, None, b"a")])
    second = build_batch([(2, None, b"b"), (3, None, b"c")], base_offset=1)
    log = first + second
    for end in range(len(log) + 1):
        found = [(position, header.base_offset) for position, header in headers(log[:end])]
        assert found == [(0, 0), (len(first), 1)][: (end >= len(first)) + (end >= len(log))]


def test_header_alone_can_be_read() -> None:
    batch = build_batch([(1, None, b"a")])
    header = read_header(batch[:BATCH_OVERHEAD])
    assert header == read_header(batch)
    assert not check_crc(batch[:-1], 0, header)


@pytest.mark.parametrize("kind", ControlType)
def test_control_batch_says_how_the_transaction_ended(kafka_python: Any, kind: ControlType) -> None:
    batch = build_control_batch(
        kind,
        timestamp=5,
        producer_id=7,
        producer_epoch=3,
        coordinator_epoch=9,
        base_offset=40,
        leader_epoch=2,
    )
    header = read_header(batch)
    assert (header.is_control, header.is_transactional, header.base_sequence) == (True, True, -1)
    assert header.last_sequence == -1
    (record,) = records(batch)
    assert parse_control_record(record) == ControlRecord(kind, 9)
    (theirs,) = kafka_python.DefaultRecordBatch(batch)
    assert (theirs.abort, theirs.commit) == (kind is ControlType.ABORT, kind is ControlType.COMMIT)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"\x00" * 6),
        (b"\x00" * 4, None),
        (b"\x00" * 3, b"\x00" * 6),
        (b"\x00" * 4, b"\x00" * 5),
        (struct.pack(">hh", 0, 2), b"\x00" * 6),
        (struct.pack(">hh", -1, 1), b"\x00" * 6),
    ],
)
def test_control_record_of_another_kind_is_invalid(key: bytes | None, value: bytes | None) -> None:
    with pytest.raises(KafkaError) as caught:
        parse_control_record(Record(0, 0, key, value, []))
    assert caught.value.code is ErrorCode.INVALID_RECORD


def changed(batch: bytes, position: int, layout: str, value: int) -> bytes:
    damaged = bytearray(batch)
    struct.pack_into(layout, damaged, position, value)
    return bytes(damaged)


BATCH = build_batch([(1, b"key", b"value", [("name", b"content")]), (2, None, b"second")])


@pytest.mark.parametrize(
    ("batch", "code"),
    [
        (b"", ErrorCode.CORRUPT_MESSAGE),
        (BATCH[:60], ErrorCode.CORRUPT_MESSAGE),
        (BATCH[:-1], ErrorCode.CORRUPT_MESSAGE),
        (changed(BATCH, 8, ">i", 48), ErrorCode.CORRUPT_MESSAGE),
        (changed(BATCH, 8, ">i", -1), ErrorCode.CORRUPT_MESSAGE),
        (changed(BATCH, 8, ">i", 2**31 - 1), ErrorCode.CORRUPT_MESSAGE),
        (changed(BATCH, 16, ">b", 0), ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT),
        (changed(BATCH, 16, ">b", 1), ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT),
        (changed(BATCH, 16, ">b", 3), ErrorCode.CORRUPT_MESSAGE),
        (changed(BATCH, 21, ">h", 5), ErrorCode.UNSUPPORTED_COMPRESSION_TYPE),
        (changed(BATCH, 21, ">h", 1), ErrorCode.CORRUPT_MESSAGE),
        (changed(BATCH, 57, ">i", -1), ErrorCode.INVALID_RECORD),
        (changed(BATCH, 57, ">i", 1), ErrorCode.INVALID_RECORD),
        (changed(BATCH, 57, ">i", 3), ErrorCode.INVALID_RECORD),
        (changed(BATCH, 57, ">i", 2**31 - 1), ErrorCode.INVALID_RECORD),
        (changed(BATCH, 61, ">B", 0x01), ErrorCode.INVALID_RECORD),
        (changed(BATCH, 61, ">B", 0x7E), ErrorCode.INVALID_RECORD),
    ],
)
def test_impossible_batch_is_refused(batch: bytes, code: ErrorCode) -> None:
    with pytest.raises(KafkaError) as caught:
        list(records(batch))
    assert caught.value.code is code


def with_section(section: bytes, count: int) -> bytes:
    fixed = struct.pack(">hiqqqhii", 0, count - 1, 0, 0, -1, -1, -1, count)
    return struct.pack(">qiibI", 0, 9 + len(fixed) + len(section), -1, 2, 0) + fixed + section


@pytest.mark.parametrize(
    "section",
    [
        pytest.param(b"\xff" * 30, id="length of more than 32 bits"),
        pytest.param(b"\x80" * 100_000, id="endless length"),
        pytest.param(b"\x14\x00" + b"\xff" * 11, id="timestamp of more than 64 bits"),
        pytest.param(b"\x0c\x00\x00\x00\x03\x01\x00", id="key of minus two bytes"),
        pytest.param(b"\x0c\x00\x00\x00\x20\x01\x00", id="key beyond the record"),
        pytest.param(b"\x0c\x00\x00\x00\x01\x20\x00", id="value beyond the record"),
        pytest.param(b"\x0c\x00\x00\x00\x01\x01\x01", id="minus one headers"),
        pytest.param(b"\x10\x00\x00\x00\x01\x01\xfe\x7f\x00", id="too many headers"),
        pytest.param(b"\x10\x00\x00\x00\x01\x01\x02\x01\x01", id="header without a name"),
        pytest.param(b"\x0e\x00\x00\x00\x01\x01\x00\x00", id="byte left in the record"),
        pytest.param(b"\x0c\x00\x00\x00\x01\x01\x00\x00", id="byte left in the batch"),
        pytest.param(b"\x08\x00\x00\x00\x01\x01\x00", id="longer than the record says"),
    ],
)
def test_malformed_record_is_invalid_and_costs_little(section: bytes) -> None:
    batch = with_section(section, 1)
    tracemalloc.start()
    try:
        with pytest.raises(KafkaError) as caught:
            list(records(batch))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code is ErrorCode.INVALID_RECORD
    assert peak < 100_000 + 2 * len(section)


@EVERY_KIND
@settings(max_examples=60, deadline=None)
@given(new=NEW_RECORDS, data=st.data())
def test_damage_anywhere_is_an_error_that_kafka_knows(
    mutations: Any, kind: Compression, new: list[NewRecord], data: st.DataObject
) -> None:
    damaged = data.draw(mutations(build_batch(new, compression=kind)))
    assert refusal(damaged) in (
        None,
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.INVALID_RECORD,
        ErrorCode.MESSAGE_TOO_LARGE,
        ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
        ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    )


def refusal(batch: bytes) -> ErrorCode | None:
    try:
        for _, header in headers(batch):
            check_crc(batch, 0, header)
        list(records(batch, limit=1_000_000))
    except KafkaError as error:
        return error.code
    return None


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 8 * (len(BATCH) - 21) - 1))
def test_checksum_notices_every_flipped_bit_behind_it(bit: int) -> None:
    damaged = bytearray(BATCH)
    damaged[21 + bit // 8] ^= 1 << bit % 8
    assert not check_crc(damaged, 0, read_header(damaged))


def test_compressed_bomb_is_refused() -> None:
    batch = build_batch([(0, None, bytes(50_000_000))], compression=Compression.ZSTD)
    assert len(batch) < 10_000
    assert refusal(batch) in (ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.CORRUPT_MESSAGE)


def test_header_name_that_is_not_text_is_read_with_replacements() -> None:
    section = b"\x16\x00\x00\x00\x01\x01\x02\x04\xc3\x28\x02x"
    (record,) = records(with_section(section, 1))
    assert record.headers == [("\ufffd(", b"x")]


def test_batch_without_records_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="one record"):
        build_batch([])


def test_header_describes_itself() -> None:
    header = BatchHeader(10, 49, 0, 2, 0, 0x40, 4, 0, 0, -1, -1, 2**31 - 3, 5)
    assert (header.last_offset, header.next_offset, header.size) == (14, 15, 61)
    assert header.last_sequence == 1
    assert header.has_delete_horizon
    assert not header.has_producer
