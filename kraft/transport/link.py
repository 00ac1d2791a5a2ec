"""The server's view of one connected peer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from kraft.transport.handshake import Session


class Link:
    """One authenticated WebSocket, from the side that accepted it. Bulk calls of the same session come with
    it too.

    It closes when the peer closes it, its process dies, it is silent for `Limits.dead_after`, it breaks the
    protocol, it does not read what is written to it, or `close` is called.
    """

    def __init__(self, session: Session, abort: Callable[[], None]) -> None:
        self._session = session
        self._abort = abort
        self._callbacks: list[Callable[[], None]] = []
        self._owned: set[asyncio.Future[Any]] = set()
        self._closed = False

    @property
    def peer_id(self) -> int:
        """The node id that the other side proved to have."""
        return self._session.client.node_id

    @property
    def peer_role(self) -> str:
        """The role that the other side gave, for example `broker`."""
        return self._session.client.role

    @property
    def session_id(self) -> str:
        """Unique for each link, in hexadecimal."""
        return self._session.id.hex()

    @property
    def session(self) -> Session:
        """What requests of this link are checked with."""
        return self._session

    @property
    def closed(self) -> bool:
        """True from the moment that the callbacks of `on_close` are called."""
        return self._closed

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back once when the link closes; at once if it is closed already."""
        if self._closed:
            callback()
        else:
            self._callbacks.append(callback)

    def close(self) -> None:
        """Cut the connection; the callbacks follow when the loop has noticed."""
        self._abort()

    def own(self, work: asyncio.Future[Any]) -> None:
        """Cancel this work when the link closes; it is forgotten when it is done."""
        if self._closed:
            work.cancel()
            return
        self._owned.add(work)
        work.add_done_callback(self._owned.discard)

    async def ended(self) -> None:
        """The connection is gone: call back, cancel what the link owns, see it end. For the server only."""
        self._closed = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
        owned = list(self._owned)
        for work in owned:
            work.cancel()
        if owned:
            await asyncio.wait(owned)

    def __repr__(self) -> str:
        return f"<Link to node {self.peer_id} ({self.peer_role}){' closed' if self._closed else ''}>"
