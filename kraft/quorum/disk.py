"""The port to a disk that works aside: writes and syncs happen off the event loop, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

Work = Callable[[], None]
Done = Callable[[Exception | None], None]


class DiskWorker(Protocol):
    """Does blocking work in the order in which it was given."""

    def run(self, work: Work, done: Done) -> None:
        """Call `work` aside, then `done` on the caller's loop: with None, or with what it raised: a
        StorageError, or whatever a mistake of ours is.
        """

    def close(self) -> None:
        """Wait for what has begun; what has not is dropped."""


class ThreadDiskWorker:
    """A thread per disk. Must be created on the event loop that `done` is to be called on."""

    def __init__(self, name: str = "quorum-disk") -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    def run(self, work: Work, done: Done) -> None:
        """See `DiskWorker`."""
        self._thread.submit(self._work, work, done)

    def _work(self, work: Work, done: Done) -> None:
        failure: Exception | None = None
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the root of the thread's work; the loop tells whose it is
            failure = error
        self._loop.call_soon_threadsafe(done, failure)

    def close(self) -> None:
        """See `DiskWorker`."""
        self._thread.shutdown(wait=True, cancel_futures=True)
