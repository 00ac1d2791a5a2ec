"""The least that a broker in Python can do for a produce request: frame, checksum, write, fixed answer.

    python -m benchmarks.bare_server FILE ANSWER_SIZE

Prints its port, then serves until its standard input ends. It runs on the event loop that a node runs on.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import cast

from crc32c import crc32c

from kafkawire.frames import FrameReader


class BareServer(asyncio.BufferedProtocol):
    """One connection. Answers leave once for each piece of input."""

    def __init__(self, descriptor: int, answer: bytes) -> None:
        self._frames = FrameReader(max_frame=1 << 20)
        self._descriptor = descriptor
        self._answer = answer
        self._position = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._frames.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        self._frames.received(nbytes)
        answers = []
        while (frame := self._frames.next_frame()) is not None:
            crc32c(frame)
            os.pwrite(self._descriptor, frame, self._position)
            self._position += len(frame)
            answers.append(self._answer)
        self._transport.write(b"".join(answers))


async def serve(path: str, answer_size: int) -> None:
    """Serve until standard input ends."""
    answer = (answer_size - 4).to_bytes(4, "big") + bytes(answer_size - 4)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: BareServer(descriptor, answer), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
    else:
        uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
