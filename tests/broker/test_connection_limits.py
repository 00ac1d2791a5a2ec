"""One connection's promises: order, and bounds on what waits on either side. Over real sockets, with answers
that the test gives."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import struct
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

import pytest

from kraft.broker.connection import POSITIONS_KEPT, Connection, ConnectionLimits, Reply
from kraft.broker.listener import ConnectionQuota, Listeners
from kraft.broker.outgoing import Segment

LIMITS = ConnectionLimits(max_frame=1_000_000, max_unanswered=4, max_idle=0.2)
AT_ONCE, LATER, HOLD = b"a", b"l", b"h"
MEGABYTE = bytes(1_000_000)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def framed(payload: bytes) -> bytes:
    return struct.pack(">i", len(payload)) + payload


class Answers:
    """What the other side does: the first byte of a request says when it is answered, always by itself."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.waiting: dict[bytes, Reply] = {}
        self.padding = b""
        self.began = asyncio.Event()

    def __call__(self, connection: Connection, frame: memoryview) -> Sequence[Segment] | None:
        request = bytes(frame)
        self.begun.append(request)
        self.began.set()
        if request[:1] == AT_ONCE:
            return [framed(request + self.padding)]
        self.waiting[request] = connection.defer(hold=request[:1] == HOLD)
        return None

    def answer(self, request: bytes) -> None:
        self.waiting.pop(request).send([framed(request)])

    async def until_begun(self, count: int) -> None:
        while len(self.begun) < count:
            self.began.clear()
            await self.began.wait()


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
async def listeners(answers: Answers) -> AsyncIterator[Listeners]:
    each = Listeners(answers, LIMITS)
    yield each
    await each.close()


@pytest.fixture
async def connect(listeners: Listeners) -> AsyncIterator[Callable[[], Awaitable[Streams]]]:
    port = await listeners.bind("PLAINTEXT", "127.0.0.1", 0)
    listeners.listen()
    accepting = asyncio.create_task(listeners.accept())
    writers: list[asyncio.StreamWriter] = []

    async def open_one() -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
        writers.append(writer)
        return reader, writer

    yield open_one
    for writer in writers:
        writer.transport.abort()
    accepting.cancel()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The garbage collector rests."""
    gc.disable()
    yield
    gc.enable()


async def receive(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        return await reader.readexactly(size)


async def quiet(answers: Answers) -> int:
    """How many requests were begun once the loop has nothing left to do for them."""
    before = -1
    while before != len(answers.begun):
        before = len(answers.begun)
        for _ in range(200):
            await asyncio.sleep(0)
    return before


async def until_left(listeners: Listeners, count: int) -> None:
    """Let the loop run until only so many connections are left."""
    async with asyncio.timeout(10):
        while len(listeners.connections) > count:  # noqa: ASYNC110 - it is the loop that has to go round
            await asyncio.sleep(0)


async def test_answers_keep_the_order_of_requests(connect: Callable, answers: Answers) -> None:
    reader, writer = await connect()
    requests = [b"l0", b"a1", b"l2", b"a3"]
    writer.write(b"".join(map(framed, requests)))
    await answers.until_begun(4)
    answers.answer(b"l2")
    answers.answer(b"l0")
    assert [await receive(reader) for _ in requests] == requests


async def test_a_holding_request_is_overtaken_by_none(connect: Callable, answers: Answers) -> None:
    reader, writer = await connect()
    writer.write(framed(b"h0") + framed(b"a1"))
    await answers.until_begun(1)
    assert await quiet(answers) == 1
    answers.answer(b"h0")
    assert [await receive(reader), await receive(reader)] == [b"h0", b"a1"]


async def test_unanswered_requests_are_bounded(connect: Callable, answers: Answers) -> None:
    reader, writer = await connect()
    requests = [b"l%d" % number for number in range(9)]
    writer.write(b"".join(map(framed, requests)))
    await answers.until_begun(LIMITS.max_unanswered)
    assert await quiet(answers) == LIMITS.max_unanswered
    for begun, request in enumerate(requests, LIMITS.max_unanswered + 1):
        answers.answer(request)
        assert await receive(reader) == request
        await answers.until_begun(min(begun, len(requests)))
        assert await quiet(answers) == min(begun, len(requests))


async def test_what_a_client_does_not_read_is_not_made(connect: Callable, answers: Answers) -> None:
    """The system's socket buffers take some megabytes; a hundred are asked for."""
    answers.padding = MEGABYTE
    reader, writer = await connect()
    writer.transport.pause_reading()
    requests = [b"a%d" % number for number in range(100)]
    writer.write(b"".join(map(framed, requests)))
    await answers.until_begun(1)
    assert await quiet(answers) < 50
    writer.transport.resume_reading()
    for request in requests:
        assert (await receive(reader))[: len(request)] == request


async def test_what_cannot_be_begun_is_not_read(
    connect: Callable, listeners: Listeners, answers: Answers
) -> None:
    """Behind a request that holds, the connection takes what its buffer holds and leaves the rest to TCP."""
    _, writer = await connect()
    writer.write(framed(b"h0"))
    await answers.until_begun(1)
    (connection,) = listeners.connections
    for _ in range(64):
        writer.write(framed(b"a" + MEGABYTE[:-1]))
    await quiet(answers)
    assert writer.transport.get_write_buffer_size() > 32_000_000
    assert connection._frames.buffered <= 1_100_000
    assert answers.begun == [b"h0"]


async def test_a_frame_beyond_the_limit_closes(connect: Callable, answers: Answers) -> None:
    reader, writer = await connect()
    writer.write(framed(b"a0") + struct.pack(">i", LIMITS.max_frame + 1))
    assert await receive(reader) == b"a0"
    assert await reader.read() == b""
    assert answers.begun == [b"a0"]


async def test_idle_connections_are_closed(connect: Callable, listeners: Listeners, answers: Answers) -> None:
    """One that waits for an answer is not idle; one that does not take its answers is."""
    answers.padding = MEGABYTE
    waiting_reader, waiting_writer = await connect()
    waiting_writer.write(framed(b"l0"))
    _, slow_writer = await connect()
    slow_writer.transport.pause_reading()
    slow_writer.write(framed(b"a1") * 50)
    silent_reader, _ = await connect()
    closing = asyncio.create_task(listeners.close_idle())
    async with asyncio.timeout(10):
        assert await silent_reader.read() == b""
        await until_left(listeners, 1)
    answers.answer(b"l0")
    assert await receive(waiting_reader) == b"l0"
    closing.cancel()


async def test_idle_connections_may_live_for_ever(answers: Answers) -> None:
    await asyncio.wait_for(Listeners(answers, ConnectionLimits(max_idle=-0.001)).close_idle(), 1)


async def test_a_lost_connection_forgets_what_it_waited_for(
    connect: Callable, listeners: Listeners, answers: Answers
) -> None:
    _, writer = await connect()
    writer.write(framed(b"l0"))
    await answers.until_begun(1)
    writer.close()
    await until_left(listeners, 0)
    answers.answer(b"l0")


async def test_a_lost_connection_gives_its_memory_back_at_once(
    connect: Callable, listeners: Listeners, uncollected: None
) -> None:
    """What it has received may be large, and the collector comes when there are many objects."""
    reader, writer = await connect()
    writer.write(framed(b"a0"))
    assert await receive(reader) == b"a0"
    (connection,) = map(weakref.ref, listeners.connections)
    writer.write(framed(MEGABYTE)[:-1])
    await writer.drain()
    writer.close()
    await until_left(listeners, 0)
    await asyncio.sleep(0)
    assert connection() is None


async def test_who_works_on_an_answer_is_told_when_nobody_waits_for_it(
    connect: Callable, answers: Answers
) -> None:
    _, writer = await connect()
    writer.write(framed(b"l0") + framed(b"h1"))
    await answers.until_begun(2)
    told = asyncio.Event()
    answers.waiting[b"h1"].when_lost = told.set
    writer.close()
    await asyncio.wait_for(told.wait(), 10)


# -- how many -------------------------------------------------------------------------------------


@pytest.fixture
def quota(listeners: Listeners) -> Callable[[int, int], None]:
    def set_quota(total: int, per_address: int) -> None:
        listeners._quota = lambda: ConnectionQuota(total, per_address)

    return set_quota


async def test_who_asks_for_positions_and_never_fetches_is_not_remembered_for_ever(
    listeners: Listeners,
) -> None:
    connection = listeners.connection("PLAINTEXT")
    for number in range(2 * POSITIONS_KEPT):
        connection.position_told((bytes(16), number))
    assert len(connection.positions_told) == POSITIONS_KEPT


async def test_connections_beyond_the_limit_wait_for_their_turn(
    connect: Callable, listeners: Listeners, quota: Callable
) -> None:
    quota(2, 100)
    first, second, third = [await connect() for _ in range(3)]
    third[1].write(framed(b"a3"))
    for reader, writer in (first, second):
        writer.write(framed(b"a1"))
        assert await receive(reader) == b"a1"
    assert len(listeners.connections) == 2
    first[1].close()
    assert await receive(third[0]) == b"a3"
    assert len(listeners.connections) == 2


async def test_listeners_share_the_limit(
    connect: Callable, listeners: Listeners, answers: Answers, quota: Callable
) -> None:
    quota(1, 100)
    port = await listeners.bind("OTHER", "127.0.0.1", 0)
    listeners.listen()
    accepting = asyncio.create_task(listeners._accept("OTHER", listeners._bound[-1].socket))
    first = await connect()
    first[1].write(framed(b"a1"))
    assert await receive(first[0]) == b"a1"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(framed(b"a2"))
    for number in range(50):  # the loop goes round often enough to accept
        first[1].write(framed(b"a%d" % number))
        assert await receive(first[0]) == b"a%d" % number
    assert len(listeners.connections) == 1
    first[1].close()
    assert await receive(reader) == b"a2"
    writer.close()
    accepting.cancel()


async def test_one_address_has_so_many_connections(connect: Callable, quota: Callable) -> None:
    quota(100, 2)
    first, second, third = [await connect() for _ in range(3)]
    assert await third[0].read() == b""
    for reader, writer in (first, second):
        writer.write(framed(b"a1"))
        assert await receive(reader) == b"a1"
    first[1].close()
    assert await first[0].read() == b""
    reader, writer = await connect()
    writer.write(framed(b"a4"))
    assert await receive(reader) == b"a4"


@pytest.fixture
def leave_one_descriptor() -> Iterator[Callable[[], None]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def leave_one() -> None:
        with socket.socket() as lowest:
            free = lowest.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, before[1]))

    yield leave_one
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_who_gets_the_last_descriptor_is_served(
    connect: Callable, listeners: Listeners, answers: Answers, leave_one_descriptor: Callable[[], None]
) -> None:
    """There is none left for sending files with."""
    reader, writer = await connect()
    address = writer.get_extra_info("peername")
    writer.write(framed(b"a1"))
    assert await receive(reader) == b"a1"
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        leave_one_descriptor()
        await loop.sock_connect(client, address)
        await loop.sock_sendall(client, framed(b"a2"))
        assert await asyncio.wait_for(loop.sock_recv(client, 100), 10) == framed(b"a2")
        assert len(listeners.connections) == listeners._open.total() == 2


async def test_a_name_is_bound_on_each_of_its_addresses(answers: Answers) -> None:
    listeners = Listeners(answers, LIMITS)
    port = await listeners.bind("PLAINTEXT", "", 0)
    listeners.listen()
    again = Listeners(answers, LIMITS)
    with pytest.raises(OSError, match="in use"):
        await again.bind("PLAINTEXT", "127.0.0.1", port)
    await again.close()
    await listeners.close()
