"""The one HTTP port of a node: handshake, links, bulk calls, and whatever routes the node adds for people.

`kraft.transport.handshake` spells out how a peer gets in. Nothing but the handshake's small bodies is read
from a connection before that, and a connection that says nothing is closed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web
from aiohttp.typedefs import Middleware

from kafkawire.errors import KafkaError
from kraft.clock import SystemClock
from kraft.events import Events
from kraft.transport import bulk, handshake
from kraft.transport.conversation import Conversation
from kraft.transport.errors import AuthenticationError, ProtocolError
from kraft.transport.handlers import Handlers, Outcome
from kraft.transport.handshake import Gatekeeper, Identity
from kraft.transport.limits import DEFAULT_LIMITS, Limits
from kraft.transport.link import Link
from kraft.transport.messages import Reply, decode_value
from kraft.transport.outbox import Outbox
from logstore.storage import StorageError

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AuthenticationFailures:
    """How often somebody was turned away. Each reason is logged once; `REASONS` of them are remembered."""

    REASONS = 1000

    def __init__(self, events: Events) -> None:
        self._events = events
        self._logged: set[str] = set()
        self.count = 0

    def add(self, error: Exception, remote: str | None) -> None:
        """Count one, and log it unless its reason has been."""
        self.count += 1
        reason = str(error)
        if reason not in self._logged and len(self._logged) < self.REASONS:
            self._logged.add(reason)
            self._events.warning("peer.refused", remote=remote, reason=reason)


class NodeServer:
    """Serves other nodes. Register `handlers`, add routes to `app` if there are more, then `start`.

    `on_fatal` is told of every exception in a handler, a route or a callback of `Link.on_close` that is
    neither the peer's doing nor the world's, and is expected to stop the node. A peer may have several links
    at a time: one that was lost may be noticed after the next one is there.
    """

    def __init__(
        self,
        node_id: int,
        cluster_id: str,
        secret: bytes,
        *,
        limits: Limits = DEFAULT_LIMITS,
        on_fatal: Callable[[BaseException], None] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        self._clock = SystemClock()
        self._gatekeeper = Gatekeeper(Identity(node_id, cluster_id), secret, limits)
        self.handlers = Handlers(limits, on_fatal or _tell_loop)
        self._ssl_context = ssl_context
        self._links: dict[bytes, Link] = {}
        self._silent: set[asyncio.BaseProtocol] = set()
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._events = Events("transport", node=node_id)
        self.failures = AuthenticationFailures(self._events)
        self.app = web.Application(client_max_size=limits.max_header, middlewares=[self._middleware()])
        self.app.router.add_post(handshake.HELLO_PATH, self._hello)
        self.app.router.add_post(handshake.PROOF_PATH, self._proof)
        self.app.router.add_get(handshake.LINK_PATH, self._link)
        self.app.router.add_post(handshake.RPC_PATH + "{method}", self._bulk)

    @property
    def links(self) -> tuple[Link, ...]:
        """The links that are open, oldest first."""
        return tuple(self._links.values())

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that was bound, which is another one if `port` is 0. OSError when it cannot be
        had.
        """
        runner = web.AppRunner(
            self.app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=1.0,
            keepalive_timeout=60.0,
            lingering_time=min(1.0, self._limits.handshake_seconds),
            tcp_keepalive=True,
        )
        await runner.setup()
        self._runner = runner
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._accept, host, port, ssl=self._ssl_context, reuse_address=True, backlog=128
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, cut every link and wait for what they were doing."""
        if self._server is not None:
            self._server.close()
        for link in self.links:
            link.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._server is not None:
            await self._server.wait_closed()

    def _accept(self) -> asyncio.BaseProtocol:
        """A protocol for one more connection, which has a deadline for its first request."""
        assert self._runner is not None
        assert self._runner.server is not None
        protocol = self._runner.server()
        self._silent.add(protocol)
        asyncio.get_running_loop().call_later(self._limits.handshake_seconds, self._close_if_silent, protocol)
        return protocol

    def _close_if_silent(self, protocol: web.RequestHandler) -> None:
        if protocol in self._silent:
            self._silent.remove(protocol)
            if protocol.transport is not None:
                protocol.transport.abort()

    def _middleware(self) -> Middleware:
        @web.middleware
        async def turn_away(request: web.Request, handler: Answering) -> web.StreamResponse:
            """What is wrong with a request becomes a status, and the end of its connection."""
            self._silent.discard(request.protocol)
            try:
                return await handler(request)
            except AuthenticationError as error:
                self.failures.add(error, request.remote)
                response = web.Response(status=401, text="authentication failed")
            except ProtocolError as error:
                self.failures.add(error, request.remote)
                response = web.Response(status=400, text=str(error))
            except ConnectionError:
                # The peer is gone already, and aiohttp would log this as a failure of ours.
                response = web.Response(status=400, text="the connection was lost")
            except web.HTTPException:
                raise
            except Exception as error:
                self.handlers.on_fatal(error)
                raise
            response.force_close()
            return response

        return turn_away

    async def _body(self, request: web.Request, limit: int) -> bytes:
        """The request's body, which has to be announced and arrive in time; ProtocolError."""
        size = request.content_length
        if size is None or size > limit:
            raise ProtocolError(f"a body of {size} bytes where {limit} are allowed")
        try:
            async with asyncio.timeout(self._limits.handshake_seconds):
                return await bulk.read_at_most(request.content, limit)
        except TimeoutError:
            raise ProtocolError("a body that does not arrive") from None

    async def _hello(self, request: web.Request) -> web.Response:
        body = await self._body(request, self._limits.handshake_bytes)
        answer, mismatch = self._gatekeeper.hello(body, self._clock.monotonic())
        if mismatch is not None:
            self.failures.add(mismatch, request.remote)
        return web.Response(body=answer)

    async def _proof(self, request: web.Request) -> web.Response:
        body = await self._body(request, self._limits.handshake_bytes)
        return web.Response(body=self._gatekeeper.prove(body, self._clock.monotonic()))

    async def _link(self, request: web.Request) -> web.StreamResponse:
        session = self._gatekeeper.open(request.headers.get("Authorization", ""), self._clock.monotonic())
        socket: web.WebSocketResponse = web.WebSocketResponse(
            compress=False,
            heartbeat=self._limits.heartbeat,
            max_msg_size=self._limits.max_message + 1,
            timeout=1.0,
        )

        def abort() -> None:
            if request.transport is not None:
                request.transport.abort()

        await socket.prepare(request)
        link = Link(session, abort)
        outbox = Outbox(socket.send_bytes, self._limits.outgoing_bytes, abort)
        self._links[session.id] = link
        for tell in self.handlers.link_opened:
            tell(link)
        try:
            await self._converse(socket, Conversation(link, self.handlers, outbox))
        except ProtocolError as error:
            self.failures.add(error, request.remote)
        finally:
            del self._links[session.id]
            outbox.close()
            abort()  # a peer that does not read would keep a connection that is merely closed
            await link.ended()
        return socket

    async def _converse(self, socket: web.WebSocketResponse, conversation: Conversation) -> None:
        while True:
            try:
                message = await socket.receive()
            except ConnectionError:
                return  # it answers pings by itself, and found the link closing at that moment
            if message.type is not WSMsgType.BINARY:
                return
            conversation.received(message.data)

    async def _bulk(self, request: web.Request) -> web.StreamResponse:
        session_id, counter, proof = handshake.parse_authorization(request.headers.get("Authorization", ""))
        link = self._links.get(session_id)
        if link is None:
            raise AuthenticationError("a bulk call of a session that has no link")
        body = await self._body(request, self._limits.max_header)
        link.session.verify(request.path, counter, proof, body)
        outcome = await self._outcome(link, request.match_info["method"], decode_value(body))
        if link.closed:
            return web.Response(status=401, text="the session has ended")
        header, payload = self.handlers.render_header(outcome)
        size = len(header) + sum(len(part) if isinstance(part, bytes) else part.size for part in payload)
        signature = handshake.reply_proof(link.session.key, counter, header).hex()
        response = web.StreamResponse(
            headers={"Content-Length": str(size), handshake.PROOF_HEADER: signature}
        )
        try:
            await response.prepare(request)
            await response.write(header)
            await bulk.write_payload(request, response, payload)
            await response.write_eof()
        except (OSError, StorageError, bulk.ShortFileError) as error:
            # Only cutting the connection tells the peer that the bytes which were announced do not come.
            self._events.info("bulk.cut", peer=link.peer_id, reason=str(error))
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _outcome(self, link: Link, method: str, value: object) -> Outcome:
        outcome = self.handlers.begin(link, method, value)
        if isinstance(outcome, asyncio.Future):
            link.own(outcome)
            await asyncio.wait((outcome,))
            settled: Reply | KafkaError = self.handlers.settled(outcome)
            return settled
        return outcome


def _tell_loop(error: BaseException) -> None:
    """Where a failure of ours goes when nobody asked for it: the loop's exception handler."""
    context = {"message": "a handler failed", "exception": error}
    asyncio.get_running_loop().call_exception_handler(context)
