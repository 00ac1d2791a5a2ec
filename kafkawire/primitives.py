"""What requests and responses share: names with their length, unsigned varints, tagged fields (KIP-482).

The readers raise IndexError at the end of the data; decoders turn it, with struct.error, into
INVALID_REQUEST in one place instead of comparing positions at every field.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.varints import unsigned

Buffer = bytes | bytearray | memoryview

TopicRef = str | bytes
"""A topic as a message refers to it: by name, or by id (16 bytes) from Produce 13 and Fetch 13 on (KIP-516).
"""

_INT16 = Struct(">h")

# More topic names than a busy cluster has in use; what is beyond is encoded again.
_CACHED_NAMES = 16_384


def invalid(reason: str) -> KafkaError:
    """The error for a request that cannot be read."""
    return KafkaError(ErrorCode.INVALID_REQUEST, reason)


@lru_cache(_CACHED_NAMES)
def plain_string(text: str) -> bytes:
    """`text` after its length as int16. Encodings are kept, so this is for names that come back."""
    encoded = text.encode()
    return _INT16.pack(len(encoded)) + encoded


@lru_cache(_CACHED_NAMES)
def compact_string(text: str) -> bytes:
    """`text` after its length + 1 as a varint. Encodings are kept, so this is for names that come back."""
    encoded = text.encode()
    return unsigned(len(encoded) + 1) + encoded


def plain_nullable(text: str | None) -> bytes:
    """A text that will hardly come back, such as an error message; not kept."""
    if text is None:
        return b"\xff\xff"
    encoded = text.encode()[:32_767]
    return _INT16.pack(len(encoded)) + encoded


def compact_nullable(text: str | None) -> bytes:
    """A text that will hardly come back, such as an error message; not kept."""
    if text is None:
        return b"\x00"
    encoded = text.encode()
    return unsigned(len(encoded) + 1) + encoded


def read_unsigned(data: Buffer, position: int) -> tuple[int, int]:
    """The unsigned varint at `position`, and the position after it.

    Raises KafkaError(INVALID_REQUEST) for one of more than 32 bits, IndexError at the end of the data.
    """
    value = shift = 0
    while shift < 35:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 32:
                break
            return value, position
        shift += 7
    raise invalid("a varint of more than 32 bits")


def skip_tags(data: Buffer, position: int) -> int:
    """The position after the tagged fields at `position`; what they say is for versions yet to come.

    Raises KafkaError(INVALID_REQUEST) where they do not fit, IndexError at the end of the data.
    """
    count, position = read_unsigned(data, position)
    # A tagged field takes two bytes at least, so a hostile count ends here and not in a long loop.
    if count * 2 > len(data) - position:
        raise invalid(f"{count} tagged fields do not fit")
    for _ in range(count):
        _, position = read_unsigned(data, position)
        length, position = read_unsigned(data, position)
        position += length
        if position > len(data):
            raise invalid(f"a tagged field of {length} bytes does not fit")
    return position
