"""Reading a segment file batch by batch, a header at a time or with every checksum verified."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from crc32c import crc32c

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import BATCH_OVERHEAD, BatchHeader, check_crc, read_header
from logstore.storage import File

_NEAR = 8 * 1024
_CHUNK = 1024 * 1024
_AFTER_CRC_AT = 21
MAX_SPAN = 2**31
"""Offsets of a segment: relative ones are int32."""


def scan_headers(
    file: File, position: int, end: int, *, chunk: int = _NEAR
) -> Iterator[tuple[int, BatchHeader]]:
    """Position and header of each whole batch between a batch's start and `end`; no checksum is looked at.

    Reads `chunk` bytes at a time and skips over batches that are longer. Raises StorageError, and KafkaError
    (CORRUPT_MESSAGE, UNSUPPORTED_FOR_MESSAGE_FORMAT) where there is no header.
    """
    data = b""
    start = position
    while end - position >= BATCH_OVERHEAD:
        if position - start + BATCH_OVERHEAD > len(data):
            start = position
            data = file.read_at(position, min(chunk, end - position))
        header = read_header(data, position - start)
        following = position + header.size
        if following > end:
            return
        yield position, header
        position = following


def in_order(
    batches: Iterable[tuple[int, BatchHeader]], base_offset: int
) -> Iterator[tuple[int, BatchHeader]]:
    """The same, as long as each begins behind the one before it, the first at `base_offset` at least.

    Raises KafkaError(CORRUPT_MESSAGE) at one that does not, or is too far behind for a relative offset.
    """
    after = base_offset
    for position, header in batches:
        if not after <= header.base_offset <= header.last_offset < base_offset + MAX_SPAN:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"a batch at {position} that says a wrong offset")
        after = header.next_offset
        yield position, header


def scan_valid(file: File, position: int, end: int) -> Iterator[tuple[int, BatchHeader]]:
    """Like `scan_headers` with checksums: ends before the first batch that is not whole and right."""
    data = b""
    start = position
    while end - position >= BATCH_OVERHEAD:
        if position - start + BATCH_OVERHEAD > len(data):
            start, data = position, file.read_at(position, min(_CHUNK, end - position))
        try:
            header = read_header(data, position - start)
        except KafkaError:
            return
        following = position + header.size
        if following > end:
            return
        if following - start > len(data) and header.size <= _CHUNK:
            start, data = position, file.read_at(position, min(_CHUNK, end - position))
        if following - start <= len(data):
            right = check_crc(data, position - start, header)
        else:
            right = _check_in_pieces(file, position, header)
        if not right:
            return
        yield position, header
        position = following


def _check_in_pieces(file: File, position: int, header: BatchHeader) -> bool:
    # A damaged length can be as large as the file: never hold more than a chunk in memory.
    crc = 0
    end = position + header.size
    position += _AFTER_CRC_AT
    while position < end:
        piece = file.read_at(position, min(_CHUNK, end - position))
        if not piece:
            return False
        crc = crc32c(piece, crc)
        position += len(piece)
    return crc == header.crc
