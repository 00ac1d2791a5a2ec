"""Produce: what is appended, what is refused, and that a refusal leaves nothing behind."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from crc32c import crc32c

from kafkawire.apis import ApiKey
from kafkawire.compression import Compression
from kafkawire.errors import ErrorCode
from kafkawire.records import BATCH_OVERHEAD, build_batch

MAGIC_AT, CRC_AT, COVERED_FROM, LAST_DELTA_AT, COUNT_AT = 16, 17, 21, 23, 57
"""Where the fields of a batch lie."""

Batch = Callable[..., bytes]


def resealed(batch: bytes, position: int, layout: str, value: int) -> bytes:
    """A batch with another value in one field, and a checksum that agrees with it."""
    changed = bytearray(batch)
    struct.pack_into(layout, changed, position, value)
    struct.pack_into(">I", changed, CRC_AT, crc32c(memoryview(changed)[COVERED_FROM:]))
    return bytes(changed)


def patched(batch: bytes, position: int, layout: str, value: int) -> bytes:
    """A batch with another value in one field, and the checksum as it was."""
    changed = bytearray(batch)
    struct.pack_into(layout, changed, position, value)
    return bytes(changed)


def wrong_checksum(batch: bytes) -> bytes:
    return patched(batch, len(batch) - 1, ">B", batch[-1] ^ 0xFF)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param(wrong_checksum, ErrorCode.CORRUPT_MESSAGE, id="checksum"),
        pytest.param(lambda b: patched(b, MAGIC_AT, ">b", 1), ErrorCode.INVALID_RECORD, id="magic 1"),
        pytest.param(lambda b: patched(b, MAGIC_AT, ">b", 3), ErrorCode.CORRUPT_MESSAGE, id="magic 3"),
        pytest.param(lambda b: resealed(b, COUNT_AT, ">i", 3), ErrorCode.INVALID_RECORD, id="count of 3"),
        pytest.param(lambda b: resealed(b, COUNT_AT, ">i", 0), ErrorCode.INVALID_RECORD, id="count of 0"),
        pytest.param(lambda b: resealed(b, COUNT_AT, ">i", -1), ErrorCode.INVALID_RECORD, id="count of -1"),
        pytest.param(
            lambda b: resealed(b, LAST_DELTA_AT, ">i", 5), ErrorCode.INVALID_RECORD, id="last offset"
        ),
        pytest.param(lambda b: patched(b, 0, ">q", 7), ErrorCode.INVALID_RECORD, id="base offset"),
        pytest.param(
            lambda b: resealed(b, 21, ">h", 5), ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, id="codec 5"
        ),
        pytest.param(lambda b: resealed(b, 21, ">h", 0x20), ErrorCode.INVALID_RECORD, id="control"),
        pytest.param(lambda b: resealed(b, 21, ">h", 0x08), ErrorCode.INVALID_TIMESTAMP, id="append time"),
        pytest.param(lambda b: resealed(b, 21, ">h", 0x10), ErrorCode.INVALID_RECORD, id="no transaction"),
        pytest.param(lambda b: b + b, ErrorCode.INVALID_RECORD, id="two batches"),
        pytest.param(lambda b: b[:-1], ErrorCode.INVALID_RECORD, id="cut off"),
        pytest.param(lambda b: b[: BATCH_OVERHEAD - 1], ErrorCode.INVALID_RECORD, id="cut off header"),
        pytest.param(lambda b: patched(b, 8, ">i", 2**31 - 1), ErrorCode.INVALID_RECORD, id="huge length"),
        pytest.param(lambda b: patched(b, 8, ">i", -1), ErrorCode.CORRUPT_MESSAGE, id="negative length"),
        pytest.param(lambda b: b"", ErrorCode.INVALID_RECORD, id="empty"),
        pytest.param(lambda b: None, ErrorCode.INVALID_RECORD, id="null"),
    ],
)
def test_a_batch_that_is_wrong_is_refused(
    wire: Any, unharmed: str, batch: Batch, spoil: Callable[[bytes], bytes | None], code: ErrorCode
) -> None:
    refused = wire.produce(unharmed, spoil(batch(b"one", b"two")))
    assert (ErrorCode(refused.error_code), refused.base_offset) == (code, -1)
    assert wire.fetch_one(unharmed, 0).high_watermark == 1, "the connection lives and nothing was added"


@pytest.mark.parametrize("size", [0, 1])
def test_batches_reach_to_max_message_bytes(wire: Any, make_topic: Any, batch: Batch, size: int) -> None:
    largest = len(batch(bytes(5000)))
    topic = make_topic(max_message_bytes=str(largest))
    result = wire.produce(topic, batch(bytes(5000 + size)))
    assert result.error_code == (ErrorCode.MESSAGE_TOO_LARGE if size else ErrorCode.NONE)
    assert wire.fetch_one(topic, 0).high_watermark == 1 - size


def test_a_timestamp_far_in_the_future_is_refused(wire: Any, unharmed: str) -> None:
    late = time.time_ns() // 1_000_000 + 2 * 3_600_000
    assert wire.produce(unharmed, build_batch([(late, None, b"x")])).error_code == ErrorCode.INVALID_TIMESTAMP


@pytest.mark.parametrize("compression", Compression)
def test_records_come_back_as_they_went(wire: Any, topic: str, compression: Compression) -> None:
    sent = [
        (1_700_000_000_000 + index, [None, b"", b"key"][index % 3], [b"value" * 50, None, b""][index % 3])
        for index in range(9)
    ]
    with_headers = [(*record, [("a", b"1"), ("a", None), ("", b"")]) for record in sent]
    result = wire.produce(topic, build_batch(with_headers, compression=compression))
    assert (result.error_code, result.base_offset, result.log_start_offset) == (ErrorCode.NONE, 0, 0)
    read = wire.read(topic)
    assert [(record.timestamp, record.key, record.value) for record in read] == sent
    assert [record.offset for record in read] == list(range(9))
    assert all(record.headers == [("a", b"1"), ("a", None), ("", b"")] for record in read)


@pytest.mark.parametrize("version", [3, 6])
def test_zstd_is_refused_from_producers_of_before_it(wire: Any, unharmed: str, version: int) -> None:
    """They cannot have made it (KIP-110)."""
    batch = build_batch([(1_700_000_000_000, None, b"value" * 50)], compression=Compression.ZSTD)
    refused = wire.produce(unharmed, batch, version=version)
    assert refused.error_code == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE


def test_the_broker_sets_the_time_where_the_topic_says_so(wire: Any, make_topic: Any) -> None:
    topic = make_topic(message_timestamp_type="LogAppendTime")
    before = time.time_ns() // 1_000_000
    result = wire.produce(topic, build_batch([(5, None, b"old")]))
    assert before <= result.log_append_time_ms <= time.time_ns() // 1_000_000
    (record,) = wire.read(topic)
    assert record.timestamp == result.log_append_time_ms


@pytest.mark.parametrize("acks", [2, -2, 100])
def test_other_acks_are_refused(wire: Any, unharmed: str, batch: Batch, acks: int) -> None:
    assert wire.produce(unharmed, batch(b"x"), acks=acks).error_code == ErrorCode.INVALID_REQUIRED_ACKS
    assert wire.fetch_one(unharmed, 0).high_watermark == 1


def test_acks_0_gets_no_answer_and_keeps_its_place(wire: Any, topic: str, batch: Batch) -> None:
    for index in range(20):
        wire.send_produce([(topic, 0, batch(b"%d" % index))], acks=0 if index % 2 else 1)
    number = wire.request(ApiKey.API_VERSIONS, 1)
    answered = [wire.produced(wire_number)[0].base_offset for wire_number in range(1, 21, 2)]
    assert answered == list(range(0, 20, 2))
    assert wire.response(ApiKey.API_VERSIONS, 1, number).error_code == ErrorCode.NONE
    assert [record.value for record in wire.read(topic)] == [b"%d" % index for index in range(20)]


def test_acks_0_that_fails_closes_the_connection(connect: Any, unharmed: str, batch: Batch) -> None:
    """There is no other way to tell the client, and it would go on writing into nothing."""
    wire = connect()
    wire.send_produce([(unharmed, 0, wrong_checksum(batch(b"x")))], acks=0)
    assert wire.is_closed()


def test_an_unknown_topic_or_partition(wire: Any, unharmed: str, batch: Batch) -> None:
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert wire.produce("never-made", batch(b"x")).error_code == unknown
    for partition in (1, -1, 2**31 - 1):
        assert wire.produce(unharmed, batch(b"x"), partition=partition).error_code == unknown


def test_one_request_may_fail_for_one_partition_and_succeed_for_others(
    wire: Any, make_topic: Any, batch: Batch
) -> None:
    topic = make_topic(partitions=3)
    parts = [(topic, 0, batch(b"a")), (topic, 1, wrong_checksum(batch(b"b"))), (topic, 9, batch(b"c"))]
    results = wire.produced(wire.send_produce([*parts, (topic, 2, batch(b"d"))]))
    assert [(result.partition, result.error_code, result.base_offset) for result in results] == [
        (0, ErrorCode.NONE, 0),
        (1, ErrorCode.CORRUPT_MESSAGE, -1),
        (9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1),
        (2, ErrorCode.NONE, 0),
    ]


@pytest.mark.parametrize("version", range(3, 14))
def test_every_version_of_produce(wire: Any, topic: str, batch: Batch, version: int) -> None:
    topic = wire.topic_id(topic) if version >= 13 else topic
    good = wire.produce(topic, batch(b"x"), version=version)
    assert (good.error_code, good.base_offset) == (ErrorCode.NONE, 0)
    bad = wire.produce(topic, wrong_checksum(batch(b"x")), version=version)
    assert bad.error_code == ErrorCode.CORRUPT_MESSAGE
    assert (bad.error_message is not None) == (version >= 8)


# -- idempotent producers -------------------------------------------------------------------------


def init_producer(wire: Any) -> int:
    response = wire.call(ApiKey.INIT_PRODUCER_ID, 4, transactional_id=None, transaction_timeout_ms=60_000)
    assert (response.error_code, response.producer_epoch) == (ErrorCode.NONE, 0)
    return int(response.producer_id)


def test_producer_ids_are_given_once(connect: Any) -> None:
    """More than one block of the controller's, over several connections at once."""
    wires = [connect() for _ in range(3)]
    ids = [init_producer(wires[index % 3]) for index in range(1005)]
    assert len(set(ids)) == 1005


@pytest.mark.parametrize("half", [{"producer_id": 5}, {"producer_epoch": 5}])
def test_half_a_producer_is_none(wire: Any, half: dict[str, int]) -> None:
    asked = {"transactional_id": None, "transaction_timeout_ms": 60_000}
    refused = wire.call(ApiKey.INIT_PRODUCER_ID, 4, **asked, **half)
    assert (refused.error_code, refused.producer_id) == (ErrorCode.INVALID_REQUEST, -1)


def test_a_repeated_batch_is_answered_as_the_original(wire: Any, topic: str, batch: Batch) -> None:
    producer_id = init_producer(wire)
    batches = [
        batch(b"%d" % index, b"more", producer_id=producer_id, producer_epoch=0, base_sequence=2 * index)
        for index in range(6)
    ]
    assert [wire.produce(topic, each).base_offset for each in batches] == [0, 2, 4, 6, 8, 10]
    again = [wire.produce(topic, each) for each in reversed(batches[1:])]
    assert [(each.error_code, each.base_offset) for each in again] == [
        (0, 10),
        (0, 8),
        (0, 6),
        (0, 4),
        (0, 2),
    ]
    forgotten = wire.produce(topic, batches[0])
    assert (forgotten.error_code, forgotten.base_offset) in [
        (ErrorCode.DUPLICATE_SEQUENCE_NUMBER, -1),
        (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1),
    ]
    assert wire.fetch_one(topic, 0).high_watermark == 12


@pytest.mark.parametrize("sequence", [2, 5, 2**31 - 1])
def test_sequences_out_of_order_are_refused(wire: Any, unharmed: str, batch: Batch, sequence: int) -> None:
    producer_id = init_producer(wire)
    first = batch(b"0", producer_id=producer_id, producer_epoch=0, base_sequence=0)
    assert wire.produce(unharmed, first).error_code == ErrorCode.NONE
    gap = batch(b"gap", producer_id=producer_id, producer_epoch=0, base_sequence=sequence)
    assert wire.produce(unharmed, gap).error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert wire.fetch_one(unharmed, 0).high_watermark == 2
    following = batch(b"1", producer_id=producer_id, producer_epoch=0, base_sequence=1)
    assert wire.produce(unharmed, following).base_offset == 2


def test_sequences_go_round(wire: Any, topic: str, batch: Batch) -> None:
    """After 2^31-1 comes 0."""
    producer_id = init_producer(wire)
    last = 2**31 - 1
    for offset, sequence in enumerate([last - 1, last, 0]):
        each = batch(b"x", producer_id=producer_id, producer_epoch=0, base_sequence=sequence)
        assert wire.produce(topic, each).base_offset == offset


def test_an_older_epoch_of_a_producer_is_fenced(wire: Any, unharmed: str, batch: Batch) -> None:
    new = batch(b"new", producer_id=77_000, producer_epoch=3, base_sequence=0)
    old = batch(b"old", producer_id=77_000, producer_epoch=2, base_sequence=0)
    assert wire.produce(unharmed, new).error_code == ErrorCode.NONE
    assert wire.produce(unharmed, old).error_code == ErrorCode.INVALID_PRODUCER_EPOCH


def test_producers_are_described(wire: Any, topic: str, batch: Batch) -> None:
    producer_id = init_producer(wire)
    wire.produce(topic, batch(b"a", b"b", producer_id=producer_id, producer_epoch=0, base_sequence=0))
    response = wire.call(ApiKey.DESCRIBE_PRODUCERS, 0, topics=[{"name": topic, "partition_indexes": [0, 5]}])
    known, unknown = response.topics[0].partitions
    (producer,) = known.active_producers
    assert (producer.producer_id, producer.producer_epoch, producer.last_sequence) == (producer_id, 0, 1)
    assert (producer.current_txn_start_offset, producer.last_timestamp > 0) == (-1, True)
    assert unknown.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
