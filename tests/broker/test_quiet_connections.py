"""Connections that bring nothing but heartbeats are read together, and nobody notices. Over real sockets, on
both event loops."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import pytest
import uvloop

from kraft.broker.connection import QUIET_AFTER, Connection, ConnectionLimits, Reply
from kraft.broker.listener import Listeners
from kraft.broker.outgoing import Segment
from kraft.broker.quiet_connections import QuietConnections

WORTH_WHILE = 4
BEAT, OTHER, LATER = b"b", b"o", b"l"
LIMITS = ConnectionLimits(max_frame=1_000_000, max_unanswered=4)

Returned = TypeVar("Returned")
Run = Callable[[Awaitable[Returned]], Returned]


def framed(payload: bytes) -> bytes:
    return struct.pack(">i", len(payload)) + payload


class Broker:
    """Answers each request with itself: heartbeats and others at once, what begins with LATER when told."""

    def __init__(self) -> None:
        self.quiet = QuietConnections(WORTH_WHILE)
        self.listeners = Listeners(self._answer, LIMITS, quiet=self.quiet)
        self.waiting: list[tuple[Reply, bytes]] = []
        self._clients: list[Client] = []
        self.port = 0
        self._accepting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Broker:
        self.port = await self.listeners.bind("PLAINTEXT", "127.0.0.1", 0)
        self.listeners.listen()
        self._accepting = asyncio.create_task(self.listeners.accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._accepting is not None
        self._accepting.cancel()
        await self.listeners.close()
        for client in self._clients:
            client.writer.transport.abort()
        await until_open(self, 0)

    def _answer(self, connection: Connection, frame: memoryview) -> Sequence[Segment] | None:
        request = bytes(frame)
        if request.startswith(LATER):
            self.waiting.append((connection.defer(hold=False), request))
            return None
        if request.startswith(BEAT):
            connection.heartbeat()
        return [framed(request)]

    async def client(self) -> Client:
        self._clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self._clients[-1]

    async def quiet_clients(self, count: int = WORTH_WHILE) -> list[Client]:
        """So many that have shown to be quiet."""
        clients = [await self.client() for _ in range(count)]
        for client in clients:
            for number in range(QUIET_AFTER):
                assert await client.ask(b"b%d" % number) == b"b%d" % number
        return clients


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: bytes) -> bytes:
        self.writer.write(framed(request))
        return await self.receive()

    async def receive(self) -> bytes:
        async with asyncio.timeout(10):
            (size,) = struct.unpack(">i", await self.reader.readexactly(4))
            return await self.reader.readexactly(size)


@pytest.fixture(params=[asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


async def until_open(broker: Broker, count: int) -> None:
    async with asyncio.timeout(10):
        while len(broker.listeners.connections) != count:  # noqa: ASYNC110 - it is the loop that goes round
            await asyncio.sleep(0)


@pytest.fixture
def leave_no_descriptor() -> Iterator[Callable[[], None]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def leave_none() -> None:
        with socket.socket() as lowest:
            free = lowest.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))

    yield leave_none
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_a_descriptor_they_stay_the_loops(run: Run, leave_no_descriptor: Callable[[], None]) -> None:
    async def scenario() -> None:
        async with Broker() as broker:
            clients = await broker.quiet_clients(WORTH_WHILE - 1)
            clients.append(await broker.client())
            assert await clients[-1].ask(b"b0") == b"b0"
            leave_no_descriptor()
            for client in reversed(clients):
                assert await client.ask(b"b1") == b"b1"
                assert await client.ask(b"b2") == b"b2"
            assert not broker.quiet.gathering

    run(scenario())


def test_few_of_them_are_left_to_the_loop(run: Run) -> None:
    async def scenario() -> None:
        async with Broker() as broker:
            await broker.quiet_clients(WORTH_WHILE - 1)
            assert not broker.quiet.gathering

    run(scenario())


def test_many_of_them_are_read_together(run: Run) -> None:
    async def scenario() -> None:
        async with Broker() as broker:
            clients = await broker.quiet_clients()
            assert broker.quiet.gathering
            for round_number in range(3):
                beats = [b"b%d-%d" % (round_number, number) for number in range(len(clients))]
                answers = await asyncio.gather(
                    *(client.ask(beat) for client, beat in zip(clients, beats, strict=True))
                )
                assert answers == beats
            assert broker.quiet.gathering

    run(scenario())


def test_one_that_asks_for_something_is_the_loops_again(run: Run) -> None:
    async def scenario() -> None:
        async with Broker() as broker:
            clients = await broker.quiet_clients()
            lively = clients[0]
            assert await lively.ask(b"o") == b"o"
            (connection, *_) = broker.listeners.connections
            assert connection._transport.is_reading()
            assert [each._transport.is_reading() for each in broker.listeners.connections].count(False) == 3
            assert await lively.ask(b"b") == b"b"
            assert await lively.ask(b"o") == b"o"

    run(scenario())


def test_when_few_are_left_the_loop_has_them_all(run: Run) -> None:
    async def scenario() -> None:
        async with Broker() as broker:
            clients = await broker.quiet_clients()
            for client in clients[: WORTH_WHILE // 2 + 1]:
                assert await client.ask(b"o") == b"o"
            assert not broker.quiet.gathering
            assert all(each._transport.is_reading() for each in broker.listeners.connections)
            assert await clients[-1].ask(b"b") == b"b"

    run(scenario())


def test_one_that_is_answered_later_is_answered(run: Run) -> None:
    async def scenario() -> None:
        async with Broker() as broker:
            clients = await broker.quiet_clients()
            clients[0].writer.write(framed(b"b7") + framed(b"l8") + framed(b"b9"))
            assert await clients[0].receive() == b"b7"
            ((reply, request),) = broker.waiting
            reply.send([framed(request)])
            assert [await clients[0].receive() for _ in range(2)] == [b"l8", b"b9"]

    run(scenario())


@pytest.mark.parametrize("abruptly", [False, True])
def test_one_that_hangs_up_is_noticed(run: Run, abruptly: bool) -> None:
    async def scenario() -> None:
        async with Broker() as broker:
            clients = await broker.quiet_clients()
            if abruptly:
                linger = struct.pack("ii", 1, 0)
                clients[0].writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
                clients[0].writer.transport.abort()
            else:
                clients[0].writer.close()
            await until_open(broker, WORTH_WHILE - 1)
            assert [await client.ask(b"b") for client in clients[1:]] == [b"b"] * (WORTH_WHILE - 1)

    run(scenario())


def test_one_that_is_closed_is_forgotten(run: Run) -> None:
    async def scenario() -> None:
        async with Broker() as broker:
            clients = await broker.quiet_clients()
            (connection, *_) = broker.listeners.connections
            connection.abort()
            assert await clients[0].reader.read() == b""
            await until_open(broker, WORTH_WHILE - 1)
            assert [await client.ask(b"b") for client in clients[1:]] == [b"b"] * (WORTH_WHILE - 1)

    run(scenario())


def test_a_frame_beyond_the_limit_closes_it(run: Run) -> None:
    async def scenario() -> None:
        async with Broker() as broker:
            clients = await broker.quiet_clients()
            clients[0].writer.write(struct.pack(">i", LIMITS.max_frame + 1))
            assert await clients[0].reader.read() == b""

    run(scenario())


def test_heartbeats_in_parts_and_in_floods_are_answered(run: Run) -> None:
    """More than the connection's buffer holds, and a byte at a time."""

    async def scenario() -> None:
        async with Broker() as broker:
            clients = await broker.quiet_clients()
            flood = [b"b%d" % number + bytes(1000) for number in range(2000)]
            clients[0].writer.write(b"".join(map(framed, flood)))
            assert [await clients[0].receive() for _ in flood] == flood
            for byte in framed(b"b-in-parts"):
                clients[1].writer.write(bytes([byte]))
                assert await clients[2].ask(b"b") == b"b"
            assert await clients[1].receive() == b"b-in-parts"

    run(scenario())


def test_what_has_to_wait_is_not_read(run: Run) -> None:
    """Behind requests without an answer a quiet connection takes what its buffer holds, no more. The first
    flood lets the buffer grow, so that one reading of the second fills it."""

    async def scenario() -> None:
        async with Broker() as broker:
            clients = await broker.quiet_clients()
            (connection, *_) = broker.listeners.connections
            flood = framed(b"b" + bytes(999)) * 3000
            clients[0].writer.write(flood)
            for _ in range(3000):
                assert (await clients[0].receive())[:1] == b"b"
            slow = b"".join(framed(b"l%d" % number) for number in range(LIMITS.max_unanswered))
            clients[0].writer.write(framed(b"b") + slow + flood)
            assert await clients[0].receive() == b"b"
            async with asyncio.timeout(10):
                while not connection._frames.full:  # noqa: ASYNC110 - it is the loop that goes round
                    await asyncio.sleep(0)
            assert await clients[1].ask(b"b") == b"b"
            assert connection._frames.buffered <= 300_000
            for reply, request in broker.waiting:
                reply.send([framed(request)])
            assert [await clients[0].receive() for _ in range(4)] == [b"l0", b"l1", b"l2", b"l3"]
            for _ in range(3000):
                assert (await clients[0].receive())[:1] == b"b"

    run(scenario())
