"""A log may be truncated under an answer that waits to be sent: the client is cut off rather than given other
bytes in their place. Over real sockets, on every way out."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
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
MORE_THAN_SOCKETS_TAKE = 64 * 1024 * 1024


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


@contextlib.asynccontextmanager
async def asked(answer: Sequence[Segment]) -> AsyncIterator[asyncio.StreamReader]:
    """What a client reads after its request, which is answered with `answer`."""

    def dispatch(_connection: Connection, _frame: memoryview) -> Sequence[Segment]:
        return answer

    listeners = Listeners(dispatch, ConnectionLimits())
    port = await listeners.bind("PLAINTEXT", "127.0.0.1", 0)
    listeners.listen()
    accepting = asyncio.create_task(listeners.accept())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x00\x00\x00\x01?")
    async with asyncio.timeout(10):
        yield reader
    writer.transport.abort()
    accepting.cancel()
    await listeners.close()


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("way_out", ["one write", "sendfile", "no descriptor"])
async def test_a_slice_that_is_cut_short_ends_the_connection(
    tmp_path: Path, way_out: str, missing: int
) -> None:
    parts = slices(way_out, tmp_path, missing)
    size = sum(part.size for part in parts)
    async with asked([HEADER, *parts]) as reader:
        if missing:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await reader.readexactly(len(HEADER) + size)
        else:
            assert await reader.readexactly(len(HEADER) + size) == HEADER + b"x" * size
    for part in parts:
        part.file.close()


async def test_a_client_that_reads_on_after_the_segment_is_gone_is_cut_off(tmp_path: Path) -> None:
    """A deleted segment is closed after `file.delete.delay.ms`, whoever has not read it by then."""
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    file = LocalStorage().open(f"{tmp_path}/segment", create=True)
    file.truncate(MORE_THAN_SOCKETS_TAKE)
    async with asked([HEADER, LogSlice(file, 0, MORE_THAN_SOCKETS_TAKE, 1)]) as reader:
        assert await reader.readexactly(len(HEADER)) == HEADER
        file.close()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(MORE_THAN_SOCKETS_TAKE)
    assert errors == []


async def test_a_small_slice_of_a_segment_that_is_gone_ends_the_connection(tmp_path: Path) -> None:
    """Its answer may have waited for the ones before it until then."""
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    file = filled(LocalStorage().open(f"{tmp_path}/segment", create=True), SMALL)
    file.close()
    async with asked([HEADER, LogSlice(file, 0, SMALL, 1)]) as reader:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(len(HEADER) + SMALL)
    assert errors == []
