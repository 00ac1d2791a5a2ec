"""The header in front of every request, and the one in front of every response.

Request headers come in version 1 (client id) and version 2 (client id, then tagged fields: flexible
requests). The client id is a plain nullable string even in version 2, so that a broker can read the header
of a version that it does not know (KIP-511).
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from kafkawire.apis import APIS
from kafkawire.errors import ErrorCode, KafkaError

_FIXED = Struct(">hhih")
_NO_CLIENT_ID = -1

# The first flexible version by API key; one past any int16 where there is none.
_FLEXIBLE_FROM = {
    key: 32_768 if api.flexible_from is None else api.flexible_from for key, api in APIS.items()
}
_MAX_VERSION = {key: api.max_version for key, api in APIS.items()}


class RequestHeader(NamedTuple):
    """What stands before a request's body. `body` is the body's position in the frame."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    body: int


def parse_request_header(frame: memoryview) -> RequestHeader:
    """The header of the request in `frame` (the payload, without its size).

    For an unknown API or a version beyond the table only the fields that every version has are read, and
    `body` is where they end. Raises KafkaError(INVALID_REQUEST) if the frame is too short or a length in it
    is wrong. As in Kafka, a client id that is not UTF-8 is no reason to refuse the request: its bad bytes
    are replaced.
    """
    size = len(frame)
    if size < 10:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"a request header takes 10 bytes, not {size}")
    key, version, correlation_id, length = _FIXED.unpack_from(frame)
    position = 10
    client_id = None
    if length >= 0:
        position = 10 + length
        if position > size:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"a client id of {length} bytes does not fit")
        client_id = str(frame[10:position], "utf-8", "replace")
    elif length != _NO_CLIENT_ID:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"a client id cannot have {length} bytes")
    if _FLEXIBLE_FROM.get(key, 32_768) <= version <= _MAX_VERSION[key]:
        # Hardly any client tags its header: one zero byte is the common case.
        if position < size and frame[position] == 0:
            position += 1
        else:
            position = _skip_tagged_fields(frame, position)
    return RequestHeader(key, version, correlation_id, client_id, position)


def _skip_tagged_fields(frame: memoryview, position: int) -> int:
    count, position = _read_unsigned_varint(frame, position)
    # A tagged field takes two bytes at least, so a hostile count ends here and not in a long loop.
    if count * 2 > len(frame) - position:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"{count} tagged fields do not fit")
    for _ in range(count):
        _, position = _read_unsigned_varint(frame, position)
        length, position = _read_unsigned_varint(frame, position)
        position += length
        if position > len(frame):
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"a tagged field of {length} bytes does not fit")
    return position


def _read_unsigned_varint(frame: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 35:
        if position >= len(frame):
            raise KafkaError(ErrorCode.INVALID_REQUEST, "the request header is cut off")
        byte = frame[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise KafkaError(ErrorCode.INVALID_REQUEST, "a varint of more than five bytes")
