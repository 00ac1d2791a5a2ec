"""The outbox: written at once, queued in order while the socket is full, bounded."""

from __future__ import annotations

import asyncio

from kraft.transport.outbox import Outbox


class Socket:
    """Takes messages at once, or, while it is full, when `room` is called."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.full = False
        self.broken = False
        self._room: asyncio.Future[None] | None = None

    async def send(self, data: bytes) -> None:
        if self.broken:
            raise ConnectionResetError
        self.written.append(data)
        if self.full:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def room(self) -> None:
        assert self._room is not None
        self._room.set_result(None)


async def test_a_message_is_written_before_post_returns() -> None:
    socket = Socket()
    outbox = Outbox(socket.send, 100, lambda: None)
    assert outbox.post(b"a")
    assert socket.written == [b"a"]


async def test_messages_keep_their_order_while_the_socket_is_full() -> None:
    socket = Socket()
    outbox = Outbox(socket.send, 100, lambda: None)
    socket.full = True
    for data in (b"a", b"b", b"c"):
        assert outbox.post(data)
    assert socket.written == [b"a"]
    assert outbox.queued_bytes == 2
    await asyncio.sleep(0)
    socket.full = False
    socket.room()
    await outbox.drained()
    assert outbox.post(b"d")
    assert socket.written == [b"a", b"b", b"c", b"d"]
    assert outbox.queued_bytes == 0


async def test_what_exceeds_the_limit_closes_the_link_and_frees_the_memory() -> None:
    socket, overflows = Socket(), list[str]()
    outbox = Outbox(socket.send, 10, lambda: overflows.append("now"))
    socket.full = True
    assert outbox.post(b"written")
    assert outbox.post(b"x" * 11)
    assert overflows == []
    assert not outbox.post(b"y")
    assert overflows == ["now"]
    assert outbox.queued_bytes == 0
    assert not outbox.post(b"z")
    await outbox.drained()
    assert socket.written == [b"written"]


async def test_a_broken_socket_is_told_of() -> None:
    socket = Socket()
    outbox = Outbox(socket.send, 10, lambda: None)
    socket.broken = True
    assert not outbox.post(b"a")
    assert not outbox.post(b"b")


async def test_a_socket_that_breaks_while_full_drops_the_queue() -> None:
    socket = Socket()
    outbox = Outbox(socket.send, 10, lambda: None)
    socket.full = True
    assert outbox.post(b"a")
    assert outbox.post(b"b")
    socket.broken = True
    await asyncio.sleep(0)
    socket.room()
    await outbox.drained()
    assert outbox.queued_bytes == 0
    assert not outbox.post(b"c")


async def test_closing_while_full_ends_the_waiting() -> None:
    socket = Socket()
    outbox = Outbox(socket.send, 10, lambda: None)
    socket.full = True
    outbox.post(b"a")
    outbox.close()
    await outbox.drained()
    assert not outbox.post(b"b")
