"""`__transaction_state`: known bytes, every value back and forth, and bytes that are none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.transaction.formats import decode_key, decode_value, encode_key, encode_value
from kraft.coordinator.transaction.states import (
    CompleteAbort,
    CompleteCommit,
    Empty,
    Ongoing,
    PrepareAbort,
    PrepareCommit,
    Transaction,
    TransactionStatus,
)

SIMPLE = Transaction("pay", 4001, 7, 60_000, Empty(), 0x0123456789)
OPEN = Transaction(
    "pay",
    4001,
    7,
    60_000,
    PrepareCommit(frozenset({("orders", 1), ("orders", 0), ("__consumer_offsets", 17)}), 0x0123456700),
    0x0123456789,
    previous_producer_id=4000,
)

# Written out by hand from TransactionLogValue.json.
SIMPLE_V0 = "0000 0000000000000fa1 0007 0000ea60 00 ffffffff 0000000123456789 ffffffffffffffff"
SIMPLE_V1 = "0001 0000000000000fa1 0007 0000ea60 00 00       0000000123456789 ffffffffffffffff 00"
OPEN_V0 = (
    "0000 0000000000000fa1 0007 0000ea60 02 00000002"
    "0012 5f5f636f6e73756d65725f6f666673657473 00000001 00000011"
    "0006 6f7264657273 00000002 00000000 00000001"
    "0000000123456789 0000000123456700"
)
OPEN_V1 = (
    "0001 0000000000000fa1 0007 0000ea60 02 03"
    "13 5f5f636f6e73756d65725f6f666673657473 02 00000011 00"
    "07 6f7264657273 03 00000000 00000001 00"
    "0000000123456789 0000000123456700"
    "01 00 08 0000000000000fa0"
)


def test_a_key_is_its_version_and_the_id() -> None:
    assert encode_key("pay") == bytes.fromhex("0000 0003 706179")
    assert decode_key(encode_key("pay")) == "pay"


def test_a_key_of_a_later_version_is_skipped() -> None:
    assert decode_key(bytes.fromhex("0001 0003 706179")) is None


@pytest.mark.parametrize(("transaction", "expected"), [(SIMPLE, SIMPLE_V1), (OPEN, OPEN_V1)])
def test_values_are_written_in_version_1(transaction: Transaction, expected: str) -> None:
    assert encode_value(transaction) == bytes.fromhex(expected)
    assert decode_value("pay", bytes.fromhex(expected)) == transaction


def test_values_of_version_0_are_read() -> None:
    assert decode_value("pay", bytes.fromhex(SIMPLE_V0)) == SIMPLE
    without_tags = decode_value("pay", bytes.fromhex(OPEN_V0))
    assert without_tags.state == OPEN.state
    assert without_tags.previous_producer_id == -1


def test_tags_of_a_later_time_are_ignored() -> None:
    value = bytes.fromhex(SIMPLE_V1)[:-1] + bytes.fromhex("02 01 08 0000000000000fa2 7f 02 abcd")
    transaction = decode_value("pay", value)
    assert transaction.next_producer_id == 4002


@pytest.mark.parametrize("status", [TransactionStatus.DEAD, TransactionStatus.PREPARE_EPOCH_FENCE, 8, -1])
def test_a_state_that_is_never_written_is_not_read(status: int) -> None:
    value = bytearray.fromhex(SIMPLE_V1)
    value[16] = status & 0xFF
    with pytest.raises(KafkaError) as caught:
        decode_value("pay", bytes(value))
    assert caught.value.code is ErrorCode.CORRUPT_MESSAGE


def test_the_names_of_states_are_kafkas() -> None:
    assert [status.title for status in TransactionStatus] == [
        "Empty",
        "Ongoing",
        "PrepareCommit",
        "PrepareAbort",
        "CompleteCommit",
        "CompleteAbort",
        "Dead",
        "PrepareEpochFence",
    ]


int64 = st.integers(-1, 2**63 - 1)
topics = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=12)
partitions = st.frozensets(st.tuples(topics, st.integers(0, 2**31 - 1)), max_size=8)
open_states = st.one_of(
    *(st.builds(each, partitions, int64) for each in (Ongoing, PrepareCommit, PrepareAbort))
)
closed_states = st.one_of(st.builds(Empty), st.builds(CompleteCommit, int64), st.builds(CompleteAbort, int64))
transactions = st.builds(
    Transaction,
    st.just("pay"),
    int64,
    st.integers(-1, 2**15 - 1),
    st.integers(0, 2**31 - 1),
    open_states | closed_states,
    int64,
    int64,
    int64,
    st.integers(0, 2),
)


@given(transactions)
def test_every_value_comes_back(transaction: Transaction) -> None:
    assert decode_value("pay", encode_value(transaction)) == transaction


@given(transactions, st.data())
def test_a_value_that_was_cut_off_is_refused(transaction: Transaction, data: st.DataObject) -> None:
    value = encode_value(transaction)
    cut = value[: data.draw(st.integers(0, len(value) - 1))]
    with pytest.raises(KafkaError) as caught:
        decode_value("pay", cut)
    assert caught.value.code is ErrorCode.CORRUPT_MESSAGE


@given(st.binary(max_size=80))
@example(bytes.fromhex("0001 0000000000000fa1 0007 0000ea60 02 ffffffff0f"))
@example(bytes.fromhex("0000 0000000000000fa1 0007 0000ea60 02 7fffffff"))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    for version in (b"\x00\x00", b"\x00\x01", b""):
        with contextlib.suppress(KafkaError):
            decode_value("pay", version + data)
        with contextlib.suppress(KafkaError):
            decode_key(version + data)
