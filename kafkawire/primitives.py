"""What requests and responses share: names with their length, unsigned varints, tagged fields (KIP-482).

The readers raise IndexError at the end of the data; decoders turn it, with struct.error, into
INVALID_REQUEST in one place instead of comparing positions at every field.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.varints import unsigned

Buffer = bytes | bytearray | memoryview

TopicRef = str | bytes
"""A topic as a message refers to it: by name, or by id (16 bytes) from Produce 13 and Fetch 13 on (KIP-516).
"""

_INT16 = Struct(">h")

# More topic names than a busy cluster has in use; what is beyond is encoded again. Longer ones than any topic
# has are not kept: a client chooses how long.
_CACHED_NAMES = 16_384
_LONGEST_CACHED = 512


def invalid(reason: str) -> KafkaError:
    """The error for a request that cannot be read."""
    return KafkaError(ErrorCode.INVALID_REQUEST, reason)


class _Encodings(dict[str, bytes]):
    """Encodings of names, each made when it is first asked for. Nothing is asked as fast as a dictionary."""

    def __init__(self, encode: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._encode = encode

    def __missing__(self, text: str) -> bytes:
        encoded = self._encode(text.encode())
        if len(encoded) <= _LONGEST_CACHED:
            if len(self) >= _CACHED_NAMES:
                self.clear()
            self[text] = encoded
        return encoded


def _plain(encoded: bytes) -> bytes:
    return _INT16.pack(len(encoded)) + encoded


def _compact(encoded: bytes) -> bytes:
    return unsigned(len(encoded) + 1) + encoded


plain_string: Callable[[str], bytes] = _Encodings(_plain).__getitem__
"""A text after its length as int16. Encodings are kept, so this is for names that come back."""

compact_string: Callable[[str], bytes] = _Encodings(_compact).__getitem__
"""A text after its length + 1 as a varint. Encodings are kept, so this is for names that come back."""


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
