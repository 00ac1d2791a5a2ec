"""The wire form: what is encoded is decoded, and nothing else is."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraft.transport import Limits, ProtocolError
from kraft.transport.messages import Kind, decode, encode

SMALL = Limits(max_header=256, max_payload=64)

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8) | st.binary(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@given(
    kind=st.integers(0, 7),
    id_=st.integers(0, 2**63),
    name=st.text(max_size=20) | st.integers(-1, 200),
    value=values,
    payload=st.lists(st.binary(max_size=50), max_size=3),
)
def test_a_message_survives_the_wire(
    kind: int, id_: int, name: str, value: object, payload: list[bytes]
) -> None:
    message = decode(encode(kind, id_, name, value, limits=Limits(), payload=payload), Limits())
    assert (message.kind, message.id, message.name, message.value) == (kind, id_, name, value)
    assert bytes(message.payload) == b"".join(payload)


@given(st.binary(max_size=64))
def test_hostile_bytes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    try:
        message = decode(data, SMALL)
    except ProtocolError:
        return
    assert isinstance(message.kind, int)
    assert isinstance(message.id, int)


@given(st.binary(max_size=60))
def test_hostile_headers_of_the_right_length_are_refused(header: bytes) -> None:
    try:
        decode(len(header).to_bytes(4, "big") + header, SMALL)
    except ProtocolError:
        return
    assert isinstance(cbor2.loads(header), list)


def test_a_header_beyond_the_limit_is_refused_on_both_sides() -> None:
    with pytest.raises(ValueError, match="header"):
        encode(Kind.CALL, 0, "m", b"x" * 300, limits=SMALL)
    data = encode(Kind.CALL, 0, "m", b"x" * 300, limits=Limits())
    with pytest.raises(ProtocolError, match="limit"):
        decode(data, SMALL)


def test_a_payload_may_reach_its_limit_and_no_more() -> None:
    data = encode(Kind.REPLY, 0, 0, None, limits=SMALL, payload=[b"x" * 32, b"y" * 32])
    assert len(decode(data, SMALL).payload) == 64
    with pytest.raises(ValueError, match="payload of 65"):
        encode(Kind.REPLY, 0, 0, None, limits=SMALL, payload=[b"x" * 65])
    with pytest.raises(ProtocolError, match="65 payload"):
        decode(data + b"z", SMALL)


def test_a_header_longer_than_its_message_is_refused() -> None:
    data = encode(Kind.CALL, 0, "m", 1, limits=SMALL)
    with pytest.raises(ProtocolError):
        decode(data[:-1], SMALL)
