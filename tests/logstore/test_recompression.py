"""`compression.type`: what a leader makes of batches that are compressed in another way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from kafkawire.compression import Compression
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import build_batch, check_crc, headers, read_header, records
from logstore.config import LogConfig
from logstore.log import Log, Origin
from logstore.recompression import as_configured

OpenLog = Callable[..., Log]
NOW_MS = 1_700_000_000_000
NAMES = {
    "uncompressed": Compression.NONE,
    "gzip": Compression.GZIP,
    "snappy": Compression.SNAPPY,
    "lz4": Compression.LZ4,
    "zstd": Compression.ZSTD,
}
values = st.lists(st.none() | st.binary(max_size=50), min_size=1, max_size=20)


def batch(text: bytes = b"value", **options: int | bool) -> bytes:
    return build_batch([(NOW_MS + at, b"key", text) for at in range(3)], **options)  # type: ignore[arg-type]


def stored(log: Log) -> bytes:
    return log.read(0, 1_000_000, up_to=log.end_offset).bytes()


@given(values, st.sampled_from(list(Compression)), st.sampled_from(list(NAMES)), st.booleans())
def test_only_the_compression_changes(
    given_values: list[bytes | None], came_as: Compression, wanted: str, transactional: bool
) -> None:
    new = [(NOW_MS + 7 * at, b"k%d" % at, value, [("h", value)]) for at, value in enumerate(given_values)]
    given_batch = build_batch(
        new,
        compression=came_as,
        producer_id=9,
        producer_epoch=2,
        base_sequence=5,
        transactional=transactional,
    )
    header = read_header(given_batch)
    made, made_header = as_configured(given_batch, header, LogConfig(compression_type=wanted))
    assert made_header == read_header(made)
    assert made_header.compression is NAMES[wanted]
    assert check_crc(made, 0, made_header)
    assert list(records(made)) == list(records(given_batch))
    assert made_header.is_transactional is transactional
    changed = {"batch_length": 0, "crc": 0, "attributes": 0}
    assert made_header._replace(**changed) == header._replace(**changed)


@pytest.mark.parametrize("wanted", NAMES)
def test_a_batch_that_came_so_is_stored_as_it_is(open_log: OpenLog, wanted: str) -> None:
    log = open_log(compression_type=wanted)
    given_batch = bytearray(batch(compression=NAMES[wanted]))
    log.append_as_leader(given_batch, 0, NOW_MS)
    assert stored(log) == given_batch


def test_producer_keeps_what_the_producer_chose(open_log: OpenLog) -> None:
    log = open_log()
    for kind in Compression:
        log.append_as_leader(batch(compression=kind), 0, NOW_MS)
    assert [header.compression for _, header in headers(stored(log))] == list(Compression)


def test_a_leader_stamps_what_it_compressed(open_log: OpenLog) -> None:
    log = open_log(compression_type="zstd", message_timestamp_type="LogAppendTime")
    log.append_as_leader(batch(b"v" * 500), 4, NOW_MS)
    appended = log.append_as_leader(batch(b"v" * 500, compression=Compression.GZIP), 4, NOW_MS + 1)
    assert appended == (3, 5, NOW_MS + 1, 0, False)
    data = stored(log)
    for position, header in headers(data):
        assert check_crc(data, position, header)
        assert (header.compression, header.partition_leader_epoch) == (Compression.ZSTD, 4)
        assert header.log_append_time
    assert log.size == len(data) < 500
    assert [record.offset for position, _ in headers(data) for record in records(data, position)] == [
        *range(6)
    ]


def test_a_repeated_batch_is_known_by_its_sequence(open_log: OpenLog) -> None:
    log = open_log(compression_type="lz4")
    given_batch = batch(producer_id=1, producer_epoch=0, base_sequence=0)
    first = log.append_as_leader(given_batch, 0, NOW_MS)
    assert log.append_as_leader(given_batch, 0, NOW_MS) == first._replace(duplicate=True)


def test_what_coordinators_write_stays_as_it_is(open_log: OpenLog) -> None:
    log = open_log(compression_type="gzip")
    log.append_as_leader(batch(), 0, NOW_MS, origin=Origin.COORDINATOR)
    assert read_header(stored(log)).compression is Compression.NONE


@pytest.mark.parametrize(
    ("limit", "code"),
    [("max_message_bytes", ErrorCode.MESSAGE_TOO_LARGE), ("segment_bytes", ErrorCode.RECORD_LIST_TOO_LARGE)],
)
def test_what_is_too_large_afterwards_is_refused(open_log: OpenLog, limit: str, code: ErrorCode) -> None:
    log = open_log(compression_type="uncompressed", **{limit: 1000})
    small = batch(b"v" * 1000, compression=Compression.GZIP)
    assert len(small) < 1000
    with pytest.raises(KafkaError) as raised:
        log.append_as_leader(small, 0, NOW_MS)
    assert raised.value.code is code
    assert (log.end_offset, log.size) == (0, 0)


def test_what_does_not_decompress_is_refused(open_log: OpenLog) -> None:
    log = open_log(compression_type="lz4")
    damaged = bytearray(batch())
    damaged[22] |= Compression.ZSTD  # plain records, called zstd
    damaged[17:21] = crc32c(damaged[21:]).to_bytes(4, "big")
    with pytest.raises(KafkaError) as raised:
        log.append_as_leader(damaged, 0, NOW_MS)
    assert raised.value.code is ErrorCode.CORRUPT_MESSAGE
    assert (log.end_offset, log.size) == (0, 0)
