"""The client's side of a peer: one link that is kept up, dialled again whenever it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncGenerator, Callable
from typing import Any, Self

import aiohttp
import msgspec
from yarl import URL

from kraft.events import Events
from kraft.transport import bulk, handshake
from kraft.transport.connection import Connection
from kraft.transport.connector import CuttableConnector
from kraft.transport.errors import AuthenticationError, PeerError, PeerUnavailable, ProtocolError
from kraft.transport.handshake import Identity, Introduction
from kraft.transport.limits import DEFAULT_LIMITS, Limits
from kraft.transport.messages import Response


class PeerOptions(msgspec.Struct, frozen=True):
    """What is rarely anything but the default. Times are seconds."""

    role: str = "node"
    """What this node is, told to the other side as `Link.peer_role`."""

    limits: Limits = DEFAULT_LIMITS
    backoff_min: float = 0.02
    backoff_max: float = 0.5
    """The wait before the next attempt doubles from one to the other; half of it is drawn from `rng`."""

    rng: random.Random = msgspec.field(default_factory=random.Random)
    ssl_context: ssl.SSLContext | None = None
    """When given, the peer is dialled with TLS."""

    on_fatal: Callable[[BaseException], None] | None = None
    """Told of an exception that `on_up` or `on_down` raised; without it the loop's exception handler is."""


_USUAL = PeerOptions()


class Up(msgspec.Struct, frozen=True):
    """There is a link."""

    connection: Connection


class Down(msgspec.Struct, frozen=True):
    """There is none, for this reason."""

    reason: PeerError


class Peer:
    """Another node, as this one reaches it.

    `on_up` is called when a link is there and may be used, `on_down` when it was lost and everything under
    way on it has failed; both without arguments. Calls made in between fail at once: nothing is queued for a
    peer that is away. Everything happens on the loop that ran `start`.
    """

    def __init__(
        self,
        self_id: int,
        cluster_id: str,
        secret: bytes,
        peer_id: int,
        address: tuple[str, int],
        *,
        on_up: Callable[[], None] | None = None,
        on_down: Callable[[], None] | None = None,
    ) -> None:
        self._self_id = self_id
        self._cluster_id = cluster_id
        self._secret = secret
        self._peer_id = peer_id
        self._address = address
        self._on_up = on_up
        self._on_down = on_down
        self._options = _USUAL
        self._state: Up | Down = Down(PeerUnavailable("not started"))
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._events = Events("transport", node=self_id, peer=peer_id)
        self._logged = ""

    def configure(self, options: PeerOptions) -> Self:
        """Take these options; before `start`."""
        assert self._task is None, "options are fixed from start on"
        self._options = options
        return self

    @property
    def peer_id(self) -> int:
        """The other side's node id; whoever answers at the address has to prove it."""
        return self._peer_id

    @property
    def connected(self) -> bool:
        """Whether there is a link now."""
        return isinstance(self._state, Up)

    @property
    def last_error(self) -> PeerError | None:
        """Why there is no link; None when there is one."""
        return self._state.reason if isinstance(self._state, Down) else None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port. A new address drops the link to the old one and is dialled at once."""
        return self._address

    @address.setter
    def address(self, address: tuple[str, int]) -> None:
        if address == self._address:
            return
        self._address = address
        self._hurry.set()
        if isinstance(self._state, Up):
            self._state.connection.drop(PeerUnavailable("the peer's address has changed"))

    def start(self) -> None:
        """Keep a link up from now on."""
        assert self._task is None, "started twice"
        self._task = asyncio.get_running_loop().create_task(self._keep_up(), name=f"peer {self._peer_id}")
        self._task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Drop the link, for good. `on_down` is called if there was one."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def call(self, method: str, value: Any, *, timeout: float, bulk: bool = False) -> Response:
        """Ask and wait for the answer, for `timeout` seconds at most.

        `bulk` is for answers with a payload of 64 KiB and more: an HTTP request of its own, whose payload the
        kernel sends from the file. Raises PeerUnavailable, PeerTimeout, and the KafkaError that the handler
        raised. Cancelling the call cancels the handler.
        """
        connection = self._connection()
        if bulk:
            return await connection.bulk(method, value, timeout)
        return await connection.call(method, value, timeout)

    async def stream(self, method: str, value: Any) -> AsyncGenerator[Response, None]:
        """What the peer pushes, until its handler returns; asked for with the first item.

        Raises PeerUnavailable when the link is lost, and the KafkaError that the handler raised, after the
        items that came before. A consumer that lags holds back this stream alone. To leave early close the
        generator (`contextlib.aclosing`): that ends the handler too.
        """
        async with contextlib.aclosing(self._connection().stream(method, value)) as items:
            async for item in items:
                yield item

    def notify(self, method: str, value: Any) -> bool:
        """Send without waiting for anything; False when there is no link. True says that it was sent, no
        more.
        """
        return isinstance(self._state, Up) and self._state.connection.notify(method, value)

    def _connection(self) -> Connection:
        match self._state:
            case Up(connection):
                return connection
            case Down(reason):
                raise PeerUnavailable(f"node {self._peer_id} is not connected: {reason}")

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if self._options.on_fatal is not None:
            self._options.on_fatal(error)
        else:
            context = {"message": "a peer's callback failed", "exception": error}
            task.get_loop().call_exception_handler(context)

    async def _keep_up(self) -> None:
        delay = self._options.backoff_min
        while True:
            self._hurry.clear()
            try:
                connection = await self._dial()
            except PeerError as error:
                self._log(error)
                self._state = Down(error)
                await self._pause(delay)
                delay = min(delay * 2, self._options.backoff_max)
            else:
                delay = self._options.backoff_min
                await self._use(connection)
                await self._pause(delay)

    async def _use(self, connection: Connection) -> None:
        self._events.debug("peer.up")
        self._logged = ""
        running = asyncio.get_running_loop().create_task(connection.run())
        self._state = Up(connection)
        reason: PeerError = PeerUnavailable("the peer was closed")
        try:
            if self._on_up is not None:
                self._on_up()
            reason = await asyncio.shield(running)
        finally:
            running.cancel()
            await asyncio.wait((running,))
            self._state = Down(reason)
            self._log(reason)
            if self._on_down is not None:
                self._on_down()

    def _log(self, error: PeerError) -> None:
        """One line for each reason in a row; a peer that is away is an everyday thing."""
        text = str(error)
        if text != self._logged:
            self._logged = text
            note = self._events.info if isinstance(error, PeerUnavailable) else self._events.warning
            note("peer.down", reason=text)

    async def _pause(self, delay: float) -> None:
        jittered = delay * (0.5 + 0.5 * self._options.rng.random())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(jittered):
                await self._hurry.wait()

    async def _dial(self) -> Connection:
        url = self._url()
        limits = self._options.limits
        connector = CuttableConnector(
            limit=limits.bulk_connections + 1, ssl=self._options.ssl_context or True
        )
        http = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=bulk.READ_BUFFER,
            auto_decompress=False,
        )
        try:
            async with asyncio.timeout(limits.dead_after):
                return await self._introduce(http, connector, url)
        except TimeoutError:
            connector.abort()
            await http.close()
            raise PeerUnavailable(f"{url.authority} did not answer within {limits.dead_after} s") from None
        except (aiohttp.ClientError, OSError, UnicodeError) as error:  # the last: a label that is too long
            await http.close()
            raise PeerUnavailable(f"{url.authority}: {error or type(error).__name__}") from error
        except BaseException:
            await http.close()
            raise

    def _url(self) -> URL:
        """PeerUnavailable for what is no host: the other node says where it is, and cannot stop this one."""
        host, port = self._address
        scheme = "http" if self._options.ssl_context is None else "https"
        try:
            return URL.build(scheme=scheme, host=host, port=port)
        except ValueError as error:
            raise PeerUnavailable(f"{host}:{port} is no address: {error}") from error

    async def _introduce(
        self, http: aiohttp.ClientSession, connector: CuttableConnector, url: URL
    ) -> Connection:
        """Go through the handshake; AuthenticationError names what does not match."""
        identity = Identity(self._self_id, self._cluster_id, self._options.role)
        introduction = Introduction(identity, self._secret, self._peer_id)
        challenge = await self._post(http, url.with_path(handshake.HELLO_PATH), introduction.hello())
        transcript, proof = introduction.challenged(challenge)
        accepted = await self._post(http, url.with_path(handshake.PROOF_PATH), proof)
        signer = introduction.accepted(transcript, accepted)
        _, authorization = signer.sign(handshake.LINK_PATH, b"")
        limits = self._options.limits
        socket = await http.ws_connect(
            url.with_path(handshake.LINK_PATH),
            headers={"Authorization": authorization},
            heartbeat=limits.heartbeat,
            max_msg_size=limits.max_message + 1,
        )
        return Connection(socket, http, connector, signer, url, limits)

    async def _post(self, http: aiohttp.ClientSession, url: URL, body: bytes) -> bytes:
        async with http.post(url, data=body) as answer:
            if answer.status == 401:
                raise AuthenticationError(
                    f"{url.authority} turned node {self._self_id} away: the two hold different secrets"
                )
            if answer.status != 200:
                raise ProtocolError(f"{url.authority}: status {answer.status} to the handshake")
            return await bulk.read_at_most(answer.content, self._options.limits.handshake_bytes)
