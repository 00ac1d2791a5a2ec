"""A blocking connection that speaks Kafka's protocol as plainly as can be."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any, Self

from kafkawire.messages import decode_response, encode_request

TIMEOUT = 60.0


class Wire:
    """One socket to one broker. A context manager."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._correlation_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def call(self, key: int, version: int, request: Any) -> Any:
        """Send a request and return the decoded response to it."""
        self._correlation_id += 1
        self.socket.sendall(encode_request(key, version, self._correlation_id, request, "benchmark"))
        return decode_response(key, version, self.receive())

    def receive(self) -> bytes:
        """The next frame, without its size."""
        return self._exactly(int.from_bytes(self._exactly(4), "big"))

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self.socket.recv(size - len(parts))
            if not part:
                raise ConnectionError("the broker closed the connection")
            parts += part
        return bytes(parts)
