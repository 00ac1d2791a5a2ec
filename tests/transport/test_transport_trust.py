"""Who gets in over a real socket, and what happens to those who do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import cbor2
import pytest
from aiohttp import web

from kraft.transport import AuthenticationError, Limits, PeerOptions, PeerUnavailable, ProtocolError, Reply
from kraft.transport.handshake import HELLO_PATH, LINK_PATH, PROOF_PATH, Identity, Introduction, Signer

OTHER_SECRET = b"another secret, of equal length ."


async def refused(loopback: Any, watch: Callable[[str], Any], port: int, **changed: Any) -> tuple[Any, Any]:
    """A peer that was turned away, and the event that says why."""
    down = watch("peer.down")
    peer = loopback.peer(port, **changed)
    peer.start()
    event = await down.first()
    assert not peer.connected
    return peer, event


async def test_a_peer_with_another_secret_is_turned_away(loopback: Any, watch: Callable[[str], Any]) -> None:
    server, noted = loopback.server(), watch("peer.refused")
    port = await server.start("127.0.0.1", 0)
    peer, _ = await refused(loopback, watch, port, secret=OTHER_SECRET)
    assert isinstance(peer.last_error, AuthenticationError)
    with pytest.raises(PeerUnavailable, match="different secrets"):
        await peer.call("echo", 1, timeout=5)
    assert server.failures.count >= 1
    assert "does not hold this cluster's secret" in noted.all[0]["reason"]
    assert server.links == ()


async def test_repeated_failures_are_logged_once(loopback: Any, watch: Callable[[str], Any]) -> None:
    server, noted = loopback.server(), watch("peer.refused")
    port = await server.start("127.0.0.1", 0)
    for _ in range(5):
        async with aiohttp.ClientSession() as http:
            assert await post(http, port, HELLO_PATH, b"nonsense") == (400, None)
    assert server.failures.count == 5
    assert len(noted.all) == 1


async def test_a_server_with_another_secret_is_left_alone(loopback: Any, watch: Callable[[str], Any]) -> None:
    """An impostor that accepts every proof, and has none of its own."""

    async def hello(request: web.Request) -> web.Response:
        return web.Response(body=cbor2.dumps([loopback.cluster, loopback.server_id, b"n" * 32]))

    async def proof(request: web.Request) -> web.Response:
        return web.Response(body=cbor2.dumps([b"i" * 16, b"p" * 32]))

    async def link(request: web.Request) -> web.Response:
        linked.append(request)
        return web.Response()

    linked: list[web.Request] = []
    app = web.Application()
    app.router.add_post(HELLO_PATH, hello)
    app.router.add_post(PROOF_PATH, proof)
    app.router.add_get(LINK_PATH, link)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        peer, event = await refused(loopback, watch, runner.addresses[0][1])
        assert "node 7 of cluster 'cluster-1' does not hold this cluster's secret" in event["reason"]
        assert isinstance(peer.last_error, AuthenticationError)
        assert linked == []
    finally:
        await peer.close()
        await runner.cleanup()


@pytest.mark.parametrize("changed", [{"cluster_id": "cluster-2"}, {"node_id": 8}], ids=["cluster", "node"])
async def test_a_server_that_is_not_the_one_expected_is_named(
    loopback: Any, watch: Callable[[str], Any], changed: dict[str, Any]
) -> None:
    server, noted = loopback.server(**changed), watch("peer.refused")
    port = await server.start("127.0.0.1", 0)
    found = Identity(changed.get("node_id", 7), changed.get("cluster_id", "cluster-1"))
    peer, event = await refused(loopback, watch, port)
    assert "expects node 7 of cluster 'cluster-1'" in event["reason"]
    assert f"found {found}" in event["reason"]
    assert str(found) in noted.all[0]["reason"]
    assert isinstance(peer.last_error, AuthenticationError)


class Raw:
    """A peer by hand, which can say things twice."""

    def __init__(self, http: aiohttp.ClientSession, port: int, loopback: Any) -> None:
        self.http = http
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        identity = Identity(loopback.client_id, loopback.cluster)
        self.introduction = Introduction(identity, loopback.secret, loopback.server_id)

    async def prove(self) -> tuple[bytes, Signer]:
        _, challenge = await post(self.http, self.port, HELLO_PATH, self.introduction.hello())
        transcript, proof = self.introduction.challenged(challenge or b"")
        _, accepted = await post(self.http, self.port, PROOF_PATH, proof)
        return proof, self.introduction.accepted(transcript, accepted or b"")


async def post(
    http: aiohttp.ClientSession, port: int, path: str, body: Any, authorization: str = ""
) -> tuple[int, bytes | None]:
    headers = {"Authorization": authorization} if authorization else {}
    async with http.post(f"http://127.0.0.1:{port}{path}", data=body, headers=headers) as answer:
        return answer.status, await answer.read() if answer.status == 200 else None


async def test_a_replayed_proof_link_or_call_is_refused(loopback: Any) -> None:
    calls = []
    server = loopback.server()
    server.handlers.handle("count", lambda link, value: Reply(calls.append(value)))
    port = await server.start("127.0.0.1", 0)
    async with aiohttp.ClientSession() as http:
        raw = Raw(http, port, loopback)
        proof, signer = await raw.prove()
        assert (await post(http, port, PROOF_PATH, proof))[0] == 401

        link = {"Authorization": signer.sign(LINK_PATH, b"")[1]}
        async with http.ws_connect(raw.url + LINK_PATH, headers=link):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
                await http.ws_connect(raw.url + LINK_PATH, headers=link)

            body = cbor2.dumps("once")
            _, authorization = signer.sign("/rpc/count", body)
            assert (await post(http, port, "/rpc/count", body, authorization))[0] == 200
            assert (await post(http, port, "/rpc/count", body, authorization))[0] == 401
            assert (await post(http, port, "/rpc/other", body, authorization))[0] == 401
            _, authorization = signer.sign("/rpc/count", body)
            assert (await post(http, port, "/rpc/count", cbor2.dumps("twice"), authorization))[0] == 401
            assert (await post(http, port, "/rpc/count", body))[0] == 401
    assert calls == ["once"]
    assert server.failures.count == 6


async def test_a_bulk_call_needs_its_link(loopback: Any) -> None:
    server = loopback.server()
    server.handlers.handle("echo", lambda link, value: Reply(value))
    port = await server.start("127.0.0.1", 0)
    async with aiohttp.ClientSession() as http:
        _, signer = await Raw(http, port, loopback).prove()
        body = cbor2.dumps(1)
        assert (await post(http, port, "/rpc/echo", body, signer.sign("/rpc/echo", body)[1]))[0] == 401


async def test_a_stranger_may_send_no_more_than_a_handshake(loopback: Any) -> None:
    async def unannounced() -> AsyncIterator[bytes]:
        yield b"chunked"

    limit = Limits().handshake_bytes
    port = await loopback.server().start("127.0.0.1", 0)
    async with aiohttp.ClientSession() as http:
        assert (await post(http, port, HELLO_PATH, b"x" * (limit + 1)))[0] == 400
        assert (await post(http, port, PROOF_PATH, b"x" * (limit + 1)))[0] == 400
        assert (await post(http, port, HELLO_PATH, unannounced()))[0] == 400


async def test_a_connection_that_says_nothing_is_closed(loopback: Any) -> None:
    port = await loopback.server(limits=Limits(handshake_seconds=0.05)).start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(loopback.patience):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_body_that_does_not_arrive_is_not_waited_for(loopback: Any) -> None:
    port = await loopback.server(limits=Limits(handshake_seconds=0.05)).start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST {HELLO_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n".encode())
    async with asyncio.timeout(loopback.patience):
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        writer.write(b"x")
        await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_a_message_beyond_the_servers_limit_closes_the_link_unread(loopback: Any) -> None:
    small, down = Limits(max_header=10_000, max_payload=10_000), asyncio.Event()
    server, seen = loopback.server(limits=small), list[int]()
    server.handlers.handle_notify("note", lambda link, value: seen.append(len(value)))
    port = await server.start("127.0.0.1", 0)
    peer = await loopback.connect(port, on_down=down.set)
    peer.notify("note", b"x" * 9_000)
    peer.notify("note", b"x" * 30_000)
    await loopback.soon(down)
    assert seen == [9_000]


async def test_an_answer_beyond_the_clients_limit_closes_the_link(loopback: Any) -> None:
    server, down = loopback.server(), asyncio.Event()
    server.handlers.handle("big", lambda link, value: Reply(None, [b"x" * 11_000]))
    small = PeerOptions(limits=Limits(max_header=10_000, max_payload=10_000))
    peer = await loopback.connect(await server.start("127.0.0.1", 0), small, on_down=down.set)
    with pytest.raises(PeerUnavailable):
        await peer.call("big", None, timeout=5)
    await loopback.soon(down)
    assert isinstance(peer.last_error, ProtocolError)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00\x00\x00\xff", b"\x00\x00\x00\x01\x00", b"\x00\x00\x00\x05\x84\x01\x00\x00\xf6"],
    ids=["empty", "truncated", "no list", "a reply from a client"],
)
async def test_a_peer_that_breaks_the_protocol_loses_its_link(loopback: Any, data: bytes) -> None:
    server = loopback.server()
    port = await server.start("127.0.0.1", 0)
    async with aiohttp.ClientSession() as http:
        raw = Raw(http, port, loopback)
        _, signer = await raw.prove()
        link = {"Authorization": signer.sign(LINK_PATH, b"")[1]}
        async with http.ws_connect(raw.url + LINK_PATH, headers=link) as socket:
            await socket.send_bytes(data)
            async with asyncio.timeout(loopback.patience):
                assert (await socket.receive()).type is not aiohttp.WSMsgType.BINARY
    assert server.failures.count == 1
    assert loopback.fatal == []
