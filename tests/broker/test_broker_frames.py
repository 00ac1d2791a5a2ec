"""Bytes that are no request: what the broker does with the connection, and that nothing else notices."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from typing import Any

import pytest

from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode

TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(500)
MAX_FRAME = 2_000_000
"""socket.request.max.bytes of the broker under test."""


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(TLS_HELLO, id="tls hello, a length of 369,295,618"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n", id="http"),
        pytest.param(struct.pack(">i", MAX_FRAME + 1), id="a byte more than the limit"),
        pytest.param(struct.pack(">i", -1) + bytes(100), id="negative"),
        pytest.param(struct.pack(">i", -(2**31)), id="most negative"),
        pytest.param(struct.pack(">i", 0), id="empty"),
        pytest.param(struct.pack(">i", 5) + bytes(5), id="shorter than a header"),
        pytest.param(struct.pack(">ihhih", 10, 3, 9, 1, 500), id="client id beyond the end"),
        pytest.param(struct.pack(">ihhih", 10, 3, 9, 1, -2), id="client id of a negative length"),
        pytest.param(struct.pack(">ihhih", 10, 0, 9, 1, -1), id="produce without a body"),
        pytest.param(struct.pack(">ihhih", 10, 1, 12, 1, -1), id="fetch without a body"),
        pytest.param(struct.pack(">ihhih", 10, 3, 9, 1, -1), id="metadata without a body"),
    ],
)
def test_what_is_no_request_closes_the_connection(connect: Any, unharmed: str, data: bytes) -> None:
    wire = connect()
    wire.send(data)
    assert wire.is_closed()


def test_a_request_in_front_of_garbage_is_answered(connect: Any, unharmed: str) -> None:
    wire = connect()
    number = wire.request(ApiKey.API_VERSIONS, 2)
    wire.send(struct.pack(">i", -5))
    assert wire.response(ApiKey.API_VERSIONS, 2, number).error_code == ErrorCode.NONE
    assert wire.is_closed()


def test_a_frame_of_exactly_the_limit_is_read(wire: Any, unharmed: str) -> None:
    """It is a Produce request that is filled up with what a client may leave behind a request."""
    head = struct.pack(">hhih", ApiKey.METADATA, 1, 77, -1) + struct.pack(">i", 0)
    wire.send(struct.pack(">i", MAX_FRAME) + head + bytes(MAX_FRAME - len(head)))
    response = wire.response(ApiKey.METADATA, 1, 77)
    assert len(response.brokers) == 1


@pytest.mark.parametrize("sent", [1, 4, 20, 3000])
def test_a_truncated_frame_stores_nothing(connect: Any, unharmed: str, batch: Any, sent: int) -> None:
    wire, other = connect(), connect()
    whole = bytearray()
    wire.send = whole.extend
    wire.send_produce([(unharmed, 0, batch(bytes(5000)))])
    wire.socket.sendall(whole[:sent])
    wire.socket.shutdown(1)
    assert wire.is_closed()
    assert other.fetch_one(unharmed, 0).high_watermark == 1


def test_a_request_may_come_byte_by_byte(wire: Any, unharmed: str, batch: Any) -> None:
    whole = bytearray()
    wire.send = whole.extend
    number = wire.send_produce([(unharmed, 0, batch(b"slowly"))])
    for byte in whole:
        wire.socket.sendall(bytes([byte]))
    assert wire.produced(number)[0].base_offset == 1


@pytest.mark.parametrize(
    ("key", "version"),
    [
        (9999, 0),
        (-1, 0),
        (4, 0),  # LeaderAndIsr, of ZooKeeper's times
        (ApiKey.METADATA, 99),
        (ApiKey.METADATA, -1),
        (ApiKey.PRODUCE, 2),
        (ApiKey.PRODUCE, APIS[ApiKey.PRODUCE].max_version + 1),
        (ApiKey.FETCH, 3),
        (ApiKey.FETCH, APIS[ApiKey.FETCH].max_version + 1),
        (ApiKey.CREATE_TOPICS, 1),
    ],
)
def test_an_unknown_api_or_version_closes(connect: Any, unharmed: str, key: int, version: int) -> None:
    wire = connect()
    wire.header_only(key, version, bytes(100))
    assert wire.is_closed()


@pytest.mark.parametrize("version", [5, 99, 32767, -1])
def test_an_unknown_version_of_api_versions_is_answered_in_version_0(
    wire: Any, unharmed: str, version: int
) -> None:
    number = wire.header_only(ApiKey.API_VERSIONS, version, b"\x00\x05hello\x00")
    response = wire.response(ApiKey.API_VERSIONS, 0, number)
    assert response.error_code == ErrorCode.UNSUPPORTED_VERSION
    assert [(each.api_key, each.min_version, each.max_version) for each in response.api_keys] == [
        (ApiKey.API_VERSIONS, 0, APIS[ApiKey.API_VERSIONS].max_version)
    ]
    assert wire.call(ApiKey.API_VERSIONS, 0).error_code == ErrorCode.NONE


@pytest.mark.parametrize(
    ("name", "version", "code"),
    [
        ("librdkafka", "2.11.0", ErrorCode.NONE),
        ("apache-kafka-java", "4.2.0-rc1", ErrorCode.NONE),
        ("bad name", "1", ErrorCode.INVALID_REQUEST),
        ("-leading", "1", ErrorCode.INVALID_REQUEST),
        ("trailing.", "1", ErrorCode.INVALID_REQUEST),
        ("good", "", ErrorCode.INVALID_REQUEST),
        ("", "1", ErrorCode.INVALID_REQUEST),
        ("", "", ErrorCode.INVALID_REQUEST),
        ("good", "1\n", ErrorCode.INVALID_REQUEST),
    ],
)
def test_client_software_is_checked(
    wire: Any, unharmed: str, name: str, version: str, code: ErrorCode
) -> None:
    number = wire.request(ApiKey.API_VERSIONS, 3, client_software_name=name, client_software_version=version)
    assert wire.response(ApiKey.API_VERSIONS, 3, number).error_code == code
    assert wire.call(ApiKey.API_VERSIONS, 2).error_code == ErrorCode.NONE, "the connection stays open"


def test_api_versions_says_what_the_table_says(wire: Any) -> None:
    for version in range(APIS[ApiKey.API_VERSIONS].max_version + 1):
        told = wire.call(
            ApiKey.API_VERSIONS,
            version,
            **({"client_software_name": "a", "client_software_version": "1"} if version > 2 else {}),
        )
        ranges = {each.api_key: (each.min_version, each.max_version) for each in told.api_keys}
        assert ranges == {key: (api.advertised_min, api.max_version) for key, api in APIS.items()}


@pytest.mark.parametrize("api", APIS.values(), ids=lambda api: api.name)
def test_a_body_of_nonsense_closes_or_is_answered(connect: Any, unharmed: str, api: Any) -> None:
    """Whatever it is, one client's nonsense ends with its connection at worst."""
    for version in range(api.min_version, api.max_version + 1):
        for body in (b"\xff" * 40, b"\x7f" * 40, struct.pack(">i", 2**31 - 1) * 10):
            wire = connect()
            both = bytearray()
            wire.send = both.extend
            wire.header_only(api.key, version, (b"\x00" if api.is_flexible(version) else b"") + body)
            number = wire.header_only(ApiKey.API_VERSIONS, 0)
            wire.socket.sendall(both)
            with contextlib.suppress(EOFError):
                while struct.unpack_from(">i", wire.frame()) != (number,):
                    pass
            wire.close()


def test_bytes_behind_a_request_are_ignored(wire: Any) -> None:
    """librdkafka 2.16 leaves three of them on a Metadata request for all topics."""
    payload = struct.pack(">hhih", ApiKey.METADATA, 1, 5, -1) + struct.pack(">i", -1) + b"abc"
    wire.send(struct.pack(">i", len(payload)) + payload)
    assert wire.response(ApiKey.METADATA, 1, 5).brokers


def test_many_connections_do_not_disturb_each_other(connect: Callable[[], Any], unharmed: str) -> None:
    wires = [connect() for _ in range(50)]
    numbers = [wire.request(ApiKey.API_VERSIONS, 1) for wire in wires]
    for index, (wire, number) in enumerate(zip(wires, numbers, strict=True)):
        if index % 2:
            wire.close()
        else:
            assert wire.response(ApiKey.API_VERSIONS, 1, number).error_code == ErrorCode.NONE
