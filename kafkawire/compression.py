"""Kafka's compression types, each in the framing that Kafka's own clients write and read.

Decompression is bounded: output beyond the limit is refused before it exists, give or take one buffer, so
that a small batch cannot fill the memory. KIP-110 (zstd), KIP-57 (lz4 frames), snappy-java's
`SnappyOutputStream` for snappy.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import assert_never

import cramjam

from kafkawire.errors import ErrorCode, KafkaError

Buffer = bytes | bytearray | memoryview

DEFAULT_LIMIT = 128 * 1024 * 1024
"""Most bytes that one record batch may decompress to, unless the caller says otherwise."""

_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_FIRST_GUESS = 64 * 1024

_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER = _XERIAL_MAGIC + b"\x00\x00\x00\x01\x00\x00\x00\x01"  # version 1, readable by version 1
_XERIAL_BLOCK = 32 * 1024
_XERIAL_LENGTH = Struct(">i")

# Magic; flags: version 1, independent blocks; blocks of 64 KiB; the checksum of those two bytes. What Kafka
# writes too: its readers refuse dependent blocks, which are cramjam's default, and take a buffer of one
# block each.
_LZ4_HEADER = b"\x04\x22\x4d\x18\x60\x40\x82"
_LZ4_BLOCK = 64 * 1024
_LZ4_LENGTH = Struct("<I")
_LZ4_STORED = 0x8000_0000
_LZ4_END = b"\x00\x00\x00\x00"


class Compression(IntEnum):
    """The lowest three bits of a batch's attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


def compress(kind: Compression, data: Buffer) -> bytes:
    """`data` as the records section of a batch of this type."""
    match kind:
        case Compression.NONE:
            return bytes(data)
        case Compression.GZIP:
            return zlib.compress(data, wbits=_GZIP_WINDOW)
        case Compression.SNAPPY:
            return _compress_snappy(data)
        case Compression.LZ4:
            return _compress_lz4(data)
        case Compression.ZSTD:
            return bytes(cramjam.zstd.compress(data))
        case _:
            assert_never(kind)


def decompress(kind: Compression, data: Buffer, limit: int = DEFAULT_LIMIT) -> bytes:
    """What `compress` was given, at most `limit` bytes.

    Raises KafkaError(CORRUPT_MESSAGE) if `data` is damaged and KafkaError(MESSAGE_TOO_LARGE) if it holds
    more than `limit` bytes. For lz4 and zstd the two cannot be told apart: a frame that does not fit is
    called corrupt.
    """
    match kind:
        case Compression.NONE:
            if len(data) > limit:
                raise _too_large(limit)
            return bytes(data)
        case Compression.GZIP:
            return _decompress_gzip(data, limit)
        case Compression.SNAPPY:
            return _decompress_snappy(data, limit)
        case Compression.LZ4:
            return _decompress_growing(cramjam.lz4.decompress_into, data, limit)
        case Compression.ZSTD:
            return _decompress_growing(cramjam.zstd.decompress_into, data, limit)
        case _:
            assert_never(kind)


def _too_large(limit: int) -> KafkaError:
    return KafkaError(ErrorCode.MESSAGE_TOO_LARGE, f"the records decompress to more than {limit} bytes")


def _corrupt(reason: object) -> KafkaError:
    return KafkaError(ErrorCode.CORRUPT_MESSAGE, f"the records cannot be decompressed: {reason}")


def _decompress_gzip(data: Buffer, limit: int) -> bytes:
    parts: list[bytes] = []
    room = limit
    rest: Buffer = data
    while rest:  # a gzip file is a sequence of members
        member = zlib.decompressobj(_GZIP_WINDOW)
        try:
            part = member.decompress(rest, room + 1)
        except zlib.error as error:
            raise _corrupt(error) from None
        room -= len(part)
        if room < 0:
            raise _too_large(limit)
        if not member.eof:
            raise _corrupt("the gzip data is cut off")
        parts.append(part)
        rest = member.unused_data
    if not parts:
        raise _corrupt("no gzip header")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _compress_snappy(data: Buffer) -> bytes:
    view = memoryview(data)
    parts = [_XERIAL_HEADER]
    for start in range(0, len(view), _XERIAL_BLOCK):
        block = bytes(cramjam.snappy.compress_raw(view[start : start + _XERIAL_BLOCK]))
        parts += (_XERIAL_LENGTH.pack(len(block)), block)
    return b"".join(parts)


def _decompress_snappy(data: Buffer, limit: int) -> bytes:
    """Both forms that Kafka's clients read: snappy-java's blocks, and one bare block (librdkafka)."""
    view = memoryview(data)
    if view[: len(_XERIAL_MAGIC)] != _XERIAL_MAGIC:
        return _decompress_snappy_block(view, limit)
    if len(view) < len(_XERIAL_HEADER):
        raise _corrupt("the snappy header is cut off")
    parts: list[bytes] = []
    room = limit
    position = len(_XERIAL_HEADER)
    while position < len(view):
        if len(view) - position < 4:
            raise _corrupt("a snappy block is cut off")
        (length,) = _XERIAL_LENGTH.unpack_from(view, position)
        position += 4
        if not 0 < length <= len(view) - position:
            raise _corrupt(f"a snappy block of {length} bytes")
        part = _decompress_snappy_block(view[position : position + length], room)
        position += length
        room -= len(part)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _decompress_snappy_block(block: memoryview, limit: int) -> bytes:
    if not block:
        raise _corrupt("an empty snappy block")
    try:
        if cramjam.snappy.decompress_raw_len(block) > limit:
            raise _too_large(limit)
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise _corrupt(error) from None


def _compress_lz4(data: Buffer) -> bytes:
    view = memoryview(data)
    parts = [_LZ4_HEADER]
    for start in range(0, len(view), _LZ4_BLOCK):
        chunk = view[start : start + _LZ4_BLOCK]
        block = bytes(cramjam.lz4.compress_block(chunk, store_size=False))
        if len(block) < len(chunk):
            parts += (_LZ4_LENGTH.pack(len(block)), block)
        else:
            parts += (_LZ4_LENGTH.pack(len(chunk) | _LZ4_STORED), bytes(chunk))
    parts.append(_LZ4_END)
    return b"".join(parts)


def _decompress_growing(
    decompress_into: Callable[[Buffer, bytearray], int], data: Buffer, limit: int
) -> bytes:
    """Decompress into a buffer of a guessed size, a larger one as long as it does not fit, never above
    `limit`.

    The frames of lz4 and zstd need not say how much they hold, and what they say need not be true.
    """
    if not data:
        raise _corrupt("no frame header")
    guess = max(_FIRST_GUESS, 4 * len(data))
    while True:
        guess = min(guess, limit)
        output = bytearray(guess)
        try:
            return bytes(memoryview(output)[: decompress_into(data, output)])
        except cramjam.DecompressionError as error:
            if guess == limit:
                raise _corrupt(error) from None
        guess *= 8
