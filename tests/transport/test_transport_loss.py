"""Links that are lost: by restart, death, silence, congestion and decision."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from kraft.transport import Limits, Link, PeerOptions, PeerUnavailable, Reply

CLIENT = """
import asyncio, sys
from kraft.transport import Peer

async def main(port, secret):
    peer = Peer(
        3, "cluster-1", secret, 7, ("127.0.0.1", port), on_up=lambda: peer.notify("up", None)
    )
    peer.start()
    await asyncio.Event().wait()

asyncio.run(main(int(sys.argv[1]), bytes.fromhex(sys.argv[2])))
"""

SERVER = """
import asyncio, sys
from kraft.transport import NodeServer, Reply

async def main(secret):
    server = NodeServer(7, "cluster-1", secret)
    server.handlers.handle("echo", lambda link, value: Reply(value))
    print(await server.start("127.0.0.1", 0), flush=True)
    await asyncio.Event().wait()

asyncio.run(main(bytes.fromhex(sys.argv[1])))
"""


async def echo_server(loopback: Any, port: int = 0) -> tuple[Any, int]:
    server = loopback.server()
    server.handlers.handle("echo", lambda link, value: Reply(value))
    return server, await server.start("127.0.0.1", port)


async def other_process(loopback: Any) -> tuple[asyncio.subprocess.Process, int]:
    process = await loopback.process(SERVER, loopback.secret.hex())
    return process, int(await process.stdout.readline())


def recorded(loopback: Any, port: int) -> tuple[Any, asyncio.Queue[str]]:
    """A peer that was started, and its ups and downs."""
    changes: asyncio.Queue[str] = asyncio.Queue()
    peer = loopback.peer(
        port, on_up=lambda: changes.put_nowait("up"), on_down=lambda: changes.put_nowait("down")
    )
    peer.start()
    return peer, changes


async def linked_process(loopback: Any, limits: Limits) -> tuple[asyncio.subprocess.Process, Any, Link]:
    """A client in a process of its own, the server it is linked to, and the link."""
    server, linked = loopback.server(limits=limits), asyncio.Event()
    server.handlers.handle_notify("up", lambda link, value: linked.set())
    port = await server.start("127.0.0.1", 0)
    process = await loopback.process(CLIENT, port, loopback.secret.hex())
    await loopback.soon(linked)
    (link,) = server.links
    return process, server, link


async def test_a_peer_finds_its_server_again_after_a_restart(loopback: Any) -> None:
    server, port = await echo_server(loopback)
    peer, changes = recorded(loopback, port)
    async with asyncio.timeout(loopback.patience):
        for _ in range(3):
            assert await changes.get() == "up"
            assert (await peer.call("echo", 1, timeout=5)).value == 1
            await server.close()
            assert await changes.get() == "down"
            assert not peer.connected
            with pytest.raises(PeerUnavailable):
                await peer.call("echo", 1, timeout=5)
            server, _ = await echo_server(loopback, port)
        assert await changes.get() == "up"


async def test_a_peer_follows_its_address(loopback: Any) -> None:
    _, first = await echo_server(loopback)
    moved, second = await echo_server(loopback)
    moved.handlers.handle("where", lambda link, value: Reply("moved"))
    peer, changes = recorded(loopback, first)
    async with asyncio.timeout(loopback.patience):
        assert await changes.get() == "up"
        assert moved.links == ()
        peer.address = ("127.0.0.1", second)
        assert await changes.get() == "down"
        assert await changes.get() == "up"
        assert (await peer.call("where", None, timeout=5)).value == "moved"


async def test_a_new_address_is_dialled_without_waiting_out_the_backoff(loopback: Any) -> None:
    _, port = await echo_server(loopback)
    up = asyncio.Event()
    peer = loopback.peer(1, PeerOptions(backoff_min=3600, backoff_max=3600), on_up=up.set)
    peer.start()
    peer.address = ("127.0.0.1", port)
    await loopback.soon(up)


@pytest.mark.parametrize("host", ["no host", "", "two..dots", "x" * 64])
async def test_an_address_that_is_none_is_a_peer_that_is_away(
    loopback: Any, watch: Callable[[str], Any], host: str
) -> None:
    _, port = await echo_server(loopback)
    down, up = watch("peer.down"), asyncio.Event()
    peer = loopback.peer(1, address=(host, port), on_up=up.set)
    peer.start()
    assert f"{host}:{port}" in (await down.first())["reason"]
    peer.address = ("127.0.0.1", port)
    await loopback.soon(up)


async def test_losing_the_link_fails_what_is_under_way_before_on_down(loopback: Any) -> None:
    server, began = loopback.server(), asyncio.Event()

    def never(link: Link, value: Any) -> asyncio.Future[Reply]:
        began.set()
        return asyncio.get_running_loop().create_future()

    async def one(link: Link, value: Any) -> AsyncIterator[Reply]:
        yield Reply(1)
        await asyncio.Event().wait()

    server.handlers.handle("never", never)
    server.handlers.handle_stream("one", one)
    down = asyncio.Event()
    peer = await loopback.connect(await server.start("127.0.0.1", 0), on_down=down.set)
    items = peer.stream("one", None)
    assert (await anext(items)).value == 1
    call = asyncio.create_task(peer.call("never", None, timeout=60))
    await loopback.soon(began)
    await server.close()
    await loopback.soon(down)
    with pytest.raises(PeerUnavailable):
        await call
    with pytest.raises(PeerUnavailable):
        await anext(items)


async def test_the_server_hears_of_a_killed_client_at_once(loopback: Any) -> None:
    process, server, link = await linked_process(loopback, Limits())
    closed = asyncio.Event()
    link.on_close(closed.set)
    assert not link.closed
    process.send_signal(signal.SIGKILL)
    async with asyncio.timeout(Limits().dead_after * 2 / 3):
        await closed.wait()
    assert link.closed
    late = asyncio.Event()
    link.on_close(late.set)
    assert late.is_set()
    assert server.links == ()


async def test_the_client_notices_a_server_that_has_stopped(loopback: Any) -> None:
    process, port = await other_process(loopback)
    down = asyncio.Event()
    options = PeerOptions(limits=Limits(dead_after=0.3))
    peer = await loopback.connect(port, options, on_down=down.set)
    assert (await peer.call("echo", 1, timeout=5)).value == 1
    process.send_signal(signal.SIGSTOP)
    await loopback.soon(down)
    assert not peer.connected


async def test_the_server_notices_a_client_that_has_stopped(loopback: Any) -> None:
    process, _, link = await linked_process(loopback, Limits(dead_after=0.3))
    closed = asyncio.Event()
    link.on_close(closed.set)
    process.send_signal(signal.SIGSTOP)
    await loopback.soon(closed)


async def test_notifications_to_a_peer_that_does_not_read_are_bounded(loopback: Any) -> None:
    process, port = await other_process(loopback)
    down = asyncio.Event()
    limits = Limits(outgoing_bytes=1_000_000, dead_after=60)
    peer = await loopback.connect(port, PeerOptions(limits=limits), on_down=down.set)
    process.send_signal(signal.SIGSTOP)
    sent = 0
    while peer.notify("note", b"x" * 50_000):
        sent += 50_000
        assert sent < 50_000_000
        await asyncio.sleep(0)
    await loopback.soon(down)
    assert "did not read" in str(peer.last_error)


async def test_a_closed_link_is_dialled_again_and_a_closed_peer_is_not(loopback: Any) -> None:
    server, port = await echo_server(loopback)
    peer, changes = recorded(loopback, port)
    async with asyncio.timeout(loopback.patience):
        assert await changes.get() == "up"
        assert (await peer.call("echo", 1, timeout=5)).value == 1
        server.links[0].close()
        assert await changes.get() == "down"
        assert await changes.get() == "up"
        await peer.close()
        assert await changes.get() == "down"
    assert not peer.connected
    assert changes.empty()


async def test_a_bug_in_a_callback_is_told_of(loopback: Any) -> None:
    _, port = await echo_server(loopback)
    failures, failed = list[BaseException](), asyncio.Event()

    def bug() -> None:
        raise ZeroDivisionError

    def fatal(error: BaseException) -> None:
        failures.append(error)
        failed.set()

    peer = loopback.peer(port, PeerOptions(on_fatal=fatal), on_up=bug)
    peer.start()
    await loopback.soon(failed)
    assert isinstance(failures[0], ZeroDivisionError)
    assert not peer.connected


async def test_a_bug_in_what_a_closing_link_calls_is_fatal(loopback: Any) -> None:
    server, port = await echo_server(loopback)
    peer = await loopback.connect(port)
    assert (await peer.call("echo", 1, timeout=5)).value == 1

    def bug() -> None:
        raise ZeroDivisionError

    server.links[0].on_close(bug)
    await peer.close()
    await loopback.soon(loopback.failed)
    assert isinstance(loopback.fatal[0], ZeroDivisionError)


async def test_a_port_in_use_is_told_of(loopback: Any) -> None:
    _, port = await echo_server(loopback)
    with pytest.raises(OSError, match="in use"):
        await loopback.server().start("127.0.0.1", port)


async def test_a_ping_on_a_link_that_is_closing_loses_the_link_and_no_more(loopback: Any) -> None:
    """A process that was paused finds a ping to answer on a link that its own heartbeat has just given up."""
    _, port = await echo_server(loopback)
    peer, changes = recorded(loopback, port)
    assert await changes.get() == "up"
    socket = peer._state.connection._socket
    socket._response.connection.transport.close()
    socket._reader.feed_data(aiohttp.WSMessage(aiohttp.WSMsgType.PING, b"", None), 0)
    assert await changes.get() == "down"
    assert await changes.get() == "up"
    assert (await peer.call("echo", 1, timeout=5)).value == 1


async def test_a_peer_that_leaves_while_its_link_is_opened_is_no_failure(
    loopback: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that was busy finds a request for a link whose connection has ended meanwhile."""
    server = loopback.server()
    open_session, left = server._gatekeeper.open, asyncio.Event()

    def open_late(authorization: str, now: float) -> Any:
        session = open_session(authorization, now)
        if not left.is_set():
            left.set()
            for connection in server._runner.server.connections:
                connection.transport.close()
        return session

    monkeypatch.setattr(server._gatekeeper, "open", open_late)
    peer, changes = recorded(loopback, await server.start("127.0.0.1", 0))
    assert await changes.get() == "up"
    assert left.is_set()
    assert [record for record in caplog.records if record.name.startswith("aiohttp")] == []
    assert loopback.fatal == []
    assert len(server.links) == 1
    assert peer.connected
