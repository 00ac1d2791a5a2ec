"""Bulk answers: file ranges, memory, and what happens when the bytes do not come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kraft.transport import Limits, PeerOptions, PeerUnavailable, ProtocolError, Reply
from logstore.storage import File, LocalStorage

DATA = bytes(range(256)) * 20_000


class Slice(NamedTuple):
    """A range of a file, as the log hands it out."""

    file: File
    position: int
    size: int

    def bytes(self) -> bytes:
        return self.file.read_at(self.position, self.size)


class MemoryFile:
    """A file without a descriptor."""

    def fileno(self) -> int:
        return -1

    def read_at(self, position: int, size: int) -> bytes:
        return DATA[position : position + size]


def real_file(directory: Path) -> Any:
    file = LocalStorage().open(f"{directory}/segment", create=True)
    file.write_at(0, DATA)
    return file


def memory_file(directory: Path) -> Any:
    return MemoryFile()


@pytest.mark.parametrize("bulk", [False, True], ids=["websocket", "bulk"])
@pytest.mark.parametrize("make", [real_file, memory_file])
async def test_slices_of_files_and_memory_arrive_in_order(
    loopback: Any, tmp_path: Path, make: Callable[[Path], Any], bulk: bool
) -> None:
    file, server = make(tmp_path), loopback.server()
    parts = [
        Slice(file, 100, 3_000_000),
        b"between",
        Slice(file, 0, 0),
        Slice(file, 5, 1),
        Slice(file, 7, 70_000),
    ]
    server.handlers.handle("fetch", lambda link, value: Reply({"epoch": 4}, parts))
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    answer = await peer.call("fetch", None, timeout=10, bulk=bulk)
    assert answer.value == {"epoch": 4}
    expected = DATA[100:3_000_100] + b"between" + DATA[5:6] + DATA[7:70_007]
    assert bytes(answer.payload) == expected


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_both_event_loops_send_files_and_memory(loopback_class: Any, tmp_path: Path, name: str) -> None:
    file = real_file(tmp_path)
    parts = [Slice(file, 3, 2_000_000), b"between", Slice(MemoryFile(), 9, 100_000)]

    async def fetch() -> None:
        loopback = loopback_class()
        server = loopback.server()
        server.handlers.handle("fetch", lambda link, value: Reply(None, parts))
        peer = await loopback.connect(await server.start("127.0.0.1", 0))
        for bulk in (False, True):
            answer = await peer.call("fetch", None, timeout=10, bulk=bulk)
            assert bytes(answer.payload) == DATA[3:2_000_003] + b"between" + DATA[9:100_009]
        await loopback.close()

    run = asyncio.run if name == "asyncio" else pytest.importorskip("uvloop").run
    run(fetch())


async def test_bulk_calls_run_side_by_side_and_their_connections_are_used_again(
    loopback: Any, tmp_path: Path
) -> None:
    file, server, connections = real_file(tmp_path), loopback.server(), set[object]()

    @server.app.on_response_prepare.append
    async def note(request: Any, response: Any) -> None:
        connections.add(request.transport.get_extra_info("peername"))

    server.handlers.handle("fetch", lambda link, size: Reply(size, [Slice(file, size, size)]))
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    for _ in range(5):
        sizes = range(1, 2_000_000, 200_001)
        answers = await asyncio.gather(*(peer.call("fetch", size, timeout=20, bulk=True) for size in sizes))
        assert [bytes(answer.payload) for answer in answers] == [DATA[size : 2 * size] for size in sizes]
    assert len(connections) <= Limits().bulk_connections + 1


async def test_an_answer_without_payload_is_an_answer(loopback: Any) -> None:
    server = loopback.server()
    server.handlers.handle("fetch", lambda link, value: Reply(None))
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    assert await peer.call("fetch", None, timeout=5, bulk=True) == (None, b"")


@pytest.mark.parametrize("make", [real_file, memory_file])
async def test_a_file_shorter_than_its_slice_fails_the_call_and_nothing_else(
    loopback: Any, tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    file, server = make(tmp_path), loopback.server()
    server.handlers.handle("fetch", lambda link, value: Reply(None, [Slice(file, len(DATA) - 10, 20)]))
    server.handlers.handle("echo", lambda link, value: Reply(value))
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    with pytest.raises(PeerUnavailable):
        await peer.call("fetch", None, timeout=5, bulk=True)
    assert (await peer.call("echo", 5, timeout=5, bulk=True)).value == 5
    assert loopback.fatal == []


async def test_an_answer_beyond_the_callers_limit_is_refused_before_it_is_read(loopback: Any) -> None:
    server = loopback.server()
    server.handlers.handle("fetch", lambda link, value: Reply(None, [b"x" * 500_000]))
    small = PeerOptions(limits=Limits(max_header=1000, max_payload=100_000))
    peer = await loopback.connect(await server.start("127.0.0.1", 0), small)
    with pytest.raises(ProtocolError, match="exceeds the limit of 101004"):
        await peer.call("fetch", None, timeout=5, bulk=True)


async def test_a_bulk_call_fails_when_its_link_is_lost(loopback: Any) -> None:
    server, began = loopback.server(), asyncio.Event()

    def never(link: Any, value: Any) -> asyncio.Future[Reply]:
        began.set()
        return asyncio.get_running_loop().create_future()

    server.handlers.handle("never", never)
    peer = await loopback.connect(await server.start("127.0.0.1", 0))
    call = asyncio.create_task(peer.call("never", None, timeout=60, bulk=True))
    await loopback.soon(began)
    server.links[0].close()
    with pytest.raises(PeerUnavailable):
        async with asyncio.timeout(loopback.patience):
            await call
