"""Node to node inside a simulation: the transport as it ships, over simulated connections.

Only the WebSocket and the handshake before it are left out. Messages are encoded, calls and streams are kept
apart, answered, timed out and cancelled by `kraft.transport` itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from yarl import URL

from chaos.cluster.streams import Address, End, Streams
from kraft.transport.client import Peer, PeerOptions
from kraft.transport.connection import Connection
from kraft.transport.conversation import Conversation
from kraft.transport.errors import PeerError, PeerUnavailable, ProtocolError
from kraft.transport.handlers import Handlers
from kraft.transport.handshake import Identity, Session
from kraft.transport.limits import DEFAULT_LIMITS
from kraft.transport.link import Link
from kraft.transport.outbox import Outbox


@dataclass(frozen=True, slots=True)
class Introduction:
    """What the two sides of a real link prove to each other."""

    node_id: int
    role: str


class SimulatedSocket:
    """The part of aiohttp's WebSocket that `kraft.transport.connection` sends with; also the session and the
    connector that own it.
    """

    def __init__(self, end: End) -> None:
        self._end = end

    async def send_bytes(self, data: bytes) -> None:
        if self._end.closed:
            raise ConnectionResetError("the link is closed")
        self._end.send(data)

    def abort(self) -> None:
        self._end.close()

    async def close(self) -> None:
        self._end.close()


class SimulatedConnection(Connection):
    """A `Connection` that is handed each message as it arrives, where a WebSocket's has to be woken."""

    def __init__(self, end: End, url: URL) -> None:
        socket = cast(Any, SimulatedSocket(end))
        super().__init__(socket, socket, socket, cast(Any, None), url, DEFAULT_LIMITS)
        self._end = end

    async def _read(self) -> PeerError:
        ended: asyncio.Future[PeerError] = asyncio.get_running_loop().create_future()

        def received(data: bytes) -> None:
            if ended.done():
                return
            try:
                self._received(data)
            except ProtocolError as error:
                ended.set_result(error)

        def lost() -> None:
            if not ended.done():
                ended.set_result(PeerUnavailable("the link was lost"))

        self._end.receive(received, lost)
        return await ended


class SimulatedPeer(Peer):
    """A `Peer` that dials on a simulated network."""

    def __init__(
        self,
        streams: Streams,
        introduction: Introduction,
        peer_id: int,
        address: Address,
        on_up: Callable[[], None] | None = None,
        on_down: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(
            introduction.node_id, "simulated", b"", peer_id, address, on_up=on_up, on_down=on_down
        )
        self._streams = streams
        self._introduction = introduction

    def configure(self, options: PeerOptions) -> SimulatedPeer:
        super().configure(options)
        return self

    async def _dial(self) -> Connection:
        try:
            async with asyncio.timeout(DEFAULT_LIMITS.dead_after):
                end = await self._streams.connect(
                    self._introduction.node_id, self._address, self._introduction
                )
        except (TimeoutError, OSError) as error:
            raise PeerUnavailable(f"{self._address[0]}: {error or 'no answer'}") from error
        url = URL.build(scheme="http", host=self._address[0], port=self._address[1])
        return SimulatedConnection(end, url)


class SimulatedServer:
    """Accepts links of other nodes and answers by `handlers`."""

    def __init__(self, on_fatal: Callable[[BaseException], None]) -> None:
        self.handlers = Handlers(DEFAULT_LIMITS, on_fatal)
        self._links = 0
        self._ending: set[asyncio.Task[None]] = set()

    def accept(self, end: End, introduction: Introduction) -> None:
        """See `Streams.listen`."""
        self._links += 1
        identity = Identity(introduction.node_id, "simulated", introduction.role)
        link = Link(Session(self._links.to_bytes(16, "big"), b"", identity), lambda: ended(abort=True))

        async def send(data: bytes) -> None:
            if end.closed:
                raise ConnectionResetError("the link is closed")
            end.send(data)

        outbox = Outbox(send, DEFAULT_LIMITS.outgoing_bytes, lambda: ended(abort=True))
        conversation = Conversation(link, self.handlers, outbox)

        def received(data: bytes) -> None:
            try:
                conversation.received(data)
            except ProtocolError:
                ended(abort=True)

        def ended(*, abort: bool = False) -> None:
            if abort:
                if end.closed:
                    return
                end.close()
            outbox.close()
            task = asyncio.get_running_loop().create_task(link.ended())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

        for opened in self.handlers.link_opened:
            opened(link)
        end.receive(received, ended)
