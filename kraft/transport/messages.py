"""One message between two nodes, as bytes.

    message = header length (4 bytes, big-endian) · header (CBOR) · payload (the rest)
    header  = [kind, id, name or status, value]

The header is for what programs decide on, the payload for record batches that nobody decodes on the way. A
message is the body of one binary WebSocket message, or of one HTTP response to a bulk call.

    kind     id       name or status   value                 from
    CALL     call     method           argument              client
    REPLY    call     error code       result, or message    server   + payload
    STREAM   stream   method           argument              client
    ITEM     stream   0                item                  server   + payload
    END      stream   error code       None, or message      server
    CREDIT   stream   bytes consumed   None                  client
    CANCEL   call or stream   0        None                  client
    NOTIFY   0        method           argument              client

Calls and streams of one link share one space of ids, chosen by the client. An error code is Kafka's; 0 is
success.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

import cbor2

from kraft.transport.errors import ProtocolError
from kraft.transport.limits import Limits

Buffer = bytes | bytearray | memoryview

LENGTH_SIZE: Final = 4
ITEM_OVERHEAD: Final = 512


class Kind:
    """What a message is. Plain integers: they are compared for every message."""

    CALL: Final = 0
    REPLY: Final = 1
    STREAM: Final = 2
    ITEM: Final = 3
    END: Final = 4
    CREDIT: Final = 5
    CANCEL: Final = 6
    NOTIFY: Final = 7


class ReadableFile(Protocol):
    """What a payload needs of a file; `logstore.storage.File` is one."""

    def fileno(self) -> int:
        """The descriptor for sendfile, or -1 where there is none."""

    def read_at(self, position: int, size: int) -> bytes: ...


class FileSlice(Protocol):
    """A range of a file, in bytes; `logstore`'s `LogSlice` is one. The file stays open until it has been
    sent.
    """

    @property
    def file(self) -> ReadableFile: ...

    @property
    def position(self) -> int: ...

    @property
    def size(self) -> int: ...

    def bytes(self) -> bytes: ...


Payload = bytes | FileSlice


class Reply(NamedTuple):
    """What a handler answers: a value that CBOR can carry, and raw bytes to follow it in this order.

    A `memoryview` inside `value` is not bytes to CBOR but a list of numbers: convert it.
    """

    value: Any
    payload: Sequence[Payload] = ()


class Response(NamedTuple):
    """What a caller gets: the reply's value and its payload, joined. The payload may be a view; it is the
    caller's.
    """

    value: Any
    payload: Buffer = b""


class Message(NamedTuple):
    """A decoded message; the payload is a view into the received bytes."""

    kind: int
    id: int
    name: Any
    value: Any
    payload: Buffer


def encode(
    kind: int, id_: int, name: str | int, value: Any, *, limits: Limits, payload: Sequence[bytes] = ()
) -> bytes:
    """The bytes of one message; ValueError when header or payload exceeds its limit."""
    header = cbor2.dumps([kind, id_, name, value])
    size = len(header)
    if size > limits.max_header:
        raise ValueError(f"{name!r}: a header of {size} bytes exceeds the limit of {limits.max_header}")
    if not payload:
        return size.to_bytes(LENGTH_SIZE, "big") + header
    check_payload_size(name, sum(map(len, payload)), limits)
    return b"".join((size.to_bytes(LENGTH_SIZE, "big"), header, *payload))


def encode_value(name: str, value: Any, limits: Limits) -> bytes:
    """Just a value, as the body of a bulk call; ValueError when it exceeds a header's limit."""
    body = cbor2.dumps(value)
    if len(body) > limits.max_header:
        raise ValueError(f"{name!r}: {len(body)} bytes exceed the limit of {limits.max_header}")
    return body


def check_payload_size(name: str | int, size: int, limits: Limits) -> None:
    """ValueError when `size` bytes are more than a payload may have."""
    if size > limits.max_payload:
        raise ValueError(f"{name!r}: a payload of {size} bytes exceeds the limit of {limits.max_payload}")


def decode(data: Buffer, limits: Limits) -> Message:
    """The message in `data`, its payload not copied; ProtocolError when it is none or exceeds a limit."""
    size = int.from_bytes(data[:LENGTH_SIZE], "big")
    end = LENGTH_SIZE + size
    if len(data) < LENGTH_SIZE or end > len(data):
        raise ProtocolError(f"a header of {size} bytes in a message of {len(data)}")
    if size > limits.max_header or len(data) - end > limits.max_payload:
        raise ProtocolError(
            f"a message of {size} header and {len(data) - end} payload bytes exceeds the limit"
        )
    header = decode_value(data[LENGTH_SIZE:end])
    if type(header) is list and len(header) == 4:  # not a `match`, which costs as much as all the rest
        kind, id_, name, value = header
        if isinstance(kind, int) and isinstance(id_, int) and isinstance(name, int | str):
            return Message(kind, id_, name, value, memoryview(data)[end:] if end < len(data) else b"")
    raise ProtocolError("a header that is not [kind, id, name or status, value]")


def decode_value(data: Buffer) -> Any:
    """The CBOR value in `data`; ProtocolError when there is none."""
    try:
        return cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"not CBOR: {error}") from error


def item_cost(data: Buffer) -> int:
    """What one item of a stream takes of its window: small ones cost memory too, beyond their bytes."""
    return len(data) + ITEM_OVERHEAD


def header_end(data: Buffer) -> int:
    """Where the header of the message in `data` ends, for whoever signs or checks just that much."""
    return LENGTH_SIZE + int.from_bytes(data[:LENGTH_SIZE], "big")
