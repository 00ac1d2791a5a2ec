"""Request headers against kafka-python, and cut off, and with lengths that lie."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkawire import messages
from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.headers import RequestHeader, encode_request_header, parse_request_header

CLIENT_IDS = st.one_of(st.none(), st.text(max_size=20))
CORRELATIONS = st.integers(-(2**31), 2**31 - 1)


@given(
    st.sampled_from([(key, version) for key, api in APIS.items() for version in range(api.max_version + 1)]),
    CORRELATIONS,
    CLIENT_IDS,
)
def test_header_as_kafka_python_writes_it(
    call: tuple[int, int], correlation_id: int, client_id: str | None
) -> None:
    key, version = call
    request = messages.request_class(key)(version=version)
    request.with_header(correlation_id=correlation_id, client_id=client_id)
    encoded = request.encode_header(flexible=APIS[key].is_flexible(version))
    header = parse_request_header(memoryview(encoded + b"body"))
    assert header == RequestHeader(key, version, correlation_id, client_id, len(encoded))
    assert encode_request_header(key, version, correlation_id, client_id) == encoded


def test_tagged_fields_are_skipped() -> None:
    header = struct.pack(">hhih", ApiKey.METADATA, 12, 1, -1)
    tagged = header + b"\x02" + b"\x07\x03abc" + b"\x80\x01\x00"
    assert parse_request_header(memoryview(tagged + b"x")).body == len(tagged)


@pytest.mark.parametrize("call", [(9999, 3), (ApiKey.METADATA, 99), (ApiKey.API_VERSIONS, 5)])
def test_unknown_calls_are_read_up_to_the_client_id(call: tuple[int, int]) -> None:
    frame = struct.pack(">hhih2s", *call, 5, 2, b"me") + b"\xff\xff"
    assert parse_request_header(memoryview(frame)) == RequestHeader(*call, 5, "me", 12)


def test_client_id_that_is_not_text_is_no_reason_to_refuse() -> None:
    frame = struct.pack(">hhih2s", 3, 1, 5, 2, b"\xc3\x28")
    assert parse_request_header(memoryview(frame)).client_id == "\ufffd("


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        struct.pack(">hhi", 3, 1, 5),
        struct.pack(">hhih", 3, 1, 5, 1),
        struct.pack(">hhih", 3, 1, 5, -2),
        struct.pack(">hhih", 3, 12, 5, -1),
        struct.pack(">hhih", 3, 12, 5, -1) + b"\xff\xff\xff\xff\x0f",
        struct.pack(">hhih", 3, 12, 5, -1) + b"\x80" * 100_000,
        struct.pack(">hhih", 3, 12, 5, -1) + b"\x01\x00\xff\xff\xff\xff\x0f",
        struct.pack(">hhih", 3, 12, 5, -1) + b"\x01\x00",
    ],
)
def test_malformed_header_is_an_invalid_request(frame: bytes) -> None:
    with pytest.raises(KafkaError) as caught:
        parse_request_header(memoryview(frame))
    assert caught.value.code is ErrorCode.INVALID_REQUEST


@given(st.binary(max_size=40))
def test_any_bytes_are_a_header_or_an_invalid_request(frame: bytes) -> None:
    with contextlib.suppress(KafkaError):
        assert 10 <= parse_request_header(memoryview(frame)).body <= len(frame)
