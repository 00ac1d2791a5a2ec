"""A record's value names it, and shows whether it is whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.history import ALTERED, Name, encode_value, parse_value, record_of

numbers = st.integers(0, 2**63)
clients = st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"]), max_size=10)


def test_a_value_on_the_wire() -> None:
    assert encode_value(17, "copier", b"7", b"text: more") == b"17:copier:text: more:9793c38a"


@given(numbers, clients, st.binary(max_size=10), st.binary(max_size=40))
def test_a_value_names_its_record(record: int, client: str, key: bytes, payload: bytes) -> None:
    value = encode_value(record, client, key, payload)
    assert parse_value(value, key) == Name(record, client.encode())
    assert record_of(value, key) == record
    assert record_of(value, key + b"x") == ALTERED


@given(numbers, clients, st.binary(max_size=40), st.data())
def test_no_bit_of_it_changes_unseen(record: int, client: str, payload: bytes, data: st.DataObject) -> None:
    value = bytearray(encode_value(record, client, b"key", payload))
    bit = data.draw(st.integers(0, 8 * len(value) - 1))
    value[bit // 8] ^= 1 << bit % 8
    assert record_of(bytes(value), b"key") == ALTERED


@pytest.mark.parametrize(
    "value", [None, b"", b"17", b"17:c", b"17:c::00000000", b"x:c::2eefd6ff", b":00000000", b":::"]
)
def test_what_was_never_encoded_names_nobody(value: bytes | None) -> None:
    assert parse_value(value) is None
    assert record_of(value) == ALTERED
