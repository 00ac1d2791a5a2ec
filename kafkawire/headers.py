"""The header in front of every request.

It comes in version 1 (client id) and version 2 (client id, then tagged fields: flexible requests). The
client id is a plain nullable string even in version 2, so that a broker can read the header of a version
that it does not know (KIP-511).
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from kafkawire.apis import APIS
from kafkawire.primitives import invalid, plain_nullable, skip_tags

_FIXED = Struct(">hhih")
_UP_TO_CLIENT_ID = Struct(">hhi")
_NO_CLIENT_ID = -1

# The first flexible version by API key; one past any int16 where there is none.
_NEVER = 32_768
_FLEXIBLE_FROM = {
    key: _NEVER if api.flexible_from is None else api.flexible_from for key, api in APIS.items()
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
        raise invalid(f"a request header takes 10 bytes, not {size}")
    key, version, correlation_id, length = _FIXED.unpack_from(frame)
    position = 10
    client_id = None
    if length >= 0:
        position = 10 + length
        if position > size:
            raise invalid(f"a client id of {length} bytes does not fit")
        client_id = str(frame[10:position], "utf-8", "replace")
    elif length != _NO_CLIENT_ID:
        raise invalid(f"a client id cannot have {length} bytes")
    if version >= _FLEXIBLE_FROM.get(key, _NEVER) and version <= _MAX_VERSION[key]:
        # Hardly any client tags its header: one zero byte is the common case.
        if position < size and frame[position] == 0:
            position += 1
        else:
            try:
                position = skip_tags(frame, position)
            except IndexError:
                raise invalid("the request header is cut off") from None
    return tuple.__new__(RequestHeader, (key, version, correlation_id, client_id, position))


def encode_request_header(
    api_key: int, api_version: int, correlation_id: int, client_id: str | None
) -> bytes:
    """The header of a request in the version that the API table asks for."""
    header = _UP_TO_CLIENT_ID.pack(api_key, api_version, correlation_id) + plain_nullable(client_id)
    return header + b"\x00" if api_version >= _FLEXIBLE_FROM[api_key] else header
