"""The TCP connections of one session, which can be cut as well as closed."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from aiohttp.connector import Connection as TcpConnection


class CuttableConnector(aiohttp.TCPConnector):
    """aiohttp's connector, with `abort`.

    Closing a connection waits until everything written has left. To a peer that has stopped reading that is
    never, so a link to such a peer has to be cut.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._open: set[asyncio.Transport] = set()

    async def connect(self, *arguments: Any, **options: Any) -> TcpConnection:
        """A connection for one request, new or used again."""
        connection = await super().connect(*arguments, **options)
        self._open = {transport for transport in self._open if not transport.is_closing()}
        if connection.transport is not None:
            self._open.add(connection.transport)
        return connection

    def abort(self) -> None:
        """Cut every connection; what was not sent is lost."""
        for transport in self._open:
            transport.abort()
        self._open.clear()
