"""A log may be truncated under an answer that waits to be sent: the client is cut off rather than given other
bytes in their place. Over real sockets, on every way out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from kraft.broker.connection import Connection, ConnectionLimits
from kraft.broker.listener import Listeners
from kraft.broker.outgoing import SENDFILE_FROM, Segment
from logstore.memory import MemoryStorage
from logstore.slices import LogSlice
from logstore.storage import File, LocalStorage

HEADER = b"header"
SMALL, LARGE = 1000, 2 * SENDFILE_FROM


def filled(file: File, size: int) -> File:
    file.write_at(0, b"x" * size)
    return file


def slices(way_out: str, directory: Path, missing: int) -> list[LogSlice]:
    """What follows the header; the last of them lacks some bytes."""
    disk = LocalStorage()
    size = SMALL if way_out == "one write" else LARGE
    last = filled(disk.open(f"{directory}/last", create=True), size - missing)
    if way_out != "no descriptor":
        return [LogSlice(last, 0, size, size)]
    last.close()
    memory = MemoryStorage(random.Random(1))
    memory.make_directory("d")
    last = filled(memory.open("d/last", create=True), size - missing)
    first = filled(disk.open(f"{directory}/first", create=True), size)
    return [LogSlice(first, 0, size, size), LogSlice(last, 0, size, 2 * size)]


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("way_out", ["one write", "sendfile", "no descriptor"])
async def test_a_slice_that_is_cut_short_ends_the_connection(
    tmp_path: Path, way_out: str, missing: int
) -> None:
    answer: list[Segment] = [HEADER, *(parts := slices(way_out, tmp_path, missing))]

    def dispatch(_connection: Connection, _frame: memoryview) -> Sequence[Segment]:
        return answer

    listeners = Listeners(dispatch, ConnectionLimits())
    port = await listeners.bind("PLAINTEXT", "127.0.0.1", 0)
    listeners.listen()
    accepting = asyncio.create_task(listeners.accept())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x00\x00\x00\x01?")
    size = sum(part.size for part in parts)
    async with asyncio.timeout(10):
        if missing:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await reader.readexactly(len(HEADER) + size)
        else:
            assert await reader.readexactly(len(HEADER) + size) == HEADER + b"x" * size
    writer.transport.abort()
    accepting.cancel()
    await listeners.close()
    for part in parts:
        part.file.close()


async def test_a_slice_whose_file_is_closed_meanwhile_ends_the_connection(tmp_path: Path) -> None:
    """A client takes an answer so slowly that its segment was deleted, or its whole topic, long ago."""
    size = 16 * 1024 * 1024
    file = filled(LocalStorage().open(f"{tmp_path}/segment", create=True), size)

    def dispatch(_connection: Connection, _frame: memoryview) -> Sequence[Segment]:
        return [HEADER, LogSlice(file, 0, size, size)]

    listeners = Listeners(dispatch, ConnectionLimits())
    port = await listeners.bind("PLAINTEXT", "127.0.0.1", 0)
    listeners.listen()
    accepting = asyncio.create_task(listeners.accept())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x00\x00\x00\x01?")
    async with asyncio.timeout(10):
        assert await reader.readexactly(len(HEADER)) == HEADER
        file.close()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(size)
    writer.transport.abort()
    accepting.cancel()
    await listeners.close()
