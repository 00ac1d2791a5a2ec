"""The body of a bulk call's answer: written straight from the file on one side, joined on the other."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import StreamReader, web

from kraft.transport.errors import ProtocolError
from kraft.transport.messages import FileSlice, Payload

READ_SIZE: Final = 1 << 18
READ_BUFFER: Final = 1 << 20
"""aiohttp's read buffer for bulk answers: with its default of 64 KiB reading stops and starts too often."""


class ShortFileError(Exception):
    """A file has fewer bytes than the slice promised: the answer cannot be completed."""


async def write_payload(
    request: web.Request, response: web.StreamResponse, payload: tuple[Payload, ...]
) -> None:
    """Send the parts in order; ShortFileError, StorageError, OSError when the peer has gone or sendfile
    failed.
    """
    for part in payload:
        if isinstance(part, bytes):
            await response.write(part)
        elif part.size == 0:
            continue  # which sendfile would refuse
        elif part.file.fileno() < 0 or not await _send_file(request, part):
            await _copy(response, part)


async def _send_file(request: web.Request, part: FileSlice) -> bool:
    """Let the kernel send the slice; False, and nothing sent, where loop or transport (TLS) cannot."""
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the peer has gone")
    if transport.get_extra_info("sslcontext") is not None:
        return False
    loop = asyncio.get_running_loop()
    try:
        sent = await loop.sendfile(transport, part.file, part.position, part.size, fallback=False)  # type: ignore[arg-type]
    except (NotImplementedError, asyncio.SendfileNotAvailableError):
        return False
    if sent is not None and sent < part.size:
        raise ShortFileError(f"{sent} of {part.size} bytes at {part.position}")
    return True


async def _copy(response: web.StreamResponse, part: FileSlice) -> None:
    """Read and write piece by piece, as fast as the peer takes them."""
    position, end = part.position, part.position + part.size
    while position < end:
        piece = part.file.read_at(position, min(READ_SIZE, end - position))
        if not piece:
            raise ShortFileError(f"{position - part.position} of {part.size} bytes at {part.position}")
        await response.write(piece)
        position += len(piece)


async def read_exactly(content: StreamReader, size: int) -> bytes:
    """The whole body of `size` bytes; ProtocolError when there are fewer or more.

    Joining the chunks costs less than copying each into a buffer that had to be cleared first.
    """
    chunks = []
    received = 0
    async for chunk in content.iter_any():
        received += len(chunk)
        if received > size:
            raise ProtocolError(f"more than the {size} bytes that were announced")
        chunks.append(chunk)
    if received < size:
        raise ProtocolError(f"{received} of {size} bytes")
    return b"".join(chunks)


async def read_at_most(content: StreamReader, limit: int) -> bytes:
    """The whole body; ProtocolError as soon as it is larger than `limit` bytes."""
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > limit:
            raise ProtocolError(f"a body larger than {limit} bytes")
    return bytes(body)
