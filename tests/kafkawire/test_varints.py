"""Variable-length integers at every width."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kio.serial.writers import write_unsigned_varint

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.primitives import read_unsigned
from kafkawire.varints import read_varint, read_varlong, unsigned, zigzag


@given(st.integers(-(2**31), 2**31 - 1))
def test_varint_comes_back(value: int) -> None:
    encoded = zigzag(value)
    assert read_varint(b"x" + encoded + b"y", 1) == (value, 1 + len(encoded))


@given(st.integers(-(2**63), 2**63 - 1))
def test_varlong_comes_back(value: int) -> None:
    encoded = zigzag(value)
    assert len(encoded) <= 10
    assert read_varlong(encoded, 0) == (value, len(encoded))


@given(st.integers(0, 2**32 - 1))
def test_unsigned_is_that_of_kio(value: int) -> None:
    buffer = io.BytesIO()
    write_unsigned_varint(buffer, value)
    assert unsigned(value) == buffer.getvalue()
    assert read_unsigned(unsigned(value), 0) == (value, len(unsigned(value)))


@pytest.mark.parametrize("value", [0, 63, 64, 127, 128, 1023, 1024, 8191, 8192, 2**20 - 1, 2**20, 2**31 - 1])
def test_both_sides_of_every_width(value: int) -> None:
    for number in (value, -value, -value - 1):
        encoded = zigzag(number)
        assert read_varint(encoded, 0) == read_varlong(encoded, 0) == (number, len(encoded))


def test_zigzag_alternates() -> None:
    assert [zigzag(value) for value in (0, -1, 1, -2, 2)] == [b"\x00", b"\x01", b"\x02", b"\x03", b"\x04"]
    assert zigzag(2**31 - 1) == b"\xfe\xff\xff\xff\x0f"
    assert zigzag(-(2**31)) == b"\xff\xff\xff\xff\x0f"


@pytest.mark.parametrize("read", [read_varint, read_varlong, read_unsigned])
def test_end_of_data_is_an_index_error(read: object) -> None:
    assert callable(read)
    for data in (b"", b"\x80", b"\xff\xff"):
        with pytest.raises(IndexError):
            read(data, 0)


def test_number_longer_than_its_type_is_refused() -> None:
    for data in (b"\xff\xff\xff\xff\x1f", b"\x80" * 6, b"\x80" * 100_000):
        with pytest.raises(KafkaError) as caught:
            read_varint(data, 0)
        assert caught.value.code is ErrorCode.INVALID_RECORD
        with pytest.raises(KafkaError) as caught:
            read_unsigned(data, 0)
        assert caught.value.code is ErrorCode.INVALID_REQUEST
    with pytest.raises(KafkaError):
        read_varlong(b"\xff" * 9 + b"\x02", 0)
