"""Memory that a broker's page cache can grow into without the machine having to fetch it first.

A virtual machine may give memory that is free for a second or two back to its host, and a page that comes
back costs several times what writing to it does: then the host is what is measured. So a file holds as much
as the brokers are going to write, and shrinks just ahead of them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

MARGIN = 2_000_000_000
"""Bytes given up ahead of what is written: clients, sockets and whatever else runs take their memory from
there too."""

INTERVAL = 0.02
"""Seconds between two looks at how much is written."""

_CHUNK = bytes(1_000_000)


@contextlib.contextmanager
def warm_pages(reserve: Path, logs: Path, size: int) -> Iterator[None]:
    """While the block runs, the `size` bytes that it writes to log segments below `logs` meet warm memory.

    `reserve` is a directory on the same file system for the file that is filled first and emptied meanwhile.
    """
    path = reserve / "warm"
    total = size + MARGIN
    done = threading.Event()
    with path.open("wb", buffering=0) as file:
        for _ in range(total // len(_CHUNK)):
            file.write(_CHUNK)
        before = _written(logs)

        def shrink() -> None:
            while True:
                os.ftruncate(file.fileno(), max(0, size - (_written(logs) - before)))
                if done.wait(INTERVAL):
                    return

        thread = threading.Thread(target=shrink)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            path.unlink()


def _written(logs: Path) -> int:
    return sum(path.stat().st_size for path in logs.rglob("*.log"))
