"""Variable-length integers: base 128, least significant group first; signed ones in zigzag form.

Source: `org.apache.kafka.common.utils.ByteUtils`. The readers raise IndexError at the end of the data
(their callers turn it into an error of their own) and KafkaError(INVALID_RECORD) for a number that is
longer than its type.
"""

from __future__ import annotations

from kafkawire.errors import ErrorCode, KafkaError

_CACHED = 1024


def unsigned(value: int) -> bytes:
    """`value` (0 or more) as an unsigned varint."""
    if value < 0x80:
        return value.to_bytes(1, "big")
    encoded = bytearray()
    while value > 0x7F:
        encoded.append((value & 0x7F) | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_ZIGZAG = tuple(unsigned(value << 1) for value in range(_CACHED))


def zigzag(value: int) -> bytes:
    """`value` as a signed varint or varlong."""
    if 0 <= value < _CACHED:
        return _ZIGZAG[value]
    return unsigned(value << 1 if value >= 0 else (-value << 1) - 1)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The signed 32-bit number at `position`, and the position after it."""
    byte = data[position]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), position + 1
    second = data[position + 1]
    if second < 0x80:  # up to 8191: most records, and most of what is in them
        return ((byte & 0x7F | second << 7) >> 1) ^ -(byte & 1), position + 2
    return _read_long(data, position, 32)


def read_varlong(data: bytes, position: int) -> tuple[int, int]:
    """The signed 64-bit number at `position`, and the position after it."""
    byte = data[position]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), position + 1
    return _read_long(data, position, 64)


def _read_long(data: bytes, position: int, bits: int) -> tuple[int, int]:
    value = shift = 0
    while shift < bits:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> bits:
                break
            return (value >> 1) ^ -(value & 1), position
        shift += 7
    raise KafkaError(ErrorCode.INVALID_RECORD, f"a varint of more than {bits} bits")
